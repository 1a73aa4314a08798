//! The lake and what the log has beyond it, as of one moment: every event once, for whoever cannot wait for the writer.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use attune_store::Tenant;
use attune_store::events::{Bounds, EventLog, PAGE_MAX, Stretch};
use attune_store::objects::Objects;

use crate::codec::LakeError;
use crate::manifest::{Dataset, Manifest};
use crate::pending::{Pending, Said};
use crate::remember::{Wanted, remember};
use crate::store::load_manifest;
use crate::{events_schema, exposures_schema, rows};

/// The most records beyond the lake that a reader takes along; more of them, and the writer of the lake stands still or is
/// far behind.
pub const TAIL_RECORDS_MAX: usize = 500_000;
/// The most bytes of them.
pub const TAIL_BYTES_MAX: usize = 128 << 20;

/// What a tenant's lake would be if its writer had come to the end of the log.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The files.
    pub manifest: Manifest,
    /// Subjects that the log says are forgotten and the files still have: their rows are to be left out.
    pub forgotten: BTreeSet<String>,
    events: RecordBatch,
    exposures: RecordBatch,
}

impl Snapshot {
    /// Everything that was appended before the call.
    ///
    /// A copy of an event is told as the writer of the lake tells it, by the ids of the last days; what is told here from
    /// the ids of the tail alone, the writer tells from all of them, and drops the oldest beyond
    /// [`IDS_MAX`](crate::window::IDS_MAX).
    ///
    /// # Errors
    /// [`LakeError::Behind`] beyond [`TAIL_RECORDS_MAX`]; a store does not answer; a file that was replaced meanwhile is
    /// not found: take another.
    pub async fn take(log: &dyn EventLog, objects: &dyn Objects, tenant: &Tenant) -> Result<Self, LakeError> {
        let manifest = load_manifest(objects, tenant).await?;
        let said = beyond(log, tenant, &manifest).await?;
        let mut wanted = Wanted::new();
        for (partition, id) in said.iter().filter_map(|said| Some((said.partition, said.fingerprint()?))) {
            wanted.entry(partition).or_default().insert(id);
        }
        let mut windows = remember(objects, tenant, &manifest, Some(&wanted)).await?;
        let mut pending = Pending::default();
        for said in said {
            pending.take(said, &mut windows, |subject| manifest.forgotten.contains(subject));
        }
        let events: Vec<_> = pending.events.into_values().flatten().collect();
        let exposures: Vec<_> = pending.exposures.into_values().flatten().collect();
        let (events, exposures) = (rows::events(&events)?, rows::exposures(&exposures)?);
        Ok(Self { manifest, forgotten: pending.forgotten.into_keys().collect(), events, exposures })
    }

    /// What is in the files alone, for who cannot read the log: it is another process's.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn of_files(objects: &dyn Objects, tenant: &Tenant) -> Result<Self, LakeError> {
        let manifest = load_manifest(objects, tenant).await?;
        let (events, exposures) = (rows::events(&[])?, rows::exposures(&[])?);
        Ok(Self { manifest, forgotten: BTreeSet::new(), events, exposures })
    }

    /// The rows that are in no file yet, with the columns of [`events_schema`] or [`exposures_schema`].
    pub fn tail(&self, dataset: Dataset) -> &RecordBatch {
        match dataset {
            Dataset::Events => &self.events,
            Dataset::Exposures => &self.exposures,
        }
    }

    /// What is held in memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.events.get_array_memory_size() + self.exposures.get_array_memory_size()
    }
}

impl Dataset {
    /// Its columns.
    pub fn schema(self) -> arrow::datatypes::SchemaRef {
        match self {
            Self::Events => events_schema(),
            Self::Exposures => exposures_schema(),
        }
    }
}

/// The records behind those of the lake, up to where the log ends now.
async fn beyond(log: &dyn EventLog, tenant: &Tenant, manifest: &Manifest) -> Result<Vec<Said>, LakeError> {
    let from = |bounds: &Bounds| manifest.next.get(&bounds.partition).copied().unwrap_or(0);
    let mut stretch = Stretch::open(log, tenant, from).await?;
    let (mut said, mut records, mut bytes) = (Vec::new(), 0, 0);
    while let Some(events) = stretch.next(PAGE_MAX).await? {
        records += events.len();
        bytes += events.iter().map(|event| event.subject.len() + event.payload.len()).sum::<usize>();
        if records > TAIL_RECORDS_MAX || bytes > TAIL_BYTES_MAX {
            return Err(LakeError::Behind { records });
        }
        said.extend(events.into_iter().filter_map(Said::read));
    }
    Ok(said)
}
