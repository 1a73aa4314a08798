//! The embedded log: the suite, and the faults of a disk.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use attune_store::embedded::disk::Disk;
use attune_store::embedded::events::Log;
use attune_store::events::*;
use attune_store::{ErrorKind, Tenant};
use tempfile::TempDir;

use super::{drain, event, everything, numbered, payloads, take};
use crate::disk::{SimDisk, Unsynced};
use crate::servers::tenant as new_tenant;

async fn open() -> Option<(Log, TempDir)> {
    let folder = TempDir::new().unwrap();
    Some((Log::open(folder.path(), Settings::default()).await.unwrap(), folder))
}

event_log_suite!(open);

/// All events. An embedded log gives what it has without waiting.
pub async fn all(log: &Log, tenant: &Tenant) -> Vec<Event> {
    everything(log, tenant, Duration::ZERO).await
}

pub async fn on(disk: &SimDisk) -> Log {
    try_on(disk).await.unwrap()
}

pub async fn try_on(disk: &SimDisk) -> Result<Log, attune_store::StoreError> {
    Log::open_on(Arc::new(disk.clone()), Settings::default(), 1_000).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_batch_is_on_the_disk() {
    let (disk, tenant) = (SimDisk::default(), new_tenant());
    let log = on(&disk).await;
    for number in 0..20 {
        let syncs = disk.syncs();
        let payload = format!("the payload of batch {number}");
        log.append(&tenant, vec![event("s", &payload)]).await.unwrap();
        assert!(disk.syncs() > syncs, "batch {number} was acknowledged without a sync");
        assert!(disk.has_durable(payload.as_bytes()), "batch {number} was acknowledged and would be lost");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_that_wait_share_a_sync() {
    let (disk, tenant) = (SimDisk::default(), new_tenant());
    let log = Arc::new(on(&disk).await);
    log.append(&tenant, vec![event("s", "opens the segment")]).await.unwrap();
    let syncs = disk.syncs();
    disk.hold_syncs(true);
    let append = |number: usize| {
        let (log, tenant) = (log.clone(), tenant.clone());
        tokio::spawn(async move { log.append(&tenant, numbered(number, 1)).await })
    };
    let first = append(0);
    while disk.syncs_waiting() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let others: Vec<_> = (1..20).map(append).collect();
    // Long enough for all of them to stand in the queue; were they slower, there would be more syncs, never fewer.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!first.is_finished() && others.iter().all(|one| !one.is_finished()), "acknowledged before the sync");
    disk.hold_syncs(false);
    first.await.unwrap().unwrap();
    for other in others {
        other.await.unwrap().unwrap();
    }
    // One for the first and one for the rest; a full segment in between costs one more.
    assert!(disk.syncs() - syncs <= 3, "{} syncs for 20 batches", disk.syncs() - syncs);
    assert_eq!(all(&log, &tenant).await.len(), 21);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_seen_only_when_they_are_durable() {
    let (disk, tenant) = (SimDisk::default(), new_tenant());
    let log = Arc::new(on(&disk).await);
    let mut reader = log.join(&tenant, "g").await.unwrap();
    log.append(&tenant, vec![event("s", "before")]).await.unwrap();
    take(&mut *reader, 1).await;
    disk.hold_syncs(true);
    let append = {
        let (log, tenant) = (log.clone(), tenant.clone());
        tokio::spawn(async move { log.append(&tenant, vec![event("s", "not yet durable")]).await })
    };
    while disk.syncs_waiting() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(drain(&mut *reader).await.is_empty());
    disk.hold_syncs(false);
    append.await.unwrap().unwrap();
    assert_eq!(payloads(&take(&mut *reader, 1).await), ["not yet durable"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_is_never_acknowledged_and_its_file_is_left() {
    for failing in 1..40 {
        let (disk, tenant) = (SimDisk::default(), new_tenant());
        let log = on(&disk).await;
        disk.fail_sync(disk.syncs() + failing);
        let mut acknowledged = Vec::new();
        for number in 0..25 {
            match log.append(&tenant, numbered(number, 1)).await {
                Ok(_) => acknowledged.push(format!("event {number}")),
                Err(error) => assert_eq!(error.kind, ErrorKind::Unavailable, "{error}"),
            }
        }
        assert!(acknowledged.len() >= 24, "one failure cost {} batches", 25 - acknowledged.len());
        assert_eq!(payloads(&all(&log, &tenant).await), acknowledged, "sync {failing} failed");
        drop(log);
        disk.start(None);
        disk.crash(Unsynced::Gone);
        assert_eq!(payloads(&all(&on(&disk).await, &tenant).await), acknowledged, "sync {failing} failed");
    }
}

/// The last batch of a file was written and not synced, it could not be cut off, and the log went on in a new file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failed_sync_left_hides_nothing_that_came_after() {
    for is_whole in [true, false] {
        let (disk, tenant) = (SimDisk::default(), new_tenant());
        let log = on(&disk).await;
        for number in 0..3 {
            log.append(&tenant, numbered(number * 3, 3)).await.unwrap();
        }
        drop(log);
        let first = format!("{tenant}/events/{:020}.log", 0);
        if !is_whole {
            disk.flip(&first, disk.lengths()[&first] - 1);
        }
        let mut head = b"AtSegmnt".to_vec();
        head.extend(1_u32.to_le_bytes());
        head.extend(6_u64.to_le_bytes());
        head.extend(crc32fast::hash(&head).to_le_bytes());
        disk.create(&format!("{tenant}/events/{:020}.log", 6)).unwrap().write_all(&head).unwrap();
        let log = on(&disk).await;
        assert_eq!(log.append(&tenant, vec![event("s", "after")]).await.unwrap()[0].offset, 6);
        let found = payloads(&all(&log, &tenant).await);
        assert_eq!((found.len(), found[6].as_str()), (7, "after"), "whole: {is_whole}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_said_and_got_over() {
    let (disk, tenant) = (SimDisk::default(), new_tenant());
    let log = on(&disk).await;
    let mut acknowledged = Vec::new();
    for room in [500, 501, 517, 600, 1_000, 1_023, 1_024, 1_030, 2_000, 3_000] {
        disk.set_room(Some(disk.used() + room));
        for number in 0.. {
            let payload = format!("{room} {number}");
            match log.append(&tenant, vec![event("s", &payload)]).await {
                Ok(_) => acknowledged.push(payload),
                Err(error) => {
                    assert_eq!(error.kind, ErrorKind::Full, "{error}");
                    break;
                }
            }
        }
        assert_eq!(log.append(&tenant, numbered(0, 100)).await.unwrap_err().kind, ErrorKind::Full);
        assert_eq!(payloads(&all(&log, &tenant).await), acknowledged, "reading goes on");
        disk.set_room(None);
        log.append(&tenant, vec![event("s", "there is space again")]).await.unwrap();
        acknowledged.push("there is space again".to_owned());
    }
    assert_eq!(payloads(&all(&log, &tenant).await), acknowledged);
    drop(log);
    let log = on(&disk).await;
    assert_eq!(payloads(&all(&log, &tenant).await), acknowledged);
    assert_eq!(log.damage(&tenant).await.unwrap(), []);
}

async fn filled(disk: &SimDisk, tenant: &Tenant) {
    let log = on(disk).await;
    for number in 0..30 {
        log.append(tenant, numbered(number * 3, 3)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_tail_is_cut_set_aside_and_reported() {
    let (disk, tenant) = (SimDisk::default(), new_tenant());
    filled(&disk, &tenant).await;
    let last = disk.lengths().keys().rfind(|name| name.ends_with(".log") && name.contains("events")).unwrap().clone();
    let length = disk.lengths()[&last];
    for cut in 1..100 {
        let disk = disk.fork();
        let file = disk.append(&last, (length - cut) as u64);
        drop(file.unwrap());
        let log = on(&disk).await;
        let damage = log.damage(&tenant).await.unwrap();
        let found = all(&log, &tenant).await;
        assert!(found.len() >= 81 && found.len() < 90, "{} events with {cut} bytes cut off", found.len());
        if !damage.is_empty() {
            let aside = damage[0].set_aside.clone().unwrap();
            assert!(damage[0].detail.contains("no whole batch") && disk.lengths()[&aside] > 0, "{damage:?}");
        }
        // It goes on where it was cut.
        log.append(&tenant, numbered(1_000, 5)).await.unwrap();
        assert_eq!(all(&log, &tenant).await.len(), found.len() + 5);
        drop(log);
        let again = on(&disk).await;
        assert_eq!(again.damage(&tenant).await.unwrap(), [], "what was cut is not cut again");
        assert_eq!(all(&again, &tenant).await.len(), found.len() + 5);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_is_found_and_the_rest_is_read() {
    let (whole, tenant) = (SimDisk::default(), new_tenant());
    filled(&whole, &tenant).await;
    let before = payloads(&all(&on(&whole).await, &tenant).await);
    assert_eq!(before.len(), 90);
    for (name, length) in whole.lengths().into_iter().filter(|(name, _)| name.contains("/events/")) {
        for at in (0..length).step_by(3) {
            let disk = whole.fork();
            disk.flip(&name, at);
            let log = on(&disk).await;
            let found = payloads(&all(&log, &tenant).await);
            let is_index = name.ends_with(".index");
            // One batch of three events may be lost, never another, and the order stays.
            assert!(found.len() >= if is_index { 90 } else { 87 }, "{} left: byte {at} of {name}", found.len());
            let mut rest = before.iter();
            assert!(found.iter().all(|one| rest.any(|other| other == one)), "byte {at} of {name}");
            let damage = log.damage(&tenant).await.unwrap();
            assert!(is_index || !damage.is_empty(), "byte {at} of {name} changed unnoticed");
            let positions = log.append(&tenant, numbered(500, 2)).await.unwrap();
            assert!(positions.iter().all(|position| position.offset >= 87), "{positions:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_offsets_are_reported_and_nothing_is_skipped() {
    let (disk, tenant) = (SimDisk::default(), new_tenant());
    filled(&disk, &tenant).await;
    let log = on(&disk).await;
    let mut consumer = log.join(&tenant, "g").await.unwrap();
    take(&mut *consumer, 90).await;
    consumer.commit().await.unwrap();
    drop((consumer, log));
    let name = format!("{tenant}/groups/g");
    for at in 0..disk.lengths()[&name] {
        let disk = disk.fork();
        disk.flip(&name, at);
        let log = on(&disk).await;
        assert!(log.damage(&tenant).await.unwrap()[0].detail.contains("begins again"));
        assert_eq!(take(&mut *log.join(&tenant, "g").await.unwrap(), 90).await.len(), 90);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_segments_go_and_numbers_go_on() {
    let (disk, tenant) = (SimDisk::default(), new_tenant());
    let retention = Retention { age: Some(Duration::from_secs(60)), bytes: None };
    let settings = Settings { retention, ..Settings::default() };
    let log = Log::open_on(Arc::new(disk.clone()), settings, 1_000).await.unwrap();
    log.append(&tenant, numbered(0, 3)).await.unwrap();
    let mut behind = log.join(&tenant, "behind").await.unwrap();
    let now_ms = take(&mut *behind, 3).await[0].appended_ms;
    behind.commit().await.unwrap();
    for number in 1..30 {
        log.append(&tenant, numbered(number * 3, 3)).await.unwrap();
    }
    assert_eq!(log.retain(now_ms).await.unwrap(), 0);
    assert_eq!(all(&log, &tenant).await.len(), 90);
    assert!(log.retain(now_ms + 3_600_000).await.unwrap() > 2);
    assert_eq!(all(&log, &tenant).await, []);
    drop((behind, log));
    disk.crash(Unsynced::Gone);
    let log = Log::open_on(Arc::new(disk), settings, 1_000).await.unwrap();
    assert_eq!(log.append(&tenant, numbered(0, 1)).await.unwrap()[0].offset, 90);
    // A group that was behind goes on with what there is.
    assert_eq!(take(&mut *log.join(&tenant, "behind").await.unwrap(), 1).await[0].position.offset, 90);
    assert_eq!(log.damage(&tenant).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_lost_its_end_gives_no_number_twice() {
    let (disk, tenant) = (SimDisk::default(), new_tenant());
    let at = |partition, offset| Position { partition, offset };
    let lost = |log: Log| {
        let tenant = tenant.clone();
        async move { log.damage(&tenant).await.unwrap().into_iter().map(|one| one.lost).collect::<Vec<_>>() }
    };
    let log = on(&disk).await;
    log.append(&tenant, numbered(0, 3)).await.unwrap();
    log.reserve(&tenant, &[at(0, 3), at(1, 2)]).await.unwrap();
    assert_eq!(log.damage(&tenant).await.unwrap(), [], "nobody has read what is not there");
    log.reserve(&tenant, &[at(0, 10), at(1, 7)]).await.unwrap();
    assert!(log.bounds(&tenant).await.unwrap().iter().all(|bound| bound.next == 10));
    assert_eq!(lost(log).await, [Some(3..10)]);

    disk.crash(Unsynced::Gone);
    let log = on(&disk).await;
    let mut reader = log.read(&tenant, &[at(0, 0)]).await.unwrap();
    log.reserve(&tenant, &[at(0, 2)]).await.unwrap();
    assert_eq!(log.append(&tenant, numbered(3, 2)).await.unwrap()[0].offset, 10);
    let offsets = |events: Vec<Event>| events.iter().map(|event| event.position.offset).collect::<Vec<_>>();
    assert_eq!(offsets(all(&log, &tenant).await), [0, 1, 2, 10, 11]);
    assert!(reader.poll(100, Duration::ZERO).await.is_ok(), "a reader passes over what is not there");
    drop(reader);
    assert_eq!(lost(log).await, [Some(3..10)], "every start says so");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_go_when_there_are_too_many_bytes() {
    let (disk, tenant) = (SimDisk::default(), new_tenant());
    let settings = Settings { retention: Retention { age: None, bytes: Some(3_000) }, ..Settings::default() };
    let log = Log::open_on(Arc::new(disk.clone()), settings, 1_000).await.unwrap();
    for number in 0..100 {
        log.append(&tenant, numbered(number * 3, 3)).await.unwrap();
    }
    log.retain(0).await.unwrap();
    let events: usize = disk
        .lengths()
        .iter()
        .filter(|(name, _)| name.contains("/events/") && name.ends_with(".log"))
        .map(|one| one.1)
        .sum();
    assert!((1_000..=3_000).contains(&events), "{events} bytes");
    let found = payloads(&all(&log, &tenant).await);
    assert_eq!(found.last().unwrap(), "event 299");
    assert_eq!(log.bounds(&tenant).await.unwrap()[0].first, 300 - found.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_format_is_refused_and_untouched() {
    let folder = TempDir::new().unwrap();
    let tenant = new_tenant();
    drop(Log::open(folder.path(), Settings::default()).await.unwrap());
    let path = folder.path().join("format.json");
    let newer = std::fs::read_to_string(&path).unwrap().replace("\"format\": 1", "\"format\": 2");
    std::fs::write(&path, &newer).unwrap();
    let error = Log::open(folder.path(), Settings::default()).await.err().unwrap();
    assert!(error.kind == ErrorKind::TooNew && error.detail.contains("format 2"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), newer);
    // A segment alone may be newer too.
    std::fs::write(&path, newer.replace("\"format\": 2", "\"format\": 1")).unwrap();
    let log = Log::open(folder.path(), Settings::default()).await.unwrap();
    log.append(&tenant, numbered(0, 3)).await.unwrap();
    drop(log);
    let segment = folder.path().join(format!("{tenant}/events/{:020}.log", 0));
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[8] = 2;
    let crc = crc32fast::hash(&bytes[..20]).to_le_bytes();
    bytes[20..24].copy_from_slice(&crc);
    std::fs::write(&segment, bytes).unwrap();
    let error = Log::open(folder.path(), Settings::default()).await.err().unwrap();
    assert!(error.kind == ErrorKind::TooNew && error.detail.contains("newer one"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_has_one_process_and_keeps_its_partitions() {
    let folder = TempDir::new().unwrap();
    let log = Log::open(folder.path(), Settings { partitions: 3, ..Settings::default() }).await.unwrap();
    let error = Log::open(folder.path(), Settings::default()).await.err().unwrap();
    assert!(error.kind == ErrorKind::Unavailable && error.detail.contains("another process"), "{error}");
    drop(log);
    let log = Log::open(folder.path(), Settings::default()).await.unwrap();
    assert_eq!(log.bounds(&new_tenant()).await.unwrap().len(), 3);
    for partitions in [0, PARTITIONS_MAX + 1] {
        let settings = Settings { partitions, ..Settings::default() };
        assert_eq!(Log::open(folder.path(), settings).await.err().unwrap().kind, ErrorKind::Invalid);
    }
    std::fs::write(folder.path().join("format.json"), "{").unwrap();
    drop(log);
    assert_eq!(Log::open(folder.path(), Settings::default()).await.err().unwrap().kind, ErrorKind::Corrupt);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_that_is_given_up_loses_nothing() {
    let (log, _folder) = open().await.unwrap();
    let tenant = new_tenant();
    log.append(&tenant, numbered(0, 500)).await.unwrap();
    let mut consumer = log.join(&tenant, "g").await.unwrap();
    let mut found = Vec::new();
    while found.len() < 500 {
        // Polled once, which starts the read, and dropped.
        let poll = consumer.poll(7, Duration::from_secs(5));
        if let Some(some) = futures::future::FutureExt::now_or_never(poll) {
            found.extend(payloads(&some.unwrap()));
        }
        found.extend(payloads(&consumer.poll(7, Duration::from_secs(5)).await.unwrap()));
    }
    assert_eq!(found, (0..500).map(|number| format!("event {number}")).collect::<Vec<_>>());
}
