//! Long work over files: a catalogue to embed, a million reviews to judge, a history to import.
//!
//! [`read`] gives the rows of CSV, JSON lines and Parquet in bounded batches and sets bad rows aside, [`task`] makes
//! columns of them, [`write`](mod@write) encodes those, and [`job`] does it part by part, so that a process killed at
//! any moment leaves an output that the next start completes to the same bytes.
//!
//! ```text
//! let mut task = Embed::new(inference, runtime, "all-MiniLM-L6-v2")?;
//! let summary = job::run(&mut task, &options, |progress| bar.set_position(progress.bytes))?;
//! ```
//!
//! Memory is bounded whatever the size of the input: a batch of rows ([`job::BATCH_ROWS`], [`job::BATCH_BYTES`]), one
//! row group of the output ([`write::ROW_GROUP_BYTES`]), one page of each column of a Parquet input.

pub mod attributes;
pub mod folder;
pub mod history;
pub mod job;
pub mod logged;
pub mod names;
pub mod read;
pub mod recommender;
pub mod task;
pub mod uri;
pub mod write;
