//! Pipelines, rules and experiments over the wire: changed under load without a failed request, refused where they do not
//! fit, and the same for everybody after a restart.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::{self, Answer};
use crate::server::{Server, config};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);
const USERS: usize = 2_000;
const THREADS: usize = 4;

fn call(server: &Server, key: &str, method: &str, path: &str, body: &Value) -> Answer {
    http::call(server.address, method, path, Some(key), &body.to_string()).unwrap()
}

fn define(server: &Server, path: &str, spec: Value) -> Answer {
    call(server, server.key(), "PUT", path, &json!({ "spec": spec }))
}

/// A few teas; the newest is `tea-19`.
fn fill(server: &Server) {
    let tea = |number: usize| {
        json!({
            "id": format!("tea-{number}"),
            "title": format!("Tea number {number}"),
            "attributes": {"kind": if number.is_multiple_of(2) { "green" } else { "black" }},
            "published_at": 1_700_000_000 + number,
        })
    };
    let items: Vec<Value> = (0..20).map(tea).collect();
    let answer = http::post(server.address, "/v1/items:batch", server.key(), &json!({ "items": items }));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let events: Vec<Value> = (0..20)
        .flat_map(|user| (0..=user % 5).map(move |item| json!({"type": "click", "user_id": format!("buyer-{user}"), "item_id": format!("tea-{item}")})))
        .collect();
    let answer = http::post(server.address, "/v1/events", server.key(), &json!({ "events": events }));
    assert_eq!(answer.status, 202, "{}", answer.text());
    until("all teas can be recommended", || list(server, server.key(), &json!({"k": 50})).1.len() == 20);
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Which pipeline made a list, and its items.
fn list(server: &Server, key: &str, body: &Value) -> (String, Vec<String>) {
    let answer = http::post(server.address, "/v1/recommend", key, body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let list = answer.json();
    let items = list["items"].as_array().unwrap().iter().map(|item| item["item_id"].as_str().unwrap().to_owned());
    (list["pipeline"].as_str().unwrap().to_owned(), items.collect())
}

#[test]
fn a_pipeline_changes_under_load_without_a_failed_request_and_a_bad_one_leaves_it() {
    let server = Server::start(&[]);
    fill(&server);
    let (is_over, server) = (AtomicBool::new(false), &server);
    thread::scope(|scope| {
        let ask = || {
            let mut served = 0;
            while !is_over.load(Ordering::Relaxed) {
                list(server, server.key(), &json!({"user_id": format!("u{}", served % 50), "k": 5}));
                served += 1;
            }
            served
        };
        let asking: Vec<_> = (0..THREADS).map(|_| scope.spawn(ask)).collect();
        let made = define(server, "/v1/pipelines/default", json!({"sources": [{"source": "latest"}]}));
        assert_eq!(made.status, 201, "{}", made.text());
        let first = || list(server, server.key(), &json!({"user_id": "zoe", "k": 5})).1[0].clone();
        until("the newest is first", || first() == "tea-19");

        let bad = define(server, "/v1/pipelines/default", json!({"sources": [{"source": "lattest"}]}));
        assert_eq!((bad.status, &bad.json()["errors"][0]["pointer"]), (422, &json!("/spec/sources/0/source")));
        let pin = json!({"item_ids": ["tea-7"], "effect": {"pin": {"position": 1}}});
        assert_eq!(define(server, "/v1/rules/seventh", pin).status, 201);
        until("the rule counts", || first() == "tea-7");
        let gone = call(server, server.key(), "DELETE", "/v1/rules/seventh", &json!({}));
        assert_eq!(gone.status, 204, "{}", gone.text());
        until("the bad pipeline left the old one", || first() == "tea-19");
        let gone = call(server, server.key(), "DELETE", "/v1/pipelines/default", &json!({}));
        assert_eq!(gone.status, 204, "{}", gone.text());
        until("the one that is built in is back", || first() != "tea-19");
        is_over.store(true, Ordering::Relaxed);
        let served: usize = asking.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert!(served > 0, "{served} lists, none of which failed");
    });
}

#[test]
fn definitions_have_etags_scopes_pages_and_a_line_in_the_audit_log() {
    let server = Server::start(&[]);
    until("the server makes lists", || call(&server, server.key(), "GET", "/v1/trending", &json!({})).status == 200);
    let newest = json!({"sources": [{"source": "latest"}]});
    let made = define(&server, "/v1/pipelines/newest", newest.clone());
    assert_eq!(made.status, 201, "{}", made.text());
    let tag = format!("\"{}\"", made.json()["version"]);
    assert!(made.head.contains(&format!("etag: {tag}")), "{}", made.head);
    let with = |method: &str, header: (&str, &str), body: &Value| {
        let path = "/v1/pipelines/newest";
        http::call_with(server.address, method, path, Some(server.key()), &[header], &body.to_string()).unwrap()
    };
    assert_eq!(with("GET", ("if-none-match", &tag), &json!({})).status, 304);
    let body = json!({"spec": newest, "enabled": false});
    assert_eq!(with("PUT", ("if-match", "\"1\""), &body).status, 412);
    assert_eq!(with("PUT", ("if-none-match", "*"), &body).status, 412);
    let changed = with("PUT", ("if-match", &tag), &body);
    assert_eq!((changed.status, &changed.json()["enabled"]), (200, &json!(false)), "{}", changed.text());
    assert_eq!(with("DELETE", ("if-match", &tag), &json!({})).status, 412);

    let listed = |path: &str| call(&server, server.key(), "GET", path, &json!({}));
    define(&server, "/v1/pipelines/another", json!({"sources": [{"source": "popular"}]}));
    let page = listed("/v1/pipelines?limit=1").json();
    assert_eq!(page["definitions"][0]["name"], "another");
    let next = listed(&format!("/v1/pipelines?limit=1&cursor={}", page["next_cursor"].as_str().unwrap())).json();
    assert_eq!(next["definitions"][0]["name"], "newest");
    assert_eq!(listed("/v1/pipelines/nothing").status, 404);
    assert_eq!(listed("/v1/pipelines?limit=0").status, 422);

    let arms = |share: f64| json!({"arms": [{"name": "a", "share": 0.5, "pipeline": "another"}, {"name": "b", "share": share, "pipeline": "default"}]});
    let refused = |answer: Answer| (answer.status, answer.json()["errors"][0]["pointer"].clone());
    assert_eq!(refused(define(&server, "/v1/experiments/x", arms(0.4))), (422, json!("/spec/arms")));
    let newest_is_off = json!({"arms": [{"name": "a", "share": 1.0, "pipeline": "newest"}]});
    assert_eq!(refused(define(&server, "/v1/experiments/x", newest_is_off)), (422, json!("/spec/arms/0/pipeline")));
    assert_eq!(define(&server, "/v1/experiments/x", arms(0.5)).status, 201);
    let second = define(&server, "/v1/experiments/y", arms(0.5));
    assert_eq!(refused(second), (422, json!("/spec")), "the pipeline is not named");
    let pin = define(&server, "/v1/rules/r", json!({"effect": "pin", "item_ids": ["p9"]}));
    let said = pin.json()["detail"].as_str().unwrap().to_owned();
    assert!(said.ends_with(r#"for example {"pin": {"position": 1}}"#), "{said}");
    assert_eq!(refused(pin), (422, json!("/spec/effect")));
    let needed = call(&server, server.key(), "DELETE", "/v1/pipelines/another", &json!({}));
    assert_eq!(needed.status, 409, "{}", needed.text());
    let misspelt =
        call(&server, server.key(), "PUT", "/v1/rules/r", &json!({"spec": {"effect": "bury"}, "enable": true}));
    assert_eq!(refused(misspelt), (422, json!("/enable")));
    assert_eq!(define(&server, "/v1/rules/a%2Fb", json!({"effect": "bury"})).status, 422);

    let log = listed("/v1/audit").json().to_string();
    for action in ["pipeline.put", "experiment.put"] {
        assert!(log.contains(action), "{log}");
    }
}

/// Whose list which pipeline made.
fn arms(server: &Server, key: &str) -> Vec<String> {
    let per_thread = USERS / THREADS;
    thread::scope(|scope| {
        let ask = |part: usize| {
            let users = part * per_thread..(part + 1) * per_thread;
            users
                .map(|user| list(server, key, &json!({"user_id": format!("user-{user}"), "k": 1})).0)
                .collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..THREADS).map(|part| scope.spawn(move || ask(part))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn two_thousand_users_are_split_and_keep_their_arm_over_a_restart() {
    let server = Server::start(&[]);
    let key = server.key().to_owned();
    fill(&server);
    assert_eq!(define(&server, "/v1/pipelines/newest", json!({"sources": [{"source": "latest"}]})).status, 201);
    let spec = json!({"arms": [
        {"name": "as it was", "share": 0.5, "pipeline": "default"},
        {"name": "newest", "share": 0.5, "pipeline": "newest"},
    ]});
    assert_eq!(define(&server, "/v1/experiments/novelty", spec).status, 201);
    let someone = |number: usize| list(&server, &key, &json!({"user_id": format!("user-{number}"), "k": 1})).0;
    until("the experiment is carried out", || (0..20).any(|number| someone(number) == "newest"));

    let before = arms(&server, &key);
    let newest = before.iter().filter(|pipeline| *pipeline == "newest").count();
    // 1,000 expected, with a deviation of 22.
    assert!((900..=1_100).contains(&newest), "{newest} of {USERS}");
    let click = json!({"events": [{"type": "click", "user_id": "user-3", "item_id": "tea-2"}]});
    assert_eq!(http::post(server.address, "/v1/events", &key, &click).status, 202);
    assert_eq!(someone(3), before[3], "what somebody does leaves him where he is");

    let server = Server::start_in(server.stop(), &[]);
    assert_eq!(arms(&server, &key), before);
}

/// Of a bandit's arms, what the report says: people, those who clicked, and the share that each arm has now.
fn counted(server: &Server) -> Vec<(String, u64, u64, f64)> {
    let answer = http::post(server.address, "/v1/analytics/experiments", server.key(), &json!({}));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let table = answer.json();
    let place = |name: &str| {
        let is_it = |column: &Value| column["name"] == name;
        table["columns"].as_array().unwrap().iter().position(is_it).unwrap()
    };
    let [arm, users, converted, share] = ["arm", "users", "converted", "share"].map(place);
    let row = |row: &Value| {
        let count = |place: usize| row[place].as_u64().unwrap();
        (row[arm].as_str().unwrap().to_owned(), count(users), count(converted), row[share].as_f64().unwrap())
    };
    table["rows"].as_array().unwrap().iter().map(row).collect()
}

#[test]
fn a_bandit_shows_people_what_others_click_on_and_logs_the_chances_that_it_drew_with() {
    const PEOPLE: usize = 200;
    const FLOOR: f64 = 0.1;
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path());
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text + "[analytics]\nbandits_s = 1\n").unwrap();
    let server = Server::start_in(folder, &[]);
    fill(&server);
    assert_eq!(define(&server, "/v1/pipelines/newest", json!({"sources": [{"source": "latest"}]})).status, 201);
    let spec = json!({"bandit": {"floor": FLOOR}, "arms": [
        {"name": "as it was", "share": 0.5, "pipeline": "default"},
        {"name": "newest", "share": 0.5, "pipeline": "newest"},
    ]});
    assert_eq!(define(&server, "/v1/experiments/novelty", spec).status, 201);
    let ask = |user: &str| {
        let body = json!({"user_id": user, "k": 3});
        http::post(server.address, "/v1/recommend", server.key(), &body).json()
    };
    until("the experiment is carried out", || {
        (0..20).any(|number| ask(&format!("early-{number}"))["pipeline"] == "newest")
    });
    // Newcomers, whom the server has never heard of: those who get what is newest click on it, half of them.
    let mut clicks = Vec::new();
    let mut shown = 0;
    for number in 0..PEOPLE {
        let user = format!("user-{number}");
        let list = ask(&user);
        if list["pipeline"] == "newest" {
            shown += 1;
            if shown % 2 == 0 {
                let item = &list["items"][0]["item_id"];
                clicks
                    .push(json!({"type": "click", "user_id": user, "item_id": item, "request_id": list["request_id"]}));
            }
        }
    }
    assert!((60..=140).contains(&shown), "{shown} of {PEOPLE}: half of them at first");
    let sent = http::post(server.address, "/v1/events", server.key(), &json!({ "events": clicks }));
    assert_eq!(sent.status, 202, "{}", sent.text());
    until("the better arm has what the floor leaves", || {
        let arms = counted(&server);
        arms.iter().any(|(arm, .., share)| arm == "newest" && (share - (1.0 - FLOOR)).abs() < 1e-3)
    });
    let arms = counted(&server);
    assert_eq!(arms.iter().map(|(.., clicked, _)| *clicked).collect::<Vec<_>>(), [0, clicks.len() as u64], "{arms:?}");
    let share = arms[1].3;
    until("lists are made by these chances", || {
        let newest = (0..PEOPLE).filter(|number| ask(&format!("late-{number}"))["pipeline"] == "newest").count();
        // 180 expected, with a deviation of 4.
        newest > 160
    });

    // Of a list that was made for somebody whom the server knows, the log says whose it was, and his export says it.
    let chance = |name: &str| {
        let body = json!({"events": [{"type": "view", "user_id": name, "item_id": "tea-1"}]});
        assert_eq!(http::post(server.address, "/v1/events", server.key(), &body).status, 202);
        let list = ask(name);
        let mut logged = None;
        until("the list is in the log", || {
            let export = call(&server, server.key(), "GET", &format!("/v1/users/{name}/export"), &json!({})).json();
            let is_it = |record: &&Value| record["kind"] == "exposure" && record["request_id"] == list["request_id"];
            logged = export["events"].as_array().unwrap().iter().find(is_it).map(|list| list["experiment"].clone());
            logged.is_some()
        });
        let arm = logged.unwrap();
        assert_eq!(arm["arm"] == "newest", list["pipeline"] == "newest", "{arm}");
        let chance = arm["chance"].as_f64().unwrap();
        if arm["arm"] == "newest" { chance } else { 1.0 - chance }
    };
    for name in ["eve", "ida", "uma"] {
        // Lists that nobody clicks on come on top meanwhile, and the next round knows of them.
        assert!((chance(name) - share).abs() < 0.01, "{name}");
    }
}
