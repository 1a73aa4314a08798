//! Which indices there are on disk, by tenant.
//!
//! ```text
//! FOLDER/format             1
//! FOLDER/lock               held by the process that has the folder open
//! FOLDER/TENANT/current     {"live": 3, "building": 4}, replaced in one rename
//! FOLDER/TENANT/3/          an index
//! ```
//!
//! What `current` does not name is left over from a change that did not come to its end, and is removed when the tenant
//! is opened.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::error::fault;
use super::generation::Generation;
use crate::{ErrorKind, StoreError, StoreKind, Tenant};

/// The format of what lies in the folder.
const FORMAT: u64 = 1;
const FORMAT_FILE: &str = "format";
const LOCK_FILE: &str = "lock";
const CURRENT_FILE: &str = "current";

/// All tenants' indices. One thread changes them, any thread reads.
pub(super) struct Catalogue {
    folder: PathBuf,
    open: Mutex<HashMap<Tenant, Arc<Generations>>>,
    /// Released when the catalogue goes.
    _lock: File,
}

/// The indices of a tenant.
#[derive(Clone, Default)]
pub(super) struct Generations {
    pub(super) live: Slot,
    pub(super) building: Slot,
    numbers: Numbers,
}

/// A place for an index.
#[derive(Clone, Default)]
pub(super) enum Slot {
    /// There is none.
    #[default]
    Empty,
    /// There is one.
    Ready(Arc<Generation>),
    /// There is one that cannot be read, and why.
    Damaged(String),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Numbers {
    live: Option<u64>,
    building: Option<u64>,
}

impl Catalogue {
    /// Opens or makes the folder, which no other process may have open.
    pub(super) fn open(folder: &Path) -> Result<Self, StoreError> {
        let unusable = |error: io::Error| {
            let error = fault("open", error);
            let detail = format!("{} cannot be used: {}", folder.display(), error.detail);
            StoreError { detail, ..error }
        };
        fs::create_dir_all(folder).map_err(unusable)?;
        let lock = File::create(folder.join(LOCK_FILE)).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let detail =
                    format!("another process has {} open: stop it, or choose another folder", folder.display());
                return Err(StoreError::new(StoreKind::Search, "open", ErrorKind::Unavailable, detail));
            }
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        check_format(folder)?;
        Ok(Self { folder: folder.to_owned(), open: Mutex::default(), _lock: lock })
    }

    /// The indices of a tenant, opened if they are not.
    pub(super) fn of(&self, tenant: &Tenant) -> Result<Arc<Generations>, StoreError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(generations) = open.get(tenant) {
            return Ok(Arc::clone(generations));
        }
        let generations = Arc::new(self.load(tenant)?);
        // Tenants that were asked for and have nothing are not kept: anybody can ask for anything.
        if generations.numbers != Numbers::default() {
            open.insert(tenant.clone(), Arc::clone(&generations));
        }
        Ok(generations)
    }

    fn load(&self, tenant: &Tenant) -> Result<Generations, StoreError> {
        let path = self.tenant(tenant).join(CURRENT_FILE);
        let numbers: Numbers = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Generations::default()),
            Err(error) => return Err(fault("open", error)),
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::error!(path = %path.display(), %error, "cannot be read: the tenant's indices are to be built anew");
                Numbers::default()
            }),
        };
        let slot = |number: Option<u64>| match number.map(|number| Generation::open(&self.generation(tenant, number))) {
            None => Slot::Empty,
            Some(Ok(generation)) => Slot::Ready(Arc::new(generation)),
            Some(Err(error)) => {
                tracing::error!(%tenant, "{error}");
                Slot::Damaged(error.detail)
            }
        };
        let generations = Generations { live: slot(numbers.live), building: slot(numbers.building), numbers };
        self.sweep(tenant, numbers);
        Ok(generations)
    }

    /// Makes the index that `building` will name.
    pub(super) fn begin(&self, tenant: &Tenant, schema: &attune_ranking::attributes::Schema) -> Result<(), StoreError> {
        let mut generations = Generations::clone(&*self.of(tenant)?);
        if matches!(generations.building, Slot::Ready(_)) {
            let detail = format!("{tenant} has a new index already: publish or abandon it first");
            return Err(StoreError::new(StoreKind::Search, "begin", ErrorKind::Conflict, detail));
        }
        let number = generations.numbers.live.max(generations.numbers.building).unwrap_or(0) + 1;
        let folder = self.generation(tenant, number);
        // A leftover of an earlier try, which nothing names.
        remove(&folder).map_err(|error| fault("begin", error))?;
        generations.building = Slot::Ready(Arc::new(Generation::create(&folder, schema)?));
        generations.numbers.building = Some(number);
        self.replace("begin", tenant, generations)
    }

    /// Puts the new index in the place of the live one.
    pub(super) fn publish(&self, tenant: &Tenant) -> Result<(), StoreError> {
        let mut generations = Generations::clone(&*self.of(tenant)?);
        match std::mem::take(&mut generations.building) {
            ready @ Slot::Ready(_) => generations.live = ready,
            Slot::Empty | Slot::Damaged(_) => {
                let detail = format!("{tenant} has no new index to publish: begin one");
                return Err(StoreError::new(StoreKind::Search, "publish", ErrorKind::NotFound, detail));
            }
        }
        generations.numbers.live = generations.numbers.building.take();
        self.replace("publish", tenant, generations)
    }

    /// Removes the new index.
    pub(super) fn abandon(&self, tenant: &Tenant) -> Result<(), StoreError> {
        let mut generations = Generations::clone(&*self.of(tenant)?);
        if generations.numbers.building.take().is_none() {
            return Ok(());
        }
        generations.building = Slot::Empty;
        self.replace("abandon", tenant, generations)
    }

    /// Removes all that a tenant has.
    pub(super) fn erase(&self, tenant: &Tenant) -> Result<(), StoreError> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
        remove(&self.tenant(tenant)).map_err(|error| fault("erase", error))
    }

    fn replace(&self, call: &'static str, tenant: &Tenant, generations: Generations) -> Result<(), StoreError> {
        let numbers = generations.numbers;
        let folder = self.tenant(tenant);
        let write = || {
            let text = serde_json::to_vec(&numbers)?;
            replace_file(&folder, CURRENT_FILE, &text)
        };
        write().map_err(|error| fault(call, error))?;
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant.clone(), Arc::new(generations));
        self.sweep(tenant, numbers);
        Ok(())
    }

    /// Removes the indices that are named no more. Readers that still have one open keep its files until they go.
    fn sweep(&self, tenant: &Tenant, numbers: Numbers) {
        let Ok(entries) = fs::read_dir(self.tenant(tenant)) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(number) = name.to_str().and_then(|name| name.parse::<u64>().ok()) else { continue };
            if ![numbers.live, numbers.building].contains(&Some(number))
                && let Err(error) = remove(&entry.path())
            {
                tracing::warn!(path = %entry.path().display(), %error, "an old index cannot be removed");
            }
        }
    }

    fn tenant(&self, tenant: &Tenant) -> PathBuf {
        self.folder.join(tenant.as_str())
    }

    fn generation(&self, tenant: &Tenant, number: u64) -> PathBuf {
        self.tenant(tenant).join(number.to_string())
    }
}

impl Slot {
    /// The index, if it can be used.
    pub(super) fn ready(&self) -> Option<&Arc<Generation>> {
        match self {
            Self::Ready(generation) => Some(generation),
            Self::Empty | Self::Damaged(_) => None,
        }
    }

    /// The index to search.
    ///
    /// # Errors
    /// `NotFound`: there is none. `Corrupt`: it cannot be read.
    pub(super) fn usable(&self, call: &'static str, tenant: &Tenant) -> Result<&Arc<Generation>, StoreError> {
        let (kind, detail) = match self {
            Self::Ready(generation) => return Ok(generation),
            Self::Empty => (ErrorKind::NotFound, format!("{tenant} has no index: begin one and publish it")),
            Self::Damaged(detail) => (ErrorKind::Corrupt, detail.clone()),
        };
        Err(StoreError::new(StoreKind::Search, call, kind, detail))
    }
}

fn check_format(folder: &Path) -> Result<(), StoreError> {
    let path = folder.join(FORMAT_FILE);
    let error = |kind, detail: String| Err(StoreError::new(StoreKind::Search, "open", kind, detail));
    match fs::read_to_string(&path) {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
            replace_file(folder, FORMAT_FILE, FORMAT.to_string().as_bytes()).map_err(|error| fault("open", error))
        }
        Err(unreadable) => Err(fault("open", unreadable)),
        Ok(text) => match text.trim().parse::<u64>() {
            Ok(FORMAT) => Ok(()),
            Ok(format) if format > FORMAT => error(
                ErrorKind::TooNew,
                format!("{} was written by a newer Attune (format {format}): start that one", folder.display()),
            ),
            _ => error(ErrorKind::Corrupt, format!("{} does not state a format: move the folder away", path.display())),
        },
    }
}

/// Replaces a file so that a crash leaves the old or the new one.
fn replace_file(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let temporary = folder.join(format!("{name}.new"));
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, folder.join(name))?;
    File::open(folder)?.sync_all()
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
