//! Reports over the wire of the real binary: equal to the clients' own counts.

use std::collections::{BTreeMap, BTreeSet};

use attune_api::moment::now_ms;
use attune_api::rest::Timestamp;
use serde_json::{Value, json};

use crate::http;
use crate::server::Server;

fn ask(server: &Server, report: &str, question: Value) -> http::Answer {
    http::post(server.address, &format!("/v1/analytics/{report}"), server.key(), &question)
}

/// The rows of an answer, each by its columns' names.
fn rows(answer: &http::Answer) -> Vec<BTreeMap<String, Value>> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let table = answer.json();
    let names: Vec<String> =
        table["columns"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap().to_owned()).collect();
    let row = |row: &Value| names.iter().cloned().zip(row.as_array().unwrap().clone()).collect();
    table["rows"].as_array().unwrap().iter().map(row).collect()
}

fn send(server: &Server, events: &[Value]) -> u64 {
    events
        .chunks(500)
        .map(|some| {
            let answer = http::post(server.address, "/v1/events", server.key(), &json!({ "events": some }));
            assert_eq!(answer.status, 202, "{}", answer.text());
            answer.json()["accepted"].as_u64().unwrap()
        })
        .sum()
}

/// What one client did: events of some days, a third of them twice.
fn events(client: usize, now_ms: i64) -> Vec<Value> {
    let types = ["impression", "view", "click", "purchase"];
    let event = |n: usize| {
        let mut event = json!({
            "event_id": format!("{client}-{n}"),
            "type": types[n % 4],
            "user_id": format!("user-{}", (n * 7 + client) % 23),
            "item_id": format!("item-{}", (n * n + client) % 11),
            "timestamp": Timestamp(now_ms - (n as i64 * 37 + client as i64) * 60_000).text(),
        });
        if !n.is_multiple_of(3) {
            event["surface"] = ["home", "cart"][n % 2].into();
        }
        event
    };
    (0..300).flat_map(|n| std::iter::repeat_n(event(n), 1 + usize::from(n.is_multiple_of(3)))).collect()
}

#[test]
fn reports_equal_the_clients_own_counts() {
    let server = Server::start(&[]);
    let now_ms = now_ms();
    let sent: Vec<Value> = (0..4).flat_map(|client| events(client, now_ms)).collect();
    let accepted = send(&server, &sent);
    let once: BTreeMap<&str, &Value> = sent.iter().map(|event| (event["event_id"].as_str().unwrap(), event)).collect();
    assert_eq!(accepted as usize, once.len());

    let total = rows(&ask(&server, "timeseries", json!({"interval": "month"})));
    let count = |rows: &[BTreeMap<String, Value>]| rows.iter().map(|row| row["count"].as_u64().unwrap()).sum::<u64>();
    assert_eq!(count(&total), accepted);

    let mut by_day: BTreeMap<(String, Option<&str>), u64> = BTreeMap::new();
    for event in once.values() {
        let day = format!("{}T00:00:00.000Z", &event["timestamp"].as_str().unwrap()[..10]);
        *by_day.entry((day, event["surface"].as_str())).or_default() += 1;
    }
    let question = json!({"interval": "day", "group_by": ["surface"]});
    let found = rows(&ask(&server, "timeseries", question));
    assert_eq!(found.len(), by_day.len());
    for row in &found {
        let key = (row["time"].as_str().unwrap().to_owned(), row["surface"].as_str());
        assert_eq!(row["count"], json!(by_day[&key]), "{key:?}");
    }

    let clicks: Vec<&&Value> = once.values().filter(|event| event["type"] == "click").collect();
    let users: BTreeSet<&str> = clicks.iter().map(|event| event["user_id"].as_str().unwrap()).collect();
    let active = rows(&ask(&server, "active-users", json!({"filter": "type == \"click\""})));
    assert_eq!(active, [[("users".to_owned(), json!(users.len()))].into()]);

    let mut items: BTreeMap<&str, u64> = BTreeMap::new();
    clicks.iter().for_each(|event| *items.entry(event["item_id"].as_str().unwrap()).or_default() += 1);
    let mut items: Vec<(&str, u64)> = items.into_iter().collect();
    items.sort_by_key(|(item, count)| (std::cmp::Reverse(*count), *item));
    let top = rows(&ask(&server, "top-items", json!({"filter": "type == \"click\"", "k": 3})));
    let top: Vec<(&str, u64)> =
        top.iter().map(|row| (row["item_id"].as_str().unwrap(), row["count"].as_u64().unwrap())).collect();
    assert_eq!(top, items[..3]);

    // One more event is counted as soon as it is acknowledged.
    assert_eq!(send(&server, &[json!({"type": "view", "user_id": "new"})]), 1);
    assert_eq!(count(&rows(&ask(&server, "timeseries", json!({})))), accepted + 1);
    // And after a start, when some of it is in the lake.
    let key = server.key.clone();
    let mut server = Server::start_in(server.stop(), &[]);
    server.key = key;
    assert_eq!(send(&server, &sent[..10]), 7, "what is sent again is acknowledged again, if the window was lost");
    assert_eq!(count(&rows(&ask(&server, "timeseries", json!({})))), accepted + 1);
}

#[test]
fn an_application_sees_what_its_lists_and_reviews_came_to() {
    let server = Server::start(&[]);
    let post = |path: &str, body: Value| http::post(server.address, path, server.key(), &body);
    let items: Vec<Value> = (0..5).map(|n| json!({"id": format!("i-{n}"), "title": format!("Thing {n}")})).collect();
    assert_eq!(post("/v1/items:batch", json!({ "items": items })).status, 200);
    let list = (0..600)
        .find_map(|_| {
            let request = json!({"user_id": "ann", "k": 5, "context": {"surface": "home"}});
            let list = post("/v1/recommend", request).json();
            if list["items"].as_array().is_some_and(|items| items.len() == 5) {
                return Some(list);
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
            None
        })
        .expect("the items come into lists");
    let click = |n: usize| {
        json!({"type": "click", "user_id": "ann", "item_id": list["items"][n]["item_id"],
        "request_id": list["request_id"]})
    };
    send(&server, &[click(0), click(1)]);
    // Lists are written to the log in the background.
    let ctr = (0..600)
        .map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            let question = json!({"group_by": ["surface"], "filter": "surface == \"home\""});
            rows(&ask(&server, "ctr", question)).pop().unwrap_or_default()
        })
        .find(|row| row.get("exposures").is_some_and(|exposures| exposures.as_u64().unwrap() >= 5))
        .expect("what was shown is counted");
    let shown = ctr["exposures"].as_u64().unwrap();
    assert_eq!((&ctr["clicks"], &ctr["impressions"], &ctr["shown"]), (&json!(2), &json!(0), &json!(shown)));
    assert!((ctr["ctr"].as_f64().unwrap() - 2.0 / shown as f64).abs() < 1e-12);

    for text in ["What a wonderful thing, I love it.", "Awful. It broke on the first day."] {
        assert_eq!(post("/v1/items/i-1/reviews", json!({ "text": text })).status, 201);
    }
    let said = rows(&ask(&server, "sentiment", json!({"interval": "day"})));
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!((&said[0]["item_id"], &said[0]["count"], &said[0]["judged"]), (&json!("i-1"), &json!(2), &json!(2)));
    assert!(said[0]["sentiment"].as_f64().unwrap().abs() < 1.0);
    let good = rows(&ask(&server, "sentiment", json!({"filter": "sentiment > 0", "group_by": []})));
    assert_eq!(good[0]["count"], json!(1));
}

#[test]
fn what_cannot_be_asked_is_refused_with_its_place() {
    let server = Server::start(&[]);
    for (report, question, pointer) in [
        ("timeseries", json!({"group_by": ["user_id"]}), "/group_by/0"),
        ("timeseries", json!({"interval": "fortnight"}), "/interval"),
        ("timeseries", json!({"filter": "colour == \"red\""}), "/filter"),
        ("timeseries", json!({"form": "2026-01-01"}), "/form"),
        ("timeseries", json!({"from": "yesterday"}), "/from"),
        ("top-items", json!({"k": 100_000}), "/k"),
        ("funnel", json!({"steps": ["view"]}), "/steps"),
        ("sentiment", json!({"filter": "type == \"view\""}), "/filter"),
    ] {
        let answer = ask(&server, report, question);
        assert_eq!(
            (answer.status, &answer.json()["errors"][0]["pointer"]),
            (422, &json!(pointer)),
            "{}",
            answer.text()
        );
    }
    assert_eq!(ask(&server, "everything", json!({})).status, 404);
    let keyless = http::call(server.address, "POST", "/v1/analytics/ctr", None, "{}").unwrap();
    assert_eq!(keyless.status, 401);
    let empty = ask(&server, "experiments", json!({}));
    assert_eq!((empty.status, &empty.json()["rows"]), (200, &json!([])));
}
