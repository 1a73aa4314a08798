//! Attune as `docker/split` starts it: nine processes over the six real servers, and one of them is killed.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{self, Answer};
use crate::server::models;
use crate::servers::Servers;

/// Far more than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(180);
const PROCESSES: u16 = 9;
/// A port that is free, with as many behind it.
fn ports() -> u16 {
    let first = |_| 20_000 + rand::random_range(0..2_000) * 10;
    let is_free = |first: &u16| (*first..first + PROCESSES).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    (0..1_000).map(first).find(is_free).expect("nine free ports")
}

/// All processes. Dropping it stops them.
struct Deployment {
    folder: TempDir,
    variables: Vec<(String, String)>,
    gateway: SocketAddr,
    key: String,
    /// After the processes.
    _servers: Servers,
}

impl Deployment {
    fn start(servers: Servers) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), ports());
        let mut variables = servers.variables.clone();
        variables.extend([
            ("ATTUNE".to_owned(), env!("CARGO_BIN_EXE_attune").to_owned()),
            ("ATTUNE_SPLIT".to_owned(), folder.path().display().to_string()),
            ("ATTUNE_MODELS_DIR".to_owned(), models().display().to_string()),
            ("PORT".to_owned(), port.to_string()),
            ("START_TIMEOUT".to_owned(), PATIENCE.as_secs().to_string()),
        ]);
        let gateway = SocketAddr::from(([127, 0, 0, 1], port));
        let mut deployment = Self { folder, variables, gateway, key: String::new(), _servers: servers };
        let said = deployment.split("start");
        let key = said.split_whitespace().find(|word| word.starts_with("att_"));
        deployment.key = key.unwrap_or_else(|| panic!("no key: {said}")).to_owned();
        deployment
    }

    fn split(&self, verb: &str) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docker/split");
        let done = Command::new(script).arg(verb).envs(self.variables.iter().cloned()).output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "split {verb}: {said}");
        said
    }

    fn pid_file(&self, process: &str) -> PathBuf {
        self.folder.path().join(process).join("pid")
    }

    /// Ends a process as a crash would.
    fn kill(&self, process: &str) {
        let pid = std::fs::read_to_string(self.pid_file(process)).unwrap();
        assert!(Command::new("kill").args(["-KILL", pid.trim()]).status().unwrap().success());
    }

    fn call(&self, method: &str, path: &str, key: &str, body: &Value) -> Answer {
        let answer = http::call(self.gateway, method, path, Some(key), &body.to_string()).unwrap();
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
        answer
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.split("stop");
            return;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docker/split");
        let _ = Command::new(script).arg("stop").envs(self.variables.iter().cloned()).status();
    }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn nine_processes_are_one_server_and_one_list_maker_may_die() {
    const FILMS: usize = 30;
    const CLICKS: usize = 12;
    let Some(servers) = Servers::find() else { return };
    let deployment = Deployment::start(servers);
    let name = format!("t{:016x}", rand::random::<u64>());
    let admin = deployment.key.clone();
    deployment.call("PUT", &format!("/v1/tenants/{name}"), &admin, &json!({"title": "split"}));
    let made = deployment.call(
        "POST",
        &format!("/v1/api-keys?tenant={name}"),
        &admin,
        &json!({"title": "split", "scopes": ["admin"]}),
    );
    let key = made.json()["secret"].as_str().unwrap().to_owned();
    let ask = |method: &str, path: &str, body: Value| deployment.call(method, path, &key, &body).json();

    let film =
        |number: usize| json!({"id": format!("film-{number}"), "title": format!("A film about tea, part {number}")});
    let films: Vec<Value> = (0..FILMS).map(film).collect();
    ask("POST", "/v1/items:batch", json!({ "items": films }));
    until("films are found by words", || ask("GET", "/v1/items:search?q=tea", json!({}))["matches"] == FILMS);
    let list = |user: &str| ask("POST", "/v1/recommend", json!({"user_id": user, "k": FILMS}));
    let shown = |list: &Value| -> BTreeSet<String> {
        list["items"].as_array().unwrap().iter().map(|item| item["item_id"].as_str().unwrap().to_owned()).collect()
    };
    // Both replicas have heard of the tenant, and of all films. Until they have they say so.
    let may_list = || {
        let body = json!({"user_id": "nobody", "k": FILMS}).to_string();
        let answer = http::call(deployment.gateway, "POST", "/v1/recommend", Some(&key), &body).unwrap();
        assert!([200, 503].contains(&answer.status), "{} {}", answer.status, answer.text());
        answer.status == 200 && shown(&answer.json()).len() == FILMS
    };
    until("lists have all films", || (0..10).all(|_| may_list()));

    let click = |number: usize| {
        let event = json!({"type": "click", "user_id": "ann", "item_id": format!("film-{number}")});
        assert_eq!(ask("POST", "/v1/events", json!({"events": [event]}))["accepted"], 1);
        // Whichever of the two answers has it, or says that it may lack it.
        for _ in 0..4 {
            let list = list("ann");
            assert!(list["degraded"] == true || !shown(&list).contains(&format!("film-{number}")), "{number}: {list}");
        }
    };
    (0..CLICKS / 2).for_each(click);
    deployment.kill("recommendation-1");
    (CLICKS / 2..CLICKS).for_each(click);

    let table = ask("POST", "/v1/analytics/timeseries", json!({"interval": "month"}));
    let place = table["columns"].as_array().unwrap().iter().position(|column| column["name"] == "count").unwrap();
    let counted: u64 = table["rows"].as_array().unwrap().iter().map(|row| row[place].as_u64().unwrap()).sum();
    assert_eq!(counted, CLICKS as u64, "{table}");
    ask("POST", "/v1/items/film-1/reviews", json!({"text": "Wonderful."}));
    until("a review is counted", || ask("GET", "/v1/items/film-1", json!({}))["review_count"] == 1);
    // What is left of the tenant in servers that others use, too.
    let gone = http::call(deployment.gateway, "DELETE", &format!("/v1/tenants/{name}"), Some(&admin), "{}").unwrap();
    assert!(gone.status < 300, "{}", gone.text());
}
