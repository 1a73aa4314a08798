//! Which events the files have, as far back as a copy of them is left out.

use std::collections::{BTreeMap, HashMap, HashSet};

use attune_store::Tenant;
use attune_store::objects::Objects;
use tokio::task::spawn_blocking;

use crate::codec::{LakeError, read_columns, texts};
use crate::manifest::{DataFile, Dataset, Manifest};
use crate::pending::list_id;
use crate::store::load_file;
use crate::window::{KEPT_DAYS, Windows, fingerprint};

/// By partition, the ids that somebody asks about.
pub(crate) type Wanted = BTreeMap<u32, HashSet<u64>>;

/// Makes the windows from the files of the last days. Given what is `wanted`, other ids are left out, and so are
/// partitions of which none is.
///
/// # Errors
/// The store does not answer, or a file is damaged or was replaced.
pub(crate) async fn remember(
    objects: &dyn Objects,
    tenant: &Tenant,
    manifest: &Manifest,
    wanted: Option<&Wanted>,
) -> Result<Windows, LakeError> {
    let mut windows = Windows::default();
    for file in recent(manifest) {
        let ids = wanted.map(|wanted| wanted.get(&file.partition));
        // The day counts also where no id of it is asked for: it makes others old.
        windows.of(file.partition).see(file.day);
        if matches!(ids, Some(None)) {
            continue;
        }
        let bytes = load_file(objects, tenant, file).await?;
        let dataset = file.dataset;
        let found = spawn_blocking(move || fingerprints(dataset, bytes)).await??;
        let window = windows.of(file.partition);
        for id in found.into_iter().filter(|id| ids.flatten().is_none_or(|ids| ids.contains(id))) {
            window.is_new(file.day, id);
        }
    }
    Ok(windows)
}

/// The files of the last days of each partition, in the order in which their rows arrived.
fn recent(manifest: &Manifest) -> Vec<&DataFile> {
    let mut newest: HashMap<u32, i64> = HashMap::new();
    for file in &manifest.files {
        let day = newest.entry(file.partition).or_insert(file.day);
        *day = file.day.max(*day);
    }
    let is_recent = |file: &&DataFile| newest.get(&file.partition).is_some_and(|day| file.day >= day - KEPT_DAYS);
    let mut files: Vec<&DataFile> = manifest.files.iter().filter(is_recent).collect();
    files.sort_by_key(|file| (file.day, file.first));
    files
}

fn fingerprints(dataset: Dataset, bytes: bytes::Bytes) -> Result<Vec<u64>, LakeError> {
    let id = match dataset {
        Dataset::Events => "event_id",
        Dataset::Exposures => "request_id",
    };
    let mut found = Vec::new();
    for rows in read_columns(bytes, dataset, &["subject", id])? {
        let rows = rows?;
        let (subjects, ids) = (texts(&rows, "subject")?, texts(&rows, id)?);
        let of = |row: usize| match dataset {
            Dataset::Events => fingerprint(subjects.value(row), ids.value(row)),
            Dataset::Exposures => fingerprint(subjects.value(row), &list_id(ids.value(row))),
        };
        found.extend((0..rows.num_rows()).map(of));
    }
    Ok(found)
}
