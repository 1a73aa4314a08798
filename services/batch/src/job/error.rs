//! Why a job did not come to its end.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use super::output::MANIFEST;
use crate::read::ReadError;
use crate::task::TaskError;

/// Why a job did not come to its end. Finished parts stay, and the next start goes on behind them.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The input cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The input is another one than when the job began.
    #[error("{path} was changed while it was read: start again when nothing writes to it", path = path.display())]
    InputChanged {
        /// The input.
        path: PathBuf,
    },
    /// The output cannot be written.
    #[error("cannot write {path}: {source}{}", advice(source), path = path.display())]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process writes there.
    #[error("another process writes to {folder}: wait for it, or give another output", folder = folder.display())]
    Busy {
        /// The output.
        folder: PathBuf,
    },
    /// The output there is of another job.
    #[error("{folder} holds the output of another job: {}. Give another output, or --restart to delete its {parts} \
             parts and begin again",
        differences.join("; "), folder = folder.display())]
    AnotherJob {
        /// The output.
        folder: PathBuf,
        /// What differs.
        differences: Vec<String>,
        /// How many finished parts it has.
        parts: usize,
    },
    /// What is there cannot be gone on with.
    #[error("{folder} cannot be resumed: {detail}. Give another output, or --restart to delete its parts and begin \
             again",
        folder = folder.display())]
    Damaged {
        /// The output.
        folder: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// Parts that no manifest tells of.
    #[error("{folder} holds {file} and no {MANIFEST}: it is no output of Attune. Give another output, or --restart to \
             delete its parts",
        folder = folder.display())]
    NotOurs {
        /// The output.
        folder: PathBuf,
        /// One of the parts.
        file: String,
    },
    /// The task failed.
    #[error("rows {row_first} to {row_last} of {path}: {source}", path = path.display())]
    Task {
        /// The input.
        path: PathBuf,
        /// First row of the batch.
        row_first: u64,
        /// Last row of the batch.
        row_last: u64,
        /// Why.
        source: TaskError,
    },
    /// A job of no rows a part.
    #[error("a part has at least one row: --part-rows is 0")]
    NoPartRows,
}

impl JobError {
    /// Whether the disk is full.
    pub fn is_storage_full(&self) -> bool {
        matches!(self, Self::Write { source, .. } if source.kind() == ErrorKind::StorageFull)
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            "; finished parts are kept: make room and give the same command again"
        }
        _ => "",
    }
}
