//! What a profile is after each write, and what a write demands.

use attune_api::ErrorCode;
use attune_api::content::Condition;
use attune_api::rest::users::ProfileBody;
use attune_api::users::Users;
use attune_store::relational::PersonId;
use serde_json::{Value, json};

use crate::support::{World, call, tenant};

fn body(json: Value) -> ProfileBody {
    serde_json::from_value(json).unwrap()
}

#[tokio::test]
async fn a_profile_is_made_read_changed_and_deleted() {
    let world = World::new().await;
    let users = &world.service;
    let missing = users.profile(&call(), "ann").await.unwrap_err();
    assert_eq!(missing.code, ErrorCode::Absent);
    let made = users.put(&call(), "ann", body(json!({"attributes": {"age": 37}})), Condition::None).await.unwrap();
    assert!(made.is_new && made.profile.consent.is_none());
    assert_eq!(users.profile(&call(), "ann").await.unwrap(), made.profile);

    let patch = json!({"attributes": {"age": null, "country": "ch"}, "preferences": {"x": 1}, "consent": true});
    let patched = users.patch(&call(), "ann", patch, Condition::Version(made.profile.version)).await.unwrap();
    assert_eq!(Value::Object(patched.attributes.clone()), json!({"country": "ch"}));
    assert_eq!((patched.consent, &patched.created), (Some(true), &made.profile.created));
    assert!(patched.version > made.profile.version);

    let replaced = users.put(&call(), "ann", body(json!({})), Condition::Present).await.unwrap();
    assert!(!replaced.is_new && replaced.profile.attributes.is_empty());
    assert_eq!(replaced.profile.consent, Some(true), "consent that is not named stays");
    let unsaid = users.put(&call(), "ann", body(json!({"consent": null})), Condition::None).await.unwrap();
    assert_eq!(unsaid.profile.consent, None);
    assert_eq!(*world.diary.changes.lock().unwrap(), ["ann", "ann"]);

    users.delete(&call(), "ann", Condition::Version(unsaid.profile.version)).await.unwrap();
    assert_eq!(users.profile(&call(), "ann").await.unwrap_err().code, ErrorCode::Absent);
    assert_eq!(users.delete(&call(), "ann", Condition::None).await.unwrap_err().code, ErrorCode::Absent);
    let person = world.stores.relational.person(&tenant(), &PersonId::User("ann".to_owned())).await.unwrap();
    assert!(person.is_some(), "who is behind a subject is known until the user is erased");
}

#[tokio::test]
async fn a_condition_that_does_not_hold_changes_nothing() {
    let world = World::new().await;
    let users = &world.service;
    let refused = async |condition, json: Value| {
        users.put(&call(), "ann", body(json), condition).await.err().map(|error| error.code)
    };
    let failed = Some(ErrorCode::PreconditionFailed);
    assert_eq!(refused(Condition::Present, json!({"consent": true})).await, failed);
    assert_eq!(refused(Condition::Absent, json!({"attributes": {"a": 1}})).await, None);
    assert_eq!(refused(Condition::Absent, json!({})).await, failed);
    assert_eq!(refused(Condition::Version(7), json!({"consent": false})).await, failed);
    let stale = users.patch(&call(), "ann", json!({"consent": false}), Condition::Version(7)).await.unwrap_err();
    assert_eq!(Some(stale.code), failed);
    assert_eq!(Some(users.delete(&call(), "ann", Condition::Version(7)).await.unwrap_err().code), failed);
    let profile = users.profile(&call(), "ann").await.unwrap();
    assert_eq!((Value::Object(profile.attributes), profile.consent), (json!({"a": 1}), None));
    // Only what is there can be changed, and only somebody with an id can be.
    assert_eq!(users.patch(&call(), "bob", json!({}), Condition::None).await.unwrap_err().code, ErrorCode::Absent);
    for id in ["", "a\u{1}", &"x".repeat(257)] {
        assert_eq!(users.profile(&call(), id).await.unwrap_err().code, ErrorCode::Invalid, "{id:?}");
    }
    let other = attune_api::Call { tenant: "other".into(), ..call() };
    assert_eq!(users.profile(&other, "ann").await.unwrap_err().code, ErrorCode::Absent, "another tenant's");
}

#[tokio::test]
async fn writers_at_once_lose_nothing() {
    let world = World::new().await;
    world.service.put(&call(), "ann", body(json!({})), Condition::None).await.unwrap();
    let patches = (0..4).map(|n| {
        let service = world.service.clone();
        tokio::spawn(async move {
            let patch = json!({"attributes": {n.to_string(): n}});
            while service.patch(&call(), "ann", patch.clone(), Condition::None).await.is_err() {}
        })
    });
    for patch in patches.collect::<Vec<_>>() {
        patch.await.unwrap();
    }
    assert_eq!(world.service.profile(&call(), "ann").await.unwrap().attributes.len(), 4);
}
