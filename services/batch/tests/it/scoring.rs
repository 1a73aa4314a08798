//! The tasks, on a tiny model: the same numbers as the core gives, row by row, whatever the file.

use std::fs;
use std::path::Path;

use attune_batch::job::{self, JobOptions, Output, Summary};
use attune_batch::read::{ColumnMap, Text};
use attune_batch::task::{Embed, Sentiment, Task};
use attune_inference::testing::{HIDDEN, write_tiny_adapter, write_tiny_model};
use attune_inference::{
    CallContext, EmbedRequest, Inference, InferenceConfig, InferenceError, Input, ModelSpec, Truncate, WorkClass,
};
use serde_json::Value;
use tokio::runtime::Runtime;

struct Fixture {
    folder: tempfile::TempDir,
    inference: Inference,
    runtime: Runtime,
}

impl Fixture {
    fn new(change: impl FnOnce(&mut InferenceConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (base, adapter) = (folder.path().join("base"), folder.path().join("adapter"));
        write_tiny_model(&base, 3).unwrap();
        write_tiny_adapter(&adapter, 4).unwrap();
        let spec = |name: &str, adapter| ModelSpec {
            name: name.into(),
            aliases: Vec::new(),
            path: base.clone(),
            adapter,
            precision: None,
            max_tokens: None,
        };
        let mut config = InferenceConfig { workers: Some(2), ..InferenceConfig::default() };
        change(&mut config);
        let inference = Inference::start(config, vec![spec("tiny", None), spec("moods", Some(adapter))]).unwrap();
        Self { folder, inference, runtime: Runtime::new().unwrap() }
    }

    fn run(&self, task: &mut dyn Task<Row = Text>, rows: &[String]) -> (Summary, Vec<Value>) {
        let input = self.folder.path().join("texts.jsonl");
        fs::write(&input, rows.join("\n")).unwrap();
        let output = Output::new(&self.folder.path().join("out.jsonl")).unwrap();
        let options = JobOptions { input, output, columns: ColumnMap::default(), part_rows: 150, restart: true };
        let summary = job::run(task, &options, |_| {}).unwrap();
        let part = |number| fs::read_to_string(options.output.folder().join(options.output.part(number))).unwrap();
        let lines: String = (0..summary.parts).map(part).collect();
        (summary, lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }
}

fn rows(count: usize) -> Vec<String> {
    let words = ["good", "bad", "film", "the", "dog", "is", "happy", "!"];
    let text = |nr: usize| (0..1 + nr % 70).map(|at| words[(nr + at * at) % words.len()]).collect::<Vec<_>>().join(" ");
    (0..count).map(|nr| serde_json::json!({"id": format!("t{nr}"), "text": text(nr)}).to_string()).collect()
}

#[test]
fn embeddings_are_those_of_the_core() {
    let fixture = Fixture::new(|_| {});
    let mut task = Embed::new(fixture.inference.clone(), fixture.runtime.handle().clone(), "tiny").unwrap();
    let rows = rows(400);
    let (summary, lines) = fixture.run(&mut task, &rows);
    assert_eq!((summary.rows, summary.rejected, summary.parts), (400, 0, 3));
    for (nr, line) in lines.iter().enumerate().step_by(37) {
        let text = serde_json::from_str::<Value>(&rows[nr]).unwrap()["text"].as_str().unwrap().to_owned();
        let request = EmbedRequest {
            model: "tiny".into(),
            inputs: vec![Input::Text(text)],
            truncate: Truncate::End,
            dimensions: None,
            normalize: true,
        };
        let call = CallContext { caller: "test".into(), class: WorkClass::Interactive, deadline: None };
        let alone = fixture.runtime.block_on(fixture.inference.embed(request, call)).unwrap();
        let found: Vec<f32> = serde_json::from_value(line["embedding"].clone()).unwrap();
        assert_eq!(found, alone.values, "row {nr}");
        assert_eq!((found.len(), &line["id"]), (HIDDEN, &Value::from(format!("t{nr}"))));
        assert_eq!(
            (line["row"].as_u64(), line["truncated"].as_bool()),
            (Some(nr as u64 + 1), Some(alone.truncated[0]))
        );
    }
    assert!(lines.iter().any(|line| line["truncated"] == true));
}

#[test]
fn sentiment_names_the_most_probable_label_and_all_scores() {
    let fixture = Fixture::new(|_| {});
    let mut task = Sentiment::new(fixture.inference.clone(), fixture.runtime.handle().clone(), "moods").unwrap();
    let (_, lines) = fixture.run(&mut task, &rows(200));
    assert_eq!(lines.len(), 200);
    for line in &lines {
        let scores = line["scores"].as_object().unwrap();
        let sum: f64 = scores.values().map(|score| score.as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-4 && scores.len() == 3, "{line}");
        let best = scores.values().map(|score| score.as_f64().unwrap()).fold(0.0, f64::max);
        assert_eq!((line["score"].as_f64(), &scores[line["label"].as_str().unwrap()]), (Some(best), &line["score"]));
    }
}

#[test]
fn a_queue_that_is_small_slows_the_job_down_and_fails_nothing() {
    let fixture = Fixture::new(|config| {
        config.queue.queue_texts_max = 200;
        config.limits.text_bytes_max = 300;
    });
    let mut task = Embed::new(fixture.inference.clone(), fixture.runtime.handle().clone(), "tiny").unwrap();
    let mut rows = rows(600);
    rows[40] = serde_json::json!({"text": "good ".repeat(100)}).to_string();
    rows.truncate(60);
    rows.extend((0..600).map(|nr| serde_json::json!({"id": nr, "text": "good film"}).to_string()));
    let (summary, lines) = fixture.run(&mut task, &rows);
    assert_eq!(lines.len() as u64 + summary.rejected, 660);
    assert!(summary.rejected >= 1);
    let side = fs::read_to_string(fixture.folder.path().join("out.jsonl.rejected.jsonl")).unwrap();
    assert!(side.contains("{\"row\":41,\"reason\":\"text has 500 bytes, the model takes 300\"}"), "{side}");
}

#[test]
fn progress_is_told_within_a_batch() {
    let fixture = Fixture::new(|_| {});
    let mut task = Embed::new(fixture.inference.clone(), fixture.runtime.handle().clone(), "tiny").unwrap();
    let input = fixture.folder.path().join("texts.jsonl");
    fs::write(&input, rows(1_000).join("\n")).unwrap();
    let output = Output::new(&fixture.folder.path().join("out.parquet")).unwrap();
    let options = JobOptions { input, output, columns: ColumnMap::default(), part_rows: 1_000, restart: false };
    let mut rows = Vec::new();
    job::run(&mut task, &options, |progress| rows.push(progress.rows)).unwrap();
    assert!(rows.is_sorted() && rows.len() > 10 && rows.last() == Some(&1_000), "{rows:?}");
}

#[test]
fn a_model_for_something_else_is_refused() {
    let fixture = Fixture::new(|_| {});
    let handle = || fixture.runtime.handle().clone();
    let wrong = Embed::new(fixture.inference.clone(), handle(), "moods").err();
    assert!(matches!(wrong, Some(InferenceError::WrongTask { .. })), "{wrong:?}");
    let wrong = Sentiment::new(fixture.inference.clone(), handle(), "tiny").err();
    assert!(matches!(wrong, Some(InferenceError::WrongTask { .. })), "{wrong:?}");
    let unknown = Embed::new(fixture.inference.clone(), handle(), "huge").err().unwrap().to_string();
    assert!(unknown.contains("huge") && unknown.contains("tiny"), "{unknown}");
    assert!(!Path::new("out.jsonl").exists());
}
