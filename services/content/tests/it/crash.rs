//! A process that ends between any two steps leaves stores that the next one brings together again.
//!
//! A step is a call to a store. The stores answer so many of them and then none any more, which is what the end of a
//! process looks like to them; at the step itself the store either does nothing, or does what was asked and nobody learns
//! of it. Then another service takes over the same stores.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use attune_api::catalogue::Catalogue;
use attune_api::content::{Condition, Content};
use attune_api::log::Record;
use attune_api::rest::content::{ReviewBody, ReviewPatch};
use attune_inference::Inference;
use attune_store::documents::Collection;
use attune_store::events::Position;
use attune_store::guard::{Fault, Faults};
use attune_store::{ErrorKind, PageRequest};
use serde_json::json;

use crate::support::{Fixture, body, call, ids, stores, tenant, tiny};

const VECTORS: Collection = Collection { name: "item_vectors", lookups: &[] };

/// What was acknowledged before the end: the title of each item, or that it is gone.
#[derive(Debug, Default)]
struct Acknowledged {
    titles: BTreeMap<String, Option<String>>,
    /// Everything was written.
    is_complete: bool,
    /// And everything that follows was done.
    is_settled: bool,
}

/// Everything that writes, until something fails.
async fn life(fixture: &Fixture) -> Acknowledged {
    let mut done = Acknowledged::default();
    let _end = steps(fixture, &mut done).await;
    done
}

async fn steps(fixture: &Fixture, done: &mut Acknowledged) -> Result<(), attune_api::ApiError> {
    let service = &fixture.service;
    let title = |done: &mut Acknowledged, id: &str, title: &str| {
        done.titles.insert(id.to_owned(), Some(title.to_owned()));
    };
    fixture.try_put("a", json!({"title": "good film", "attributes": {"year": 1}})).await?;
    title(done, "a", "good film");
    let more = ["b", "c"].map(|id| (id.to_owned(), body(json!({"title": "bad film", "attributes": {"mood": "sad"}}))));
    for saved in service.put_many(&call(), more.to_vec()).await? {
        title(done, &saved?.item.id, "bad film");
    }
    let say = |text: &str| ReviewBody { text: text.to_owned(), ..ReviewBody::default() };
    let first = service.add_review(&call(), "a", say("very good")).await?;
    service.add_review(&call(), "a", say("very bad")).await?;
    // From here until it is answered the title is one or the other.
    done.titles.remove("a");
    service.patch(&call(), "a", json!({"title": "happy film"}), Condition::None).await?;
    title(done, "a", "happy film");
    done.titles.remove("b");
    service.delete(&call(), "b", Condition::None).await?;
    done.titles.insert("b".to_owned(), None);
    service.moderate(&call(), "a", &first.id, ReviewPatch { hidden: Some(true), moderated: None }).await?;
    done.is_complete = true;
    Ok(())
}

/// Ends a process after `steps` steps, and says what it had acknowledged.
async fn ended_after(folder: &Path, engine: &Inference, steps: u32, fault: Fault) -> Acknowledged {
    let faults = Arc::new(Faults::default());
    faults.plan(None, Fault::Late(Duration::ZERO), steps);
    faults.plan(None, fault, 1);
    faults.from_now_on(Fault::Fail(ErrorKind::Unavailable));
    let fixture = Fixture::over(stores(folder, &faults).await, engine.clone());
    let mut done = life(&fixture).await;
    // The workers may still be at it: let them come to the step, or to the end.
    while done.is_complete && !done.is_settled {
        let Ok(is_settled) = fixture.try_settled().await else { break };
        done.is_settled = is_settled;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    done
}

/// Holds documents, search index, embeddings, memory and log against each other.
async fn agree(fixture: &Fixture, done: &Acknowledged, at: &str) {
    let kept = fixture.service.scan(&call(), None, 100).await.unwrap().entries;
    let titles: BTreeMap<&str, &str> =
        kept.iter().map(|entry| (entry.item_id.as_str(), entry.title.as_str())).collect();
    for (id, title) in &done.titles {
        assert_eq!(titles.get(id.as_str()).copied(), title.as_deref(), "{at}: {id} was acknowledged");
    }
    let everything = fixture.search(json!({"k": 100})).await;
    let sorted = |ids: Vec<String>| ids.into_iter().collect::<BTreeSet<_>>();
    let of_documents: BTreeSet<String> = titles.keys().map(|id| (*id).to_owned()).collect();
    assert_eq!(sorted(ids(&everything)), of_documents, "{at}: search and documents");
    assert_eq!(everything.matches as usize, of_documents.len(), "{at}: the index has nothing besides");
    for entry in &kept {
        let found = fixture.found(json!({"q": entry.title, "k": 100})).await;
        assert!(found.contains(&entry.item_id), "{at}: {} by {:?}", entry.item_id, entry.title);
        assert!(entry.vector.is_some(), "{at}: {} has no embedding", entry.item_id);
        let count = fixture.service.item(&call(), &entry.item_id).await.unwrap().review_count;
        let by_count = fixture.found(json!({"filter": format!("review_count == {count}"), "k": 100})).await;
        assert!(by_count.contains(&entry.item_id), "{at}: the count of {} in the index", entry.item_id);
        let shown = fixture.service.reviews(&call(), &entry.item_id, None, 100, false).await.unwrap().reviews;
        assert_eq!(count as usize, shown.len(), "{at}: the count of {}", entry.item_id);
    }
    let by_meaning = fixture.found(json!({"q": "film", "mode": "semantic", "k": 100})).await;
    assert_eq!(sorted(by_meaning), of_documents, "{at}: memory and documents");
    let vectors = fixture.stores.documents.scan(&tenant(), VECTORS, PageRequest::first(100)).await.unwrap();
    assert_eq!(sorted(vectors.rows.into_iter().map(|row| row.id).collect()), of_documents, "{at}: embeddings");
    let told = told(fixture).await;
    assert!(of_documents.is_subset(&told), "{at}: the log tells of {told:?}");
}

/// The items that the log tells of.
async fn told(fixture: &Fixture) -> BTreeSet<String> {
    let mut reader = fixture.stores.events.read(&tenant(), &[Position { partition: 0, offset: 0 }]).await.unwrap();
    let mut told = BTreeSet::new();
    loop {
        let events = reader.poll(1_000, Duration::from_millis(1)).await.unwrap();
        if events.is_empty() {
            return told;
        }
        for event in events {
            let Record::Item { item_id } = serde_json::from_slice(&event.payload).unwrap() else { panic!("{event:?}") };
            told.insert(item_id);
        }
    }
}

/// Ends a process at every second step, from `start`, until one comes to its end before the step.
async fn every_second_step(fault: Fault, start: u32) {
    let engine = tiny(1);
    for steps in (start..).step_by(2) {
        let at = format!("{fault:?} at step {steps}");
        let folder = tempfile::tempdir().unwrap();
        let done = ended_after(folder.path(), &engine, steps, fault).await;
        let fixture = Fixture::over(stores(folder.path(), &Arc::default()).await, engine.clone());
        fixture.settled().await;
        agree(&fixture, &done, &at).await;
        if done.is_settled {
            return;
        }
    }
}

#[tokio::test]
async fn nothing_done_at_the_step() {
    every_second_step(Fault::Fail(ErrorKind::Unavailable), 0).await;
}

#[tokio::test]
async fn nothing_done_at_the_step_between() {
    every_second_step(Fault::Fail(ErrorKind::Unavailable), 1).await;
}

#[tokio::test]
async fn done_and_not_learnt_of() {
    every_second_step(Fault::AnswerLost, 0).await;
}

#[tokio::test]
async fn done_and_not_learnt_of_between() {
    every_second_step(Fault::AnswerLost, 1).await;
}

/// Two services over the same stores, as two replicas: what one writes the other finds.
#[tokio::test]
async fn replicas_come_together() {
    let folder = tempfile::tempdir().unwrap();
    let shared = stores(folder.path(), &Arc::default()).await;
    let (one, two) = (Fixture::over(shared.clone(), tiny(1)), Fixture::over(shared, tiny(1)));
    for number in 0..20 {
        let (fixture, title) = (if number % 2 == 0 { &one } else { &two }, format!("film {number}"));
        fixture
            .put(&format!("i{}", number % 4), json!({"title": title, "attributes": {format!("a{number}"): 1}}))
            .await;
    }
    one.settled().await;
    let done = Acknowledged {
        titles: (17..20).map(|number| (format!("i{}", number % 4), Some(format!("film {number}")))).collect(),
        ..Acknowledged::default()
    };
    assert_eq!(one.found(json!({"filter": "a19 == 1"})).await, ["i3"]);
    let kept = two.found(json!({"k": 100})).await;
    assert_eq!(kept.len(), 4);
    one.service.delete(&call(), "i0", Condition::None).await.unwrap();
    one.settled().await;
    // Both have the same in memory, whoever of them did the work.
    for fixture in [&one, &two] {
        let wanted: BTreeSet<String> = ["i1", "i2", "i3"].map(str::to_owned).into();
        loop {
            let found = fixture
                .search(json!({"q": "film", "mode": "semantic", "filter": "a18 == 1 or a19 == 1 or a17 == 1"}))
                .await;
            if ids(&found).into_iter().collect::<BTreeSet<_>>() == wanted {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    for (id, title) in &done.titles {
        assert_eq!(two.service.item(&call(), id).await.unwrap().body.title, *title.as_ref().unwrap());
    }
}
