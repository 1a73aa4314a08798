//! A job: one task over all rows of a file, part by part, in such a way that it can be killed.
//!
//! Each part stands for a fixed range of rows of the input. It is written under a temporary name, synced, renamed, and
//! then entered in the manifest, which is itself replaced in one rename. Whatever moment the process ends at, the next
//! start finds whole parts and a manifest that names exactly them, and goes on behind the last. Nothing in a part
//! depends on how often the job was begun (no time, no random name, no batch across the border of a part), so the
//! output is the same to the byte; the manifest has the hashes.
//!
//! The alternative, one growing file and a count of rows, loses either the footer of a Parquet file or the proof that
//! what lies before the count is what was written.

mod error;
mod input;
mod lock;
mod manifest;
mod open;
mod output;
mod part;
mod side;
pub mod storage;

use std::fs;
use std::path::PathBuf;

pub use error::JobError;
pub use manifest::{Identity, Manifest, Part};
pub use output::{MANIFEST, Output, OutputError};
pub use part::{BATCH_BYTES, BATCH_ROWS};

use crate::read::{ColumnMap, Reader, Row};
use crate::task::{About, Task};
use input::Input;
use lock::Lock;
use part::Work;
use side::SideFile;
use storage::{Folder, Storage};

/// Rows of a part where nothing else is asked for: what a kill loses at most, less than a minute of embedding.
pub const PART_ROWS_DEFAULT: u64 = 20_000;

/// What a job reads and where it writes.
#[derive(Clone, Debug)]
pub struct JobOptions {
    /// The file of rows.
    pub input: PathBuf,
    /// Where the parts go.
    pub output: Output,
    /// What columns are called in the input.
    pub columns: ColumnMap,
    /// Rows of the input in a part.
    pub part_rows: u64,
    /// Delete what is there and begin again.
    pub restart: bool,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Rows of the input that are done, those of earlier starts included.
    pub rows: u64,
    /// Rows of the input, where its format says so.
    pub rows_total: Option<u64>,
    /// Bytes of the input that are read.
    pub bytes: u64,
    /// Bytes of the input.
    pub bytes_total: u64,
}

impl Progress {
    /// A share of the way to `end`.
    fn towards(self, end: Self, share: f64) -> Self {
        let between = |from: u64, to: u64| from + (to.saturating_sub(from) as f64 * share) as u64;
        Self { rows: between(self.rows, end.rows), bytes: between(self.bytes, end.bytes), ..end }
    }
}

/// What a job came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Rows of the input, rejected ones included.
    pub rows: u64,
    /// Rows that are in the side file.
    pub rejected: u64,
    /// Rows that were done before this start.
    pub rows_before: u64,
    /// Parts of the output.
    pub parts: usize,
}

/// Does the job, or what is left of it.
///
/// # Errors
/// [`JobError`]. Finished parts stay, and the next start goes on behind them.
pub fn run<R: Row>(
    task: &mut dyn Task<Row = R>,
    options: &JobOptions,
    mut progress: impl FnMut(Progress),
) -> Result<Summary, JobError> {
    // Before anything is made: an input that cannot be read leaves no empty output behind.
    Reader::<R>::open(&options.input, &options.columns, 0)?;
    let folder = options.output.folder();
    fs::create_dir_all(&folder).map_err(|source| JobError::Write { path: folder.clone(), source })?;
    let _lock = Lock::take(&folder)?;
    run_on(&Folder::new(options.output.root.clone()), task, options, &mut progress)
}

/// As [`run`], on a storage that has the output's folder already, and where nobody else writes.
///
/// # Errors
/// As [`run`].
pub fn run_on<R: Row>(
    storage: &dyn Storage,
    task: &mut dyn Task<Row = R>,
    options: &JobOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Summary, JobError> {
    if options.part_rows == 0 {
        return Err(JobError::NoPartRows);
    }
    let input = Input::new(&options.input)?;
    let mut manifest = open::open(storage, &options.output, identity(task.about(), &input, options), options.restart)?;
    let rows_before = manifest.rows_done();
    if !manifest.is_finished {
        let failed = |source| JobError::Write { path: options.output.rejected_path(), source };
        let side = SideFile::open(storage, &options.output, manifest.rejected_bytes).map_err(failed)?;
        let reader = Reader::open(&options.input, &options.columns, rows_before)?;
        let told = Progress::default();
        manifest = Work { storage, task, options, input, manifest, reader, side, progress, told }.complete()?;
    }
    let (rows, rejected, parts) = (manifest.rows_done(), manifest.rejected(), manifest.parts.len());
    Ok(Summary { rows, rejected, rows_before, parts })
}

fn identity(about: About, input: &Input, options: &JobOptions) -> Identity {
    Identity {
        attune: env!("CARGO_PKG_VERSION").to_owned(),
        task: about.task.to_owned(),
        model: about.model,
        model_version: about.model_version,
        engine: about.engine,
        instruction_set: about.instruction_set,
        precision: about.precision,
        tokens_max: about.tokens_max,
        settings: about.settings,
        input_bytes: input.bytes,
        input_sha256: input.sha256.clone(),
        columns: options.columns.pairs().clone(),
        format: options.output.format,
        part_rows: options.part_rows,
    }
}
