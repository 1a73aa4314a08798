//! The loop as a whole, from the outside: events come in, a recommender is trained on them, and lists are made with it;
//! a worse one stays out, and a command takes one back.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http;
use crate::server::{Server, attune, config, run};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);
const PEOPLE: usize = 30;
const FILMS: usize = 24;

/// One turn for ever, and another with every hundred events. Of so few events the figures of one model vary much.
fn configure(folder: &TempDir, model: &str) {
    let path = config(folder.path());
    let text = fs::read_to_string(&path).unwrap();
    let ours = format!(
        "[lake]\nflush_s = 1\n[trainer]\nmodel = \"{model}\"\nevery_s = 300000000\nevents_new = 100\nevents_min = 100\n\
         worse_max = 0.9\n"
    );
    fs::write(path, format!("{ours}{text}")).unwrap();
}

fn ask(server: &Server, key: &str, path: &str, body: &Value) -> Value {
    let answer = http::post(server.address, path, key, body);
    assert!((200..300).contains(&answer.status), "{path}: {}", answer.text());
    answer.json()
}

/// Two groups of people with a taste each click so many rounds.
fn act(server: &Server, key: &str, rounds: std::ops::Range<usize>) {
    let click = |person: usize, step: usize| {
        let film = 2 * ((person * 5 + step * 7) % (FILMS / 2)) + person % 2;
        let id = format!("{person}-{step}");
        json!({"type": "click", "user_id": format!("p{person}"), "item_id": format!("film-{film}"), "event_id": id})
    };
    let events: Vec<Value> = (0..PEOPLE).flat_map(|one| rounds.clone().map(move |step| click(one, step))).collect();
    let count = events.len();
    assert_eq!(ask(server, key, "/v1/events", &json!({ "events": events }))["accepted"], json!(count));
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn version(server: &Server, key: &str) -> String {
    let list = ask(server, key, "/v1/recommend", &json!({"user_id": "p1", "k": 5}));
    assert!(!list["items"].as_array().unwrap().is_empty(), "{list}");
    list["model_version"].as_str().unwrap().to_owned()
}

/// What the trainer did last, as `/readyz` tells it.
pub fn note(server: &Server) -> String {
    let ready = http::get(server.address, "/readyz").json();
    let lines = ready["background"].as_array().unwrap().clone();
    let trainer = lines.into_iter().find(|line| line["name"] == "trainer").unwrap_or_else(|| panic!("{ready}"));
    assert!(trainer["lag_s"].as_f64().unwrap() < 60.0, "{trainer}");
    trainer["note"].as_str().unwrap_or_default().to_owned()
}

/// What the ranks of each source weigh in the list of somebody, in parts of the largest: what each adds to a score says so.
fn weights(server: &Server, key: &str, person: &str) -> BTreeMap<String, f64> {
    let list = ask(server, key, "/v1/recommend", &json!({"user_id": person, "k": FILMS, "explain": true}));
    let mut weights = BTreeMap::new();
    for item in list["items"].as_array().unwrap() {
        let explained = &item["explain"];
        for said in explained["sources"].as_array().unwrap() {
            let (source, rank) = (said["source"].as_str().unwrap(), said["rank"].as_f64().unwrap());
            let added = explained["contributions"].as_array().unwrap().iter().find(|one| one["name"] == source);
            let weight = added.map_or(0.0, |one| one["value"].as_f64().unwrap() * (60.0 + rank) / 61.0);
            let largest: &mut f64 = weights.entry(source.to_owned()).or_default();
            *largest = largest.max(weight);
        }
    }
    relative(weights)
}

fn relative(mut weights: BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let largest = weights.values().copied().fold(1e-6, f64::max);
    weights.values_mut().for_each(|weight| *weight /= largest);
    weights
}

/// What was learned with a version, by how much is known of a user.
fn learned(server: &Server, version: &str) -> Option<Vec<Value>> {
    let path = server.folder.path().join("data/recommenders").join(version).join("blend.json");
    Some(serde_json::from_slice(&fs::read(path).ok()?).unwrap())
}

/// The lists of somebody of whom so many events are known are made with what was learned with this version.
fn is_made_with(server: &Server, key: &str, version: &str, (person, events): (&str, u64)) {
    let bands = learned(server, version).unwrap_or_else(|| panic!("{version} has no blend"));
    let band = bands.iter().rfind(|band| band["events_min"].as_u64().unwrap() <= events).unwrap();
    let served = weights(server, key, person);
    let learned = served.keys().map(|source| (source.clone(), band["weights"][source].as_f64().unwrap())).collect();
    for (source, weight) in relative(learned) {
        assert!((weight - served[&source]).abs() < 2e-3, "{source} weighs {}, learned was {band}", served[&source]);
    }
}

/// A command over the folder of a server that runs.
fn command(server: &Server, words: &[&str]) -> String {
    let folder = server.folder.path();
    let (config, data) = (folder.join("test.toml"), folder.join("data"));
    let place = ["--config", config.to_str().unwrap(), "--data", data.to_str().unwrap()];
    let output = run(&[words, &place].concat());
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn lists_follow_what_is_trained_and_a_worse_or_unwanted_version_goes() {
    let folder = tempfile::tempdir().unwrap();
    configure(&folder, "ease");
    let server = Server::start_in(folder, &[]);
    let key = server.key().to_owned();
    let film = |number: usize| json!({"id": format!("film-{number}"), "title": format!("Film {number}")});
    ask(&server, &key, "/v1/items:batch", &json!({"items": (0..FILMS).map(film).collect::<Vec<_>>()}));
    until("the films can be shown", || {
        let list = ask(&server, &key, "/v1/recommend", &json!({"k": 100}));
        list["items"].as_array().unwrap().len() == FILMS
    });
    act(&server, &key, 0..5);

    // Somebody asks all the time: that a version is taken over costs nobody an answer.
    let (address, stop) = (server.address, Arc::new(AtomicBool::new(false)));
    let asking = {
        let (key, stop) = (key.clone(), Arc::clone(&stop));
        thread::spawn(move || {
            let mut answers = 0;
            while !stop.load(Ordering::Relaxed) {
                let answer = http::post(address, "/v1/recommend", &key, &json!({"user_id": "p2", "k": 5}));
                assert_eq!(answer.status, 200, "{}", answer.text());
                answers += 1;
            }
            answers
        })
    };
    until("the first version is in service", || version(&server, &key).starts_with("trained-default/"));
    let first = version(&server, &key);
    assert!(note(&server).contains("promoted"), "{}", note(&server));
    let metrics = http::get(server.address, "/metrics").text();
    for needed in ["attune_trainer_runs_total{outcome=\"promoted\"} 1", "attune_background_lag_seconds{name=\"lists\"}"]
    {
        assert!(metrics.contains(needed), "{needed}: {metrics}");
    }
    let explained = ask(&server, &key, "/v1/recommend", &json!({"user_id": "p1", "k": 5, "explain": true}));
    assert!(explained["sources"]["model"].as_f64().is_some_and(|share| share > 0.0), "{explained}");
    is_made_with(&server, &key, &first, ("p1", 5));
    act(&server, &key, 5..9);
    until("the second version is in service", || version(&server, &key) != first);
    let second = version(&server, &key);
    is_made_with(&server, &key, &second, ("p1", 9));
    stop.store(true, Ordering::Relaxed);
    assert!(asking.join().unwrap() > 0);

    let folder = server.stop();
    configure(&folder, "popular");
    let server = Server::start_in(folder, &[]);
    act(&server, &key, 9..13);
    until("another model is judged", || note(&server).contains("refused"));
    let told = note(&server);
    assert!(told.contains("it is worse: ndcg@10 of user-90-10: ") && told.contains("of the one in service "), "{told}");
    assert_eq!(version(&server, &key), second);

    assert!(command(&server, &["recommenders", "rollback"]).contains(&first));
    until("the first version is in service again", || version(&server, &key) == first);
    // Whoever has met all that suits him hears less of the sources than somebody who has just come.
    let click = |film: usize| json!({"type": "click", "user_id": "new", "item_id": format!("film-{film}")});
    ask(&server, &key, "/v1/events", &json!({"events": [click(1), click(7), click(13)]}));
    is_made_with(&server, &key, &first, ("new", 3));
    let listed = command(&server, &["recommenders", "list"]);
    assert!(listed.contains(&first) && listed.contains(&second), "{listed}");
    // By hand, beside the server: the same lake, and the same gate.
    let folder = command(&server, &["train", "ease", "--lake"]);
    assert!(folder.contains("data/recommenders/ease/"), "{folder}");
    assert!(command(&server, &["recommenders", "promote", "ease", "--force"]).contains("in service"));
    until("the version that was made by hand is in service", || version(&server, &key).starts_with("ease/"));
    let by_hand = version(&server, &key);
    assert!(learned(&server, &by_hand).is_some(), "by hand, too");
    is_made_with(&server, &key, &by_hand, ("new", 3));
    command(&server, &["recommenders", "rollback"]);
    until("a version of the trainer's is in service again", || version(&server, &key) == first);
    is_made_with(&server, &key, &first, ("new", 3));
}

#[test]
fn a_trainer_that_cannot_be_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    configure(&folder, "svd");
    let path = folder.path().join("test.toml");
    let output = attune(&["serve", "--config", path.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("trainer.model") && said.contains("svd"), "{said}");
}
