//! Versions among the objects, from where every replica fetches them.
//!
//! ```text
//! recommenders/NAME/VERSION/FILE        the manifest is the last one to come
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use attune_batch::folder::MANIFEST;
use attune_batch::recommender::{Arriving, RecommenderError, files, prune};
use attune_store::objects::{Condition, Objects, PAGE_MAX};
use attune_store::{StoreError, Tenant};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::spawn_blocking;

use crate::name_of;

/// Versions of a tenant's trained recommender that are kept besides the one in service, to go back to.
pub(crate) const KEPT: usize = 5;
/// Bytes that are sent at once: object stores take pieces of at least 5 MiB.
const PIECE_BYTES: usize = 8 << 20;

/// Why a version cannot be published or fetched.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The objects are away, or full.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The folder is not what it should be.
    #[error(transparent)]
    Recommender(#[from] RecommenderError),
    /// A file cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody has published it.
    #[error("version {0} is not among the objects: `attune recommenders promote` publishes it from where it is")]
    Absent(String),
    /// A thread ended.
    #[error("fetching a version ended: {0}")]
    Ended(#[from] tokio::task::JoinError),
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> PublishError + '_ {
    |source| PublishError::File { path: path.to_owned(), source }
}

fn prefix(label: &str) -> String {
    format!("recommenders/{label}/")
}

/// Puts a version, `NAME/VERSION`, among the objects of a tenant. Done a second time, it changes nothing.
///
/// # Errors
/// [`PublishError`]; what was put is not fetched by anybody, since its manifest is missing.
pub async fn publish(objects: &dyn Objects, tenant: &Tenant, folder: &Path, label: &str) -> Result<(), PublishError> {
    for name in files(folder)? {
        let path = folder.join(&name);
        let mut file = File::open(&path).await.map_err(at(&path))?;
        let mut upload = objects.upload(tenant, &format!("{}{name}", prefix(label))).await?;
        loop {
            let mut piece = BytesMut::with_capacity(PIECE_BYTES);
            while piece.len() < PIECE_BYTES && file.read_buf(&mut piece).await.map_err(at(&path))? > 0 {}
            if piece.is_empty() {
                break;
            }
            upload.write(piece.freeze()).await?;
        }
        upload.finish(Condition::None).await?;
    }
    Ok(())
}

/// Fetches a version, `NAME/VERSION`, into a data folder, every byte verified by its name; its folder.
///
/// # Errors
/// [`PublishError`]; nothing is left in the data folder then.
pub async fn fetch(objects: &dyn Objects, tenant: &Tenant, data: &Path, label: &str) -> Result<PathBuf, PublishError> {
    let absent = || PublishError::Absent(label.to_owned());
    let (name, version) =
        label.split_once('/').filter(|parts| is_plain(parts.0) && is_plain(parts.1)).ok_or_else(absent)?;
    let names: Vec<String> = keys(objects, tenant, &prefix(label)).await?.into_iter().map(|(name, _)| name).collect();
    if !names.iter().any(|name| name == MANIFEST) {
        return Err(absent());
    }
    let (folder, of) = (data.to_owned(), name.to_owned());
    let mut arriving = spawn_blocking(move || Arriving::begin(&folder, &of)).await??;
    for name in names.iter().filter(|name| *name != MANIFEST) {
        let path = arriving.scratch().join("arriving");
        let mut file = File::create(&path).await.map_err(at(&path))?;
        let mut body = objects.get(tenant, &format!("{}{name}", prefix(label)), None).await?.body;
        while let Some(piece) = body.next().await {
            let piece: Bytes = piece?;
            file.write_all(&piece).await.map_err(at(&path))?;
        }
        file.flush().await.map_err(at(&path))?;
        arriving.take(name, &path)?;
    }
    let called = version.to_owned();
    let folder = spawn_blocking(move || arriving.commit(&called)).await??;
    if name == name_of(tenant) {
        // Trainings come again and again; what somebody brought here himself stays.
        prune(data, name, &[version], KEPT)?;
    }
    Ok(folder)
}

/// Removes the versions of a name that nobody goes back to: all but the `newest` last published ones and those that are
/// kept.
pub(crate) async fn forget_old(
    objects: &dyn Objects,
    tenant: &Tenant,
    name: &str,
    kept: &[&str],
    newest: usize,
) -> Result<(), StoreError> {
    let mut versions: BTreeMap<String, i64> = BTreeMap::new();
    let found = keys(objects, tenant, &prefix(name)).await?;
    for (key, modified_ms) in &found {
        let version = key.split('/').next().unwrap_or_default();
        let age = versions.entry(version.to_owned()).or_default();
        *age = (*modified_ms).max(*age);
    }
    versions.retain(|version, _| !kept.contains(&version.as_str()));
    let mut by_age: Vec<(i64, String)> = versions.into_iter().map(|(version, age)| (age, version)).collect();
    by_age.sort();
    by_age.truncate(by_age.len().saturating_sub(newest));
    for (key, _) in found {
        if by_age.iter().any(|(_, version)| key.split('/').next() == Some(version)) {
            objects.delete(tenant, &format!("{}{key}", prefix(name))).await?;
        }
    }
    Ok(())
}

/// What follows a prefix in the keys that begin with it, and when each was put.
async fn keys(objects: &dyn Objects, tenant: &Tenant, prefix: &str) -> Result<Vec<(String, i64)>, StoreError> {
    let (mut keys, mut after) = (Vec::new(), None);
    loop {
        let page = objects.list(tenant, prefix, after.as_deref(), PAGE_MAX).await?;
        keys.extend(page.objects.into_iter().map(|one| (one.key[prefix.len()..].to_owned(), one.modified_ms)));
        after = page.next;
        if after.is_none() {
            return Ok(keys);
        }
    }
}

/// Whether a word can be the name of a folder, and leads nowhere else.
fn is_plain(word: &str) -> bool {
    !word.is_empty() && !word.starts_with('.') && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}
