//! What is taken, what is not, and what is known of it afterwards.

use attune_api::ErrorCode;
use attune_api::log::{Recent, Record};
use attune_api::moment::now_ms;
use attune_api::rest::tracking::{IdentifyRequest, RejectCode, Tracked};
use attune_api::tracking::{EVENT_BYTES_MAX, EVENTS_MAX, Tracking};
use attune_store::guard::Fault;
use attune_store::relational::{PersonId, Write};
use attune_store::{ErrorKind, Expect};
use serde_json::{Value, json};

use crate::support::{World, call, given, tenant};

fn click(user: &str, item: usize, id: &str) -> Value {
    json!({"type": "click", "user_id": user, "item_id": format!("i-{item}"), "event_id": id})
}

fn accepted(tracked: &Tracked) -> (u32, u32, usize) {
    (tracked.accepted, tracked.duplicates, tracked.rejected.len())
}

#[tokio::test]
async fn half_of_a_batch_is_bad_and_the_other_half_is_kept() {
    let world = World::new().await;
    let events = (0..100).map(|n| match n % 2 {
        0 => click("ann", n, &format!("e-{n}")),
        _ => json!({"type": "click", "user_id": "ann", "itme_id": "i", "event_id": format!("e-{n}")}),
    });
    let tracked = world.track(events.collect()).await;
    assert_eq!(accepted(&tracked), (50, 0, 50));
    let indexes: Vec<u32> = tracked.rejected.iter().map(|one| one.index).collect();
    assert_eq!(indexes, (0..100).filter(|n| n % 2 == 1).collect::<Vec<u32>>());
    assert!(tracked.rejected.iter().all(|one| one.code == RejectCode::Invalid && one.detail.contains("`itme_id`")));
    assert_eq!(world.events().await.len(), 50);
    assert_eq!(world.service.dead_letters(&call(), None, 1_000).await.unwrap().dead_letters.len(), 50);
}

#[tokio::test]
async fn the_same_event_is_kept_once_and_another_under_its_id_is_a_conflict() {
    let world = World::new().await;
    assert_eq!(accepted(&world.track(vec![click("ann", 1, "e"), click("ann", 1, "e")]).await), (1, 1, 0));
    // Another person's event of that id is another event.
    let again = world.track(vec![click("ann", 1, "e"), click("bob", 1, "e"), click("ann", 2, "e")]).await;
    assert_eq!(accepted(&again), (1, 1, 1));
    assert_eq!((again.rejected[0].index, again.rejected[0].code), (2, RejectCode::Conflict));
    assert_eq!(world.events().await.len(), 2);
}

#[tokio::test]
async fn an_event_without_an_id_is_known_by_what_it_says() {
    let world = World::new().await;
    let event = |user: &str, time: i64| json!({"type": "view", "user_id": user, "item_id": "i", "timestamp": time});
    // Two equal rows of one call are two events, and the same call once more adds none.
    let batch = vec![event("ann", 5), event("ann", 5), event("ann", 6), event("bob", 5)];
    assert_eq!(accepted(&world.track(batch.clone()).await), (4, 0, 0));
    assert_eq!(accepted(&world.track(batch).await), (0, 4, 0));
    let mut ids: Vec<String> = world.events().await.into_iter().map(|event| event.event_id).collect();
    ids.sort();
    ids.dedup();
    assert!(ids.len() == 4 && ids.iter().all(|id| id.len() == 32), "{ids:?}");
}

#[tokio::test]
async fn limits_refuse_the_call_or_the_event() {
    let world = World::new().await;
    let refuse = async |events: Vec<Value>| world.service.track(&call(), given(events)).await.unwrap_err().code;
    assert_eq!(refuse(vec![]).await, ErrorCode::Empty);
    assert_eq!(refuse((0..=EVENTS_MAX).map(|n| click("ann", n, "e")).collect()).await, ErrorCode::Invalid);
    let sized = |bytes: usize| {
        let empty = json!({"event_id": "e", "type": "a", "user_id": "ann", "properties": {"x": ""}});
        let mut event = empty.clone();
        event["properties"]["x"] = "x".repeat(bytes - empty.to_string().len()).into();
        assert_eq!(event.to_string().len(), bytes);
        event
    };
    assert_eq!(refuse(vec![sized(EVENT_BYTES_MAX); 33]).await, ErrorCode::BodyTooLarge);
    assert!(world.events().await.is_empty(), "a call that is refused leaves nothing");
    let tracked = world.track(vec![sized(EVENT_BYTES_MAX + 1), sized(EVENT_BYTES_MAX)]).await;
    assert_eq!((accepted(&tracked), tracked.rejected[0].code), ((1, 0, 1), RejectCode::TooLarge));
    let ahead = now_ms() / 1_000 + 3_600;
    let times = vec![
        json!({"type": "a", "user_id": "ann", "timestamp": ahead}),
        json!({"type": "a", "user_id": "ann", "timestamp": "1969-12-31T23:59:59Z"}),
        json!({"type": "a", "user_id": "ann", "timestamp": "1970-01-01T00:00:00Z"}),
    ];
    let codes: Vec<RejectCode> = world.track(times).await.rejected.into_iter().map(|one| one.code).collect();
    assert_eq!(codes, [RejectCode::Future, RejectCode::TooOld]);
}

#[tokio::test]
async fn a_persons_recent_events_are_there_before_the_answer() {
    let world = World::new().await;
    let batch: Vec<Value> = (0..150).map(|n| click(["ann", "bob"][n % 2], n, &format!("e-{n}"))).collect();
    world.track(batch).await;
    world.track(vec![click("ann", 999, "last")]).await;
    let recent = world.recent("ann").await;
    let ids: Vec<&str> = recent.iter().map(|one| one.event.event_id.as_str()).take(3).collect();
    assert_eq!(ids, ["last", "e-148", "e-146"]);
    assert_eq!(recent.len(), 76);
    let log = world.log().await;
    for Recent { partition, offset, event } in recent {
        let at = |position: attune_store::events::Position| (position.partition, position.offset);
        let (_, _, record) = log.iter().find(|(_, position, _)| at(*position) == (partition, offset)).unwrap();
        assert_eq!(*record, Record::Event(event));
    }
}

#[tokio::test]
async fn bulk_work_leaves_recent_lists_alone() {
    let world = World::new().await;
    let bulk = attune_api::Call { is_bulk: true, ..call() };
    world.service.track(&bulk, given(vec![click("ann", 1, "e")])).await.unwrap();
    assert_eq!((world.events().await.len(), world.recent("ann").await.len()), (1, 0));
}

#[tokio::test]
async fn a_cache_that_is_away_costs_nobody_an_answer() {
    let world = World::new().await;
    world.cache_faults.from_now_on(Fault::Fail(ErrorKind::Unavailable));
    assert_eq!(accepted(&world.track(vec![click("ann", 1, "e")]).await), (1, 0, 0));
    world.cache_faults.clear();
    assert_eq!((world.events().await.len(), world.recent("ann").await.len()), (1, 0));
}

#[tokio::test]
async fn what_the_log_did_not_keep_is_not_acknowledged_and_can_be_sent_again() {
    let world = World::new().await;
    let send = async || world.service.track(&call(), given(vec![click("ann", 1, "e"), json!(1)])).await;
    for (kind, code) in [(ErrorKind::Full, ErrorCode::StorageFull), (ErrorKind::Unavailable, ErrorCode::Unavailable)] {
        world.log_faults.plan(Some("append"), Fault::Fail(kind), 1);
        assert_eq!(send().await.unwrap_err().code, code);
    }
    assert!(world.recent("ann").await.is_empty());
    // Letters that cannot be kept cost nothing of the answer.
    world.log_faults.plan(Some("bury"), Fault::Fail(ErrorKind::Full), 1);
    assert_eq!(accepted(&send().await.unwrap()), (1, 0, 1));
    // An answer that was lost on its way: the event is there, and once more is no harm to whoever counts by id.
    world.log_faults.plan(Some("append"), Fault::AnswerLost, 1);
    assert!(world.service.track(&call(), given(vec![click("ann", 2, "f")])).await.is_err());
    assert_eq!(accepted(&world.track(vec![click("ann", 2, "f")]).await), (1, 0, 0));
    let ids: Vec<String> = world.events().await.into_iter().map(|event| event.event_id).collect();
    assert_eq!(ids, ["e", "f", "f"]);
}

#[tokio::test]
async fn nothing_is_kept_of_who_refuses_to_be_profiled() {
    let mut world = World::new().await;
    let ann = PersonId::User("ann".to_owned());
    world.stores.relational.resolve(&tenant(), &[ann]).await.unwrap();
    let refuse = |consent| Write::SetConsent { user: "ann".to_owned(), consent, expect: Expect::Any };
    world.stores.relational.commit(&tenant(), vec![refuse(Some(false))]).await.unwrap();
    let batch = || vec![click("ann", 1, "e"), json!({"type": "", "user_id": "ann"}), click("bob", 1, "e")];
    assert_eq!(accepted(&world.track(batch()).await), (2, 0, 1));
    assert_eq!(world.events().await.len(), 1);
    assert!(world.recent("ann").await.is_empty());
    assert!(world.service.dead_letters(&call(), None, 10).await.unwrap().dead_letters.is_empty());
    world.stores.relational.commit(&tenant(), vec![refuse(Some(true))]).await.unwrap();
    world.restart();
    assert_eq!(accepted(&world.track(batch()).await), (2, 0, 1));
    assert_eq!(world.events().await.len(), 3, "bob's is sent twice, to a process that remembers nothing");
}

#[tokio::test]
async fn an_anonymous_id_becomes_a_user() {
    let world = World::new().await;
    let event = |id: &str| json!({"type": "view", "anonymous_id": "device", "item_id": "i", "event_id": id});
    world.track(vec![event("before")]).await;
    let identify = |user: &str| IdentifyRequest { anonymous_id: "device".to_owned(), user_id: user.to_owned() };
    assert!(world.service.identify(&call(), identify("ann")).await.unwrap().is_new);
    assert!(!world.service.identify(&call(), identify("ann")).await.unwrap().is_new);
    assert_eq!(world.service.identify(&call(), identify("")).await.unwrap_err().fields[0].pointer, "/user_id");
    world.track(vec![event("after")]).await;
    let device = world.subject(PersonId::Anonymous("device".to_owned())).await;
    let ann = world.subject(PersonId::User("ann".to_owned())).await;
    let log = world.log().await;
    let subjects: Vec<&str> = log.iter().map(|(subject, ..)| subject.as_str()).collect();
    assert_eq!(subjects, [&device, &ann, &ann, &ann]);
    assert_eq!(log[1].2, Record::Join { from: device });
    assert_eq!(world.recent("ann").await.len(), 1);
}
