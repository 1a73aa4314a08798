//! API keys: made here, shown once, kept only as keyed hashes.
//!
//! A key is 256 random bits, so a fast keyed hash (HMAC-SHA256) is enough: there is no dictionary to try, and a slow
//! password hash on each request would be a gift to whoever wants to overload the server. A key is found by its hash;
//! that no key of the installation has that hash takes as long to say whichever key it resembles.

mod import;
mod records;
mod secret;
mod text;
mod verified;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use attune_api::{ApiError, ErrorCode};
use attune_store::{
    ErrorKind, Expect, PageRequest, StoreError, Tenant, clock,
    relational::{ApiKey, KeyHash, Relational, Write},
};
use serde_json::json;
use subtle::ConstantTimeEq;
use tokio::sync::{Mutex, mpsc};

pub(crate) use self::records::audit;
pub use self::records::{Actor, KeySpec};
use self::{
    secret::HashSecret,
    verified::{Found, Known, Lives, Verified},
};
use crate::auth::{Caller, Scope, Scopes};

/// The tenant of an installation that has no other, and of who runs one that has.
pub const DEFAULT_TENANT: &str = "default";
/// Who is named in the audit log where nobody asked.
const PROGRAM: &str = "attune";
const FOLDER: &str = "keys";

/// How long a request waits for the store to say whether its key is one.
const LOOKUP_MAX: Duration = Duration::from_secs(1);
/// The same where there is an earlier word to go by.
const STALE_LOOKUP_MAX: Duration = Duration::from_millis(100);
/// Lookups of keys whose hashes fall together wait for each other, so that many requests with a new key are one lookup.
const LOOKUPS: usize = 64;
/// A key's last use is noted at most this often, in milliseconds.
const NOTE_PAUSE_MS: i64 = 60_000;
/// Uses that wait to be noted. One that finds no place is not noted.
const NOTES_MAX: usize = 1_024;

/// Why keys could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// The file system said no.
    #[error("cannot {action} {path}: {source}; the data folder must be writable by the server")]
    Io {
        /// `read`, `write`, ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A file is not what this program writes.
    #[error("{path} is damaged: {reason}; restore it, or move the folder away to start with a new admin key")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system has no randomness to give.
    #[error("the operating system gave no random numbers: {0}")]
    Random(String),
    /// The store failed.
    #[error("the keys cannot be read or kept: {0}")]
    Store(#[from] StoreError),
    /// The first key could not be made.
    #[error("the admin key cannot be made: {0}")]
    First(#[from] ApiError),
}

impl KeyStoreError {
    fn random(error: impl fmt::Display) -> Self {
        Self::Random(error.to_string())
    }
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> KeyStoreError {
    KeyStoreError::Io { action, path: path.to_owned(), source }
}

fn damaged(path: &Path, reason: String) -> KeyStoreError {
    KeyStoreError::Damaged { path: path.to_owned(), reason }
}

fn default_tenant() -> Tenant {
    DEFAULT_TENANT.parse().expect("the name is one of a tenant")
}

/// A key that was just made: the only moment at which its text exists.
pub struct NewKey {
    /// Its public name, in logs and lists.
    pub id: String,
    /// The key itself, to be shown once.
    pub secret: String,
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The keys of an installation. Cheap to clone.
#[derive(Clone)]
pub struct KeyStore {
    inner: Arc<Inner>,
}

struct Inner {
    rows: Arc<dyn Relational>,
    secret: HashSecret,
    verified: Verified,
    lookups: [Mutex<()>; LOOKUPS],
    notes: mpsc::Sender<(Tenant, String, i64)>,
}

impl KeyStore {
    /// Opens the keys in `rows`, with the secret in the data folder. On a first start the tenant [`DEFAULT_TENANT`] is
    /// made, and the keys of a file in the folder are taken over; where there are none, an admin key is made and
    /// returned for showing.
    ///
    /// # Errors
    /// When the folder cannot be written, a file in it is damaged, or the store fails.
    pub async fn open(rows: Arc<dyn Relational>, data_folder: &Path) -> Result<(Self, Option<NewKey>), KeyStoreError> {
        let (folder, tenant) = (data_folder.join(FOLDER), default_tenant());
        let kept = import::read(&folder)?;
        let is_first = rows.keys(&tenant, PageRequest::first(1)).await?.rows.is_empty();
        let secret = HashSecret::open(&folder, is_first && kept.is_empty())?;
        let store = Self::new(rows, secret, Lives::default());
        if !kept.is_empty() {
            store.make_tenant(&tenant, Vec::new()).await?;
            import::take_over(&folder, store.rows(), &tenant, kept).await?;
            return Ok((store, None));
        }
        let first = if is_first { store.first_key(&tenant).await? } else { None };
        Ok((store, first))
    }

    /// Looks whether [`open`](Self::open) would open them, and makes nothing; whether there are any yet.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn check(rows: &dyn Relational, data_folder: &Path) -> Result<bool, KeyStoreError> {
        let (folder, tenant) = (data_folder.join(FOLDER), default_tenant());
        let has_file = !import::read(&folder)?.is_empty();
        let has_any = has_file || !rows.keys(&tenant, PageRequest::first(1)).await?.rows.is_empty();
        HashSecret::read(&folder, !has_any)?;
        Ok(has_any)
    }

    /// Keys whose secret ends with the process, and with it every key, and one admin key of a new tenant: for `--demo` and
    /// tests.
    ///
    /// # Errors
    /// When the store fails, or has that tenant already.
    pub async fn in_memory(rows: Arc<dyn Relational>, tenant: &Tenant) -> Result<(Self, NewKey), KeyStoreError> {
        let store = Self::new(rows, HashSecret::in_memory()?, Lives::default());
        let first = store.first_key(tenant).await?;
        let none = || ApiError::new(ErrorCode::Conflict, format!("the store has a tenant {tenant} already"));
        Ok((store, first.ok_or_else(none)?))
    }

    fn new(rows: Arc<dyn Relational>, secret: HashSecret, lives: Lives) -> Self {
        let (notes, noted) = mpsc::channel(NOTES_MAX);
        tokio::spawn(note_uses(Arc::clone(&rows), noted));
        let inner = Inner {
            rows,
            secret,
            verified: Verified::new(lives),
            lookups: std::array::from_fn(|_| Mutex::default()),
            notes,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The first admin key, unless another server makes one at this moment.
    async fn first_key(&self, tenant: &Tenant) -> Result<Option<NewKey>, KeyStoreError> {
        let (new, writes) = self.draft(PROGRAM.into(), KeySpec::new("admin", &[Scope::Admin]))?;
        Ok(self.make_tenant(tenant, writes).await?.then_some(new))
    }

    /// Makes the tenant if it is not there, with further writes. Of several who do so at once one succeeds, and the
    /// others are told that they did not.
    async fn make_tenant(&self, tenant: &Tenant, mut writes: Vec<Write>) -> Result<bool, StoreError> {
        let there = self.rows().tenant(tenant).await?;
        let (title, settings, expect) = match there {
            Some(there) => (there.title, there.settings, Expect::Version(there.version)),
            None => (tenant.to_string(), json!({}), Expect::Absent),
        };
        writes.insert(0, Write::PutTenant { title, settings, expect });
        match self.rows().commit(tenant, writes).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind == ErrorKind::Conflict => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The holder of `presented`, if it is a key of this installation that is in force.
    pub(crate) async fn verify(&self, presented: &str) -> Result<Caller, ApiError> {
        if !text::is_well_formed(presented) {
            return Err(unknown());
        }
        let hash = self.hash(presented);
        let known = match self.inner.verified.find(&hash) {
            Found::Fresh(known) => known,
            Found::Ageing(known) => {
                let (store, earlier) = (self.clone(), Arc::clone(&known));
                tokio::spawn(async move { store.look_up(hash, Some(earlier)).await });
                known
            }
            Found::Stale(earlier) => self.look_up(hash, Some(earlier)).await?.ok_or_else(unknown)?,
            Found::Nothing => self.look_up(hash, None).await?.ok_or_else(unknown)?,
            Found::Unknown => return Err(unknown()),
        };
        self.in_force(&known)
    }

    fn in_force(&self, known: &Known) -> Result<Caller, ApiError> {
        let ended = |how: &str| ApiError::new(ErrorCode::Unauthenticated, format!("the API key {how}"));
        let now_ms = clock::latest_ms();
        if known.is_revoked {
            return Err(ended("was revoked"));
        }
        if known.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms) {
            return Err(ended("has expired"));
        }
        if known.is_worth_a_note(now_ms, NOTE_PAUSE_MS)
            && let Ok(tenant) = known.caller.tenant.parse()
        {
            let _full = self.inner.notes.try_send((tenant, known.caller.id.to_string(), now_ms));
        }
        Ok(known.caller.clone())
    }

    /// Asks the store; where it does not answer in time, its earlier word holds.
    async fn look_up(&self, hash: KeyHash, earlier: Option<Arc<Known>>) -> Result<Option<Arc<Known>>, ApiError> {
        let time_max = if earlier.is_some() { STALE_LOOKUP_MAX } else { LOOKUP_MAX };
        match (tokio::time::timeout(time_max, self.ask(hash, earlier.as_ref())).await, earlier) {
            (Ok(Ok(said)), _) => Ok(said),
            (_, Some(earlier)) => {
                self.inner.verified.postpone(&earlier);
                Ok(Some(earlier))
            }
            (Ok(Err(error)), None) => Err(error.into()),
            (Err(_), None) => {
                let detail = "the store of API keys does not answer; try again";
                Err(ApiError::new(ErrorCode::Unavailable, detail).retry_after(crate::errors::RETRY_AFTER))
            }
        }
    }

    async fn ask(&self, hash: KeyHash, earlier: Option<&Arc<Known>>) -> Result<Option<Arc<Known>>, StoreError> {
        let _turn = self.inner.lookups[usize::from(hash[0]) % LOOKUPS].lock().await;
        let verified = &self.inner.verified;
        match verified.find(&hash) {
            // Whoever had the turn before has asked already.
            Found::Fresh(known) if !earlier.is_some_and(|earlier| Arc::ptr_eq(earlier, &known)) => {
                return Ok(Some(known));
            }
            Found::Unknown => return Ok(None),
            _ => {}
        }
        let generation = verified.generation();
        let row = self.inner.rows.key_of(&hash).await?;
        let said = row.filter(|row| bool::from(row.hash.ct_eq(&hash))).map(|row| Arc::new(known(row)));
        verified.enter(hash, said.as_ref(), generation);
        Ok(said)
    }

    fn hash(&self, key: &str) -> KeyHash {
        self.inner.secret.hash(key)
    }

    /// A key was changed here.
    fn forget(&self, hash: &KeyHash) {
        self.inner.verified.forget(hash);
    }

    /// Keys of a tenant were deleted.
    pub fn forget_tenant(&self, tenant: &Tenant) {
        self.inner.verified.forget_tenant(tenant.as_str());
    }

    pub(crate) fn rows(&self) -> &dyn Relational {
        &*self.inner.rows
    }
}

/// What is remembered of a row. A scope that this program does not know allows nothing here.
fn known(row: ApiKey) -> Known {
    let scopes: Scopes = row.scopes.iter().filter_map(|scope| scope.parse::<Scope>().ok()).collect();
    let caller = Caller { id: row.id.as_str().into(), tenant: row.tenant.as_str().into(), scopes };
    Known::new(caller, row.expires_ms, row.revoked_ms.is_some(), row.used_ms)
}

fn unknown() -> ApiError {
    ApiError::new(ErrorCode::Unauthenticated, "this server does not know the API key that was sent")
}

/// Notes uses until the last clone of the store is gone. One that cannot be noted is lost.
async fn note_uses(rows: Arc<dyn Relational>, mut uses: mpsc::Receiver<(Tenant, String, i64)>) {
    while let Some((tenant, id, used_ms)) = uses.recv().await {
        if let Err(error) = rows.used(&tenant, &id, used_ms).await {
            tracing::debug!(%error, key = id, "the use of a key was not noted");
        }
    }
}

#[cfg(test)]
mod tests;
