//! What a job says and does around its parts: refusals, resuming, progress.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use attune_batch::job::{self, BATCH_ROWS, JobError, JobOptions, MANIFEST, Output, Progress, Summary};
use attune_batch::read::ColumnMap;

use crate::shout::{FATAL, Shout};

struct Place {
    folder: tempfile::TempDir,
    options: JobOptions,
}

impl Place {
    fn new(csv: &str, output: &str, part_rows: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("texts.csv");
        fs::write(&input, csv).unwrap();
        let output = Output::new(&folder.path().join(output)).unwrap();
        let options = JobOptions { input, output, columns: ColumnMap::default(), part_rows, restart: false };
        Self { folder, options }
    }

    fn run(&self) -> Result<Summary, JobError> {
        job::run(&mut Shout { version: "1" }, &self.options, |_| {})
    }

    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let entries = fs::read_dir(self.options.output.folder()).unwrap();
        entries.map(|entry| entry.unwrap().path()).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
    }

    fn why(&self) -> String {
        self.run().unwrap_err().to_string()
    }
}

fn texts(rows: u64) -> String {
    (1..=rows).fold(String::from("text,id\n"), |mut csv, row| {
        writeln!(csv, "text {row},{row}").unwrap();
        csv
    })
}

#[test]
fn a_part_of_several_batches_is_the_same_after_a_failure_in_the_middle() {
    let rows = 3 * BATCH_ROWS;
    let place = Place::new(&texts(rows), "out.parquet", 2 * BATCH_ROWS - 100);
    assert_eq!(place.run().unwrap(), Summary { rows, rejected: 0, rows_before: 0, parts: 2 });
    let whole = place.files();

    // As after a kill in the second part: its file is half written, and no manifest names it.
    let manifest = place.options.output.folder().join(MANIFEST);
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    json["parts"].as_array_mut().unwrap().pop();
    json["is_finished"] = false.into();
    fs::write(&manifest, serde_json::to_vec(&json).unwrap()).unwrap();
    fs::write(place.options.output.folder().join(".part-00001.parquet.tmp"), b"half").unwrap();
    assert_eq!(place.run().unwrap().rows_before, 2 * BATCH_ROWS - 100);
    assert!(place.files() == whole);
}

#[test]
fn a_finished_job_has_nothing_left_to_do() {
    let place = Place::new(&texts(5), "out.jsonl", 2);
    let first = place.run().unwrap();
    let files = place.files();
    let second = place.run().unwrap();
    assert_eq!(second, Summary { rows_before: 5, ..first });
    assert_eq!(place.files(), files);
    let part = fs::read_to_string(place.options.output.folder().join("part-00002.jsonl")).unwrap();
    assert_eq!(part, "{\"row\":5,\"loud\":\"TEXT 5\"}\n");
}

#[test]
fn the_output_of_another_job_is_refused_with_what_differs() {
    let mut place = Place::new(&texts(5), "out.jsonl", 2);
    place.run().unwrap();
    let files = place.files();
    let other = job::run(&mut Shout { version: "2" }, &place.options, |_| {}).unwrap_err().to_string();
    assert!(other.contains("model_version was \"1\" and is \"2\"") && other.contains("--restart"), "{other}");
    place.options.part_rows = 3;
    assert!(place.why().contains("part_rows was 2 and is 3"), "{}", place.why());
    place.options.part_rows = 2;
    // A letter in the middle, of the same length.
    fs::write(&place.options.input, texts(5).replace("text 3", "text 9")).unwrap();
    assert!(place.why().contains("input_sha256 was"), "{}", place.why());
    assert_eq!(place.files(), files, "a refusal changes nothing");
    place.options.restart = true;
    assert_eq!(place.run().unwrap().rows_before, 0);
    assert_ne!(place.files(), files);
}

#[test]
fn damage_is_found_and_foreign_parts_are_left_alone() {
    let place = Place::new(&texts(5), "out.jsonl", 2);
    place.run().unwrap();
    let folder = place.options.output.folder();
    fs::write(folder.join("part-00001.jsonl"), "{}").unwrap();
    assert!(place.why().contains("part-00001.jsonl has 2 bytes where"), "{}", place.why());
    fs::remove_file(folder.join("part-00001.jsonl")).unwrap();
    assert!(place.why().contains("part-00001.jsonl is not there"), "{}", place.why());
    fs::write(folder.join(MANIFEST), "{\"version\": 2, \"other\": 1}").unwrap();
    assert!(place.why().contains("it has version 2"), "{}", place.why());
    fs::write(folder.join(MANIFEST), "{").unwrap();
    assert!(place.why().contains("cannot be resumed"), "{}", place.why());
    fs::remove_file(folder.join(MANIFEST)).unwrap();
    assert!(matches!(place.run(), Err(JobError::NotOurs { .. })), "{}", place.why());
    assert!(folder.join("part-00000.jsonl").exists());
}

#[test]
fn an_input_that_cannot_be_read_leaves_no_output_behind() {
    let mut place = Place::new("review\nfine\n", "out.jsonl", 2);
    assert!(place.why().contains("has no column \"text\"; it has \"review\""), "{}", place.why());
    place.options.input = place.folder.path().join("absent.csv");
    assert!(place.why().contains("absent.csv"), "{}", place.why());
    assert!(!place.options.output.folder().exists());
}

#[test]
fn a_task_that_fails_is_told_with_its_rows_and_the_parts_before_stay() {
    let place = Place::new(&texts(5).replace("text 4", FATAL), "out.jsonl", 2);
    let why = place.why();
    assert!(why.contains("rows 3 to 4 of") && why.contains("out of breath"), "{why}");
    assert!(place.options.output.folder().join("part-00000.jsonl").exists());
    assert!(!place.options.output.folder().join(".part-00001.jsonl.tmp").exists());
}

#[test]
fn no_rows_are_no_parts_and_rejected_ones_are_in_the_side_file_alone() {
    let place = Place::new("text\n", "out.parquet", 2);
    assert_eq!(place.run().unwrap(), Summary { rows: 0, rejected: 0, rows_before: 0, parts: 0 });
    let place = Place::new("id,text\n1,\"\"\n2\n", "out.parquet", 2);
    assert_eq!(place.run().unwrap(), Summary { rows: 2, rejected: 2, rows_before: 0, parts: 1 });
    let side = fs::read_to_string(place.options.output.rejected_path()).unwrap();
    assert_eq!(
        side,
        "{\"row\":1,\"reason\":\"text is missing or empty\"}\n\
         {\"row\":2,\"reason\":\"the row has 1 columns, the header has 2\"}\n"
    );
}

#[test]
fn progress_rises_to_the_whole() {
    let place = Place::new(&texts(7), "out.jsonl", 3);
    let mut seen: Vec<Progress> = Vec::new();
    job::run(&mut Shout { version: "1" }, &place.options, |progress| seen.push(progress)).unwrap();
    assert_eq!(seen.iter().map(|progress| progress.rows).collect::<Vec<_>>(), [0, 3, 6, 7]);
    let last = seen.last().unwrap();
    assert_eq!((last.bytes, last.rows_total), (last.bytes_total, None));
}

#[test]
fn two_processes_do_not_write_to_one_output() {
    let place = Place::new(&texts(2), "out.jsonl", 1);
    let again = || job::run(&mut Shout { version: "1" }, &place.options, |_| {});
    let mut refused = None;
    // The job is asked for again while it goes on.
    job::run(&mut Shout { version: "1" }, &place.options, |_| refused = Some(again().unwrap_err().to_string()))
        .unwrap();
    assert!(refused.unwrap().contains("another process writes to"));
    again().unwrap();
    assert!(Path::new(&place.options.output.folder()).join(".lock").exists());
}
