//! Who may call what: the table of routes, walked against the real binary. Every route, with every kind of key, and of
//! every tenant's things from another tenant. It grows with the table.

use std::time::{Duration, Instant};

use attune_api::{Scope, v1};
use attune_gateway::{ROUTES, Route};
use prost::Message as _;
use serde_json::{Value, json};
use tonic::Code;

use crate::http::{self, Answer};
use crate::rpc::{Rpc, Said};
use crate::server::{self, Server, run};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// What stands in everything of the one tenant, and in nothing of the other.
const MARK: &str = "of-alpha";
/// Routes with a part of their path that is no tenant's: models are the installation's, and an address of an object is
/// signed for whoever has it.
const NOBODYS: [&str; 2] = ["/v1/models/{*id}", "/v1/objects/{token}"];

fn ask(server: &Server, route: &Route, path: &str, key: Option<&str>, body: &str) -> Answer {
    http::call(server.address, route.method.as_str(), path, key, body).unwrap()
}

/// The pattern with a name in place of each part.
fn filled(pattern: &str, part: impl Fn(&str) -> String) -> String {
    let fill = |segment: &str| match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(name) => part(name.trim_start_matches('*')),
        None => segment.to_owned(),
    };
    pattern.split('/').map(fill).collect::<Vec<_>>().join("/")
}

fn is_there(answer: &Answer) -> bool {
    !(answer.status == 404 && answer.text().contains("no such route"))
}

fn key_with(server: &Server, scope: Scope) -> String {
    let body = json!({"title": "of a test", "scopes": [scope.name()]});
    let made = http::post(server.address, "/v1/api-keys", server.key(), &body);
    made.json()["secret"].as_str().unwrap().to_owned()
}

#[test]
fn every_route_takes_the_scopes_of_the_table_and_no_others() {
    // What is refused counts against its address, and here almost everything is.
    let folder = tempfile::tempdir().unwrap();
    let config = server::config(folder.path());
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}[limits]\naddress_per_s = 0\n")).unwrap();
    let server = Server::start_in(folder, &[]);
    let keys = Scope::ALL.map(|scope| (scope, key_with(&server, scope)));
    let mut absent = Vec::new();
    for route in ROUTES {
        let path = filled(route.path, |_| "nothing".to_owned());
        let what = format!("{} {path}", route.method);
        let stranger = ask(&server, route, &path, None, "{}");
        if !is_there(&stranger) {
            absent.push(what);
            continue;
        }
        let Some(any_of) = route.any_of() else {
            // A signed address is its own key.
            let is_signed = NOBODYS.contains(&route.path);
            assert!(stranger.status != 401 && (stranger.status != 403 || is_signed), "{what}: {}", stranger.text());
            continue;
        };
        assert_eq!(stranger.status, 401, "{what} without a key");
        assert_eq!(ask(&server, route, &path, Some("att_nonsense"), "{}").status, 401, "{what} with a wrong key");
        for (scope, key) in &keys {
            let status = ask(&server, route, &path, Some(key), "{}").status;
            if *scope == Scope::Admin || any_of.contains(scope) {
                assert!(![401, 403].contains(&status), "{what} with {scope:?}: {status}");
            } else {
                assert_eq!(status, 403, "{what} with {scope:?}");
            }
        }
    }
    // A service that this process does not have, and a page of the documentation that does not exist.
    let may_be_absent = ["/recommend", "/rank", "/similar", "/trending", "attune.v1.Recommendation", "/docs/"];
    for what in &absent {
        assert!(may_be_absent.iter().any(|part| what.contains(part)), "{what} is in the table and not there");
    }
    let described = http::get(server.address, "/openapi.json").json();
    let admin = &keys[3].1;
    for path in
        ["/v1/keys", "/v1/api-keys/x/y", "/admin", "/v1//models", "/v1/models/../api-keys", "/%2e%2e/v1/api-keys"]
    {
        let answer = http::call(server.address, "GET", path, Some(admin), "").unwrap();
        assert_eq!(
            answer.status,
            404,
            "{path} is not in the table ({} are)",
            described["paths"].as_object().unwrap().len()
        );
    }
}

/// A tenant, and a key of it that may do everything.
fn tenant(server: &Server, name: &str) -> String {
    let made =
        http::call(server.address, "PUT", &format!("/v1/tenants/{name}"), Some(server.key()), r#"{"title":"a"}"#);
    assert_eq!(made.unwrap().status, 201);
    let body = json!({"title": format!("key of {name}"), "scopes": ["admin"]});
    let made = http::post(server.address, &format!("/v1/api-keys?tenant={name}"), server.key(), &body);
    made.json()["secret"].as_str().unwrap().to_owned()
}

/// Things of the first tenant, by the part of a path that names each.
struct Things {
    api_key: String,
    review: String,
    job: String,
}

impl Things {
    fn make(server: &Server, key: &str) -> Self {
        let made = |method: &str, path: &str, body: Value| {
            let answer = http::call(server.address, method, path, Some(key), &body.to_string()).unwrap();
            assert!((200..300).contains(&answer.status), "{method} {path}: {}", answer.text());
            serde_json::from_slice::<Value>(&answer.body).unwrap_or_default()
        };
        let id = |value: Value| value["id"].as_str().unwrap_or_default().to_owned();
        let api_key = made("POST", "/v1/api-keys", json!({"title": MARK, "scopes": ["read"]}));
        made("PUT", "/v1/items/film-1", json!({"title": format!("A film {MARK}"), "attributes": {"owner": MARK}}));
        let review = made("POST", "/v1/items/film-1/reviews", json!({"text": format!("wonderful {MARK}")}));
        made("POST", "/v1/items/film-1/assets", json!({"name": MARK}));
        made("PUT", "/v1/users/ann", json!({"attributes": {"owner": MARK}}));
        made("PUT", "/v1/users/bob", json!({"attributes": {"owner": MARK}}));
        made("POST", "/v1/events", json!({"events": [{"type": "view", "user_id": "ann", "item_id": "film-1"}]}));
        // A tenant's replica begins to read with the first request.
        wait_until(|| http::call(server.address, "GET", "/v1/trending", Some(key), "").unwrap().status == 200);
        let pipeline = json!({"spec": {"sources": [{"source": "popular"}]}});
        made("PUT", &format!("/v1/pipelines/{MARK}"), pipeline);
        made("PUT", &format!("/v1/rules/{MARK}"), json!({"spec": {"item_ids": [MARK], "effect": "bury"}}));
        let arms = json!([{"name": MARK, "share": 1.0, "pipeline": MARK}]);
        made("PUT", &format!("/v1/experiments/{MARK}"), json!({"spec": {"arms": arms}}));
        let job = made("POST", "/v1/users/bob/erase", json!({}));
        Self { api_key: id(api_key), review: id(review), job: id(job) }
    }

    /// The path of a thing that was made. A new kind of thing has to be made above, and named here.
    fn path(&self, pattern: &str) -> String {
        filled(pattern, |name| match (pattern, name) {
            (pattern, "id") if pattern.starts_with("/v1/api-keys/") => self.api_key.clone(),
            (pattern, "id") if pattern.starts_with("/v1/items/") => "film-1".to_owned(),
            ("/v1/tenants/{id}", "id") => "alpha".to_owned(),
            (_, "review_id") => self.review.clone(),
            (_, "name") => MARK.to_owned(),
            (pattern, "id") if pattern.starts_with("/v1/users/") => "ann".to_owned(),
            ("/v1/jobs/{id}", "id") => self.job.clone(),
            _ => panic!("{pattern}: say in this test how to make one of these"),
        })
    }
}

/// What follows a write comes a moment later.
fn wait_until(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "what follows a write did not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn another_tenants_things_are_not_there() {
    let server = Server::start(&[]);
    let (alpha, beta) = (tenant(&server, "alpha"), tenant(&server, "beta"));
    let things = Things::make(&server, &alpha);
    let owned = || ROUTES.iter().filter(|route| !route.is_grpc() && !NOBODYS.contains(&route.path));
    let reads = || owned().filter(|route| route.method == "GET" && route.any_of().is_some());
    let seen_by = |key: &str| -> Vec<(String, u16, String)> {
        let see = |route: &'static Route| {
            let path = if route.path.contains('{') { things.path(route.path) } else { route.path.to_owned() };
            let answer = ask(&server, route, &path, Some(key), "");
            (path, answer.status, answer.text())
        };
        reads().map(see).collect()
    };
    wait_until(|| {
        http::call(server.address, "GET", "/v1/items/film-1", Some(&alpha), "").unwrap().json()["review_count"] == 1
    });
    let before = seen_by(&alpha);
    let marked = before.iter().filter(|(_, status, text)| *status == 200 && text.contains(MARK)).count();
    assert!(marked >= 4, "the owner sees his own things: {before:?}");

    let check = |when: &str| {
        for (path, status, text) in seen_by(&beta) {
            assert!(!text.contains(MARK), "{when}: {path} shows another tenant's things: {status} {text}");
            assert!(!path.contains(&things.api_key) || status == 404, "{path}: {status}");
        }
    };
    check("at first");
    for path in ["/v1/items/film-1", "/v1/users/ann", &format!("/v1/jobs/{}", things.job)] {
        let missing = http::call(server.address, "GET", path, Some(&beta), "").unwrap();
        assert_eq!(missing.status, 404, "{path}: {}", missing.text());
    }
    let is_compared = |path: &str| {
        path.contains("film-1") || path.contains("key_") || path == "/v1/users/ann" || path.ends_with(MARK)
    };
    // Deletions first: what the other tenant then writes under the same names is his own.
    let mut writes: Vec<_> = owned().filter(|one| one.method != "GET" && one.path.contains('{')).collect();
    writes.sort_by_key(|route| route.method != "DELETE");
    for route in writes {
        for body in ["{}", r#"{"title":"of beta"}"#, r#"{"text":"of beta"}"#, r#"{"hidden":true}"#] {
            let answer = ask(&server, route, &things.path(route.path), Some(&beta), body);
            assert!(
                answer.status < 500 && !answer.text().contains(MARK),
                "{} {}: {}",
                route.method,
                route.path,
                answer.text()
            );
        }
    }
    for (path, status, text) in seen_by(&alpha).into_iter().filter(|(path, ..)| is_compared(path)) {
        let (_, status_before, text_before) = before.iter().find(|(known, ..)| *known == path).unwrap();
        assert_eq!(status, *status_before, "{path}: {text}");
        // Signed addresses differ from one answer to the next.
        assert!(text == *text_before || path.ends_with("/assets"), "{path}: {text_before} became {text}");
    }
}

/// What a method of gRPC is asked about the first tenant's things, and whether it has to say that there are none. A new
/// method has to be asked here.
fn asked(things: &Things, path: &str) -> (Vec<u8>, bool) {
    let (id, user_id, name) = ("film-1".to_owned(), "ann".to_owned(), MARK.to_owned());
    let (item_id, review_id) = (id.clone(), things.review.clone());
    let (condition, patch) = (None, Some(prost_types::Struct::default()));
    let (service, method) = path.trim_start_matches("/attune.v1.").split_once('/').unwrap();
    let history = v1::recommend_request::Who::UserId(user_id.clone());
    match (service, method) {
        ("Content", "GetItem") => (v1::GetItemRequest { id }.encode_to_vec(), true),
        ("Content", "PatchItem") => (v1::PatchItemRequest { id, patch, condition }.encode_to_vec(), true),
        ("Content", "DeleteItem") => (v1::DeleteItemRequest { id, condition }.encode_to_vec(), true),
        ("Content", "AddReview") => {
            let body = Some(v1::ReviewBody { text: "of beta".into(), ..Default::default() });
            (v1::AddReviewRequest { item_id, body }.encode_to_vec(), true)
        }
        ("Content", "ListReviews") => {
            (v1::ListReviewsRequest { item_id, hidden: true, ..Default::default() }.encode_to_vec(), false)
        }
        ("Content", "ModerateReview") => {
            let hidden = v1::ModerateReviewRequest { item_id, review_id, hidden: Some(true), moderated: None };
            (hidden.encode_to_vec(), true)
        }
        ("Content", "AddAsset") => (v1::AddAssetRequest { item_id, name, good_for_s: None }.encode_to_vec(), true),
        ("Content", "ListAssets") => (v1::ListAssetsRequest { item_id, cursor: None }.encode_to_vec(), false),
        ("Content", "DeleteAsset") => (v1::DeleteAssetRequest { item_id, name }.encode_to_vec(), false),
        ("Content", "GetSchema" | "ExtendSchema" | "Search" | "PutItem" | "PutItems") => (Vec::new(), false),
        ("Users", "GetUser") => (v1::GetUserRequest { user_id }.encode_to_vec(), true),
        ("Users", "PatchUser") => (v1::PatchUserRequest { user_id, patch, condition }.encode_to_vec(), false),
        ("Users", "DeleteUser") => (v1::DeleteUserRequest { user_id, condition }.encode_to_vec(), true),
        ("Users", "ExportUser") => (v1::ExportUserRequest { user_id, cursor: None }.encode_to_vec(), true),
        ("Users", "EraseUser") => (v1::EraseUserRequest { user_id }.encode_to_vec(), true),
        ("Users", "GetJob") => (v1::GetJobRequest { id: things.job.clone() }.encode_to_vec(), true),
        ("Users", "PutUser") => (Vec::new(), false),
        ("Recommendation", "Recommend") => {
            (v1::RecommendRequest { who: Some(history), ..Default::default() }.encode_to_vec(), false)
        }
        ("Recommendation", "Rank") => {
            let who = Some(v1::rank_request::Who::UserId(user_id));
            (v1::RankRequest { who, item_ids: vec![item_id], ..Default::default() }.encode_to_vec(), false)
        }
        ("Recommendation", "Similar") => (v1::SimilarRequest { item_id, ..Default::default() }.encode_to_vec(), false),
        ("Recommendation", "Trending" | "RecommendBatch") | ("Tracking" | "Inference", _) => (Vec::new(), false),
        _ => panic!("{path}: say in this test what to ask of it"),
    }
}

#[test]
fn another_tenants_things_are_not_there_over_grpc_either() {
    let server = Server::start(&[]);
    let (alpha, beta) = (tenant(&server, "alpha"), tenant(&server, "beta"));
    let things = Things::make(&server, &alpha);
    let rpc = Rpc::new(server.address);
    let owned = ["GetItem", "ListReviews", "GetUser"];
    let seen_by = |key: &str| -> Vec<Said> {
        let routes = ROUTES.iter().filter(|route| owned.iter().any(|method| route.path.ends_with(method)));
        routes.map(|route| rpc.send(route.path, key, &asked(&things, route.path).0)).collect()
    };
    wait_until(|| {
        http::call(server.address, "GET", "/v1/items/film-1", Some(&alpha), "").unwrap().json()["review_count"] == 1
    });
    let before = seen_by(&alpha);
    assert!(before.len() == owned.len() && before.iter().all(|said| said.contains(MARK)), "{before:?}");
    // Deletions first: what the other tenant then writes under the same names is his own.
    let mut methods: Vec<_> = ROUTES.iter().filter(|route| route.path.starts_with("/attune.v1.")).collect();
    methods.sort_by_key(|route| !route.path.contains("/Delete"));
    for route in methods {
        let (message, is_missing) = asked(&things, route.path);
        let said = rpc.send(route.path, &beta, &message);
        assert!(!said.contains(MARK), "{} shows another tenant's things: {said:?}", route.path);
        assert!(![Code::Internal, Code::Unknown].contains(&said.code), "{}: {said:?}", route.path);
        assert!(!is_missing || said.code == Code::NotFound, "{}: {said:?}", route.path);
    }
    // Maps have no order on the wire.
    let sorted = |said: &Said| {
        let mut bytes = said.message.to_vec();
        bytes.sort_unstable();
        bytes
    };
    for (now, before) in seen_by(&alpha).iter().zip(&before) {
        assert_eq!(sorted(now), sorted(before), "{now:?} was {before:?}");
    }
}

#[test]
fn a_write_with_a_key_of_its_own_is_made_once() {
    let server = Server::start(&[]);
    let send = |key: &str, body: &str| {
        let path = "/v1/events";
        http::call_with(server.address, "POST", path, Some(server.key()), &[("idempotency-key", key)], body).unwrap()
    };
    // Without an id of its own, each event that arrives is another one: only the key tells that it is the same.
    let body = r#"{"events":[{"type":"view","user_id":"ann","item_id":"film-1"}]}"#;
    let first = send("order-1", body);
    assert_eq!((first.status, first.head.contains("idempotent-replayed")), (202, false), "{}", first.text());
    let again = send("order-1", body);
    assert_eq!((again.status, again.text()), (202, first.text()));
    assert!(again.head.contains("idempotent-replayed: true") && again.head.contains("application/json"));
    let other = send("order-1", &body.replace("ann", "bob"));
    assert_eq!((other.status, other.json()["code"].as_str()), (409, Some("conflict")));
    assert!(!send("order-2", body).head.contains("idempotent-replayed"));

    let refused = send("order-3", "{}");
    assert_eq!(refused.status, 422);
    assert_eq!(send("order-3", body).status, 202, "a refusal changed nothing and is not remembered");
    assert_eq!(send("", body).status, 400);
    assert_eq!(send(&"x".repeat(300), body).status, 400);

    // Of many at once one is made, and the others are told to wait or get its answer.
    let many: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| send("order-4", body))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let made = many.iter().filter(|one| one.status == 202 && !one.head.contains("idempotent-replayed")).count();
    assert_eq!(made, 1);
    assert!(many.iter().all(|one| [202, 409].contains(&one.status)));
    // A secret that was shown is kept nowhere, and so not shown again: who asks for that is told.
    let key = r#"{"title":"a","scopes":["read"]}"#;
    let call = |method: &str, path: &str, once: &str, body: &str| {
        let headers = [("idempotency-key", once)];
        http::call_with(server.address, method, path, Some(server.key()), &headers, body).unwrap()
    };
    let made = call("POST", "/v1/api-keys", "key-1", key);
    assert_eq!((made.status, made.text().contains("idempotency-key")), (400, true), "{}", made.text());
    // What else admins do is done once as well, and nobody on the way keeps the answer.
    let put = |body: &str| call("PUT", "/v1/tenants/acme", "tenant-1", body);
    assert_eq!(put(r#"{"title":"a"}"#).status, 201);
    let again = put(r#"{"title":"a"}"#);
    assert!(again.status == 201 && again.head.contains("idempotent-replayed: true"), "{}", again.head);
    assert!(again.head.contains("cache-control: no-store") && again.head.contains("etag: "), "{}", again.head);
    assert_eq!(put(r#"{"title":"b"}"#).status, 409);
}

#[test]
fn a_front_door_that_makes_no_sense_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    for (text, why) in [
        ("[auth.jwt]\nkeys = \"keys.json\"\n", "auth.jwt.issuer"),
        ("[server]\ncors_origins = [\"shop.example\"]\n", "cors_origins"),
        ("[server.tls]\ncertificate = \"chain.pem\"\n", "server.tls"),
        ("[limits]\nkey_burst = 0\n", "limits.key_burst"),
    ] {
        let path = folder.path().join("attune.toml");
        std::fs::write(&path, text).unwrap();
        let output = run(&["serve", "--config", path.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(why), "{said}");
    }
}
