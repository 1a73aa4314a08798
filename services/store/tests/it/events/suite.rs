//! What every event log does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use attune_store::events::*;
use attune_store::{ErrorKind, Tenant};
use futures::future::join_all;

use super::{PATIENCE, drain, event, everything, numbered, payloads, take};
use crate::servers::tenant as new_tenant;

/// Stamps the suite for a backend: `$open` gives a log, or `None` where there is no server for it.
macro_rules! conformance {
    ($($name:ident)*) => {
        /// All behaviours of the suite, for one backend.
        macro_rules! event_log_suite {
            ($open:path) => { $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    if let Some((log, _keep)) = $open().await {
                        $crate::events::suite::$name(&log, &$crate::servers::tenant()).await;
                    }
                }
            )* };
        }
    };
}

conformance! {
    events_come_back_in_order
    positions_are_those_that_were_acknowledged
    a_subject_stays_in_its_partition
    tenants_cannot_see_each_other
    concurrent_writers_lose_nothing
    reading_while_writing_misses_nothing
    odd_bytes_come_back_as_they_were
    limits_are_refused_and_nothing_is_kept
    an_empty_batch_is_no_batch
    an_empty_poll_ends_in_time
    a_poll_wakes_when_an_event_comes
    a_group_goes_on_behind_its_commit
    what_was_not_committed_comes_again
    groups_do_not_disturb_each_other
    members_share_the_partitions
    a_member_that_lost_a_partition_cannot_commit
    a_seek_replays
    a_reader_without_a_group_starts_where_it_says
    bounds_hold_all_events
    dead_letters_come_in_pages
    dead_letters_are_replayed_and_forgotten
    dead_letters_of_another_tenant_are_not_seen
    what_is_erased_is_gone_and_the_log_goes_on
}

/// A server may take as long as this to begin with an answer.
const WHILE: Duration = Duration::from_secs(5);

fn by_subject(events: &[Event]) -> BTreeMap<&str, Vec<&Event>> {
    let mut subjects: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    events.iter().for_each(|event| subjects.entry(&event.subject).or_default().push(event));
    subjects
}

fn sorted(mut all: Vec<String>) -> Vec<String> {
    all.sort();
    all
}

pub async fn events_come_back_in_order(log: &dyn EventLog, tenant: &Tenant) {
    for first in [0, 30, 60] {
        log.append(tenant, numbered(first, 30)).await.unwrap();
    }
    let events = take(&mut *log.join(tenant, "g").await.unwrap(), 90).await;
    assert_eq!(events.len(), 90);
    for (subject, events) in by_subject(&events) {
        let start: usize = subject[2..].parse().unwrap();
        let expected: Vec<String> = (0..9).map(|turn| format!("event {}", start + 10 * turn)).collect();
        let found: Vec<String> =
            events.iter().map(|event| String::from_utf8(event.payload.to_vec()).unwrap()).collect();
        assert_eq!(found, expected, "{subject}");
        assert!(events.windows(2).all(|pair| pair[0].position < pair[1].position), "{subject}: offsets rise");
    }
}

pub async fn positions_are_those_that_were_acknowledged(log: &dyn EventLog, tenant: &Tenant) {
    let batch = numbered(0, 50);
    let positions = log.append(tenant, batch.clone()).await.unwrap();
    let found = take(&mut *log.join(tenant, "g").await.unwrap(), 50).await;
    let found: BTreeMap<Position, (String, bytes::Bytes)> =
        found.into_iter().map(|event| (event.position, (event.subject, event.payload))).collect();
    for (position, NewEvent { subject, payload }) in positions.iter().zip(batch) {
        assert_eq!(found[position], (subject, payload));
    }
}

pub async fn a_subject_stays_in_its_partition(log: &dyn EventLog, tenant: &Tenant) {
    let partitions = log.bounds(tenant).await.unwrap().len() as u32;
    let positions = log.append(tenant, numbered(0, 20)).await.unwrap();
    for (number, position) in positions.iter().enumerate() {
        assert_eq!(position.partition, partition_of(tenant, &format!("s-{}", number % 10), partitions));
    }
    assert!(positions.iter().map(|position| position.partition).collect::<BTreeSet<_>>().len() > 1);
}

pub async fn tenants_cannot_see_each_other(log: &dyn EventLog, tenant: &Tenant) {
    let other = new_tenant();
    log.append(tenant, numbered(0, 10)).await.unwrap();
    log.append(&other, numbered(100, 10)).await.unwrap();
    let mut mine = log.join(tenant, "g").await.unwrap();
    let mut theirs = log.join(&other, "g").await.unwrap();
    assert_eq!(payloads(&take(&mut *mine, 10).await).len(), 10);
    mine.commit().await.unwrap();
    let expected: Vec<String> = (100..110).map(|number| format!("event {number}")).collect();
    assert_eq!(sorted(payloads(&take(&mut *theirs, 10).await)), expected);
    assert!(drain(&mut *mine).await.is_empty());
    assert_eq!(log.committed(&other, "g").await.unwrap(), []);
}

pub async fn concurrent_writers_lose_nothing(log: &dyn EventLog, tenant: &Tenant) {
    let writers = (0..8).map(|writer| async move {
        for batch in 0..10 {
            log.append(tenant, numbered(writer * 1_000 + batch * 20, 20)).await.unwrap();
        }
    });
    join_all(writers).await;
    let found = payloads(&take(&mut *log.join(tenant, "g").await.unwrap(), 1_600).await);
    let expected: BTreeSet<String> =
        (0..8).flat_map(|writer| (0..200).map(move |number| format!("event {}", writer * 1_000 + number))).collect();
    assert_eq!(found.len(), 1_600);
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
}

pub async fn reading_while_writing_misses_nothing(log: &dyn EventLog, tenant: &Tenant) {
    let mut consumer = log.join(tenant, "g").await.unwrap();
    let write = async {
        for batch in 0..40 {
            log.append(tenant, numbered(batch * 7, 7)).await.unwrap();
        }
    };
    let read = async {
        let mut all = Vec::new();
        while all.len() < 280 {
            let some = consumer.poll(5, PATIENCE).await.unwrap();
            assert!(!some.is_empty() && some.len() <= 5);
            all.extend(payloads(&some));
        }
        all
    };
    let ((), found) = tokio::join!(write, read);
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>().len(), 280);
}

pub async fn odd_bytes_come_back_as_they_were(log: &dyn EventLog, tenant: &Tenant) {
    let subjects =
        ["é", "日本語", "a\0b", "\n", "🦀", "../x", "%2F", "AtFr", " ", "'\"`;--", &"x".repeat(SUBJECT_BYTES_MAX)];
    let payloads: [Vec<u8>; 4] =
        [vec![], vec![0; 300], (0..=255).collect(), [b"AtFr".repeat(50), vec![0xff; PAYLOAD_BYTES_MAX - 200]].concat()];
    let batch: Vec<NewEvent> =
        subjects.iter().flat_map(|subject| payloads.iter().map(|payload| event(subject, payload))).collect();
    let positions = log.append(tenant, batch.clone()).await.unwrap();
    let found = take(&mut *log.join(tenant, "g").await.unwrap(), batch.len()).await;
    let found: BTreeMap<Position, NewEvent> =
        found.into_iter().map(|one| (one.position, NewEvent { subject: one.subject, payload: one.payload })).collect();
    for (position, event) in positions.iter().zip(&batch) {
        assert!(found[position] == *event, "{:?} with {} bytes", event.subject, event.payload.len());
    }
}

pub async fn limits_are_refused_and_nothing_is_kept(log: &dyn EventLog, tenant: &Tenant) {
    let good = event("s", "good");
    let refused: [(Vec<NewEvent>, ErrorKind, &str); 5] = [
        (vec![good.clone(), event("", "x")], ErrorKind::Invalid, "event 1"),
        (vec![event(&"x".repeat(SUBJECT_BYTES_MAX + 1), "x")], ErrorKind::Invalid, "321 bytes"),
        (vec![good.clone(), event("s", vec![0; PAYLOAD_BYTES_MAX + 1])], ErrorKind::TooLarge, "event 1"),
        (vec![good.clone(); BATCH_EVENTS_MAX + 1], ErrorKind::TooLarge, "10001 events"),
        (vec![event("s", vec![0; PAYLOAD_BYTES_MAX]); 65], ErrorKind::TooLarge, "a batch of"),
    ];
    for (batch, kind, detail) in refused {
        let error = log.append(tenant, batch).await.unwrap_err();
        assert!(error.kind == kind && error.detail.contains(detail), "{error}");
    }
    for name in ["", "A", "a b", "../x", &"g".repeat(GROUP_BYTES_MAX + 1)] {
        assert_eq!(log.join(tenant, name).await.err().unwrap().kind, ErrorKind::Invalid, "{name:?}");
    }
    let mut consumer = log.join(tenant, "g").await.unwrap();
    for max in [0, PAGE_MAX + 1] {
        assert_eq!(consumer.poll(max, Duration::ZERO).await.unwrap_err().kind, ErrorKind::Invalid);
        assert_eq!(log.dead_letters(tenant, 0, max).await.unwrap_err().kind, ErrorKind::Invalid);
    }
    log.append(tenant, vec![good]).await.unwrap();
    assert_eq!(payloads(&take(&mut *consumer, 1).await), ["good"]);
    assert!(drain(&mut *consumer).await.is_empty());
}

pub async fn an_empty_batch_is_no_batch(log: &dyn EventLog, tenant: &Tenant) {
    assert_eq!(log.append(tenant, Vec::new()).await.unwrap(), []);
    assert_eq!(log.bury(tenant, Vec::new()).await.unwrap(), [""; 0]);
    log.forget(tenant, &[]).await.unwrap();
    assert!(everything(log, tenant, WHILE).await.is_empty());
}

pub async fn an_empty_poll_ends_in_time(log: &dyn EventLog, tenant: &Tenant) {
    let mut consumer = log.join(tenant, "g").await.unwrap();
    let began = Instant::now();
    assert!(consumer.poll(10, Duration::from_millis(200)).await.unwrap().is_empty());
    assert!(began.elapsed() >= Duration::from_millis(200));
}

pub async fn a_poll_wakes_when_an_event_comes(log: &dyn EventLog, tenant: &Tenant) {
    let mut consumer = log.join(tenant, "g").await.unwrap();
    assert!(consumer.poll(10, Duration::from_millis(50)).await.unwrap().is_empty());
    let write = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        log.append(tenant, vec![event("s", "late")]).await.unwrap();
    };
    let (found, ()) = tokio::join!(consumer.poll(10, PATIENCE), write);
    assert_eq!(payloads(&found.unwrap()), ["late"]);
}

pub async fn a_group_goes_on_behind_its_commit(log: &dyn EventLog, tenant: &Tenant) {
    log.append(tenant, numbered(0, 40)).await.unwrap();
    let mut first = log.join(tenant, "g").await.unwrap();
    take(&mut *first, 40).await;
    first.commit().await.unwrap();
    drop(first);
    log.append(tenant, numbered(40, 5)).await.unwrap();
    let mut second = log.join(tenant, "g").await.unwrap();
    let expected: Vec<String> = (40..45).map(|number| format!("event {number}")).collect();
    assert_eq!(sorted(payloads(&take(&mut *second, 5).await)), expected);
    let committed = log.committed(tenant, "g").await.unwrap();
    let bounds = log.bounds(tenant).await.unwrap();
    for position in committed {
        let bounds = bounds[position.partition as usize];
        assert!((bounds.first..=bounds.next).contains(&position.offset), "{position:?} {bounds:?}");
    }
}

pub async fn what_was_not_committed_comes_again(log: &dyn EventLog, tenant: &Tenant) {
    log.append(tenant, numbered(0, 20)).await.unwrap();
    let mut first = log.join(tenant, "g").await.unwrap();
    let before = sorted(payloads(&take(&mut *first, 20).await));
    drop(first);
    let mut second = log.join(tenant, "g").await.unwrap();
    assert_eq!(sorted(payloads(&take(&mut *second, 20).await)), before);
}

pub async fn groups_do_not_disturb_each_other(log: &dyn EventLog, tenant: &Tenant) {
    log.append(tenant, numbered(0, 20)).await.unwrap();
    let mut one = log.join(tenant, "one").await.unwrap();
    take(&mut *one, 20).await;
    one.commit().await.unwrap();
    let mut two = log.join(tenant, "two").await.unwrap();
    assert_eq!(take(&mut *two, 20).await.len(), 20);
    assert_eq!(log.committed(tenant, "two").await.unwrap(), []);
}

/// Polls both until together they have all partitions and neither has one of the other's.
async fn settle(one: &mut dyn Consumer, two: &mut dyn Consumer, partitions: usize) -> Vec<Event> {
    let began = Instant::now();
    let mut seen = Vec::new();
    loop {
        seen.extend(one.poll(1_000, Duration::from_millis(100)).await.unwrap());
        seen.extend(two.poll(1_000, Duration::from_millis(100)).await.unwrap());
        let (mine, theirs): (BTreeSet<u32>, BTreeSet<u32>) =
            (one.partitions().into_iter().collect(), two.partitions().into_iter().collect());
        if mine.len() + theirs.len() == partitions
            && mine.is_disjoint(&theirs)
            && !mine.is_empty()
            && !theirs.is_empty()
        {
            return seen;
        }
        assert!(began.elapsed() < PATIENCE, "{mine:?} and {theirs:?} of {partitions} partitions");
    }
}

pub async fn members_share_the_partitions(log: &dyn EventLog, tenant: &Tenant) {
    let partitions = log.bounds(tenant).await.unwrap().len();
    let mut one = log.join(tenant, "g").await.unwrap();
    let mut two = log.join(tenant, "g").await.unwrap();
    assert!(settle(&mut *one, &mut *two, partitions).await.is_empty());
    log.append(tenant, numbered(0, 100)).await.unwrap();
    let began = Instant::now();
    let (mut mine, mut theirs) = (Vec::new(), Vec::new());
    while mine.len() + theirs.len() < 100 {
        mine.extend(one.poll(1_000, Duration::from_millis(100)).await.unwrap());
        theirs.extend(two.poll(1_000, Duration::from_millis(100)).await.unwrap());
        assert!(began.elapsed() < PATIENCE);
    }
    let subjects = |events: &[Event]| events.iter().map(|event| event.subject.clone()).collect::<BTreeSet<_>>();
    assert!(subjects(&mine).is_disjoint(&subjects(&theirs)));
    assert_eq!(mine.len() + theirs.len(), 100);
    // What one leaves without a commit, the other gets.
    two.commit().await.unwrap();
    drop(one);
    let again = take(&mut *two, mine.len()).await;
    assert_eq!(sorted(payloads(&again)), sorted(payloads(&mine)));
}

pub async fn a_member_that_lost_a_partition_cannot_commit(log: &dyn EventLog, tenant: &Tenant) {
    log.append(tenant, numbered(0, 100)).await.unwrap();
    let partitions = log.bounds(tenant).await.unwrap().len();
    let mut one = log.join(tenant, "g").await.unwrap();
    let mut seen = take(&mut *one, 100).await;
    let mut two = log.join(tenant, "g").await.unwrap();
    // The first does not poll, so it cannot know; its commit is refused, or it was given time to commit before.
    let stale = one.commit().await;
    if let Err(error) = &stale {
        assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
    }
    seen.extend(settle(&mut *one, &mut *two, partitions).await);
    seen.extend(drain(&mut *two).await);
    let expected = if stale.is_ok() { 100 } else { 101 };
    assert!(seen.len() >= expected, "what a refused commit covered has to come again");
    one.commit().await.unwrap();
    two.commit().await.unwrap();
}

pub async fn a_seek_replays(log: &dyn EventLog, tenant: &Tenant) {
    let positions =
        log.append(tenant, (0..10).map(|number| event("s", format!("event {number}"))).collect()).await.unwrap();
    log.append(tenant, numbered(100, 30)).await.unwrap();
    let mut consumer = log.join(tenant, "g").await.unwrap();
    let before = take(&mut *consumer, 40).await;
    let behind = |event: &&Event| {
        event.position.partition == positions[4].partition && event.position.offset >= positions[4].offset
    };
    let expected: Vec<Event> = before.iter().filter(behind).cloned().collect();
    consumer.seek(positions[4]).await.unwrap();
    assert_eq!(take(&mut *consumer, expected.len()).await, expected);
    let of_subject: Vec<Event> = expected.iter().filter(|event| event.subject == "s").cloned().collect();
    assert_eq!(payloads(&of_subject), (4..10).map(|number| format!("event {number}")).collect::<Vec<_>>());
    assert!(drain(&mut *consumer).await.is_empty());
    let error = consumer.seek(Position { partition: 1_000_000, offset: 0 }).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
}

pub async fn a_reader_without_a_group_starts_where_it_says(log: &dyn EventLog, tenant: &Tenant) {
    let positions =
        log.append(tenant, (0..10).map(|number| event("s", format!("event {number}"))).collect()).await.unwrap();
    let mut reader = log.read(tenant, &positions[7..8]).await.unwrap();
    assert_eq!(payloads(&take(&mut *reader, 3).await), ["event 7", "event 8", "event 9"]);
    assert_eq!(reader.partitions(), [positions[0].partition]);
    assert_eq!(reader.commit().await.unwrap_err().kind, ErrorKind::Invalid);
    let error = log.read(tenant, &[Position { partition: 1_000_000, offset: 0 }]).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Invalid);
}

pub async fn bounds_hold_all_events(log: &dyn EventLog, tenant: &Tenant) {
    assert!(log.bounds(tenant).await.unwrap().iter().all(|bounds| bounds.first == bounds.next));
    let positions = log.append(tenant, numbered(0, 30)).await.unwrap();
    let bounds = log.bounds(tenant).await.unwrap();
    for (partition, bounds) in (0..).zip(&bounds) {
        assert_eq!(bounds.partition, partition);
    }
    for position in positions {
        let bounds = bounds[position.partition as usize];
        assert!((bounds.first..bounds.next).contains(&position.offset), "{position:?} {bounds:?}");
    }
}

fn letter(number: usize) -> NewDeadLetter {
    NewDeadLetter {
        subject: format!("s-{number}"),
        payload: format!("line\n{{\"number\": {number}}}").into(),
        reason: format!("no \"type\" in number {number}"),
        origin: (number.is_multiple_of(2)).then_some(Position { partition: 3, offset: number as u64 }),
    }
}

pub async fn dead_letters_come_in_pages(log: &dyn EventLog, tenant: &Tenant) {
    let letters: Vec<NewDeadLetter> = (0..7).map(letter).collect();
    let mut ids = log.bury(tenant, letters[..4].to_vec()).await.unwrap();
    ids.extend(log.bury(tenant, letters[4..].to_vec()).await.unwrap());
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 7);
    let (mut found, mut from, mut pages) = (Vec::new(), 0, 0);
    loop {
        let page = log.dead_letters(tenant, from, 3).await.unwrap();
        (found, pages) = ([found, page.letters].concat(), pages + 1);
        match page.next {
            Some(next) => from = next,
            None => break,
        }
    }
    assert_eq!(pages, 3);
    assert_eq!(found.iter().map(|one| one.letter.clone()).collect::<Vec<_>>(), letters);
    assert_eq!(found.iter().map(|one| one.id.clone()).collect::<Vec<_>>(), ids);
    let long = NewDeadLetter { reason: "ü".repeat(REASON_BYTES_MAX), ..letter(8) };
    log.bury(tenant, vec![long]).await.unwrap();
    let last = log.dead_letters(tenant, 0, 100).await.unwrap().letters.pop().unwrap();
    assert_eq!(last.letter.reason, "ü".repeat(REASON_BYTES_MAX / 2));
    assert_eq!(everything(log, tenant, WHILE).await, []);
}

pub async fn dead_letters_are_replayed_and_forgotten(log: &dyn EventLog, tenant: &Tenant) {
    let ids = log.bury(tenant, (0..5).map(letter).collect()).await.unwrap();
    log.forget(tenant, &ids[..1]).await.unwrap();
    log.forget(tenant, &["no-such-letter".to_owned()]).await.unwrap();
    let page = log.dead_letters(tenant, 0, 2).await.unwrap();
    assert_eq!(page.letters.iter().map(|one| &one.id).collect::<Vec<_>>(), ids[1..3].iter().collect::<Vec<_>>());
    log.replay(tenant, page.letters).await.unwrap();
    let events = everything(log, tenant, WHILE).await;
    let subjects: BTreeSet<&str> = events.iter().map(|event| event.subject.as_str()).collect();
    assert_eq!((events.len(), subjects), (2, BTreeSet::from(["s-1", "s-2"])));
    assert!(events.iter().all(|event| event.payload.starts_with(b"line\n")));
    let left = log.dead_letters(tenant, 0, 100).await.unwrap();
    assert_eq!(left.letters.iter().map(|one| &one.id).collect::<Vec<_>>(), ids[3..].iter().collect::<Vec<_>>());
    assert_eq!(left.next, None);
    // One without a subject can only be forgotten.
    let ids = log.bury(tenant, vec![NewDeadLetter { subject: String::new(), ..letter(9) }]).await.unwrap();
    let nameless = log.dead_letters(tenant, 0, 100).await.unwrap().letters.pop().unwrap();
    assert_eq!(nameless.id, ids[0]);
    assert_eq!(log.replay(tenant, vec![nameless]).await.unwrap_err().kind, ErrorKind::Invalid);
}

pub async fn dead_letters_of_another_tenant_are_not_seen(log: &dyn EventLog, tenant: &Tenant) {
    let ids = log.bury(tenant, vec![letter(1)]).await.unwrap();
    let other = new_tenant();
    assert_eq!(log.dead_letters(&other, 0, 10).await.unwrap().letters, []);
    log.forget(&other, &ids).await.unwrap();
    assert_eq!(log.dead_letters(tenant, 0, 10).await.unwrap().letters.len(), 1);
}

pub async fn what_is_erased_is_gone_and_the_log_goes_on(log: &dyn EventLog, tenant: &Tenant) {
    let other = new_tenant();
    log.append(&other, numbered(0, 5)).await.unwrap();
    log.append(tenant, numbered(0, 50)).await.unwrap();
    log.bury(tenant, vec![letter(1), letter(2)]).await.unwrap();
    let from: Vec<Position> = log
        .bounds(tenant)
        .await
        .unwrap()
        .iter()
        .map(|one| Position { partition: one.partition, offset: one.next })
        .collect();
    let mut reader = log.read(tenant, &from).await.unwrap();
    assert_eq!(log.erase(tenant).await.unwrap(), 52);
    assert_eq!(everything(log, tenant, WHILE).await, []);
    assert_eq!(log.dead_letters(tenant, 0, 10).await.unwrap().letters, []);
    assert!(log.bounds(tenant).await.unwrap().iter().all(|one| one.first == one.next));
    assert_eq!(log.erase(tenant).await.unwrap(), 0, "there is nothing any more");
    log.append(tenant, numbered(50, 3)).await.unwrap();
    assert_eq!(take(&mut *reader, 3).await.len(), 3, "who reads goes on");
    assert_eq!(everything(log, &other, WHILE).await.len(), 5, "another tenant's events stay");
}
