//! The lake made again from the log alone.
//!
//! The first commit replaces the manifest, and with it all that was there; what it does not name any more is removed at the
//! end. Cut off in between, a rebuild leaves a lake that goes as far as it came, and its writer goes on from there.

use std::collections::HashSet;
use std::hash::Hasher;
use std::sync::Arc;

use arrow::json::LineDelimitedWriter;
use attune_store::events::{EventLog, PAGE_MAX, Stretch};
use attune_store::objects::Objects;
use attune_store::{ErrorKind, Tenant};
use fnv::FnvHasher;
use tokio::task::spawn_blocking;

use crate::codec::{LakeError, read};
use crate::manifest::Dataset;
use crate::store::{load_file, load_manifest};
use crate::tail::Tail;
use crate::writer::LakeSettings;

/// What a lake holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Rows of events.
    pub events: u64,
    /// Rows of lists that were shown.
    pub exposures: u64,
    /// The same for the same rows, in whichever files and in whichever order they are.
    pub digest: u64,
}

/// What a rebuild has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// What was there, with what the log had beyond it; or why that cannot be told.
    pub before: Result<Contents, String>,
    /// What is there now.
    pub after: Contents,
}

/// Makes a tenant's lake again.
///
/// # Errors
/// [`LakeError::Begins`] where the log has lost its beginning, and [`LakeError::Busy`] where somebody else writes: nothing
/// was changed then, or what was is a lake all the same. Otherwise a store does not answer.
pub async fn rebuild(events: &dyn EventLog, objects: &Arc<dyn Objects>, tenant: &Tenant) -> Result<Rebuilt, LakeError> {
    let first = events.bounds(tenant).await?.into_iter().map(|bounds| bounds.first).max().unwrap_or(0);
    if first > 0 {
        return Err(LakeError::Begins { first });
    }
    let before = match caught_up(events, objects, tenant).await {
        Err(LakeError::Store(error)) if matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Timeout) => {
            return Err(error.into());
        }
        caught_up => caught_up.map_err(|error| error.to_string()),
    };
    let (tail, old) = Tail::anew(Arc::clone(objects), tenant.clone(), LakeSettings::default()).await?;
    write_up(tail, events, tenant).await?;
    let named: HashSet<String> =
        load_manifest(&**objects, tenant).await?.files.into_iter().map(|file| file.key).collect();
    for file in old.iter().filter(|file| !named.contains(&file.key)) {
        objects.delete(tenant, &file.key).await?;
    }
    Ok(Rebuilt { before, after: contents(&**objects, tenant).await? })
}

/// What the lake holds when it goes as far as the log.
async fn caught_up(events: &dyn EventLog, objects: &Arc<dyn Objects>, tenant: &Tenant) -> Result<Contents, LakeError> {
    let tail = Tail::open(Arc::clone(objects), tenant.clone(), LakeSettings::default()).await?;
    write_up(tail, events, tenant).await?;
    contents(&**objects, tenant).await
}

/// Writes a lake up to where the log ends.
async fn write_up(mut tail: Tail, events: &dyn EventLog, tenant: &Tenant) -> Result<(), LakeError> {
    let mut stretch = Stretch::open(events, tenant, |bounds| tail.next(bounds.partition)).await?;
    while let Some(records) = stretch.next(PAGE_MAX).await? {
        records.into_iter().for_each(|record| tail.take(record));
        if tail.is_due() {
            committed(tail.flush().await?)?;
        }
    }
    committed(tail.flush().await?)?;
    committed(tail.compact().await?)
}

fn committed(is_committed: bool) -> Result<(), LakeError> {
    if is_committed { Ok(()) } else { Err(LakeError::Busy) }
}

async fn contents(objects: &dyn Objects, tenant: &Tenant) -> Result<Contents, LakeError> {
    let mut contents = Contents::default();
    for file in load_manifest(objects, tenant).await?.files {
        let bytes = load_file(objects, tenant, &file).await?;
        let digest = spawn_blocking(move || digest(file.dataset, bytes)).await??;
        // A sum does not depend on the order.
        contents.digest = contents.digest.wrapping_add(digest);
        match file.dataset {
            Dataset::Events => contents.events += file.rows,
            Dataset::Exposures => contents.exposures += file.rows,
        }
    }
    Ok(contents)
}

/// The sum of the digests of a file's rows.
fn digest(dataset: Dataset, bytes: bytes::Bytes) -> Result<u64, LakeError> {
    let mut lines = LineDelimitedWriter::new(Vec::new());
    lines.write(&read(bytes)?)?;
    lines.finish()?;
    let lines = lines.into_inner();
    let rows = lines.split(|byte| *byte == b'\n').filter(|row| !row.is_empty());
    Ok(rows.fold(0_u64, |sum, row| sum.wrapping_add(hash_of(dataset, row))))
}

/// Of a dataset's name and a row.
fn hash_of(dataset: Dataset, row: &[u8]) -> u64 {
    let mut hasher = FnvHasher::default();
    hasher.write(dataset.name().as_bytes());
    hasher.write(row);
    hasher.finish()
}
