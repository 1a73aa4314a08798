//! Items and people over gRPC: what one protocol keeps, the other reads the same, and what one refuses, the other does.

use std::time::{Duration, Instant};

use attune_api::{structs, v1};
use prost_types::value::Kind;
use serde_json::{Value, json};
use tonic::Code;

use crate::http;
use crate::rpc::{Rpc, Said};
use crate::server::Server;

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

struct Both {
    server: Server,
    rpc: Rpc,
}

impl Both {
    fn start() -> Self {
        let server = Server::start(&[]);
        let rpc = Rpc::new(server.address);
        Self { server, rpc }
    }

    fn rest(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = http::call(self.server.address, method, path, Some(self.server.key()), &body).unwrap();
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    fn get(&self, path: &str) -> Value {
        let (status, json) = self.rest("GET", path, &Value::Null);
        assert_eq!(status, 200, "{path}: {json}");
        json
    }

    fn content(&self, method: &str, message: &impl prost::Message) -> Said {
        self.rpc.call(&format!("/attune.v1.Content/{method}"), self.server.key(), message)
    }

    fn users(&self, method: &str, message: &impl prost::Message) -> Said {
        self.rpc.call(&format!("/attune.v1.Users/{method}"), self.server.key(), message)
    }
}

fn fields(json: Value) -> prost_types::Struct {
    let Value::Object(fields) = json else { panic!("{json} is no object") };
    structs::from_json(fields)
}

fn json_of(fields: Option<prost_types::Struct>) -> Value {
    Value::Object(structs::to_json(fields.unwrap()).unwrap())
}

fn film() -> v1::ItemBody {
    v1::ItemBody {
        title: "The Third Man".into(),
        text: Some("A writer looks for a friend in Vienna.".into()),
        attributes: Some(fields(json!({"genres": ["noir", "thriller"], "year": 1949, "stars": 4.5, "colour": false}))),
        hidden: false,
        published_at: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 250_000_000 }),
        expires_at: None,
    }
}

fn version(version: u64) -> Option<v1::Condition> {
    Some(v1::Condition { expect: Some(v1::condition::Expect::Version(version)) })
}

fn absent() -> Option<v1::Condition> {
    Some(v1::Condition { expect: Some(v1::condition::Expect::Absent(())) })
}

#[test]
fn an_item_is_the_same_over_both() {
    let both = Both::start();
    let put = |id: &str, condition| v1::PutItemRequest { id: id.into(), body: Some(film()), condition };
    let made: v1::PutItemResponse = both.content("PutItem", &put("films/1", absent())).ok();
    let item = made.item.unwrap();
    assert!(made.is_new && item.version > 0);
    assert_eq!(both.content("PutItem", &put("films/1", absent())).code, Code::FailedPrecondition);

    let twin = json!({"title": "The Third Man", "text": "A writer looks for a friend in Vienna.",
        "attributes": {"genres": ["noir", "thriller"], "year": 1949, "stars": 4.5, "colour": false},
        "published_at": 1_700_000_000.25});
    assert_eq!(both.rest("PUT", "/v1/items/films%2F2", &twin).0, 201);
    let without_names = |mut item: Value| {
        let fields = item.as_object_mut().unwrap();
        assert!(fields.remove("id").is_some() && fields.remove("version").is_some());
        item
    };
    let ours = both.get("/v1/items/films%2F1");
    assert_eq!(without_names(ours.clone()), without_names(both.get("/v1/items/films%2F2")));
    let get = |id: &str| both.content("GetItem", &v1::GetItemRequest { id: id.into() });
    let (first, second): (v1::Item, v1::Item) = (get("films/1").ok(), get("films/2").ok());
    assert_eq!(first.body, second.body);
    assert_eq!(
        (json!(first.version), &json_of(first.body.unwrap().attributes)),
        (ours["version"].clone(), &ours["attributes"])
    );

    let patch = v1::PatchItemRequest {
        id: "films/1".into(),
        patch: Some(fields(json!({"text": null, "attributes": {"year": 1950, "stars": null}}))),
        condition: version(item.version),
    };
    let patched: v1::Item = both.content("PatchItem", &patch).ok();
    let body = patched.body.unwrap();
    assert_eq!((body.text, json_of(body.attributes)["year"].clone()), (None, json!(1950)));
    assert_eq!(both.content("PatchItem", &patch).code, Code::FailedPrecondition, "that version is over");
    assert_eq!(both.get("/v1/items/films%2F1")["attributes"].get("stars"), None);

    let delete = |condition| v1::DeleteItemRequest { id: "films/1".into(), condition };
    assert_eq!(both.content("DeleteItem", &delete(version(item.version))).code, Code::FailedPrecondition);
    assert_eq!(both.content("DeleteItem", &delete(version(patched.version))).code, Code::Ok);
    assert_eq!(get("films/1").code, Code::NotFound);
    assert_eq!(both.rest("GET", "/v1/items/films%2F1", &Value::Null).0, 404);
}

#[test]
fn a_batch_a_schema_and_a_search_are_the_same_over_both() {
    let both = Both::start();
    let kinds = [("year", v1::AttributeKind::Number), ("genres", v1::AttributeKind::Keywords)];
    let stated =
        v1::ItemSchema { attributes: kinds.into_iter().map(|(name, kind)| (name.to_owned(), kind.into())).collect() };
    let schema: v1::ItemSchema = both.content("ExtendSchema", &stated).ok();
    assert_eq!(schema.attributes.get("year"), Some(&v1::AttributeKind::Number.into()));
    assert_eq!(both.get("/v1/items:schema")["attributes"]["genres"], "keywords");
    let other = v1::ItemSchema { attributes: [("year".to_owned(), v1::AttributeKind::Time.into())].into() };
    let (status, _) = both.rest("PUT", "/v1/items:schema", &json!({"attributes": {"year": "time"}}));
    assert_eq!((status, both.content("ExtendSchema", &other).code), (409, Code::Aborted));
    let unknown = v1::ItemSchema { attributes: [("size".to_owned(), 99)].into() };
    assert_eq!(both.content("ExtendSchema", &unknown).code, Code::InvalidArgument);

    let item = |id: &str, attributes: Value| v1::NewItem {
        id: id.into(),
        body: Some(v1::ItemBody {
            title: format!("Space {id}"),
            attributes: Some(fields(attributes)),
            ..Default::default()
        }),
    };
    let not_finite = prost_types::Value { kind: Some(Kind::NumberValue(f64::NAN)) };
    let mut nan = item("d", json!({}));
    nan.body.as_mut().unwrap().attributes = Some(prost_types::Struct { fields: [("year".into(), not_finite)].into() });
    let items = vec![
        item("a", json!({"year": 1979, "genres": ["horror"]})),
        item("b", json!({"year": "soon"})),
        item("c", json!({"year": 2009, "genres": ["horror", "drama"]})),
        nan,
    ];
    let answer: v1::PutItemsResponse = both.content("PutItems", &v1::PutItemsRequest { items }).ok();
    assert_eq!((answer.kept, answer.rejected.iter().map(|one| one.index).collect::<Vec<_>>()), (2, vec![1, 3]));
    let error = answer.rejected[0].error.as_ref().unwrap();
    assert_eq!((error.code.as_str(), error.fields[0].pointer.as_str()), ("invalid", "/attributes/year"));
    let many = v1::PutItemsRequest { items: vec![v1::NewItem::default(); 1_001] };
    assert_eq!(both.content("PutItems", &many).code, Code::InvalidArgument);

    let wanted = v1::SearchRequest {
        q: "space".into(),
        filter: Some("year > 1970".into()),
        facets: vec!["genres".into()],
        k: Some(1),
        ..Default::default()
    };
    let begun = Instant::now();
    let found = loop {
        let found: v1::SearchResponse = both.content("Search", &wanted).ok();
        if found.matches == 2 {
            break found;
        }
        assert!(begun.elapsed() < PATIENCE, "{found:?}");
        std::thread::sleep(Duration::from_millis(10));
    };
    let rest = both.get("/v1/items:search?q=space&filter=year+%3E+1970&facets=genres&k=1");
    let hit = found.hits[0].item.as_ref().unwrap();
    assert_eq!((rest["matches"].as_u64(), &rest["hits"][0]["item"]["id"]), (Some(2), &json!(hit.id)));
    let counts =
        |facet: &v1::Facet| facet.values.iter().map(|one| json!({"value": one.value, "count": one.count})).collect();
    assert_eq!(rest["facets"][0]["values"], Value::Array(counts(&found.facets[0])));
    let next = v1::SearchRequest { cursor: found.next_cursor.clone(), ..wanted.clone() };
    let second: v1::SearchResponse = both.content("Search", &next).ok();
    assert_ne!(second.hits[0].item.as_ref().unwrap().id, hit.id);
    for wrong in [
        v1::SearchRequest { filter: Some("year >".into()), ..wanted.clone() },
        v1::SearchRequest { k: Some(1_001), ..wanted.clone() },
        v1::SearchRequest { mode: 9, ..wanted },
    ] {
        assert_eq!(both.content("Search", &wrong).code, Code::InvalidArgument, "{wrong:?}");
    }
}

#[test]
fn reviews_and_files_are_the_same_over_both() {
    let both = Both::start();
    both.rest("PUT", "/v1/items/film", &json!({"title": "A film"}));
    let body = v1::ReviewBody { user_id: Some("ann".into()), rating: Some(5.0), text: "What a wonderful film.".into() };
    let add = |item_id: &str| v1::AddReviewRequest { item_id: item_id.into(), body: Some(body.clone()) };
    let review: v1::Review = both.content("AddReview", &add("film")).ok();
    assert_eq!(review.sentiment.as_ref().unwrap().label, "positive");
    assert_eq!(both.content("AddReview", &add("nothing")).code, Code::NotFound);
    let listed = both.get("/v1/items/film/reviews");
    assert_eq!((&listed["reviews"][0]["id"], &listed["reviews"][0]["rating"]), (&json!(review.id), &json!(5.0)));
    let decided = v1::ModerateReviewRequest {
        item_id: "film".into(),
        review_id: review.id.clone(),
        moderated: Some(true),
        hidden: Some(true),
    };
    let moderated: v1::Review = both.content("ModerateReview", &decided).ok();
    assert!(moderated.moderated && moderated.hidden && moderated.created_at == review.created_at);
    let list = |hidden| v1::ListReviewsRequest { item_id: "film".into(), hidden, ..Default::default() };
    let shown: v1::ListReviewsResponse = both.content("ListReviews", &list(false)).ok();
    let all: v1::ListReviewsResponse = both.content("ListReviews", &list(true)).ok();
    assert_eq!((shown.reviews.len(), all.reviews), (0, vec![moderated]));

    let asset = v1::AddAssetRequest { item_id: "film".into(), name: "poster.jpg".into(), good_for_s: Some(60) };
    let place: v1::Asset = both.content("AddAsset", &asset).ok();
    assert_eq!((place.method.as_str(), place.bytes), ("PUT", None));
    let path = place.url.split_once("//").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..])).unwrap();
    let put = http::call(both.server.address, "PUT", path, None, "four").unwrap();
    assert!(put.status < 300, "{}", put.text());
    let listed: v1::ListAssetsResponse =
        both.content("ListAssets", &v1::ListAssetsRequest { item_id: "film".into(), cursor: None }).ok();
    assert_eq!((listed.assets[0].name.as_str(), listed.assets[0].bytes), ("poster.jpg", Some(4)));
    let delete = v1::DeleteAssetRequest { item_id: "film".into(), name: "poster.jpg".into() };
    assert_eq!(both.content("DeleteAsset", &delete).code, Code::Ok);
    assert_eq!(both.get("/v1/items/film/assets")["assets"], json!([]));
}

#[test]
fn a_person_is_the_same_over_both_until_forgotten() {
    let both = Both::start();
    let put = v1::PutUserRequest {
        user_id: "ann b".into(),
        attributes: Some(fields(json!({"age": 37, "country": "ch"}))),
        preferences: None,
        consent: v1::Consent::Given.into(),
        condition: absent(),
    };
    let made: v1::PutUserResponse = both.users("PutUser", &put).ok();
    let profile = made.profile.unwrap();
    assert!(made.is_new && profile.consent() == v1::Consent::Given);
    let rest = both.get("/v1/users/ann%20b");
    assert_eq!((&rest["attributes"], &rest["consent"]), (&json!({"age": 37, "country": "ch"}), &json!(true)));
    let (status, _) = both.rest("PATCH", "/v1/users/ann%20b", &json!({"preferences": {"genres": ["drama"]}}));
    assert_eq!(status, 200);
    let patch = |condition| v1::PatchUserRequest {
        user_id: "ann b".into(),
        patch: Some(fields(json!({"attributes": {"age": null}, "consent": null}))),
        condition,
    };
    assert_eq!(both.users("PatchUser", &patch(version(profile.version))).code, Code::FailedPrecondition);
    let patched: v1::Profile = both.users("PatchUser", &patch(None)).ok();
    assert_eq!(patched.consent(), v1::Consent::NeverAsked);
    assert_eq!(json_of(patched.attributes.clone()), json!({"country": "ch"}));
    assert_eq!(json_of(patched.preferences.clone()), json!({"genres": ["drama"]}));
    let get = v1::GetUserRequest { user_id: "ann b".into() };
    assert_eq!(both.users("GetUser", &get).ok::<v1::Profile>(), patched);
    let wrong = v1::PutUserRequest { consent: 9, condition: None, ..put.clone() };
    assert_eq!(both.users("PutUser", &wrong).code, Code::InvalidArgument);

    let events = json!({"events": [{"type": "view", "user_id": "ann b", "item_id": "film"}]});
    assert_eq!(both.rest("POST", "/v1/events", &events).0, 202);
    let export: v1::ExportUserResponse =
        both.users("ExportUser", &v1::ExportUserRequest { user_id: "ann b".into(), cursor: None }).ok();
    let whole = both.get("/v1/users/ann%20b/export");
    assert_eq!(export.profile, Some(patched));
    assert_eq!(json_of(export.events.first().cloned()), whole["events"][0]);
    assert_eq!(json_of(export.others), whole["others"]);

    let erase = v1::EraseUserRequest { user_id: "ann b".into() };
    let mut job: v1::Job = both.users("EraseUser", &erase).ok();
    let begun = Instant::now();
    while job.ended.is_none() {
        assert!(begun.elapsed() < PATIENCE, "{job:?}");
        std::thread::sleep(Duration::from_millis(20));
        job = both.users("GetJob", &v1::GetJobRequest { id: job.id.clone() }).ok();
    }
    assert_eq!((job.kind.as_str(), job.status()), ("erase", v1::JobStatus::Done));
    let report = structs::from_json(
        [("it".to_owned(), both.get(&format!("/v1/jobs/{}", job.id))["report"].clone())].into_iter().collect(),
    );
    assert_eq!(job.report.as_ref(), report.fields.get("it"));
    assert_eq!(both.users("GetUser", &get).code, Code::NotFound);
    assert_eq!(both.users("EraseUser", &erase).code, Code::NotFound);
    let delete = v1::DeleteUserRequest { user_id: "nobody".into(), condition: None };
    let (status, _) = both.rest("DELETE", "/v1/users/nobody", &Value::Null);
    assert_eq!((status, both.users("DeleteUser", &delete).code), (404, Code::NotFound));
}
