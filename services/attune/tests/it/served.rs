//! `attune evaluate --served` with the real binary: a server is told a part of what happened, and asked for the rest.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::score::said;
use crate::server::{config, run};

const PEOPLE: usize = 48;
const FILMS: usize = 60;
const GROUPS: usize = 4;

/// Four groups of people, each with films of its own, of which everybody has clicked twelve of fifteen.
fn write_events(path: &Path) {
    let click = |person: usize, step: usize| {
        let film = GROUPS * ((person / GROUPS + step * 4) % (FILMS / GROUPS)) + person % GROUPS;
        format!("p{person},film-{film},click,,{}\n", 1_700_000_000 + step * 1_000 + person)
    };
    let lines: String = (0..PEOPLE).flat_map(|person| (0..12).map(move |step| click(person, step))).collect();
    fs::write(path, format!("user_id,item_id,type,value,timestamp\n{lines}")).unwrap();
}

fn ndcg(outcome: &Value) -> f64 {
    let users = outcome["groups"][0]["users"].as_array().unwrap();
    users.iter().map(|user| user["metrics"]["ndcg"].as_f64().unwrap()).sum::<f64>() / users.len() as f64
}

#[test]
fn a_server_that_is_told_a_part_lists_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let (config, events) = (config(folder.path()), folder.path().join("events.csv"));
    write_events(&events);
    let evaluate = |protocol: &str, flags: &[&str]| {
        let (config, events) = (config.to_str().unwrap(), events.to_str().unwrap());
        let fixed = ["evaluate", "--protocol", protocol, "--config", config, "--events", events];
        run(&[&fixed[..], flags].concat())
    };
    let json = ["served", "offline"].map(|name| folder.path().join(format!("{name}.json")));
    let [served, offline] = [0, 1].map(|at| json[at].to_str().unwrap());
    let model = ["--model", "ease", "--seeds", "2"];
    let output = evaluate("user-90-10", &[&["--served", "--json", served], &model[..]].concat());
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("asked over REST") && text.contains("ndcg@10") && text.contains("mean of 2 splits"),
        "{text}"
    );
    let output = evaluate("user-90-10", &[&["--json", offline], &model[..]].concat());
    assert!(output.status.success(), "{}", said(&output));

    let read = |path: &str| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap();
    let results = [served, offline].map(read);
    for (result, is_served) in results.iter().zip([true, false]) {
        assert_eq!((&result["protocol"], &result["model"]), (&json!("user-90-10"), &json!("ease")));
        assert_eq!(
            (&result["served"], &result["means"][0]["figures"][0]["metric"]),
            (&json!(is_served), &json!("ndcg@10"))
        );
    }
    let [served_outcomes, offline_outcomes] = results.map(|mut result| match result["splits"].take() {
        Value::Array(splits) => splits,
        other => panic!("{other}"),
    });
    assert_eq!(
        (served_outcomes.len(), served_outcomes[0]["groups"][0]["users"].as_array().unwrap().len()),
        (2, PEOPLE)
    );
    for (served, offline) in served_outcomes.iter().zip(&offline_outcomes) {
        // Four films of his group are left, and one of them is right; of all films one of 49 is.
        assert!(ndcg(served) > 0.4 && ndcg(served) > ndcg(offline) - 0.2, "{} {}", ndcg(served), ndcg(offline));
    }
    assert_ne!(served_outcomes[0]["groups"], served_outcomes[1]["groups"], "each split has a server of its own");
    let compared = run(&["evaluate", "--compare", offline, served]);
    assert!(compared.status.success(), "{}", said(&compared));

    let cold = evaluate("users-cold", &["--served"]);
    assert!(!cold.status.success() && said(&cold).contains("use user-90-10"), "{}", said(&cold));
}
