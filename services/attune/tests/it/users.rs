//! People over the wire of the real binary, until they are forgotten.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::{self, Answer};
use crate::server::Server;

fn ask(server: &Server, method: &str, path: &str, body: Value) -> Answer {
    http::call(server.address, method, path, Some(server.key()), &body.to_string()).unwrap()
}

fn etag(answer: &Answer) -> String {
    let line = answer.head.lines().find_map(|line| line.strip_prefix("etag: "));
    line.expect("an answer with a profile has an ETag").trim().to_owned()
}

/// Waits for a job to end.
fn ended(server: &Server, id: &str) -> Value {
    for _ in 0..600 {
        let job = ask(server, "GET", &format!("/v1/jobs/{id}"), json!({})).json();
        if job["ended"].is_string() {
            return job;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("the job {id} does not end");
}

#[test]
fn a_person_comes_acts_and_is_forgotten() {
    let mut server = Server::start(&[]);
    let made = ask(&server, "PUT", "/v1/users/ann%20b", json!({"attributes": {"age": 37}, "consent": true}));
    assert_eq!((made.status, &made.json()["user_id"]), (201, &json!("ann b")), "{}", made.text());
    let read = ask(&server, "GET", "/v1/users/ann%20b", json!({}));
    assert_eq!((read.status, etag(&read)), (200, etag(&made)));
    let patched = ask(&server, "PATCH", "/v1/users/ann%20b", json!({"preferences": {"genres": ["drama"]}}));
    assert_eq!(patched.json()["preferences"], json!({"genres": ["drama"]}));
    assert_ne!(etag(&patched), etag(&made));
    let wrong = ask(&server, "PATCH", "/v1/users/ann%20b", json!({"consent": "yes"}));
    assert_eq!((wrong.status, &wrong.json()["errors"][0]["pointer"]), (422, &json!("/consent")));

    let events = json!({"events": [
        {"type": "view", "user_id": "ann b", "item_id": "i"},
        {"type": "VIEW", "user_id": "ann b", "item_id": "i"},
        {"type": "view", "anonymous_id": "phone", "item_id": "i"},
    ]});
    let tracked = ask(&server, "POST", "/v1/events", events.clone()).json();
    assert_eq!((&tracked["accepted"], &tracked["rejected"][0]["index"]), (&json!(2), &json!(1)));
    ask(&server, "POST", "/v1/identify", json!({"anonymous_id": "phone", "user_id": "ann b"}));
    let export = ask(&server, "GET", "/v1/users/ann%20b/export", json!({})).json();
    assert_eq!(export["events"].as_array().unwrap().len(), 3, "two views and a join: {export}");
    assert_eq!((&export["anonymous_ids"], &export["consent"]), (&json!(["phone"]), &json!(true)));
    assert_eq!(export["others"]["dead_letters"][0]["event"]["type"], "VIEW");

    ask(&server, "PUT", "/v1/items/i", json!({"title": "A film"}));
    let review =
        ask(&server, "POST", "/v1/items/i/reviews", json!({"user_id": "ann b", "text": "What a lovely film."}));
    assert!(review.status < 300, "{}", review.text());

    // Whatever happens on the way, the job goes on.
    let job = ask(&server, "POST", "/v1/users/ann%20b/erase", json!({}));
    assert_eq!(job.status, 202, "{}", job.text());
    let id = job.json()["id"].as_str().unwrap().to_owned();
    let key = server.key().to_owned();
    let folder = server.kill();
    server = Server::start_in(folder, &[]);
    server.key = Some(key);
    let report = ended(&server, &id);
    assert_eq!(report["status"], "done", "{report}");
    let lines = report["report"]["stores"].as_array().unwrap();
    let stores: Vec<&str> = lines.iter().map(|line| line["store"].as_str().unwrap()).collect();
    for store in ["cache", "documents", "events", "search", "objects", "relational"] {
        assert!(stores.contains(&store), "{report}");
    }
    assert!(!report.to_string().contains("ann b"), "a report names nobody: {report}");
    let of = |what: &str| lines.iter().find(|line| line["what"] == what).map(|line| line["deleted"].clone());
    // What the killed process had deleted already is not there to be counted again.
    assert!(of("reviews").is_some() && of("dead letters").is_some(), "{report}");
    assert_eq!(ask(&server, "GET", "/v1/items/i/reviews", json!({})).json()["reviews"], json!([]));
    for path in ["/v1/users/ann%20b", "/v1/users/ann%20b/export"] {
        assert_eq!(ask(&server, "GET", path, json!({})).status, 404, "{path}");
    }
    assert_eq!(ask(&server, "POST", "/v1/users/ann%20b/erase", json!({})).status, 404);
    assert_eq!(ask(&server, "GET", "/v1/dead-letters", json!({})).json()["dead_letters"], json!([]));
    assert_eq!(ask(&server, "GET", "/v1/jobs/nothing", json!({})).status, 404);

    // Consent that is refused is obeyed at once.
    ask(&server, "PUT", "/v1/users/bob", json!({"consent": true}));
    let event = |id: &str| json!({"events": [{"type": "view", "user_id": "bob", "event_id": id}]});
    ask(&server, "POST", "/v1/events", event("kept"));
    ask(&server, "PATCH", "/v1/users/bob", json!({"consent": false}));
    assert_eq!(ask(&server, "POST", "/v1/events", event("dropped")).json()["accepted"], 1);
    let export = ask(&server, "GET", "/v1/users/bob/export", json!({})).json();
    assert_eq!(export["events"].as_array().unwrap().len(), 1, "{export}");
}

#[test]
fn who_refuses_to_be_profiled_gets_lists_that_know_nothing_of_him_and_leave_nothing() {
    let server = Server::start(&[]);
    let items: Vec<Value> =
        (0..4).map(|item| json!({"id": format!("i{item}"), "title": format!("Film {item}")})).collect();
    assert!(ask(&server, "POST", "/v1/items:batch", json!({ "items": items })).status < 300);
    let click = |user: &str| json!({"events": [{"type": "click", "user_id": user, "item_id": "i1"}]});
    for user in ["ann", "bob"] {
        assert_eq!(ask(&server, "POST", "/v1/events", click(user)).json()["accepted"], 1);
    }
    let list = |user: &str| ask(&server, "POST", "/v1/recommend", json!({"user_id": user, "k": 9})).json();
    let knows = |list: &Value| list["items"].as_array().unwrap().iter().all(|item| item["item_id"] != "i1");
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        let mut tries = 0;
        while !is_so() {
            tries += 1;
            assert!(tries < 600, "{what}");
            thread::sleep(Duration::from_millis(100));
        }
    };
    let shown = |user: &str| {
        let export = ask(&server, "GET", &format!("/v1/users/{user}/export"), json!({})).json();
        let events = export["events"].as_array().unwrap().iter();
        events.filter(|event| event["kind"] == "exposure").count()
    };
    until("a list knows the click", &|| list("bob")["items"].as_array().unwrap().len() == 3 && knows(&list("bob")));

    ask(&server, "PUT", "/v1/users/bob", json!({"consent": false}));
    until("a list knows nothing of who refuses", &|| list("bob")["items"].as_array().unwrap().len() == 4);
    // What was shown before is in the log behind this.
    until("a list of another is written down", &|| knows(&list("ann")) && shown("ann") > 0);
    let before = shown("bob");
    (0..3).for_each(|_| assert!(!knows(&list("bob"))));
    let others = shown("ann");
    until("a later list of another is written down", &|| knows(&list("ann")) && shown("ann") > others);
    assert_eq!(shown("bob"), before);
}
