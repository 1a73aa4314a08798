//! The event lake as a history that recommenders learn from.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Float64Type, TimestampMillisecondType};
use attune_batch::history::{History, HistoryBuilder, HistoryError};
use attune_batch::recommender::InputFile;
use attune_lake::{DataFile, Dataset, LakeError, Manifest, load_file, load_manifest, read_columns};
use attune_ranking::data::Worth;
use attune_store::objects::Objects;
use attune_store::{ErrorKind, Tenant};
use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;

/// The columns that are learned from.
const COLUMNS: [&str; 5] = ["subject", "type", "item_id", "value", "time"];
/// How often the lake is begun anew because its writer has replaced a file meanwhile.
const ROUNDS_MAX: usize = 10;
/// What the lake is called in errors and cards.
const LAKE: &str = "the event lake";

/// Why the lake gives no history.
#[derive(Debug, thiserror::Error)]
pub enum LakeReadError {
    /// It cannot be read.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// Nothing in it can be learned from.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A thread ended.
    #[error("reading the lake ended: {0}")]
    Ended(#[from] tokio::task::JoinError),
    /// Its files are replaced faster than they are read.
    #[error("the files of the lake changed {ROUNDS_MAX} times while they were read: try again")]
    Restless,
}

/// What there is to learn.
pub struct Learned {
    /// The events. Their users are subjects: who they are is not in the lake.
    pub history: History,
    /// What they are known by, for a card.
    pub input: InputFile,
    /// All events of the lake, those among them that are too old or worth nothing.
    pub lake_events: u64,
}

/// Events of the lake, all of them.
pub fn events(manifest: &Manifest) -> u64 {
    manifest.files.iter().filter(|file| file.dataset == Dataset::Events).map(|file| file.rows).sum()
}

/// Reads the last `events_max` events of a tenant, a file at a time; those that are worth nothing are passed over.
///
/// # Errors
/// [`LakeReadError`].
pub async fn read_lake(
    objects: &dyn Objects,
    tenant: &Tenant,
    worth: &Worth,
    events_max: usize,
) -> Result<Learned, LakeReadError> {
    let worth = Arc::new(worth.clone());
    'lake: for _ in 0..ROUNDS_MAX {
        let manifest = load_manifest(objects, tenant).await?;
        let mut reading = Reading::default();
        for (file, skipped) in newest(&manifest, events_max as u64) {
            let bytes = match load_file(objects, tenant, &file).await {
                // A file that is gone was joined with others, or somebody was taken out of it.
                Err(LakeError::Store(error)) if error.kind == ErrorKind::NotFound => continue 'lake,
                loaded => loaded?,
            };
            let worth = Arc::clone(&worth);
            reading = spawn_blocking(move || {
                let mut left = skipped as usize;
                for batch in read_columns(bytes, &COLUMNS)? {
                    let batch = batch?;
                    let skipped = left.min(batch.num_rows());
                    left -= skipped;
                    reading.add(&batch.slice(skipped, batch.num_rows() - skipped), &worth)?;
                }
                Ok::<_, LakeReadError>(reading)
            })
            .await??;
        }
        return reading.finish(events(&manifest));
    }
    Err(LakeReadError::Restless)
}

/// The files of the last events in the order of the log, and how many rows of each are passed over as too old.
fn newest(manifest: &Manifest, events_max: u64) -> Vec<(DataFile, u64)> {
    let mut files: Vec<&DataFile> = manifest.files.iter().filter(|file| file.dataset == Dataset::Events).collect();
    files.sort_by_key(|file| (file.day, file.partition, file.first));
    let mut left = events_max;
    let mut chosen: Vec<(DataFile, u64)> = Vec::new();
    for file in files.into_iter().rev() {
        if left == 0 {
            break;
        }
        let taken = file.rows.min(left);
        left -= taken;
        chosen.push((file.clone(), file.rows - taken));
    }
    chosen.reverse();
    chosen
}

#[derive(Default)]
struct Reading {
    builder: HistoryBuilder,
    hash: Sha256,
    bytes: u64,
}

impl Reading {
    fn add(&mut self, batch: &RecordBatch, worth: &Worth) -> Result<(), LakeReadError> {
        let [subjects, kinds, items] = ["subject", "type", "item_id"].map(|name| text(batch, name));
        let (subjects, kinds, items) = (subjects?, kinds?, items?);
        let values = column(batch, "value")?.as_primitive_opt::<Float64Type>();
        let times = column(batch, "time")?.as_primitive_opt::<TimestampMillisecondType>();
        let (Some(values), Some(times)) = (values, times) else { return Err(foreign("value or time").into()) };
        for row in 0..batch.num_rows() {
            let kind = kinds.value(row);
            if items.is_null(row) || worth.of(kind).weight == 0.0 {
                continue;
            }
            let (subject, item) = (subjects.value(row), items.value(row));
            // What is too large for a model says nothing.
            let value = values.is_valid(row).then(|| values.value(row)).filter(|value| (*value as f32).is_finite());
            let time_ms = times.value(row);
            for part in [subject, item, kind] {
                self.write(&(part.len() as u64).to_le_bytes());
                self.write(part.as_bytes());
            }
            self.write(&value.map_or(u64::MAX, f64::to_bits).to_le_bytes());
            self.write(&time_ms.to_le_bytes());
            let time = time_ms.div_euclid(1_000);
            if !self.builder.push(subject.to_owned(), item.to_owned(), kind.to_owned(), value, time) {
                return Err(HistoryError::Kinds { path: LAKE.into() }.into());
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    fn finish(self, lake_events: u64) -> Result<Learned, LakeReadError> {
        let sha256 = self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let (role, file, columns) = ("events".to_owned(), LAKE.to_owned(), Default::default());
        let input = InputFile { role, file, bytes: self.bytes, sha256, columns };
        Ok(Learned { history: self.builder.finish(Path::new(LAKE))?, input, lake_events })
    }
}

fn column<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b dyn Array, LakeError> {
    batch.column_by_name(name).map(|column| &**column).ok_or_else(|| foreign(name))
}

fn text<'b>(batch: &'b RecordBatch, name: &str) -> Result<&'b StringArray, LakeError> {
    column(batch, name)?.as_string_opt::<i32>().ok_or_else(|| foreign(name))
}

fn foreign(name: &str) -> LakeError {
    LakeError::Rows(arrow::error::ArrowError::SchemaError(format!("there is no {name:?} of the lake's type")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_events_are_taken_and_kept_in_order() {
        let file = |day: i64, partition: u32, first: u64, rows: u64| {
            let (dataset, last) = (Dataset::Events, first + rows - 1);
            let key = format!("{day}-{partition}-{first}");
            DataFile { key, dataset, day, partition, first, last, rows, bytes: 1, time_min_ms: 0, time_max_ms: 1 }
        };
        let files = vec![file(2, 1, 50, 10), file(1, 0, 0, 100), file(2, 0, 100, 30), file(2, 1, 20, 30)];
        let manifest = Manifest { files, ..Manifest::default() };
        let chosen = |max| {
            let chosen = newest(&manifest, max).into_iter();
            chosen.map(|(file, skipped)| (file.key, skipped)).collect::<Vec<_>>()
        };
        let key = |key: &str, skipped| (key.to_owned(), skipped);
        assert_eq!(chosen(25), [key("2-1-20", 15), key("2-1-50", 0)]);
        assert_eq!(chosen(70), [key("2-0-100", 0), key("2-1-20", 0), key("2-1-50", 0)]);
        assert_eq!(chosen(71)[0], key("1-0-0", 99));
        assert_eq!((chosen(10_000).len(), events(&manifest)), (4, 170));
    }
}
