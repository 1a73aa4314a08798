//! A service of the user's own, over the wire on both sides: asked by the real binary while it makes lists, and left out
//! while it is away.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::{self, Answer};
use crate::server::{Server, config};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Well,
    Ill,
    Silent,
}

/// Proposes the last tea, or gives scores by number. A thread a connection, a call a connection.
struct Service {
    address: SocketAddr,
    mood: Arc<Mutex<Mood>>,
    /// Heads and bodies of what it was asked.
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Service {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (mood, asked) = (Arc::new(Mutex::new(Mood::Well)), Arc::<Mutex<Vec<_>>>::default());
        let service = Self { address, mood: mood.clone(), asked: asked.clone() };
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (mood, asked) = (*mood.lock().unwrap(), asked.clone());
                thread::spawn(move || serve(stream, mood, &asked));
            }
        });
        service
    }

    fn feels(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn asked(&self) -> Vec<(String, Value)> {
        self.asked.lock().unwrap().clone()
    }
}

/// A client that has hung up is none of the service's business: hence no complaint.
fn serve(mut stream: TcpStream, mood: Mood, asked: &Mutex<Vec<(String, Value)>>) -> Option<()> {
    let mut raw = Vec::new();
    let (head, body) = loop {
        let mut part = [0; 4_096];
        let count = stream.read(&mut part).ok().filter(|count| *count > 0)?;
        raw.extend_from_slice(&part[..count]);
        let Some(end) = raw.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(raw[..end].to_vec()).ok()?.to_ascii_lowercase();
        let length: usize = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse().ok()?;
        if raw.len() >= end + 4 + length {
            break (head, serde_json::from_slice::<Value>(&raw[end + 4..]).ok()?);
        }
    };
    asked.lock().unwrap().push((head, body.clone()));
    let items = match body["item_ids"].as_array() {
        None => {
            json!([{"item_id": "tea-19", "score": 2.5, "reason": "picked by hand"}, {"item_id": "coffee", "score": 9}])
        }
        Some(ids) => {
            let number = |id: &Value| id.as_str().unwrap().trim_start_matches("tea-").parse::<i64>().unwrap();
            ids.iter().map(|id| json!({"item_id": id, "score": -number(id)})).collect()
        }
    };
    let (status, body) = match mood {
        Mood::Well => ("200 OK", json!({ "items": items }).to_string()),
        Mood::Ill => ("500 Oh", "secret".to_owned()),
        Mood::Silent => {
            thread::sleep(PATIENCE);
            return None;
        }
    };
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}").ok()
}

fn start(service: &Service) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let (path, token) = (config(folder.path()), folder.path().join("token"));
    std::fs::write(&token, "s3cret\n").unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let hosts = format!(
        "[[outside.hosts]]\norigin = \"http://{}\"\ntoken_file = '{}'\n",
        service.address,
        token.to_str().unwrap()
    );
    std::fs::write(&path, format!("{hosts}{text}")).unwrap();
    Server::start_in(folder, &[])
}

fn define(server: &Server, spec: Value) -> Answer {
    let body = json!({ "spec": spec }).to_string();
    http::call(server.address, "PUT", "/v1/pipelines/mine", Some(server.key()), &body).unwrap()
}

fn ask(server: &Server) -> Value {
    let body = json!({"user_id": "ann", "k": 5, "pipeline": "mine", "explain": true, "context": {"surface": "home"}});
    let answer = http::post(server.address, "/v1/recommend", server.key(), &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn note<'l>(list: &'l Value, code: &str) -> Option<&'l str> {
    list["notes"].as_array().unwrap().iter().find(|note| note["code"] == code)?["detail"].as_str()
}

#[test]
fn a_service_of_the_users_own_joins_in_and_is_missed_without_harm() {
    let service = Service::start();
    let server = start(&service);
    let tea = |number: usize| json!({"id": format!("tea-{number}"), "title": format!("Tea {number}")});
    let items: Vec<Value> = (0..20).map(tea).collect();
    let put = http::post(server.address, "/v1/items:batch", server.key(), &json!({ "items": items }));
    assert_eq!(put.status, 200, "{}", put.text());
    let url = |path: &str| format!("http://{}{path}", service.address);
    let spec = |ours: String| {
        json!({
            "sources": [{"source": "latest"}, {"source": "ours"}, {"source": "judge"}],
            "blend": {"ranks": {"weights": {"latest": 0.001, "ours": 0.6, "judge": 0.4}}},
            "outside": {
                "ours": {"url": ours, "timeout_ms": 600_000},
                "judge": {"url": url("/scores"), "task": "score", "timeout_ms": 600_000},
            },
        })
    };
    // Another host is refused, and so is one that looks like it.
    for elsewhere in ["http://169.254.169.254/latest/meta-data", &format!("http://{}@10.0.0.1/", service.address)] {
        let refused = define(&server, spec(elsewhere.to_owned()));
        assert_eq!((refused.status, &refused.json()["errors"][0]["pointer"]), (422, &json!("/spec/outside/ours/url")));
    }
    let made = define(&server, spec(url("/items")));
    assert_eq!(made.status, 201, "{}", made.text());
    let asked = || {
        let body = json!({"user_id": "ann", "pipeline": "mine"});
        http::post(server.address, "/v1/recommend", server.key(), &body)
    };
    until("it is served", || asked().status == 200 && ask(&server)["items"].as_array().unwrap().len() == 5);

    let list = ask(&server);
    assert_eq!((&list["degraded"], &list["items"][0]["item_id"]), (&json!(false), &json!("tea-19")), "{list}");
    assert!(note(&list, "items_unknown").is_some_and(|told| told.starts_with("ours: 1 of")), "{list}");
    let said = list["items"][0]["explain"]["sources"].as_array().unwrap();
    let ours = said.iter().find(|said| said["source"] == "ours").unwrap();
    assert_eq!((&ours["reason"], &ours["detail"]), (&json!("outside"), &json!("picked by hand")));
    let second = &list["items"][1]["item_id"];
    assert_eq!(second, "tea-0", "the service's scores order what it did not propose: {list}");
    let calls = service.asked();
    let told = |path: &str| calls.iter().rfind(|(head, _)| head.starts_with(&format!("post {path} "))).unwrap();
    let (head, body) = told("/items");
    assert!(head.contains("authorization: bearer s3cret"), "{head}");
    assert!(!head.contains(server.key().to_ascii_lowercase().as_str()), "nothing of the caller's");
    assert_eq!((&body["request_id"], &body["user_id"]), (&list["request_id"], &json!("ann")));
    assert_eq!((&body["surface"], &body["k"], &body["tenant"]), (&json!("home"), &json!(100), &json!("default")));
    assert_eq!(told("/scores").1["item_ids"].as_array().unwrap().len(), 20);

    service.feels(Mood::Ill);
    let list = ask(&server);
    assert_eq!((&list["degraded"], list["items"].as_array().unwrap().len()), (&json!(true), 5), "{list}");
    assert_eq!(note(&list, "source_failed"), Some("ours: it answered 500 Internal Server Error"), "{list}");
    until("it is left alone", || note(&ask(&server), "source_failed").is_some_and(|told| told.contains("of its last")));
    let metrics = http::get(server.address, "/metrics").text();
    let origin = format!("origin=\"http://{}\"", service.address);
    assert!(metrics.contains(&format!("attune_outside_calls_total{{{origin},outcome=\"failed\"}}")), "{metrics}");
    assert!(metrics.contains(&format!("attune_outside_breakers_open{{{origin}}} ")), "{metrics}");
    assert!(metrics.contains("attune_store_breaker_open{store=\"relational\""), "{metrics}");

    service.feels(Mood::Well);
    until("it is asked again", || ask(&server)["degraded"] == false);

    // One that says nothing is waited for as long as its caller waits, and not longer.
    service.feels(Mood::Silent);
    let body = json!({"user_id": "ann", "k": 5, "pipeline": "mine"}).to_string();
    let headers = [("x-request-timeout-ms", "8000")];
    let key = Some(server.key());
    let late = http::call_with(server.address, "POST", "/v1/recommend", key, &headers, &body).unwrap();
    assert_eq!(late.status, 200, "{}", late.text());
    let late = late.json();
    assert_eq!(late["items"].as_array().unwrap().len(), 5);
    assert!(note(&late, "source_late").is_some(), "{late}");
}
