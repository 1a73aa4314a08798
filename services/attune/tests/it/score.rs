//! `attune score` on the real model: killed twice with SIGKILL it writes what it writes undisturbed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Output};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::{attune, config, run};

const TEXTS: usize = 600;
const PART_ROWS: usize = 40;
const PATIENCE: Duration = Duration::from_secs(120);

fn write_texts(folder: &Path) -> PathBuf {
    let words = ["a", "wonderful", "film", "terrible", "phone", "with", "the", "best", "service", "and", "no", "plot"];
    let text =
        |nr: usize| (0..4 + nr % 40).map(|at| words[(nr * 7 + at * at) % words.len()]).collect::<Vec<_>>().join(" ");
    let mut lines: Vec<String> = (0..TEXTS).map(|nr| json!({"id": nr, "review": text(nr)}).to_string()).collect();
    lines[100] = "no JSON".to_owned();
    let path = folder.join("reviews.jsonl");
    fs::write(&path, lines.join("\n")).unwrap();
    path
}

fn command(folder: &Path, input: &Path, output: &str) -> Vec<String> {
    let config = config(folder);
    let words = ["score", "--task", "embed", "--map", "text=review", "--precision", "int8", "--config"];
    let mut words: Vec<String> = words.map(str::to_owned).to_vec();
    words.push(config.to_str().unwrap().to_owned());
    words.extend(
        ["--input", input.to_str().unwrap(), "--output", folder.join(output).to_str().unwrap()].map(str::to_owned),
    );
    words.extend(["--part-rows".to_owned(), PART_ROWS.to_string()]);
    words
}

fn arguments(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

fn parts(output: &Path) -> usize {
    let manifest = fs::read(output.join("_manifest.json")).ok();
    let manifest = manifest.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    manifest.map_or(0, |manifest| manifest["parts"].as_array().unwrap().len())
}

/// Waits for so many finished parts, or for the end, and kills.
pub fn kill_after(mut child: Child, output: &Path, count: usize) -> bool {
    let start = Instant::now();
    while parts(output) < count && child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < PATIENCE, "no {count} parts in {PATIENCE:?}");
        thread::sleep(Duration::from_millis(1));
    }
    let was_running = child.try_wait().unwrap().is_none();
    let _ = child.kill();
    child.wait().unwrap();
    was_running
}

pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())).collect()
}

pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn killed_twice_the_output_is_the_same_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let input = write_texts(folder.path());
    let whole = run(&arguments(&command(folder.path(), &input, "whole.parquet")));
    assert!(whole.status.success(), "{}", said(&whole));
    assert!(said(&whole).contains("600 rows, 1 rejected"), "{}", said(&whole));

    let words = command(folder.path(), &input, "killed.parquet");
    let output = folder.path().join("killed.parquet");
    let kills = [1, 4].map(|count| kill_after(attune(&arguments(&words)).spawn().unwrap(), &output, count));
    assert!(kills[0], "the first process ended before it could be killed");
    let resumed = run(&arguments(&words));
    assert!(resumed.status.success(), "{}", said(&resumed));
    assert!(said(&resumed).contains("going on behind row"), "{}", said(&resumed));

    assert!(files(&output) == files(&folder.path().join("whole.parquet")), "{:?}", files(&output).keys());
    let side = |name: &str| fs::read_to_string(folder.path().join(format!("{name}.rejected.jsonl"))).unwrap();
    assert_eq!(side("killed.parquet"), side("whole.parquet"));
    assert!(side("whole.parquet").starts_with("{\"row\":101,"), "{}", side("whole.parquet"));
}

#[test]
fn a_missing_column_and_another_model_are_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let input = write_texts(folder.path());
    let mut words = command(folder.path(), &input, "out.jsonl");
    let map = words.iter().position(|word| word == "text=review").unwrap();
    words[map] = "text=reviews".into();
    let refused = run(&arguments(&words));
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("has no column \"reviews\"; it has \"id\", \"review\""), "{}", said(&refused));
    words[map] = "text=review".into();
    words.extend(["--model", "huge"].map(str::to_owned));
    let refused = run(&arguments(&words));
    assert!(said(&refused).contains("there are: all-MiniLM-L6-v2, sentiment"), "{}", said(&refused));
    assert!(!folder.path().join("out.jsonl").exists());
}
