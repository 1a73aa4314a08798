//! `attune import items` against the real binary: what is kept, what is refused, and where it goes on.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::http;
use crate::server::{Server, attune};

fn import(server: &Server, file: &Path, more: &[&str]) -> Output {
    let url = format!("http://{}", server.address);
    let fixed = ["import", "items", file.to_str().unwrap(), "--url", &url, "--key", server.key()];
    attune(&[&fixed, more].concat()).output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn item(server: &Server, id: &str) -> Option<Value> {
    let answer = http::call(server.address, "GET", &format!("/v1/items/{id}"), Some(server.key()), "").unwrap();
    (answer.status == 200).then(|| answer.json())
}

/// The rows of a side file, with their reasons.
fn rejected(file: &Path) -> Vec<(u64, String)> {
    let side = fs::read_to_string(format!("{}.rejected.jsonl", file.display())).unwrap();
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        (row["row"].as_u64().unwrap(), row["reason"].as_str().unwrap().to_owned())
    };
    side.lines().map(row).collect()
}

#[test]
fn files_are_imported_and_bad_rows_are_told() {
    let server = Server::start(&[]);
    let csv = server.folder.path().join("shop.csv");
    fs::write(&csv, "sku,title,price,tags,hidden\na,Tea,3.5,green|hot,\nb,,1,,\nc,Pot,4,,true\nd,Cup\n").unwrap();
    let summary = said(&import(&server, &csv, &["--map", "id=sku", "--batch-rows", "2"]));
    assert!(summary.contains("4 rows, 2 kept, 2 rejected"), "{summary}");
    let tea = item(&server, "a").unwrap();
    assert_eq!(tea["attributes"], json!({"price": 3.5, "tags": ["green", "hot"]}));
    assert_eq!(item(&server, "c").unwrap()["hidden"], true);
    let told = rejected(&csv);
    assert_eq!(told.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [2, 4]);
    assert!(told[0].1.contains("title") && told[1].1.contains("2 columns"), "{told:?}");

    let again = said(&import(&server, &csv, &["--map", "id=sku"]));
    assert!(again.contains("were imported into"), "{again}");
    let lines = server.folder.path().join("more.jsonl");
    fs::write(&lines, "{\"id\": \"e\", \"title\": \"Jar\", \"attributes\": {\"price\": \"dear\"}}\n{\"id\": \"f\", \"title\": \"Lid\"}\nnot json\n").unwrap();
    let summary = said(&import(&server, &lines, &[]));
    assert!(summary.contains("3 rows, 1 kept, 2 rejected"), "{summary}");
    assert!(rejected(&lines)[0].1.contains("a number, and here is a text"));
}

#[test]
fn an_import_goes_on_behind_what_was_answered() {
    let server = Server::start(&[]);
    let file = server.folder.path().join("items.jsonl");
    let line = |number: usize| format!("{{\"id\": \"{number}\", \"title\": \"item {number}\"}}\n");
    fs::write(&file, (1..=10).map(line).collect::<String>()).unwrap();
    let whole = fs::read(&file).unwrap();
    said(&import(&server, &file, &["--batch-rows", "3"]));
    // As a kill after the second batch leaves it: two are noted, and of the third the side file has a part.
    let note = format!("{}.import.json", file.display());
    let mut noted: Value = serde_json::from_slice(&fs::read(&note).unwrap()).unwrap();
    assert_eq!((noted["rows"].as_u64(), noted["is_complete"].as_bool()), (Some(10), Some(true)));
    (noted["rows"], noted["accepted"], noted["is_complete"]) = (json!(6), json!(6), json!(false));
    fs::write(&note, noted.to_string()).unwrap();
    fs::write(format!("{}.rejected.jsonl", file.display()), "{\"row\": 7, \"rea").unwrap();
    for id in ["6", "7"] {
        let gone = http::call(server.address, "DELETE", &format!("/v1/items/{id}"), Some(server.key()), "").unwrap();
        assert_eq!(gone.status, 204);
    }
    let summary = said(&import(&server, &file, &["--batch-rows", "3"]));
    assert!(summary.contains("10 rows, 10 kept, 0 rejected"), "{summary}");
    assert!(item(&server, "6").is_none() && item(&server, "7").is_some(), "it went on behind row 6");
    assert_eq!(fs::read(&file).unwrap(), whole);
    let all = said(&import(&server, &file, &["--restart"]));
    assert!(all.contains("10 rows, 10 kept") && item(&server, "6").is_some(), "{all}");
}

#[test]
fn what_cannot_work_is_said() {
    let server = Server::start(&[]);
    let file = server.folder.path().join("items.txt");
    fs::write(&file, "").unwrap();
    let fails = |file: &Path, key: &str| {
        let url = format!("http://{}", server.address);
        let arguments = ["import", "items", file.to_str().unwrap(), "--url", &url, "--key", key];
        let output = attune(&arguments).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(fails(&file, server.key()).contains("rename it after its format"));
    assert!(fails(Path::new("/nowhere/x.csv"), server.key()).contains("/nowhere/x.csv"));
    let csv = server.folder.path().join("x.csv");
    fs::write(&csv, "id,title\na,b\n").unwrap();
    assert!(fails(&csv, "att_nobody").contains("401"));
}
