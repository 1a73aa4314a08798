//! `attune evaluate --protocol off-policy` with the real binary: on logs of a real shop, where the truth is known, on
//! files of one's own, and on what a server has served.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http;
use crate::score::said;
use crate::server::{Server, models, run};

/// Open Bandit Pipeline's own figure for Thompson sampling by the log of the uniform policy, campaign `all`, by inverse
/// propensities and relative to what was logged: README of obp 0.4.1.
const PUBLISHED: f64 = 1.198_126;

fn evaluate(data: &Path, flags: &[&str]) -> (String, Vec<Value>) {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("out.json");
    let fixed = ["evaluate", "--data", data.to_str().unwrap(), "--json", json.to_str().unwrap()];
    let output = run(&[&fixed[..], &["--protocol", "off-policy"], flags].concat());
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (text, serde_json::from_slice(&fs::read(&json).unwrap()).unwrap())
}

fn interval(value: &Value) -> (f64, f64, f64) {
    let part = |name: &str| value[name].as_f64().unwrap();
    (part("mean"), part("low"), part("high"))
}

#[test]
fn each_of_two_policies_is_judged_rightly_by_the_log_of_the_other() {
    let models = models();
    let folder = models.join("open-bandit");
    assert!(folder.is_dir(), "{} is missing: run `make models` first", folder.display());
    let (text, judged) = evaluate(models.parent().unwrap(), &[]);
    assert_eq!(judged.len(), 6, "{text}");
    for one in &judged {
        let estimates = &one["estimates"];
        assert_eq!(estimates["rows"], 10_000);
        let (_, truth_low, truth_high) = interval(&one["truth"]);
        for estimator in ["ips", "snips", "doubly_robust"] {
            let (_, low, high) = interval(&estimates[estimator]);
            assert!(low <= truth_high && truth_low <= high, "{estimator} is beyond chance: {one}");
        }
    }
    let thompson = &judged[0];
    assert!(thompson["name"].as_str().unwrap().contains("all: Thompson sampling"), "{thompson}");
    let relative = interval(&thompson["estimates"]["ips"]).0 / interval(&thompson["estimates"]["logged"]).0;
    // Theirs and ours each count chances in 100,000 draws, of which the sum is known to about half a hundredth.
    assert!((relative / PUBLISHED - 1.0).abs() < 0.02, "{relative}, {PUBLISHED} published");
}

#[test]
fn files_of_ones_own_are_judged_and_bad_ones_named() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    // `a` is shown nine times of ten and clicked once in nine; `b` is always clicked.
    let mut rows = String::from("what,propensity,reward\n");
    for number in 0..1_000 {
        let row =
            if number % 10 == 0 { "b,0.1,1\n".to_owned() } else { format!("a,0.9,{}\n", u8::from(number % 10 == 1)) };
        rows.push_str(&row);
    }
    let rows = write("rows.csv", &rows);
    let policy = write("policy.jsonl", "{\"item_id\": \"b\", \"chance\": 1}\n");
    let all = ["--rows", &rows, "--map", "item_id=what"];
    // The map is of the rows; the policy's file has our own names.
    let (text, judged) = evaluate(folder.path(), &[&all[..], &["--policy", &policy]].concat());
    let turned = write("turned.csv", "sku,p\nb,1\n");
    let its_own = ["--policy", &turned, "--policy-map", "item_id=sku", "--policy-map", "chance=p"];
    let (_, again) = evaluate(folder.path(), &[&all[..], &its_own].concat());
    assert_eq!(again[0]["estimates"], judged[0]["estimates"]);
    let estimates = &judged[0]["estimates"];
    assert!((interval(&estimates["snips"]).0 - 1.0).abs() < 1e-9, "{text}");
    assert!((interval(&estimates["ips"]).0 - 1.0).abs() < 1e-9 && judged[0]["truth"].is_null(), "{text}");
    let (_, judged) = evaluate(folder.path(), &all);
    assert!((interval(&judged[0]["estimates"]["ips"]).0 - 5.0 / 9.0).abs() < 1e-9, "uniform");

    let wrong = |rows: &str, policy: &str| {
        let data = folder.path().to_str().unwrap();
        let output = run(&["evaluate", "--data", data, "--protocol", "off-policy", "--rows", rows, "--policy", policy]);
        assert!(!output.status.success());
        said(&output)
    };
    let zero = write("zero.csv", "item_id,propensity,reward\na,1,0\nb,0,1\n");
    assert!(wrong(&zero, "uniform").contains("row 2: propensity 0 is not above 0"), "{}", wrong(&zero, "uniform"));
    let tiny = write("tiny.csv", "item_id,propensity,reward\na,1,0\na,1e-300,1\n");
    assert!(wrong(&tiny, "uniform").contains("row 2 would weigh "), "{}", wrong(&tiny, "uniform"));
    let fine = write("fine.csv", "item_id,propensity,reward\na,1,0\n");
    let other = write("other.csv", "item_id,chance\nz,1\n");
    let told = wrong(&fine, &turned);
    assert!(told.contains("with --policy-map item_id=COLUMN"), "{told}");
    assert!(wrong(&fine, &other).contains("would have shown nothing"), "{}", wrong(&fine, &other));
    assert!(wrong(&write("none.csv", "item_id,propensity,reward\n"), "uniform").contains("no rows"));
    let data = folder.path().to_str().unwrap();
    let missing = run(&["evaluate", "--data", data, "--protocol", "off-policy"]);
    assert!(said(&missing).contains("attune models pull open-bandit"), "{}", said(&missing));
}

/// Films of a small cinema, and of these the first ones, which everybody clicks on who is shown one.
const FILMS: (usize, usize) = (10, 3);
const LISTS: usize = 600;

/// The chance of the first of two arms, which make lists in the same way.
const FIRST_ARM: f64 = 0.75;

/// A server that shows the best half of the time, and otherwise any of the films.
fn exploring() -> Server {
    let server = Server::start(&[]);
    let key = server.key();
    let film = |number: usize| json!({"id": format!("film-{number}"), "title": format!("Film {number}")});
    let films = json!({"items": (0..FILMS.0).map(film).collect::<Vec<_>>()});
    assert_eq!(http::post(server.address, "/v1/items:batch", key, &films).status, 200);
    let epsilon = json!({"epsilon": {"epsilon": 0.5, "pool": FILMS.0}});
    let spec = json!({"spec": {"sources": [{"source": "latest"}], "exploration": epsilon}});
    let start = Instant::now();
    // The sources are there as soon as the server has read what there is.
    while http::call(server.address, "PUT", "/v1/pipelines/home", Some(key), &spec.to_string()).unwrap().status >= 300 {
        assert!(start.elapsed() < Duration::from_secs(120), "the pipeline is not taken");
        thread::sleep(Duration::from_millis(50));
    }
    let whole = json!({"k": 100, "pipeline": "home"});
    while http::post(server.address, "/v1/recommend", key, &whole).json()["items"].as_array().map(Vec::len)
        != Some(FILMS.0)
    {
        assert!(start.elapsed() < Duration::from_secs(120), "not all films are shown");
        thread::sleep(Duration::from_millis(50));
    }
    let put = |path: &str, spec: &Value| http::call(server.address, "PUT", path, Some(key), &spec.to_string()).unwrap();
    assert_eq!(put("/v1/pipelines/home-too", &spec).status, 201);
    let arm = |name: &str, share: f64| json!({"name": name, "share": share, "pipeline": name});
    let arms = json!([arm("home", FIRST_ARM), arm("home-too", 1.0 - FIRST_ARM)]);
    assert_eq!(put("/v1/experiments/same", &json!({"spec": {"pipeline": "home", "arms": arms}})).status, 201);
    let is_second = |user: usize| {
        let ask = json!({"user_id": format!("early-{user}"), "pipeline": "home"});
        http::post(server.address, "/v1/recommend", key, &ask).json()["pipeline"] == "home-too"
    };
    while !(0..20).any(is_second) {
        assert!(start.elapsed() < Duration::from_secs(120), "the experiment is not carried out");
        thread::sleep(Duration::from_millis(50));
    }
    server
}

/// Everybody asks once, and clicks on what he likes; how many did.
fn visitors(server: &Server) -> usize {
    let key = server.key();
    let mut clicks = Vec::new();
    for visitor in 0..LISTS {
        let ask = json!({"user_id": format!("visitor-{visitor}"), "k": 1, "pipeline": "home",
                         "context": {"surface": "front"}});
        let list = http::post(server.address, "/v1/recommend", key, &ask).json();
        let item = list["items"][0]["item_id"].as_str().unwrap();
        if (0..FILMS.1).any(|liked| item == format!("film-{liked}")) {
            clicks.push(json!({"type": "click", "user_id": format!("visitor-{visitor}"), "item_id": item,
                               "request_id": list["request_id"]}));
        }
    }
    assert_eq!(http::post(server.address, "/v1/events", key, &json!({ "events": clicks })).status, 202);
    clicks.len()
}

#[test]
fn what_a_server_has_served_is_exported_and_judges_a_policy_that_never_was() {
    let server = exploring();
    let clicks = visitors(&server);
    let folder = server.stop();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let data = at("data");
    let export = |file: &str, flags: &[&str]| {
        let output = run(&[&["export", "lists", file, "--data", &data], flags].concat());
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    let (parquet, lines) = (at("shown.parquet"), at("shown.jsonl"));
    let told = export(&parquet, &["--surface", "front"]);
    assert!(told.contains(&format!("{LISTS} positions, {clicks} of them rewarded")), "{told}");
    export(&lines, &["--surface", "front"]);
    let first = at("first.jsonl");
    export(&first, &["--surface", "front", "--pipeline", "home"]);
    let rows = |file: &str| -> Vec<Value> {
        fs::read_to_string(file).unwrap().lines().map(|row| serde_json::from_str(row).unwrap()).collect()
    };
    for row in rows(&lines) {
        let chance = if row["arm"] == "home" { FIRST_ARM } else { 1.0 - FIRST_ARM };
        assert_eq!((row["arm_chance"].as_f64(), &row["arm"]), (Some(chance), &row["pipeline"]), "{row}");
    }
    let firsts = rows(&first);
    assert!(firsts.len() < LISTS && firsts.iter().all(|row| row["pipeline"] == "home"), "{}", firsts.len());

    // The same rows, whichever way they are written.
    let (text, judged) = evaluate(folder.path(), &["--rows", &parquet]);
    let (_, again) = evaluate(folder.path(), &["--rows", &lines]);
    let estimates = &judged[0]["estimates"];
    let (one, other) = (interval(&estimates["snips"]).0, interval(&again[0]["estimates"]["snips"]).0);
    assert!((one - other).abs() < 1e-6, "{one} {other}: {text}");
    let logged = interval(&estimates["logged"]).0;
    assert!((logged - clicks as f64 / LISTS as f64).abs() < 1e-9, "{logged}: {clicks} clicks");
    // A policy that shows all films alike would have had three clicks in ten lists. Of 600 lists that is known to 0.03.
    let truth = FILMS.1 as f64 / FILMS.0 as f64;
    for estimator in ["snips", "doubly_robust"] {
        let (mean, _, _) = interval(&estimates[estimator]);
        assert!((mean - truth).abs() < 0.2, "{estimator} says {mean}: {text}");
    }
    let chances: String = (0..FILMS.1).map(|liked| format!("film-{liked},{}\n", 1.0 / FILMS.1 as f64)).collect();
    fs::write(at("liked.csv"), format!("item_id,chance\n{chances}")).unwrap();
    let (text, judged) = evaluate(folder.path(), &["--rows", &parquet, "--policy", &at("liked.csv")]);
    assert!((interval(&judged[0]["estimates"]["snips"]).0 - 1.0).abs() < 1e-9, "{text}");

    let refused = |words: &[&str]| {
        let output = run(&[words, &["--data", &data]].concat());
        assert!(!output.status.success());
        said(&output)
    };
    let none = refused(&["export", "lists", &at("none.parquet"), "--surface", "back"]);
    assert!(none.contains("there are no such lists"), "{none}");
    let nobody = refused(&["export", "lists", &at("none.parquet"), "--tenant", "nope"]);
    assert!(nobody.contains("there is no tenant \"nope\""), "{nobody}");
    assert!(refused(&["train", "ease", "--lake", "--tenant", "nope"]).contains("there is no tenant \"nope\""));
    assert!(refused(&["export", "lists", &at("shown.csv")]).contains(".parquet or .jsonl"));
    assert!(!folder.path().join("none.parquet").exists());
    let output = run(&["export", "lists", &at("none.parquet"), "--data", &at("nowhere")]);
    assert!(said(&output).contains("there is no installation"), "{}", said(&output));
    assert!(!folder.path().join("nowhere").exists());
}
