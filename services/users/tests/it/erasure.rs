//! Somebody is forgotten: in every store, once, whatever happens on the way.

use std::path::{Path, PathBuf};
use std::time::Duration;

use attune_api::ErrorCode;
use attune_api::content::Condition;
use attune_api::log::{Event, Record, recent_list};
use attune_api::rest::users::{JobStatus, JobView};
use attune_api::users::Users;
use attune_store::events::{NewEvent, Position};
use attune_store::guard::Fault;
use attune_store::relational::{PersonId, Write};
use attune_store::{ErrorKind, PageRequest};
use attune_users::Workers;
use serde_json::json;

use crate::support::{World, call, tenant};

const NAME: &str = "ann-of-green-gables";
const DEVICE: &str = "the-phone-of-ann";

/// Somebody with a profile, a joined device, events under both, a recent list and a page of a diary.
async fn somebody(world: &World) -> Vec<String> {
    let body = serde_json::from_value(json!({"attributes": {"town": "Avonlea"}})).unwrap();
    world.service.put(&call(), NAME, body, Condition::None).await.unwrap();
    let rows = &world.stores.relational;
    let ids = [PersonId::User(NAME.to_owned()), PersonId::Anonymous(DEVICE.to_owned())];
    let people = rows.resolve(&tenant(), &ids).await.unwrap();
    let join = Write::Join { anonymous: DEVICE.to_owned(), user: NAME.to_owned() };
    rows.commit(&tenant(), vec![join]).await.unwrap();
    let subjects: Vec<String> = people.iter().map(|person| person.subject.to_string()).collect();
    for subject in &subjects {
        act(world, subject, 3).await;
        let list = recent_list(subject);
        world.stores.cache.push(&tenant(), &list, &["x".into()], 10, Duration::from_secs(60)).await.unwrap();
    }
    world.diary.pages.lock().unwrap().push(NAME.to_owned());
    subjects
}

async fn act(world: &World, subject: &str, events: usize) {
    let record = |n: usize| Record::Event(Event { event_id: n.to_string(), r#type: "view".into(), ..Event::default() });
    let event = |n| NewEvent { subject: subject.to_owned(), payload: serde_json::to_vec(&record(n)).unwrap().into() };
    world.stores.events.append(&tenant(), (0..events).map(event).collect()).await.unwrap();
}

fn deleted(job: &JobView) -> Vec<(String, u64)> {
    let lines = job.report["stores"].as_array().unwrap();
    lines.iter().map(|line| (line["store"].as_str().unwrap().to_owned(), line["deleted"].as_u64().unwrap())).collect()
}

fn expected(counts: [u64; 7]) -> Vec<(String, u64)> {
    let stores = ["cache", "documents", "diary", "events", "search", "objects", "relational"];
    stores.into_iter().map(str::to_owned).zip(counts).collect()
}

async fn tombstones(world: &World) -> Vec<String> {
    let from: Vec<Position> = (0..8).map(|partition| Position { partition, offset: 0 }).collect();
    let mut reader = world.stores.events.read(&tenant(), &from).await.unwrap();
    let events = reader.poll(10_000, Duration::ZERO).await.unwrap();
    let is_tombstone = |payload: &[u8]| serde_json::from_slice::<Record>(payload).unwrap() == Record::Tombstone;
    events.into_iter().filter(|event| is_tombstone(&event.payload)).map(|event| event.subject).collect()
}

/// Whether any file below a folder holds one of the words.
fn found_on_disk(folder: &Path, words: &[&str]) -> Option<PathBuf> {
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for path in std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                waiting.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let holds = |word: &&str| bytes.windows(word.len()).any(|part| part == word.as_bytes());
            if words.iter().any(holds) {
                return Some(path);
            }
        }
    }
    None
}

#[tokio::test]
async fn all_that_is_kept_is_exported() {
    let world = World::new().await;
    somebody(&world).await;
    let export = world.service.export(&call(), NAME, None).await.unwrap();
    assert_eq!((export.anonymous_ids, export.others["diary"].clone()), (vec![DEVICE.to_owned()], json!(1)));
    assert_eq!(export.profile.unwrap().attributes["town"], "Avonlea");
    assert_eq!((export.events.len(), export.next_cursor), (6, None));
    assert_eq!(world.service.export(&call(), "nobody", None).await.unwrap_err().code, ErrorCode::Absent);
    assert_eq!(world.service.export(&call(), NAME, Some("x")).await.unwrap_err().code, ErrorCode::Invalid);
}

#[tokio::test]
async fn a_long_history_is_exported_in_pages() {
    let world = World::new().await;
    let subjects = somebody(&world).await;
    for _ in 0..3 {
        act(&world, &subjects[0], 9_000).await;
    }
    let (mut sizes, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = world.service.export(&call(), NAME, cursor.as_deref()).await.unwrap();
        assert_eq!(page.profile.is_some(), cursor.is_none());
        sizes.push(page.events.len());
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [10_000, 10_000, 7_006]);
}

#[tokio::test]
async fn somebody_is_forgotten_in_every_store() {
    let world = World::new().await;
    let mut subjects = somebody(&world).await;
    assert_eq!(world.service.erase(&call(), "nobody").await.unwrap_err().code, ErrorCode::Absent);
    let entered = world.service.erase(&call(), NAME).await.unwrap();
    assert_eq!(entered.status, JobStatus::Queued);
    let workers = Workers::start(&world.service);
    let job = world.ended(&entered.id).await;
    workers.stop().await;

    assert_eq!((job.status, deleted(&job)), (JobStatus::Done, expected([2, 1, 1, 0, 0, 0, 2])), "{job:?}");
    let events = &job.report["stores"][3]["note"];
    assert!(events.as_str().unwrap().contains("8 records stay"), "six events and two tombstones: {events}");
    let mut buried = tombstones(&world).await;
    subjects.sort();
    buried.sort();
    assert_eq!(buried, subjects);
    for subject in &subjects {
        assert!(world.stores.cache.recent(&tenant(), &recent_list(subject), 10).await.unwrap().is_empty());
        assert!(world.stores.relational.person_of(&tenant(), subject.parse().unwrap()).await.unwrap().is_none());
    }
    assert!(world.diary.pages.lock().unwrap().is_empty());
    assert_eq!(world.service.export(&call(), NAME, None).await.unwrap_err().code, ErrorCode::Absent);
    let audit = world.stores.relational.audit(&tenant(), PageRequest::first(10)).await.unwrap().rows;
    assert_eq!(audit[0].entry.target, format!("job {}", entered.id));

    // Every file of every store, once the databases have written what they hold back.
    let folder = world.folder;
    drop((world.service, world.stores));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let events = folder.path().join("events");
    assert_eq!(found_on_disk(&events, &[NAME, DEVICE]), None);
}

#[tokio::test]
async fn a_worker_that_ends_half_way_is_followed_by_another() {
    let world = World::new().await;
    somebody(&world).await;
    let entered = world.service.erase(&call(), NAME).await.unwrap();
    // The first worker claims, appends tombstones, and finds the rows away.
    let rows = &world.stores.relational;
    let job = rows.claim("erase", "dead worker", Duration::from_millis(1)).await.unwrap().unwrap();
    assert_eq!(job.id, entered.id);
    tokio::time::sleep(Duration::from_millis(5)).await;
    world.row_faults.plan(Some("claim"), Fault::Fail(ErrorKind::Unavailable), 1);
    let workers = Workers::start(&world.service);
    let done = world.ended(&entered.id).await;
    assert_eq!((done.status, deleted(&done)), (JobStatus::Done, expected([2, 1, 1, 0, 0, 0, 2])));

    // Whoever comes back is somebody new, and forgetting him again finds only what is new.
    let body = serde_json::from_value(json!({})).unwrap();
    world.service.put(&call(), NAME, body, Condition::None).await.unwrap();
    let again = world.service.erase(&call(), NAME).await.unwrap();
    let again = world.ended(&again.id).await;
    assert_eq!(deleted(&again), expected([1, 1, 0, 0, 0, 0, 1]));
    workers.stop().await;
}

#[tokio::test]
async fn two_jobs_about_one_person_both_end_well() {
    let world = World::new().await;
    somebody(&world).await;
    let jobs = [world.service.erase(&call(), NAME).await.unwrap(), world.service.erase(&call(), NAME).await.unwrap()];
    let workers = Workers::start(&world.service);
    let first = world.ended(&jobs[0].id).await;
    let second = world.ended(&jobs[1].id).await;
    workers.stop().await;
    assert_eq!((first.status, second.status), (JobStatus::Done, JobStatus::Done));
    let notes = [&first.report["note"], &second.report["note"]];
    assert!(notes.iter().any(|note| note.as_str().is_some_and(|note| note.contains("nothing was left"))), "{notes:?}");
    let job = world.service.job(&call(), "nothing").await.unwrap_err();
    assert_eq!(job.code, ErrorCode::Absent);
}
