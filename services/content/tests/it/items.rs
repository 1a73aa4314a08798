//! Items: kept as they were written, under the conditions that were given.

use std::sync::Arc;
use std::time::Duration;

use attune_api::ErrorCode;
use attune_api::catalogue::{AttributeKind, Catalogue};
use attune_api::content::{BATCH_ITEMS_MAX, Condition, Content};
use attune_api::rest::content::{AssetRequest, ItemSchema, ReviewBody};
use attune_content::{ContentService, Inventory, Models, Options};
use attune_store::ErrorKind;
use attune_store::guard::{Fault, Faults};
use serde_json::json;

use crate::support::{Fixture, body, call, call_of, stores, tenant, tiny};

fn noir() -> serde_json::Value {
    json!({
        "title": "The Third Man", "text": "A writer comes to Vienna.",
        "attributes": {"genres": ["noir", "thriller"], "year": 1949, "released": "1949-09-01T00:00:00+01:00"},
        "published_at": 0
    })
}

#[tokio::test]
async fn an_item_comes_back_as_it_was_written() {
    let fixture = Fixture::new().await;
    let saved = fixture.put("the third/man?", noir()).await;
    assert!(saved.is_new);
    let item = fixture.service.item(&call(), "the third/man?").await.unwrap();
    assert_eq!(item, saved.item);
    assert_eq!(item.body.attributes["released"], json!("1949-08-31T23:00:00Z"));
    assert_eq!(item.body.attributes["year"], json!(1949));
    assert_eq!(item.body.published_at, Some(json!("1970-01-01T00:00:00Z")));
    assert_eq!((item.review_count, item.sentiment), (0, None));
    let again = fixture.put("the third/man?", noir()).await;
    assert!(!again.is_new && again.item.version > item.version);
    let other = fixture.service.item(&call_of("other"), "the third/man?").await.unwrap_err();
    assert_eq!(other.code, ErrorCode::Absent);
}

#[tokio::test]
async fn writes_depend_on_versions() {
    let fixture = Fixture::new().await;
    let service = &fixture.service;
    let caller = call();
    let put = |condition| service.put(&caller, "a", body(json!({"title": "t"})), condition);
    let code = |error: attune_api::ApiError| error.code;
    assert_eq!(put(Condition::Present).await.map_err(code).unwrap_err(), ErrorCode::PreconditionFailed);
    let first = put(Condition::Absent).await.unwrap().item.version;
    assert_eq!(put(Condition::Absent).await.map_err(code).unwrap_err(), ErrorCode::PreconditionFailed);
    let second = put(Condition::Version(first)).await.unwrap().item.version;
    assert_eq!(put(Condition::Version(first)).await.map_err(code).unwrap_err(), ErrorCode::PreconditionFailed);
    let patch = json!({"text": "x"});
    let stale = service.patch(&call(), "a", patch.clone(), Condition::Version(first)).await;
    assert_eq!(stale.map_err(code).unwrap_err(), ErrorCode::PreconditionFailed);
    let third = service.patch(&call(), "a", patch, Condition::Version(second)).await.unwrap().version;
    assert_eq!(
        service.delete(&call(), "a", Condition::Version(second)).await.map_err(code).unwrap_err(),
        ErrorCode::PreconditionFailed
    );
    service.delete(&call(), "a", Condition::Version(third)).await.unwrap();
    assert_eq!(service.delete(&call(), "a", Condition::None).await.map_err(code).unwrap_err(), ErrorCode::Absent);
    // Who has seen the one that was deleted has not seen the one that is made now.
    let made = put(Condition::Absent).await.unwrap().item.version;
    assert!(made > third);
}

#[tokio::test]
async fn a_patch_merges_and_says_where_it_does_not_fit() {
    let fixture = Fixture::new().await;
    fixture.put("a", noir()).await;
    let caller = call();
    let patch = |json| fixture.service.patch(&caller, "a", json, Condition::None);
    let patched = patch(json!({"attributes": {"genres": ["noir"], "year": null}, "hidden": true})).await.unwrap();
    assert_eq!(patched.body.attributes.keys().collect::<Vec<_>>(), ["genres", "released"]);
    assert!(patched.body.hidden && patched.body.text.is_some());
    for (bad, pointer) in [
        (json!({"attributes": {"year": "old"}}), "/attributes/year"),
        (json!({"title": null}), "/title"),
        (json!({"colour": "red"}), "/colour"),
        (json!({"hidden": "yes"}), "/hidden"),
        (json!([]), ""),
    ] {
        let error = patch(bad.clone()).await.unwrap_err();
        assert_eq!((error.code, error.fields[0].pointer.as_str()), (ErrorCode::Invalid, pointer), "{bad}");
    }
    let absent = fixture.service.patch(&call(), "b", json!({}), Condition::None).await.unwrap_err();
    assert_eq!(absent.code, ErrorCode::Absent);
}

#[tokio::test]
async fn a_batch_answers_each_item_by_itself() {
    let fixture = Fixture::new().await;
    let batch = [
        ("a", json!({"title": "one", "attributes": {"year": 1}})),
        ("b", json!({"title": "two", "attributes": {"year": "two"}})),
        ("", json!({"title": "three"})),
        ("c", json!({"title": "early"})),
        ("c", json!({"title": "late"})),
    ];
    let batch = batch.map(|(id, json)| (id.to_owned(), body(json))).to_vec();
    let answers = fixture.service.put_many(&call(), batch).await.unwrap();
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false, true, true]);
    assert_eq!(answers[1].as_ref().unwrap_err().fields[0].pointer, "/attributes/year");
    assert_eq!(answers[2].as_ref().unwrap_err().fields[0].pointer, "/id");
    assert_eq!(fixture.service.item(&call(), "c").await.unwrap().body.title, "late");
    let many = vec![("x".to_owned(), body(json!({"title": "t"}))); BATCH_ITEMS_MAX + 1];
    assert_eq!(fixture.service.put_many(&call(), many).await.unwrap_err().code, ErrorCode::Invalid);
}

#[tokio::test]
async fn kinds_are_decided_once() {
    let fixture = Fixture::new().await;
    let stated = |json| serde_json::from_value::<ItemSchema>(json!({ "attributes": json })).unwrap();
    let service = &fixture.service;
    service.extend_schema(&call(), stated(json!({"price": "number", "day": "time"}))).await.unwrap();
    fixture.put("a", json!({"title": "t", "attributes": {"price": 3, "day": "2026-01-01", "tags": ["x"]}})).await;
    let schema = Content::schema(service, &call()).await.unwrap();
    assert_eq!(schema, stated(json!({"price": "number", "day": "time", "tags": "keywords"})));
    let conflict = service.extend_schema(&call(), stated(json!({"tags": "keyword"}))).await.unwrap_err();
    assert_eq!((conflict.code, conflict.fields[0].pointer.as_str()), (ErrorCode::Conflict, "/attributes/tags"));
    let taken = service.extend_schema(&call(), stated(json!({"sentiment": "number"}))).await.unwrap_err();
    assert_eq!(taken.code, ErrorCode::Invalid);
    assert!(fixture.try_put("a", json!({"title": "t", "attributes": {"price": "3"}})).await.is_err());
    let seen = Catalogue::schema(service, &call()).await.unwrap();
    assert!(seen.contains(&("review_count".to_owned(), AttributeKind::Number)));
}

#[tokio::test]
async fn two_that_use_a_new_name_at_once_agree_on_its_kind() {
    let fixture = Fixture::new().await;
    let puts = (0..8).map(|number| {
        let value = if number % 2 == 0 { json!(number) } else { json!("text") };
        let (id, item) = (number.to_string(), json!({"title": "t", "attributes": {"x": value}}));
        let fixture = &fixture;
        async move { (number % 2, fixture.try_put(&id, item).await.is_ok()) }
    });
    let outcomes = futures::future::join_all(puts).await;
    let kept: std::collections::BTreeSet<u32> =
        outcomes.into_iter().filter(|(_, is_kept)| *is_kept).map(|(kind, _)| kind).collect();
    assert_eq!(kept.len(), 1, "one kind won");
}

#[tokio::test]
async fn the_catalogue_shows_items_with_vectors() {
    let fixture = Fixture::new().await;
    fixture.put("a", noir()).await;
    fixture.put("b", json!({"title": "a good film", "hidden": true})).await;
    fixture.settled().await;
    let service = &fixture.service;
    let ids = ["b", "x", "a"].map(str::to_owned);
    let entries = service.entries(&call(), &ids).await.unwrap();
    let [Some(b), None, Some(a)] = entries.as_slice() else { panic!("{entries:?}") };
    assert!(b.is_hidden && !a.is_hidden && a.title == "The Third Man");
    assert_eq!(a.attributes["published"], json!("1970-01-01T00:00:00Z"));
    assert_eq!(a.attributes["review_count"], json!(0));
    let vector = a.vector.as_ref().expect("it is computed");
    assert!((vector.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-4);
    let first = service.scan(&call(), None, 1).await.unwrap();
    let second = service.scan(&call(), first.next.as_deref(), 1).await.unwrap();
    assert_eq!((first.entries[0].item_id.as_str(), second.entries[0].item_id.as_str()), ("a", "b"));
    assert_eq!(second.next, None);
    // As it lies in the documents, it reads the same.
    let (rows, documents) = (&*fixture.stores.relational, fixture.stores.documents.clone());
    let lying = Inventory::open(rows, documents, tenant()).await.unwrap();
    assert_eq!(lying.entries(&call(), &ids).await.unwrap(), entries);
    assert_eq!(lying.scan(&call(), None, 1).await.unwrap(), first);
    assert_eq!(lying.scan(&call(), first.next.as_deref(), 9).await.unwrap(), second);
    let (ours, theirs) = (Catalogue::schema(&lying, &call()).await, Catalogue::schema(service, &call()).await);
    assert_eq!(ours.unwrap(), theirs.unwrap());
    assert!(service.scan(&call_of("other"), None, 10).await.unwrap().entries.is_empty());
}

#[tokio::test]
async fn another_model_computes_the_embeddings_again() {
    let fixture = Fixture::new().await;
    fixture.put("a", noir()).await;
    fixture.settled().await;
    let vector = |fixture: &Fixture| {
        let service = fixture.service.clone();
        async move { service.entries(&call(), &["a".to_owned()]).await.unwrap()[0].clone().unwrap().vector }
    };
    let before = vector(&fixture).await;
    let fixture = fixture.restarted(tiny(7)).await;
    assert_eq!(vector(&fixture).await, None, "one of another model is none");
    fixture.found(json!({"q": "film", "mode": "semantic"})).await;
    fixture.settled().await;
    let after = vector(&fixture).await;
    assert!(after.is_some() && after != before);
    assert_eq!(fixture.found(json!({"q": "film", "mode": "semantic"})).await, ["a"]);
}

#[tokio::test]
async fn a_patch_reads_its_document_once() {
    let (folder, faults) = (tempfile::tempdir().unwrap(), Arc::new(Faults::default()));
    let stores = stores(folder.path(), &faults).await;
    // Without workers, which read documents when they like.
    let service = ContentService::new(stores, tiny(1), &Models::default(), Options::default());
    service.put(&call(), "a", body(noir()), Condition::None).await.unwrap();
    faults.plan(Some("get"), Fault::Late(Duration::ZERO), 1);
    faults.plan(Some("get"), Fault::Fail(ErrorKind::Internal), 1);
    service.patch(&call(), "a", json!({"text": "x"}), Condition::None).await.unwrap();
    let second = service.item(&call(), "a").await.unwrap_err();
    assert_eq!(second.code, ErrorCode::Internal, "the second read is that of the test");
}

#[tokio::test]
async fn what_belongs_to_an_item_goes_with_it() {
    let fixture = Fixture::new().await;
    let service = &fixture.service;
    fixture.put("a", noir()).await;
    let review = ReviewBody { text: "very good".into(), ..ReviewBody::default() };
    service.add_review(&call(), "a", review).await.unwrap();
    let asset = AssetRequest { name: "poster.jpg".into(), good_for_s: None };
    let asset = service.add_asset(&call(), "a", asset).await.unwrap();
    assert!(asset.method == "PUT" && asset.url.contains("/v1/objects/"));
    let token = asset.url.rsplit('/').next().unwrap();
    let grant = fixture.stores.objects.grant(token).unwrap();
    fixture.stores.objects.put(&grant.tenant, &grant.key, "jpeg".into(), Default::default()).await.unwrap();
    let listed = service.assets(&call(), "a", None).await.unwrap().assets;
    assert_eq!((listed[0].name.as_str(), listed[0].bytes), ("poster.jpg", Some(4)));
    let prefix = grant.key.strip_suffix("poster.jpg").unwrap();
    for number in 0..100 {
        let key = format!("{prefix}still-{number:03}.jpg");
        fixture.stores.objects.put(&grant.tenant, &key, "jpeg".into(), Default::default()).await.unwrap();
    }
    let first = service.assets(&call(), "a", None).await.unwrap();
    let rest = service.assets(&call(), "a", first.next_cursor.as_deref()).await.unwrap();
    assert_eq!((first.assets.len(), rest.assets.len(), rest.next_cursor), (100, 1, None));
    fixture.put("b", noir()).await;
    let theirs = first.next_cursor.as_deref().unwrap();
    for (item, nonsense) in [("a", "zz"), ("a", "poster.jpg"), ("a", ""), ("b", theirs)] {
        let refused = service.assets(&call(), item, Some(nonsense)).await.unwrap_err();
        assert_eq!((refused.code, refused.fields[0].pointer.as_str()), (ErrorCode::Invalid, "/cursor"), "{nonsense:?}");
    }
    for bad in ["", "a/b", "..", &"x".repeat(300)] {
        let request = AssetRequest { name: bad.to_owned(), good_for_s: None };
        assert_eq!(service.add_asset(&call(), "a", request).await.unwrap_err().code, ErrorCode::Invalid);
    }
    service.delete(&call(), "a", Condition::None).await.unwrap();
    fixture.settled().await;
    fixture.put("a", noir()).await;
    fixture.settled().await;
    assert!(service.reviews(&call(), "a", None, 10, true).await.unwrap().reviews.is_empty());
    assert!(service.assets(&call(), "a", None).await.unwrap().assets.is_empty());
    assert_eq!(service.item(&call(), "a").await.unwrap().review_count, 0);
}
