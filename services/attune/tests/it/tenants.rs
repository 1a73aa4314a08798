//! A tenant comes, keeps something in every store, and is deleted: nothing of it is left on the disk but the line that says
//! that it was.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::{self, Answer};
use crate::server::Server;

/// Far more than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// What stands in everything of the tenant and nowhere else.
const MARK: &str = "zebrafinch";

fn ask(server: &Server, method: &str, path: &str, key: &str, body: Value) -> Answer {
    let answer = http::call(server.address, method, path, Some(key), &body.to_string()).unwrap();
    assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
    answer
}

fn tenant(server: &Server, name: &str) -> String {
    ask(server, "PUT", &format!("/v1/tenants/{name}"), server.key(), json!({"title": MARK}));
    let spec = json!({"title": MARK, "scopes": ["admin"]});
    let made = ask(server, "POST", &format!("/v1/api-keys?tenant={name}"), server.key(), spec);
    made.json()["secret"].as_str().unwrap().to_owned()
}

/// Something in every store.
fn fill(server: &Server, key: &str) {
    ask(server, "PUT", "/v1/items/film", key, json!({"title": MARK, "text": MARK, "attributes": {"owner": MARK}}));
    ask(server, "POST", "/v1/items/film/reviews", key, json!({"text": format!("wonderful {MARK}")}));
    let place = ask(server, "POST", "/v1/items/film/assets", key, json!({"name": MARK})).json();
    let url = place["url"].as_str().unwrap().to_owned();
    let put = http::call(server.address, "PUT", &url[url.find("/v1/").unwrap()..], None, MARK).unwrap();
    assert!(put.status < 300, "{}", put.text());
    ask(server, "PUT", "/v1/users/ann", key, json!({"attributes": {"owner": MARK}}));
    let event = |kind: &str| json!({"type": kind, "user_id": "ann", "item_id": "film", "surface": MARK});
    ask(server, "POST", "/v1/events", key, json!({"events": [event("click"), event("BAD")]}));
    ask(server, "POST", "/v1/recommend", key, json!({"user_id": "ann", "k": 3}));
    let begun = Instant::now();
    while ask(server, "GET", &format!("/v1/items:search?q={MARK}"), key, json!({})).json()["matches"] != 1 {
        assert!(begun.elapsed() < PATIENCE, "the item is not found");
        thread::sleep(Duration::from_millis(50));
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The files that hold the mark, or are of the tenant's lists. SQLite's are left out: it writes over what it has freed when
/// it needs the room.
fn traces(folder: &Path, name: &str) -> Vec<PathBuf> {
    let has = |path: &PathBuf| {
        let is_database = path.file_name().is_some_and(|name| name.to_string_lossy().contains(".db"));
        let bytes = if is_database { Vec::new() } else { fs::read(path).unwrap_or_default() };
        let below = path.strip_prefix(folder).unwrap();
        bytes.windows(MARK.len()).any(|window| window == MARK.as_bytes())
            || below.to_string_lossy().contains("recommendation") && below.iter().any(|part| part == name)
    };
    files(folder).into_iter().filter(has).collect()
}

#[test]
fn a_deleted_tenant_leaves_nothing_in_any_store() {
    let server = Server::start(&[]);
    let (alpha, beta) = (tenant(&server, "alpha"), tenant(&server, "beta"));
    fill(&server, &alpha);
    ask(&server, "PUT", "/v1/items/film", &beta, json!({"title": "of beta"}));
    let answer = ask(&server, "DELETE", "/v1/tenants/alpha", server.key(), json!({}));
    assert_eq!(answer.status, 202, "{}", answer.text());
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(http::call(server.address, "GET", "/v1/items/film", Some(&alpha), "").unwrap().status, 401);

    // Whatever happens on the way, the job goes on.
    let key = server.key().to_owned();
    let mut server = Server::start_in(server.kill(), &[]);
    server.key = Some(key);
    let begun = Instant::now();
    let job = loop {
        let job = ask(&server, "GET", &format!("/v1/jobs/{id}"), server.key(), json!({})).json();
        if job["ended"].is_string() {
            break job;
        }
        assert!(begun.elapsed() < PATIENCE, "{job}");
        thread::sleep(Duration::from_millis(100));
    };
    assert_eq!((&job["status"], &job["report"]["tenant"]), (&json!("done"), &json!("alpha")), "{job}");
    let lines = job["report"]["stores"].as_array().unwrap();
    for store in ["documents", "search", "events", "objects", "cache", "relational"] {
        assert!(lines.iter().any(|line| line["store"] == store), "{store}: {job}");
    }
    eprintln!("{}", job["report"]);
    assert_eq!(ask(&server, "GET", "/v1/items/film", &beta, json!({})).json()["title"], "of beta");
    let again = http::call(server.address, "PUT", "/v1/tenants/alpha", Some(server.key()), r#"{"title":"a"}"#).unwrap();
    assert_eq!(again.status, 409, "the name is not given away again: {}", again.text());
    let log = ask(&server, "GET", "/v1/audit?tenant=alpha", server.key(), json!({})).json();
    assert_eq!(log["entries"][0]["action"], "tenant.delete");
    let folder = server.stop();
    assert_eq!(traces(&folder.path().join("data"), "alpha"), Vec::<PathBuf>::new());
}
