//! A job ended at every step of its protocol, twice, by SIGKILL and by a power cut: its output is that of a job that
//! nobody disturbed, to the byte. The same on a disk that fills up anywhere.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use attune_batch::job::{JobError, JobOptions, Output, Summary, run_on};
use attune_batch::read::ColumnMap;

use crate::disk::{Crash, Disk};
use crate::shout::{Shout, UNSAYABLE};

/// Eleven rows, three of them bad: four parts, and a side file that two of them add to.
fn write_input(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("texts.jsonl");
    let mut lines: Vec<String> = (1..=11).map(|nr| format!("{{\"id\": {nr}, \"text\": \"text {nr}\"}}")).collect();
    lines[1] = "no JSON".into();
    lines[7] = format!("{{\"text\": \"{UNSAYABLE}\"}}");
    lines[8] = "{\"text\": null}".into();
    fs::write(&path, lines.join("\n")).unwrap();
    path
}

fn options(input: &Path, name: &str) -> JobOptions {
    JobOptions {
        input: input.to_owned(),
        output: Output::new(Path::new(name)).unwrap(),
        columns: ColumnMap::default(),
        part_rows: 3,
        restart: false,
    }
}

fn run(disk: &Disk, options: &JobOptions) -> Result<Summary, JobError> {
    run_on(disk, &mut Shout { version: "1" }, options, &mut |_| {})
}

/// The output of a job that nobody disturbs, and its number of steps.
fn undisturbed(options: &JobOptions) -> (BTreeMap<String, Vec<u8>>, usize) {
    let disk = Disk::default();
    disk.start(None);
    let summary = run(&disk, options).unwrap();
    assert_eq!(summary, Summary { rows: 11, rejected: 3, rows_before: 0, parts: 4 });
    (disk.files(), disk.steps())
}

#[test]
fn ended_at_any_two_steps_the_output_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let input = write_input(folder.path());
    for (name, stride) in [("out.jsonl", 2), ("out.parquet", 9)] {
        let options = options(&input, name);
        let (whole, steps) = undisturbed(&options);
        assert_eq!(whole.len(), 6, "four parts, a manifest and a side file: {:?}", whole.keys());
        assert!(steps > 40, "only {steps} steps: does the disk still see all of them?");
        for crash in [Crash::Killed, Crash::PowerCut] {
            for first in 0..steps {
                for second in (first % stride..steps).step_by(stride) {
                    let disk = Disk::default();
                    for end in [first, second] {
                        disk.start(Some(end));
                        let is_done = run(&disk, &options).is_ok();
                        assert!(!is_done || end == second, "{name} {crash:?} {first} {second}");
                        disk.crash(crash);
                    }
                    disk.start(None);
                    run(&disk, &options).unwrap_or_else(|e| panic!("{name} {crash:?} {first} {second}: {e}"));
                    assert!(disk.files() == whole, "{name} {crash:?} {first} {second}: {:?}", disk.files().keys());
                }
            }
        }
    }
}

#[test]
fn a_restart_that_is_ended_anywhere_leaves_nothing_of_the_job_before() {
    let folder = tempfile::tempdir().unwrap();
    let input = write_input(folder.path());
    let before = JobOptions { part_rows: 2, ..options(&input, "out.jsonl") };
    let again = JobOptions { restart: true, ..options(&input, "out.jsonl") };
    let (whole, steps) = undisturbed(&options(&input, "out.jsonl"));
    for crash in [Crash::Killed, Crash::PowerCut] {
        for end in 0..steps {
            let disk = Disk::default();
            disk.start(None);
            run(&disk, &before).unwrap();
            disk.start(Some(end));
            assert!(run(&disk, &again).is_err());
            disk.crash(crash);
            disk.start(None);
            // Whoever is killed before the new manifest is there says --restart once more.
            let resumed = run(&disk, &JobOptions { restart: false, ..again.clone() });
            if let Err(error) = resumed {
                assert!(matches!(error, JobError::AnotherJob { .. }), "{error}");
                run(&disk, &again).unwrap();
            }
            assert!(disk.files() == whole, "{crash:?} {end}: {:?}", disk.files().keys());
        }
    }
}

#[test]
fn a_full_disk_is_said_to_be_full_and_the_job_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let input = write_input(folder.path());
    let options = options(&input, "out.parquet");
    let (whole, _) = undisturbed(&options);
    let bytes: usize = whole.values().map(Vec::len).sum();
    for room in (0..bytes).step_by(97) {
        let disk = Disk::default();
        disk.start(None);
        disk.set_room(Some(room));
        let error = run(&disk, &options).unwrap_err();
        assert!(error.is_storage_full(), "{room}: {error}");
        assert!(error.to_string().contains("make room and give the same command again"), "{error}");
        assert!(!disk.files().keys().any(|name| name.contains("part") && name.ends_with(".tmp")), "{room}");
        disk.set_room(None);
        run(&disk, &options).unwrap();
        assert!(disk.files() == whole, "{room}: {:?}", disk.files().keys());
    }
}
