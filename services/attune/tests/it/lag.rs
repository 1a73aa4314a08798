//! What stands still in the background is seen from the outside, though every request is answered.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http;
use crate::server::{Server, config};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// By how many seconds something is behind, as `/readyz` and `/metrics` tell it.
fn lags(server: &Server, name: &str) -> (f64, f64) {
    let answer = http::get(server.address, "/readyz");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let ready = answer.json();
    let line = line_of(&ready, name);
    let metrics = http::get(server.address, "/metrics").text();
    let figure = format!("attune_background_lag_seconds{{name=\"{name}\"}} ");
    let metric = metrics.lines().find_map(|line| line.strip_prefix(&figure)).unwrap_or_else(|| panic!("{metrics}"));
    (line["lag_s"].as_f64().unwrap(), metric.parse().unwrap())
}

fn line_of<'r>(ready: &'r Value, name: &str) -> &'r Value {
    let lines = ready["background"].as_array().unwrap();
    lines.iter().find(|line| line["name"] == name).unwrap_or_else(|| panic!("{ready}"))
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Fault 30 of the list: a consumer that does not come on any more.
#[test]
fn a_consumer_that_stands_still_falls_behind_and_catches_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path());
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, format!("[lake]\nflush_s = 1\n{text}")).unwrap();
    let server = Server::start_in(folder, &[]);
    let view = |id: &str| {
        let events = json!({"events": [{"type": "view", "user_id": "ann", "item_id": "i-1", "event_id": id}]});
        assert_eq!(http::post(server.address, "/v1/events", server.key(), &events).status, 202);
    };
    view("one");
    let manifest = server.folder.path().join("data/stores/objects/default/data/+lake/=manifest.json");
    until("the lake is written", || manifest.is_file());
    for name in ["lists", "lake", "content", "erasures", "trainer"] {
        until("everything is up to date", || lags(&server, name).0 < 5.0);
    }
    for name in ["lists", "lake"] {
        let ready = http::get(server.address, "/readyz").json();
        let line = line_of(&ready, name);
        assert!(line.get("starting").is_none() && line["records"].as_u64() >= Some(1), "{ready}");
    }
    // A folder where the manifest was: no commit can succeed.
    let aside = manifest.with_extension("aside");
    fs::rename(&manifest, &aside).unwrap();
    fs::create_dir(&manifest).unwrap();
    view("two");
    until("the lake falls behind", || {
        let (ready, metric) = lags(&server, "lake");
        ready > 6.0 && metric > 6.0
    });
    assert!(lags(&server, "lists").0 < 6.0, "the others go on");
    fs::remove_dir(&manifest).unwrap();
    fs::rename(&aside, &manifest).unwrap();
    until("the lake catches up", || lags(&server, "lake").0 < 3.0);
}
