//! What could not be used: kept without a name, shown with one, sent through again.

use attune_api::ErrorCode;
use attune_api::rest::tracking::{RejectCode, ReplayRequest};
use attune_api::tracking::Tracking;
use attune_store::events::NewDeadLetter;
use attune_store::relational::Write;
use serde_json::{Value, json};

use crate::support::{World, call, tenant};

fn bad(user: &str) -> Value {
    json!({"type": "Click", "user_id": user, "item_id": "i", "event_id": "e"})
}

#[tokio::test]
async fn a_letter_names_nobody_on_disk_and_somebody_when_it_is_read() {
    let world = World::new().await;
    world.track(vec![bad("ann-of-green-gables"), json!(["not", "an", "event"])]).await;
    let page = world.service.dead_letters(&call(), None, 1).await.unwrap();
    assert_eq!(page.dead_letters[0].event, bad("ann-of-green-gables"));
    assert!(page.dead_letters[0].reason.contains("`type` is `Click`"));
    let next = world.service.dead_letters(&call(), page.next_cursor.as_deref(), 10).await.unwrap();
    assert_eq!((next.dead_letters[0].event.clone(), next.next_cursor), (json!(["not", "an", "event"]), None));
    let nonsense = world.service.dead_letters(&call(), Some("x y"), 10).await.unwrap_err();
    assert_eq!((nonsense.code, nonsense.fields[0].pointer.as_str()), (ErrorCode::Invalid, "/cursor"));
    for limit in [0, 1_001] {
        let refused = world.service.dead_letters(&call(), None, limit).await.unwrap_err();
        assert_eq!((refused.code, refused.fields[0].pointer.as_str()), (ErrorCode::Invalid, "/limit"));
    }

    for file in files_below(&world.folder.path().join("events")) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(!bytes.windows(9).any(|part| part == b"ann-of-gr"), "{} names a person", file.display());
    }
    let forget = Write::Forget { user: "ann-of-green-gables".to_owned() };
    world.stores.relational.commit(&tenant(), vec![forget]).await.unwrap();
    let page = world.service.dead_letters(&call(), None, 1).await.unwrap();
    assert_eq!(page.dead_letters[0].event, json!({"type": "Click", "item_id": "i", "event_id": "e"}));
    let ids = vec![page.dead_letters[0].id.clone()];
    let replayed = world.service.replay(&call(), ReplayRequest { ids }).await.unwrap();
    assert!(replayed.rejected[0].detail.contains("forgotten"), "{replayed:?}");
}

#[tokio::test]
async fn letters_are_sent_through_again() {
    let mut world = World::new().await;
    let event = |item: &str| json!({"type": "click", "user_id": "ann", "item_id": item, "event_id": "e"});
    // A conflict while the first one is remembered; to a process that remembers nothing it is an event like any other.
    world.track(vec![event("a"), event("b"), bad("ann")]).await;
    world.restart();
    // What a consumer could not use is a record of the log.
    let record = json!({"kind": "event", "event_id": "r", "type": "view"}).to_string();
    let letter = NewDeadLetter {
        subject: "s".to_owned(),
        payload: record.into(),
        reason: "poison".to_owned(),
        origin: Some(attune_store::events::Position { partition: 0, offset: 7 }),
    };
    world.stores.events.bury(&tenant(), vec![letter]).await.unwrap();

    let letters = world.service.dead_letters(&call(), None, 10).await.unwrap().dead_letters;
    let mut ids: Vec<String> = letters.iter().map(|letter| letter.id.clone()).collect();
    ids.push("nothing".to_owned());
    let replayed = world.service.replay(&call(), ReplayRequest { ids }).await.unwrap();
    assert_eq!((replayed.replayed, replayed.unknown), (2, vec!["nothing".to_owned()]));
    let [rejected] = &replayed.rejected[..] else { panic!("{:?}", replayed.rejected) };
    assert_eq!(rejected.code, RejectCode::Invalid);
    let left = world.service.dead_letters(&call(), None, 10).await.unwrap().dead_letters;
    assert_eq!(left.iter().map(|letter| &letter.id).collect::<Vec<_>>(), [&rejected.id]);
    let ids: Vec<String> = world.events().await.into_iter().map(|event| event.event_id).collect();
    assert_eq!(ids, ["e", "r", "e"]);
    let refused = world.service.replay(&call(), ReplayRequest { ids: vec![] }).await.unwrap_err();
    assert_eq!(refused.fields[0].pointer, "/ids");
}

fn files_below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
