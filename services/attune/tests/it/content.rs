//! Items over the wire of the real binary: from a PUT to what a search finds, and what every fault is told as.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::{self, Answer};
use crate::server::Server;

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn ask(server: &Server, method: &str, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    http::call(server.address, method, path, Some(server.key()), &body).unwrap()
}

fn titles(answer: &Answer) -> Vec<String> {
    let hits = answer.json()["hits"].as_array().unwrap_or_else(|| panic!("{}", answer.text())).clone();
    hits.iter().map(|hit| hit["item"]["title"].as_str().unwrap().to_owned()).collect()
}

/// Asks until the answer has `wanted` hits.
fn found(server: &Server, path: &str, wanted: usize) -> Answer {
    let start = Instant::now();
    loop {
        let answer = ask(server, "GET", path, &Value::Null);
        assert_eq!(answer.status, 200, "{}", answer.text());
        if titles(&answer).len() == wanted {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "{path}: {}", answer.text());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Asks for a list until there is something on it.
fn listed(server: &Server, body: &Value) -> Value {
    let start = Instant::now();
    loop {
        let answer = ask(server, "POST", "/v1/recommend", body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let items = answer.json()["items"].clone();
        if items.as_array().is_some_and(|items| !items.is_empty()) {
            return items;
        }
        assert!(start.elapsed() < PATIENCE, "{}", answer.text());
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn etag(answer: &Answer) -> String {
    let line = answer.head.lines().find_map(|line| line.strip_prefix("etag: ")).expect("an ETag");
    line.trim().to_owned()
}

#[test]
fn an_item_from_a_put_to_a_search_and_through_a_restart() {
    let server = Server::start(&[]);
    let film =
        json!({"title": "Alien", "text": "Horror in deep space.", "attributes": {"genres": ["horror"], "year": 1979}});
    let made = ask(&server, "PUT", "/v1/items/films%2F1", &film);
    assert_eq!((made.status, made.json()["id"].as_str()), (201, Some("films/1")), "{}", made.text());
    let read = ask(&server, "GET", "/v1/items/films%2F1", &Value::Null);
    assert_eq!((read.status, etag(&read)), (200, etag(&made)));
    let batch = json!({"items": [
        {"id": "2", "title": "Up", "text": "An old man flies his house by balloons.", "attributes": {"genres": ["animation"], "year": 2009}},
        {"id": "3", "title": "Heat", "attributes": {"year": "1995"}},
        {"id": "4"},
        {"id": "5", "title": "Se7en", "colour": "dark"},
        7
    ]});
    let answer = ask(&server, "POST", "/v1/items:batch", &batch).json();
    assert_eq!(answer["kept"], 1);
    let rejected = answer["rejected"].as_array().unwrap();
    let told: Vec<(u64, &str, &str)> = rejected
        .iter()
        .map(|one| {
            (
                one["index"].as_u64().unwrap(),
                one["code"].as_str().unwrap(),
                one["errors"][0]["pointer"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [(1, "invalid", "/attributes/year"), (2, "invalid", "/title"), (3, "invalid", "/colour"), (4, "invalid", "")]
    );

    assert_eq!(titles(&found(&server, "/v1/items:search?q=space&facets=genres", 1)), ["Alien"]);
    let meaning = found(&server, "/v1/items:search?q=a%20house%20in%20the%20air&mode=semantic", 2);
    assert_eq!(titles(&meaning), ["Up", "Alien"]);
    let filtered = found(&server, "/v1/items:search?q=flying&mode=semantic&filter=year%20%3C%201990", 1);
    assert_eq!(titles(&filtered), ["Alien"]);

    let review =
        ask(&server, "POST", "/v1/items/2/reviews", &json!({"text": "Wonderful, I loved every minute.", "rating": 5}));
    assert_eq!(
        (review.status, review.json()["sentiment"]["label"].as_str()),
        (201, Some("positive")),
        "{}",
        review.text()
    );
    assert_eq!(titles(&found(&server, "/v1/items:search?filter=sentiment%20%3E%200.1", 1)), ["Up"]);
    // The same words in the filter of a list, where the review is also a part of the score.
    let praised = json!({"filter": "sentiment > 0.1 and review_count == 1", "explain": true});
    let list = listed(&server, &praised);
    assert_eq!((list.as_array().unwrap().len(), &list[0]["item_id"]), (1, &json!("2")));
    let contributions = list[0]["explain"]["contributions"].as_array().unwrap();
    let share = contributions.iter().find(|share| share["name"] == "sentiment").unwrap();
    assert!(share["value"].as_f64().unwrap() > 0.0, "{list}");
    let id = review.json()["id"].as_str().unwrap().to_owned();
    let hidden = ask(&server, "PATCH", &format!("/v1/items/2/reviews/{id}"), &json!({"hidden": true}));
    assert_eq!((hidden.status, hidden.json()["hidden"].as_bool()), (200, Some(true)));
    found(&server, "/v1/items:search?filter=review_count%20%3E%200", 0);

    let key = server.key().to_owned();
    let mut again = Server::start_in(server.stop(), &[]);
    again.key = Some(key);
    assert_eq!(titles(&found(&again, "/v1/items:search?q=a%20house%20in%20the%20air&mode=hybrid", 2))[0], "Up");
    assert_eq!(ask(&again, "DELETE", "/v1/items/2", &Value::Null).status, 204);
    assert_eq!(ask(&again, "GET", "/v1/items/2", &Value::Null).status, 404);
    found(&again, "/v1/items:search?q=house", 0);
}

#[test]
fn files_go_to_and_come_from_presigned_addresses() {
    let server = Server::start(&[]);
    assert_eq!(ask(&server, "PUT", "/v1/items/a", &json!({"title": "a"})).status, 201);
    let place = ask(&server, "POST", "/v1/items/a/assets", &json!({"name": "poster.txt"}));
    assert_eq!(place.status, 201, "{}", place.text());
    let url = place.json()["url"].as_str().unwrap().to_owned();
    let path = url.strip_prefix(&format!("http://{}", server.address)).expect("it leads here").to_owned();
    let put = http::call(server.address, "PUT", &path, None, "a picture").unwrap();
    assert_eq!(put.status, 204, "{}", put.text());
    assert_eq!(http::get(server.address, &path).status, 403, "an address for putting does not read");
    let assets = ask(&server, "GET", "/v1/items/a/assets", &Value::Null).json();
    let url = assets["assets"][0]["url"].as_str().unwrap();
    let path = url.strip_prefix(&format!("http://{}", server.address)).unwrap();
    let read = http::get(server.address, path);
    assert_eq!((read.status, read.text().as_str()), (200, "a picture"));
    assert_eq!(http::call(server.address, "PUT", path, None, "x").unwrap().status, 403);
    assert_eq!(http::get(server.address, "/v1/objects/AAAA").status, 403);
    assert_eq!(ask(&server, "DELETE", "/v1/items/a/assets/poster.txt", &Value::Null).status, 204);
    assert_eq!(http::get(server.address, path).status, 404);
}

#[test]
fn faults_of_items_are_told_by_the_table() {
    let server = Server::start(&[]);
    assert_eq!(ask(&server, "PUT", "/v1/items/a", &json!({"title": "a", "attributes": {"n": 1}})).status, 201);
    let long = format!("/v1/items/{}", "x".repeat(300));
    for (method, path, body, status, pointer) in [
        ("PUT", "/v1/items/a", json!({"title": "a", "attributes": {"n": "1"}}), 422, Some("/attributes/n")),
        ("PUT", "/v1/items/a", json!({"title": "a", "hiden": true}), 422, Some("/hiden")),
        ("PUT", "/v1/items/a", json!({}), 422, Some("/title")),
        ("PUT", "/v1/items/a%0A", json!({"title": "a"}), 422, Some("")),
        ("PUT", &long, json!({"title": "a"}), 422, Some("")),
        ("PATCH", "/v1/items/a", json!({"title": null}), 422, Some("/title")),
        ("PATCH", "/v1/items/nobody", json!({}), 404, None),
        ("GET", "/v1/items/nobody", Value::Null, 404, None),
        ("DELETE", "/v1/items/nobody", Value::Null, 404, None),
        ("GET", "/v1/items:search?filter=n%20%3E", Value::Null, 422, Some("/filter")),
        ("GET", "/v1/items:search?colour=red", Value::Null, 422, Some("/colour")),
        ("GET", "/v1/items:search?k=many", Value::Null, 422, Some("/k")),
        ("PUT", "/v1/items/%ff", json!({"title": "a"}), 400, None),
        ("GET", "/v1/items:search?cursor=..%2F..", Value::Null, 422, Some("/cursor")),
        ("PUT", "/v1/items:schema", json!({"attributes": {"n": "time"}}), 409, Some("/attributes/n")),
        ("PUT", "/v1/items:schema", json!({"attributes": {"x": "colour"}}), 422, Some("/attributes/x")),
        ("POST", "/v1/items:batch", json!({"items": vec![json!({}); 1_001]}), 422, Some("/items")),
        ("POST", "/v1/items/a/reviews", json!({"text": ""}), 422, Some("/text")),
        ("POST", "/v1/items/nobody/reviews", json!({"text": "fine"}), 404, None),
        ("POST", "/v1/items/a/assets", json!({"name": "../x"}), 422, Some("/name")),
        ("POST", "/v1/items/a", json!({"title": "a"}), 405, None),
    ] {
        let answer = ask(&server, method, path, &body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        if let Some(pointer) = pointer {
            assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{method} {path}: {}", answer.text());
        }
    }
    assert_eq!(ask(&server, "GET", "/v1/items/a", &Value::Null).status, 200, "it serves as ever");
}
