//! The event lake as a history that recommenders learn from.

use std::path::Path;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{Float64Type, TimestampMillisecondType};
use attune_batch::history::{History, HistoryBuilder, HistoryError};
use attune_batch::recommender::InputFile;
use attune_lake::{Dataset, LakeError, fold, numbers, texts};
use attune_ranking::data::Worth;
use attune_store::Tenant;
use attune_store::objects::Objects;
use sha2::{Digest, Sha256};

/// The columns that are learned from.
const COLUMNS: [&str; 5] = ["subject", "type", "item_id", "value", "time"];
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
    let reading = attune_lake::Reading {
        log: None,
        objects,
        tenant,
        dataset: Dataset::Events,
        columns: &COLUMNS,
        rows_max: events_max as u64,
    };
    let start = |rows: u64| {
        let builder = HistoryBuilder::with_capacity(rows as usize);
        Learning { worth: worth.clone(), builder, hash: Sha256::new(), bytes: 0 }
    };
    let (learning, manifest) = fold(reading, start, Learning::add).await?;
    learning.finish(manifest.rows(Dataset::Events))
}

struct Learning {
    worth: Worth,
    builder: HistoryBuilder,
    hash: Sha256,
    bytes: u64,
}

impl Learning {
    fn add(&mut self, batch: &RecordBatch) -> Result<(), LakeReadError> {
        let [subjects, kinds, items] = ["subject", "type", "item_id"].map(|name| texts(batch, name));
        let (subjects, kinds, items) = (subjects?, kinds?, items?);
        let values = numbers::<Float64Type>(batch, "value")?;
        let times = numbers::<TimestampMillisecondType>(batch, "time")?;
        for row in 0..batch.num_rows() {
            let kind = kinds.value(row);
            if items.is_null(row) || self.worth.of(kind).weight == 0.0 {
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
            if !self.builder.push(subject, item, kind, value, time) {
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
