//! `attune evaluate --protocol off-policy` with the real binary: on logs of a real shop, where the truth is known, and on
//! files of one's own.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::score::said;
use crate::server::{models, run};

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
    let fine = write("fine.csv", "item_id,propensity,reward\na,1,0\n");
    let other = write("other.csv", "item_id,chance\nz,1\n");
    assert!(wrong(&fine, &other).contains("would have shown nothing"), "{}", wrong(&fine, &other));
    assert!(wrong(&write("none.csv", "item_id,propensity,reward\n"), "uniform").contains("no rows"));
    let data = folder.path().to_str().unwrap();
    let missing = run(&["evaluate", "--data", data, "--protocol", "off-policy"]);
    assert!(said(&missing).contains("attune models pull open-bandit"), "{}", said(&missing));
}
