//! `Documents`: what each backend must do.

mod backends;
mod faults;
mod server;

use attune_store::documents::{Collection, DEPTH_MAX, DOCUMENT_BYTES_MAX, DOCUMENTS_MAX, Document, Documents, Put};
use attune_store::{ErrorKind, Expect, KEY_BYTES_MAX, Page, PageRequest, StoreError, Tenant, Version};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::conformance::{ODD_KEYS, conformance};
use crate::servers::tenant;
use backends::Fixture;

const REVIEWS: Collection = Collection { name: "reviews", lookups: &["item_id", "user_id"] };
const OTHERS: Collection = Collection { name: "others", lookups: &["item_id"] };

conformance!([sqlite, mongodb] [
    a_document_comes_back_as_it_was,
    expectations_hold_for_each_document_by_itself,
    a_document_made_again_has_a_later_version,
    one_of_many_writers_makes_it,
    one_of_many_writers_of_a_version_gets_through,
    patches_from_many_sides_are_all_there,
    a_patch_does_what_the_rfc_says,
    deleting_says_whether_there_was_one,
    tenants_and_collections_do_not_see_each_other,
    odd_keys_stay_apart_and_in_order,
    odd_field_names_stay_as_they_are,
    pages_hold_while_others_write,
    documents_are_found_by_what_they_say_now,
    only_texts_are_found,
    what_is_too_large_is_refused,
    many_come_and_go_at_once,
    it_says_what_it_is,
]);

fn put(id: &str, body: Value, expect: Expect) -> Put {
    Put { id: id.to_owned(), body, expect }
}

async fn keep(store: &dyn Documents, tenant: &Tenant, one: Put) -> Result<Version, StoreError> {
    store.put(tenant, REVIEWS, vec![one]).await.unwrap().remove(0)
}

async fn get(store: &dyn Documents, tenant: &Tenant, id: &str) -> Option<Document> {
    store.get(tenant, REVIEWS, &[id]).await.unwrap().remove(0)
}

fn ids(page: &Page<Document>) -> Vec<&str> {
    page.rows.iter().map(|document| document.id.as_str()).collect()
}

async fn a_document_comes_back_as_it_was(Fixture { store, .. }: &Fixture) {
    let tenant = tenant();
    let body = json!({
        "text": "ein schöner Film \u{0} \u{1F3AC}", "none": null, "flag": true, "list": [1, [2, {"a": []}], "3"],
        "least": i64::MIN, "greatest": u64::MAX, "small": 1e-300, "exact": 0.1, "whole": 1.0, "nested": {"": {}},
    });
    let version = keep(&**store, &tenant, put("a", body.clone(), Expect::Any)).await.unwrap();
    let found = get(&**store, &tenant, "a").await.unwrap();
    assert_eq!(found, Document { id: "a".into(), version, body });
    let several = store.get(&tenant, REVIEWS, &["b", "a", "c", "a"]).await.unwrap();
    assert_eq!(several, [None, Some(found.clone()), None, Some(found)]);
    assert!(store.get(&tenant, REVIEWS, &[]).await.unwrap().is_empty());
}

async fn expectations_hold_for_each_document_by_itself(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    let first = keep(store, &tenant, put("a", json!({"n": 1}), Expect::Absent)).await.unwrap();
    let puts = vec![
        put("a", json!({"n": 2}), Expect::Absent),
        put("b", json!({"n": 2}), Expect::Absent),
        put("a", json!({"n": 3}), Expect::Version(first)),
        put("c", json!({"n": 4}), Expect::Version(first)),
        put("d", json!({"n": 5}), Expect::Any),
        put("d", json!({"n": 6}), Expect::Any),
    ];
    let outcomes = store.put(&tenant, REVIEWS, puts).await.unwrap();
    let kinds: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().err().map(|error| error.kind)).collect();
    let conflict = Some(ErrorKind::Conflict);
    assert_eq!(kinds, [conflict, None, None, conflict, None, None]);
    assert_eq!(get(store, &tenant, "a").await.unwrap().body, json!({"n": 3}));
    assert!(get(store, &tenant, "c").await.is_none());
    let last = get(store, &tenant, "d").await.unwrap();
    assert_eq!(
        (last.body, Ok(last.version)),
        (json!({"n": 6}), outcomes[5].as_ref().map(|version| *version).map_err(drop))
    );
}

async fn a_document_made_again_has_a_later_version(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    let first = keep(store, &tenant, put("a", json!({}), Expect::Any)).await.unwrap();
    let second = keep(store, &tenant, put("a", json!({}), Expect::Any)).await.unwrap();
    store.delete(&tenant, REVIEWS, "a", Expect::Version(second)).await.unwrap();
    let third = keep(store, &tenant, put("a", json!({}), Expect::Absent)).await.unwrap();
    assert!(first < second && second < third, "{first} {second} {third}");
}

async fn one_of_many_writers_makes_it(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    let outcomes = join_all((0..16).map(|n| keep(store, &tenant, put("a", json!({"n": n}), Expect::Absent)))).await;
    let won: Vec<usize> = (0..16).filter(|n| outcomes[*n].is_ok()).collect();
    assert_eq!(won.len(), 1);
    assert_eq!(get(store, &tenant, "a").await.unwrap().body, json!({"n": won[0]}));
}

async fn one_of_many_writers_of_a_version_gets_through(fixture: &Fixture) {
    if !fixture.is_atomic("one_of_many_writers_of_a_version_gets_through") {
        return;
    }
    let (store, tenant) = (&*fixture.store, tenant());
    keep(store, &tenant, put("a", json!({"n": 0}), Expect::Any)).await.unwrap();
    let add = || async {
        loop {
            let found = get(store, &tenant, "a").await.unwrap();
            let next = json!({"n": found.body["n"].as_i64().unwrap() + 1});
            match keep(store, &tenant, put("a", next, Expect::Version(found.version))).await {
                Ok(_) => return,
                Err(error) => assert_eq!(error.kind, ErrorKind::Conflict, "{error}"),
            }
        }
    };
    join_all((0..20).map(|_| add())).await;
    assert_eq!(get(store, &tenant, "a").await.unwrap().body, json!({"n": 20}));
}

async fn patches_from_many_sides_are_all_there(fixture: &Fixture) {
    if !fixture.is_atomic("patches_from_many_sides_are_all_there") {
        return;
    }
    let (store, tenant) = (&*fixture.store, tenant());
    keep(store, &tenant, put("a", json!({}), Expect::Any)).await.unwrap();
    let tenant = &tenant;
    let patch = |n: usize| async move {
        let change = json!({format!("field-{n}"): n});
        while let Err(error) = store.patch(tenant, REVIEWS, "a", &change, Expect::Any).await {
            assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
        }
    };
    join_all((0..20).map(patch)).await;
    let body = get(store, tenant, "a").await.unwrap().body;
    assert_eq!(body.as_object().unwrap().len(), 20, "{body}");
}

async fn a_patch_does_what_the_rfc_says(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    let body = json!({"title": "Alien", "year": 1979, "by": {"first": "Ridley", "last": "Scott"}, "tags": ["sf"]});
    let version = keep(store, &tenant, put("a", body, Expect::Any)).await.unwrap();
    let patch = json!({"year": null, "by": {"first": null, "born": 1937}, "tags": ["horror"]});
    let patched = store.patch(&tenant, REVIEWS, "a", &patch, Expect::Version(version)).await.unwrap();
    let expected = json!({"title": "Alien", "by": {"last": "Scott", "born": 1937}, "tags": ["horror"]});
    assert_eq!(patched.body, expected);
    assert!(patched.version > version);
    assert_eq!(get(store, &tenant, "a").await.unwrap(), patched);
    let kind = |patch: Value, id: &'static str, expect| {
        let tenant = tenant.clone();
        async move { store.patch(&tenant, REVIEWS, id, &patch, expect).await.unwrap_err().kind }
    };
    assert_eq!(kind(json!({"a": 1}), "a", Expect::Version(version)).await, ErrorKind::Conflict);
    assert_eq!(kind(json!({"a": 1}), "none", Expect::Any).await, ErrorKind::NotFound);
    assert_eq!(kind(json!([1]), "a", Expect::Any).await, ErrorKind::Invalid, "no object would be left");
    let large = json!({"a": "v".repeat(DOCUMENT_BYTES_MAX)});
    assert_eq!(kind(large, "a", Expect::Any).await, ErrorKind::TooLarge);
    assert_eq!(get(store, &tenant, "a").await.unwrap(), patched);
}

async fn deleting_says_whether_there_was_one(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    let version = keep(store, &tenant, put("a", json!({}), Expect::Any)).await.unwrap();
    let stale = Expect::Version(Version(version.0 - 1));
    assert_eq!(store.delete(&tenant, REVIEWS, "a", stale).await.unwrap_err().kind, ErrorKind::Conflict);
    assert!(get(store, &tenant, "a").await.is_some());
    assert!(store.delete(&tenant, REVIEWS, "a", Expect::Version(version)).await.unwrap());
    assert!(!store.delete(&tenant, REVIEWS, "a", Expect::Any).await.unwrap());
    let gone = store.delete(&tenant, REVIEWS, "a", Expect::Version(version)).await;
    assert_eq!(gone.unwrap_err().kind, ErrorKind::Conflict);
}

async fn tenants_and_collections_do_not_see_each_other(Fixture { store, .. }: &Fixture) {
    let (store, ours, theirs) = (&**store, tenant(), tenant());
    let body = json!({"item_id": "i"});
    keep(store, &ours, put("a", body.clone(), Expect::Any)).await.unwrap();
    let page = || PageRequest::first(9);
    for (tenant, collection) in [(&theirs, REVIEWS), (&ours, OTHERS)] {
        assert_eq!(store.get(tenant, collection, &["a"]).await.unwrap(), [None]);
        assert!(store.scan(tenant, collection, page()).await.unwrap().rows.is_empty());
        assert!(store.find(tenant, collection, "item_id", "i", page()).await.unwrap().rows.is_empty());
        let patched = store.patch(tenant, collection, "a", &json!({"x": 1}), Expect::Any).await;
        assert_eq!(patched.unwrap_err().kind, ErrorKind::NotFound);
        assert!(!store.delete(tenant, collection, "a", Expect::Any).await.unwrap());
        assert_eq!(store.clear(tenant, collection).await.unwrap(), 0);
    }
    assert_eq!(get(store, &ours, "a").await.unwrap().body, body);
    assert_eq!(store.clear(&ours, REVIEWS).await.unwrap(), 1);
    assert!(get(store, &ours, "a").await.is_none());
}

async fn odd_keys_stay_apart_and_in_order(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    let puts = ODD_KEYS.map(|key| put(key, json!({"item_id": key}), Expect::Absent)).to_vec();
    assert!(store.put(&tenant, REVIEWS, puts).await.unwrap().iter().all(Result::is_ok));
    let found = store.get(&tenant, REVIEWS, &ODD_KEYS).await.unwrap();
    assert!(found.iter().zip(ODD_KEYS).all(|(found, key)| found.as_ref().unwrap().body == json!({"item_id": key})));
    let mut sorted = ODD_KEYS;
    sorted.sort_unstable();
    assert_eq!(ids(&store.scan(&tenant, REVIEWS, PageRequest::first(99)).await.unwrap()), sorted);
    for key in ODD_KEYS {
        let found = store.find(&tenant, REVIEWS, "item_id", key, PageRequest::first(9)).await.unwrap();
        assert_eq!(ids(&found), [key]);
        assert!(store.delete(&tenant, REVIEWS, key, Expect::Any).await.unwrap());
    }
}

async fn odd_field_names_stay_as_they_are(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    let fields: serde_json::Map<_, _> =
        ODD_KEYS.iter().chain(&["", "\0", "_id", "$set"]).map(|name| ((*name).to_owned(), json!(1))).collect();
    let body = json!({"fields": fields.clone(), "a.b": fields});
    keep(store, &tenant, put("a", body.clone(), Expect::Any)).await.unwrap();
    assert_eq!(get(store, &tenant, "a").await.unwrap().body, body);
    let patched =
        store.patch(&tenant, REVIEWS, "a", &json!({"a.b": null, "$a": {"b.c": 1}}), Expect::Any).await.unwrap();
    assert_eq!(patched.body, json!({"fields": body["fields"], "$a": {"b.c": 1}}));
}

async fn pages_hold_while_others_write(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    let one = |number: usize| put(&format!("{number:04}"), json!({"item_id": "i"}), Expect::Any);
    let outcomes = store.put(&tenant, REVIEWS, (0..100).map(|n| one(2 * n)).collect()).await.unwrap();
    assert!(outcomes.iter().all(Result::is_ok));
    for is_scan in [true, false] {
        let mut seen: Vec<String> = Vec::new();
        let mut page = PageRequest::first(7);
        for round in 0.. {
            let part = if is_scan {
                store.scan(&tenant, REVIEWS, page).await.unwrap()
            } else {
                store.find(&tenant, REVIEWS, "item_id", "i", page).await.unwrap()
            };
            assert!(part.rows.len() <= 7);
            seen.extend(ids(&part).into_iter().map(str::to_owned));
            store.put(&tenant, REVIEWS, vec![one(2 * round + 1), one(199 - 2 * round)]).await.unwrap();
            let Some(next) = part.next else { break };
            page = PageRequest { after: Some(next), rows: 7 };
        }
        assert!(seen.is_sorted_by(|a, b| a < b), "no document twice: {seen:?}");
        assert_eq!(seen.iter().filter(|id| id.parse::<usize>().unwrap() % 2 == 0).count(), 100, "none hidden");
    }
}

async fn documents_are_found_by_what_they_say_now(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    let find = |lookup, text: &'static str| {
        let tenant = tenant.clone();
        async move {
            let page = store.find(&tenant, REVIEWS, lookup, text, PageRequest::first(9)).await.unwrap();
            ids(&page).into_iter().map(str::to_owned).collect::<Vec<_>>()
        }
    };
    let review = |id: &str, item: &str, user: &str| put(id, json!({"item_id": item, "user_id": user}), Expect::Any);
    let puts = vec![review("1", "alien", "ann"), review("2", "alien", "bob"), review("3", "brazil", "ann")];
    store.put(&tenant, REVIEWS, puts).await.unwrap();
    assert_eq!(find("item_id", "alien").await, ["1", "2"]);
    assert_eq!(find("user_id", "ann").await, ["1", "3"]);
    assert!(find("item_id", "ann").await.is_empty());
    store.patch(&tenant, REVIEWS, "1", &json!({"item_id": "brazil"}), Expect::Any).await.unwrap();
    store.patch(&tenant, REVIEWS, "2", &json!({"item_id": null}), Expect::Any).await.unwrap();
    keep(store, &tenant, review("3", "casablanca", "cat")).await.unwrap();
    assert!(find("item_id", "alien").await.is_empty());
    assert_eq!(find("item_id", "brazil").await, ["1"]);
    assert_eq!(find("user_id", "ann").await, ["1"]);
    store.delete(&tenant, REVIEWS, "1", Expect::Any).await.unwrap();
    assert!(find("user_id", "ann").await.is_empty());
    let unknown = store.find(&tenant, REVIEWS, "title", "x", PageRequest::first(9)).await;
    assert_eq!(unknown.unwrap_err().kind, ErrorKind::Invalid);
}

async fn only_texts_are_found(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    let values = [json!(7), json!(true), json!(["a"]), json!({"a": 1}), json!(null), json!(""), json!("7")];
    let puts = values.iter().enumerate().map(|(n, value)| put(&n.to_string(), json!({"item_id": value}), Expect::Any));
    store.put(&tenant, REVIEWS, puts.collect()).await.unwrap();
    for text in ["true", "1", "[\"a\"]", "{\"a\":1}", "null"] {
        let page = store.find(&tenant, REVIEWS, "item_id", text, PageRequest::first(9)).await.unwrap();
        assert!(page.rows.is_empty(), "{text}: {:?}", ids(&page));
    }
    assert_eq!(ids(&store.find(&tenant, REVIEWS, "item_id", "7", PageRequest::first(9)).await.unwrap()), ["6"]);
}

async fn what_is_too_large_is_refused(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    let kind = |puts: Vec<Put>| {
        let tenant = tenant.clone();
        async move { store.put(&tenant, REVIEWS, puts).await.unwrap_err().kind }
    };
    let (small, longest) = (json!({}), "k".repeat(KEY_BYTES_MAX));
    keep(store, &tenant, put(&longest, small.clone(), Expect::Any)).await.unwrap();
    let both = |bad: Put| vec![put("fine", json!({}), Expect::Any), bad];
    assert_eq!(kind(both(put(&format!("{longest}k"), small.clone(), Expect::Any))).await, ErrorKind::TooLarge);
    for key in ["", "a\0b"] {
        assert_eq!(kind(both(put(key, small.clone(), Expect::Any))).await, ErrorKind::Invalid, "{key:?}");
    }
    let largest = json!({"v": "v".repeat(DOCUMENT_BYTES_MAX - 8)});
    keep(store, &tenant, put("v", largest.clone(), Expect::Any)).await.unwrap();
    assert_eq!(get(store, &tenant, "v").await.unwrap().body, largest);
    let larger = json!({"v": "v".repeat(DOCUMENT_BYTES_MAX - 7)});
    assert_eq!(kind(both(put("v", larger, Expect::Any))).await, ErrorKind::TooLarge);
    let deep = |depth: usize| (1..depth).fold(json!({}), |inner, _| json!({"a": inner}));
    keep(store, &tenant, put("deep", deep(DEPTH_MAX), Expect::Any)).await.unwrap();
    assert_eq!(kind(both(put("deep", deep(DEPTH_MAX + 1), Expect::Any))).await, ErrorKind::Invalid);
    assert_eq!(kind(both(put("list", json!([]), Expect::Any))).await, ErrorKind::Invalid);
    assert_eq!(kind(vec![put("a", small, Expect::Any); DOCUMENTS_MAX + 1]).await, ErrorKind::TooLarge);
    assert_eq!(ids(&store.scan(&tenant, REVIEWS, PageRequest::first(9)).await.unwrap()), ["deep", &longest, "v"]);
}

async fn many_come_and_go_at_once(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    let all: Vec<String> = (0..DOCUMENTS_MAX).map(|number| format!("{number:05}")).collect();
    let puts = |n: i32| all.iter().map(|id| put(id, json!({"n": n}), Expect::Any)).collect::<Vec<_>>();
    let first = store.put(&tenant, REVIEWS, puts(1)).await.unwrap();
    let second = store.put(&tenant, REVIEWS, puts(2)).await.unwrap();
    assert!(first.iter().zip(&second).all(|(a, b)| a.as_ref().unwrap() < b.as_ref().unwrap()));
    let asked: Vec<&str> = all.iter().map(String::as_str).collect();
    let found = store.get(&tenant, REVIEWS, &asked).await.unwrap();
    assert!(found.iter().all(|document| document.as_ref().unwrap().body == json!({"n": 2})));
    assert_eq!(store.clear(&tenant, REVIEWS).await.unwrap(), all.len() as u64);
}

async fn it_says_what_it_is(Fixture { store, .. }: &Fixture) {
    let health = store.health().await.unwrap();
    assert!(!health.server.is_empty() && !health.version.is_empty(), "{health:?}");
}
