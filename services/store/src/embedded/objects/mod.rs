//! The embedded object store: files of a folder, which several processes may use at once.
//!
//! ```text
//! ROOT/format.json, secret, lock
//! ROOT/TENANT/data/+models/+minilm/=model.safetensors      the object models/minilm/model.safetensors
//! ROOT/TENANT/tmp/                                         what is being written
//! ```
//!
//! An object is written under a temporary name and synced, then renamed, then its folder is synced. Conditions are
//! looked at and the rename done under a file lock, so that they hold between processes too.
//!
//! Why not `object_store`'s `LocalFileSystem`: it does not sync, so that an object it has put may be empty after a loss
//! of power; it refuses a put that depends on a version; it keeps no checksums; and a key cannot be the beginning of
//! another one.

mod file;
mod place;
mod upload;

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use self::file::{Draft, Tail, read_piece, read_sums};
use self::place::Wanted;
use self::upload::LocalUpload;
use super::disk::{self, Disk, Folder, ReadFile, make_folders};
use super::{disk_failure, format};
use crate::clock::{latest_ms, wall_ms};
use crate::objects::check::{self, failure};
use crate::objects::{About, Access, Condition, Grant, Objects, Page, Presigned, Reading, Signer, Upload};
use crate::{ErrorKind, Health, StoreError, StoreKind, Tenant};

/// How much of an object is read at once.
const PIECE_BYTES: usize = 1 << 20;
/// What is being written for longer than this is nobody's any more.
const ABANDONED_AFTER_MS: i64 = 24 * 3600 * 1_000;
/// Where the gateway serves presigned addresses; the token follows.
pub const PRESIGNED_PATH: &str = "/v1/objects/";
/// The version that a list gives to an object whose file is damaged; reading it says more.
pub const DAMAGED: &str = "damaged";
const LOCK: &str = "lock";
const SECRET: &str = "secret";

/// The embedded object store.
pub struct LocalObjects {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Arc<dyn Disk>,
    signer: Signer,
    /// What presigned addresses begin with, without a `/` at the end.
    public_url: String,
    /// Folders that are known to be on the disk. None is ever removed.
    folders: Mutex<HashSet<String>>,
}

#[derive(Serialize, Deserialize)]
struct Facts {}

impl LocalObjects {
    /// Opens the objects of a folder, which is made if it is not there. `public_url` is where the gateway is reached.
    ///
    /// # Errors
    /// `TooNew`, `Denied`, `Full`.
    pub async fn open(folder: &Path, public_url: &str) -> Result<Self, StoreError> {
        let disk = Folder::new(folder).map_err(|error| failed("open", &folder.display().to_string(), &error))?;
        Self::open_on(Arc::new(disk), public_url).await
    }

    /// The same on any disk.
    ///
    /// # Errors
    /// As [`LocalObjects::open`].
    pub async fn open_on(disk: Arc<dyn Disk>, public_url: &str) -> Result<Self, StoreError> {
        let public_url = public_url.trim_end_matches('/').to_owned();
        let shared = blocking("open", move || Shared::open(disk, public_url)).await?;
        Ok(Self { shared: Arc::new(shared) })
    }

    async fn run<T: Send + 'static>(
        &self,
        call: &'static str,
        work: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = self.shared.clone();
        blocking(call, move || work(&shared)).await
    }
}

impl Shared {
    fn open(disk: Arc<dyn Disk>, public_url: String) -> Result<Self, StoreError> {
        let sorry = |error| failed("open", "the objects' folder", &error);
        let _lock = disk.lock(LOCK, true).map_err(sorry)?;
        format::open(&*disk, StoreKind::Objects, file::FORMAT, Facts {})?;
        let secret = match disk.read(SECRET).map_err(sorry)?.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
            Some(secret) => secret,
            None => {
                let secret: [u8; 32] = rand::random();
                disk::replace(&*disk, "", SECRET, &secret).map_err(sorry)?;
                secret
            }
        };
        remove_abandoned(&*disk).map_err(sorry)?;
        Ok(Self { disk, signer: Signer::new(&secret), public_url, folders: Mutex::default() })
    }

    /// Makes a folder, once.
    fn folder(&self, folder: &str) -> io::Result<()> {
        let known = || self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        if !known().contains(folder) {
            make_folders(&*self.disk, folder)?;
            known().insert(folder.to_owned());
        }
        Ok(())
    }

    /// A file for what is being written, and its name.
    fn draft(&self, tenant: &Tenant) -> io::Result<(String, Draft)> {
        self.folder(&format!("{tenant}/tmp"))?;
        let name = format!("{tenant}/tmp/{:013}-{:016x}", wall_ms(), rand::random::<u64>());
        let file = self.disk.create(&name)?;
        Ok((name, Draft::new(file)))
    }

    /// Makes an object of what was written.
    fn publish(
        &self,
        call: &'static str,
        tenant: &Tenant,
        key: &str,
        temporary: &str,
        draft: Draft,
        condition: &Condition,
    ) -> Result<About, StoreError> {
        let sorry = |error: io::Error| failed(call, &format!("{key:?} of {tenant}"), &error);
        let (folder, target) = place::of(tenant, key);
        self.folder(&folder).map_err(sorry)?;
        let tail = draft.finish(wall_ms(), rand::random()).map_err(sorry)?;
        {
            let _lock = self.disk.lock(LOCK, true).map_err(sorry)?;
            let held = match condition {
                Condition::None => true,
                Condition::Absent => self.disk.open(&target).map_err(sorry)?.is_none(),
                Condition::Version(version) => {
                    self.tail(&target).map_err(sorry)?.is_some_and(|(_, tail)| *version == version_of(&tail))
                }
            };
            if !held {
                return Err(conflict(call, key, condition));
            }
            self.disk.rename(temporary, &target).map_err(sorry)?;
        }
        self.disk.sync_folder(&folder).map_err(sorry)?;
        Ok(about(key, &tail))
    }

    fn put(&self, tenant: &Tenant, key: &str, body: &[u8], condition: &Condition) -> Result<About, StoreError> {
        let sorry = |error: io::Error| failed("put", &format!("{key:?} of {tenant}"), &error);
        let (temporary, mut draft) = self.draft(tenant).map_err(sorry)?;
        let put = match draft.write(body) {
            Ok(()) => self.publish("put", tenant, key, &temporary, draft, condition),
            Err(error) => Err(sorry(error)),
        };
        if put.is_err() {
            // After a rename there is nothing of that name.
            let _ = self.disk.remove(&temporary);
        }
        put
    }

    /// An object's file and tail; `None` where it is not there.
    fn tail(&self, target: &str) -> io::Result<Option<(Box<dyn ReadFile>, Tail)>> {
        let Some(file) = self.disk.open(target)? else { return Ok(None) };
        let tail = Tail::read(&*file)?;
        Ok(Some((file, tail)))
    }

    fn found(&self, call: &'static str, tenant: &Tenant, key: &str) -> Result<(Box<dyn ReadFile>, Tail), StoreError> {
        let found = self.tail(&place::of(tenant, key).1);
        let found = found.map_err(|error| failed(call, &format!("{key:?} of {tenant}"), &error))?;
        found.ok_or_else(|| failure(call, ErrorKind::NotFound, format!("there is no object {key:?} of {tenant}")))
    }

    fn list(&self, tenant: &Tenant, wanted: &Wanted<'_>) -> io::Result<Page> {
        let mut keys = Vec::new();
        let one_more = Wanted { limit: wanted.limit + 1, ..*wanted };
        place::collect(&*self.disk, &place::root_of(tenant), "", &one_more, &mut keys)?;
        let is_more = keys.len() > wanted.limit;
        keys.truncate(wanted.limit);
        let next = if is_more { keys.last().cloned() } else { None };
        let mut objects = Vec::with_capacity(keys.len());
        for key in keys {
            match self.tail(&place::of(tenant, &key).1) {
                Ok(Some((_, tail))) => objects.push(about(&key, &tail)),
                // Deleted meanwhile.
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    objects.push(About { key, bytes: 0, version: DAMAGED.to_owned(), modified_ms: 0 });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Page { objects, next })
    }

    fn delete(&self, tenant: &Tenant, key: &str) -> io::Result<()> {
        let (folder, target) = place::of(tenant, key);
        {
            let _lock = self.disk.lock(LOCK, true)?;
            if self.disk.open(&target)?.is_none() {
                return Ok(());
            }
            self.disk.remove(&target)?;
        }
        self.disk.sync_folder(&folder)
    }
}

fn remove_abandoned(disk: &dyn Disk) -> io::Result<()> {
    let oldest_ms = wall_ms() - ABANDONED_AFTER_MS;
    for tenant in disk.list("")?.into_iter().filter(|entry| entry.is_folder) {
        let folder = format!("{}/tmp", tenant.name);
        for entry in disk.list(&folder)? {
            let began_ms = entry.name.split('-').next().and_then(|digits| digits.parse::<i64>().ok());
            if began_ms.is_some_and(|began_ms| began_ms < oldest_ms) {
                disk.remove(&format!("{folder}/{}", entry.name))?;
            }
        }
    }
    Ok(())
}

fn version_of(tail: &Tail) -> String {
    format!("{:032x}", tail.version)
}

fn about(key: &str, tail: &Tail) -> About {
    About { key: key.to_owned(), bytes: tail.bytes, version: version_of(tail), modified_ms: tail.modified_ms }
}

fn conflict(call: &'static str, key: &str, condition: &Condition) -> StoreError {
    let detail = match condition {
        Condition::Version(version) => format!("{key:?} does not have the version {version} any more: read it again"),
        _ => format!("{key:?} exists already"),
    };
    failure(call, ErrorKind::Conflict, detail)
}

fn failed(call: &'static str, what: &str, error: &io::Error) -> StoreError {
    disk_failure(StoreKind::Objects, call, what, error)
}

/// Runs what waits for the disk away from the async threads.
async fn blocking<T: Send + 'static>(
    call: &'static str,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let ended = |error| failure(call, ErrorKind::Internal, "the store stopped at this").caused_by(Box::new(error));
    spawn_blocking(work).await.map_err(ended)?
}

#[async_trait]
impl Objects for LocalObjects {
    async fn put(&self, tenant: &Tenant, key: &str, body: Bytes, condition: Condition) -> Result<About, StoreError> {
        check::key("put", key)?;
        check::body(body.len())?;
        let (tenant, key) = (tenant.clone(), key.to_owned());
        self.run("put", move |shared| shared.put(&tenant, &key, &body, &condition)).await
    }

    async fn upload(&self, tenant: &Tenant, key: &str) -> Result<Box<dyn Upload>, StoreError> {
        check::key("upload", key)?;
        let (shared, tenant, key) = (self.shared.clone(), tenant.clone(), key.to_owned());
        let upload = blocking("upload", move || LocalUpload::begin(shared, tenant, key)).await?;
        Ok(Box::new(upload))
    }

    async fn get(&self, tenant: &Tenant, key: &str, range: Option<Range<u64>>) -> Result<Reading, StoreError> {
        check::key("get", key)?;
        let (tenant, key) = (tenant.clone(), key.to_owned());
        let open = self.run("get", move |shared| {
            let (file, tail) = shared.found("get", &tenant, &key)?;
            let range = check::range(range, tail.bytes)?;
            let sums =
                read_sums(&*file, &tail).map_err(|error| failed("get", &format!("{key:?} of {tenant}"), &error))?;
            Ok(Open { file: file.into(), about: about(&key, &tail), sums: sums.into(), tail, range })
        });
        let open = open.await?;
        let (about, range) = (open.about.clone(), open.range.clone());
        let body = Box::pin(stream::unfold(Some(open), next_piece));
        Ok(Reading { about, range, body })
    }

    async fn head(&self, tenant: &Tenant, key: &str) -> Result<About, StoreError> {
        check::key("head", key)?;
        let (tenant, key) = (tenant.clone(), key.to_owned());
        let head = move |shared: &Shared| Ok(about(&key, &shared.found("head", &tenant, &key)?.1));
        self.run("head", head).await
    }

    async fn list(&self, tenant: &Tenant, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        check::list(prefix, limit)?;
        let (tenant, prefix, after) = (tenant.clone(), prefix.to_owned(), after.map(str::to_owned));
        self.run("list", move |shared| {
            let wanted = Wanted { prefix: &prefix, after: after.as_deref(), limit };
            shared.list(&tenant, &wanted).map_err(|error| failed("list", &format!("objects of {tenant}"), &error))
        })
        .await
    }

    async fn delete(&self, tenant: &Tenant, key: &str) -> Result<(), StoreError> {
        check::key("delete", key)?;
        let (tenant, key) = (tenant.clone(), key.to_owned());
        self.run("delete", move |shared| {
            shared.delete(&tenant, &key).map_err(|error| failed("delete", &format!("{key:?} of {tenant}"), &error))
        })
        .await
    }

    async fn presign(
        &self,
        tenant: &Tenant,
        key: &str,
        access: Access,
        good_for: Duration,
    ) -> Result<Presigned, StoreError> {
        check::key("presign", key)?;
        check::good_for(good_for)?;
        let expires_ms = wall_ms() + good_for.as_millis() as i64;
        let token = self.shared.signer.sign(&Grant { tenant: tenant.clone(), key: key.to_owned(), access, expires_ms });
        Ok(Presigned { url: format!("{}{PRESIGNED_PATH}{token}", self.shared.public_url), expires_ms })
    }

    fn grant(&self, token: &str) -> Result<Grant, StoreError> {
        // The clock may have been set back since the token was signed.
        self.shared.signer.verify(token, latest_ms())
    }

    async fn health(&self) -> Result<Health, StoreError> {
        let list =
            |shared: &Shared| shared.disk.list("").map_err(|error| failed("health", "the objects' folder", &error));
        self.run("health", list).await?;
        Ok(Health::new("local folder", format!("format {}", file::FORMAT)))
    }
}

/// An object that is being read. It stays what it was when it is replaced meanwhile.
struct Open {
    file: Arc<dyn ReadFile>,
    about: About,
    tail: Tail,
    sums: Arc<[u8]>,
    /// What is still to come.
    range: Range<u64>,
}

async fn next_piece(open: Option<Open>) -> Option<(Result<Bytes, StoreError>, Option<Open>)> {
    let mut open = open.filter(|open| !open.range.is_empty())?;
    let (file, tail, sums, range) = (open.file.clone(), open.tail.clone(), open.sums.clone(), open.range.clone());
    let what = format!("{:?}", open.about.key);
    let piece = blocking("get", move || {
        read_piece(&*file, &tail, &sums, range, PIECE_BYTES).map_err(|error| failed("get", &what, &error))
    });
    match piece.await {
        Ok(piece) => {
            open.range.start += piece.len() as u64;
            Some((Ok(piece), Some(open)))
        }
        Err(error) => Some((Err(error), None)),
    }
}
