//! The event lake: what the log says, as Parquet files that many readers share.
//!
//! ```text
//! lake/manifest.json                                        which files there are, and how far they go
//! lake/events/day=2026-11-26/p0003-…0000-…0999.parquet      events of one partition, by day of arrival
//! lake/exposures/day=2026-11-26/p0003-…0000-…0999.parquet   lists that were shown, a row a position
//! ```
//!
//! **The manifest is the lake.** A file is there when the manifest names it, and the same object says from which offset
//! the log is to be read on; it is replaced by compare-and-set. So files and offsets are one state: whatever a writer did
//! before it was killed is either in the manifest or never was, and of two writers one has to read again.
//!
//! **An event has one row**, however often it stands in the log: a copy that arrives within [`window::KEPT_DAYS`] days is
//! left out. What arrives later is another event. The window is made again from the files after a start.
//!
//! **Whoever is forgotten is taken out** of all files when the writer comes to the tombstone, in the commit that goes
//! beyond it, and what the log says of that subject later is left out too.

mod codec;
mod fold;
pub mod manifest;
mod pending;
mod rebuild;
mod remember;
mod rows;
mod snapshot;
mod store;
mod tail;
pub mod window;
mod writer;

pub use codec::{LakeError, numbers, read, read_columns, texts, without};
pub use fold::{Reading, fold};
pub use manifest::{DataFile, Dataset, MANIFEST_KEY, Manifest};
pub use rebuild::{Contents, Rebuilt, rebuild};
pub use rows::{events_schema, exposures_schema};
pub use snapshot::{Snapshot, TAIL_BYTES_MAX, TAIL_RECORDS_MAX};
pub use store::{load_file, load_manifest};
pub use writer::{LakeSettings, LakeWriter};
