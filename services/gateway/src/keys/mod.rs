//! API keys: made here, shown once, kept only as keyed hashes.
//!
//! A key is 256 random bits, so a fast keyed hash (HMAC-SHA256) is enough: there is no dictionary to try, and a slow
//! password hash on each request would be a gift to whoever wants to overload the server. The hash is keyed by a secret
//! of its own file, so a leaked list of hashes says nothing without it.

mod files;
mod text;

use std::{
    fmt,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::{SystemTime, UNIX_EPOCH},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

pub use self::files::KeyStoreError;
use self::files::{KeyFolder, StoredKey};
use crate::auth::{Caller, Scope};

/// The tenant of every key of a file.
const TENANT: &str = "default";

/// The keys that a server knows. Cheap to clone.
#[derive(Clone)]
pub struct KeyStore {
    inner: Arc<Inner>,
}

struct Inner {
    /// `None` keeps keys in memory only.
    folder: Option<KeyFolder>,
    hash_secret: [u8; text::SECRET_BYTES],
    keys: RwLock<Vec<StoredKey>>,
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

impl KeyStore {
    /// Opens the keys of a data folder. If there are none, an admin key is made, stored and returned for showing.
    ///
    /// # Errors
    /// When the folder cannot be written, or a file in it is damaged.
    pub fn open(data_folder: &Path) -> Result<(Self, Option<NewKey>), KeyStoreError> {
        let folder = KeyFolder::open(data_folder)?;
        let keys = folder.load_keys()?;
        let is_first = keys.is_empty();
        let hash_secret = folder.load_hash_secret(is_first)?;
        let inner = Inner { folder: Some(folder), hash_secret, keys: RwLock::new(keys) };
        let store = Self { inner: Arc::new(inner) };
        let first = is_first.then(|| store.create("admin", &[Scope::Admin])).transpose()?;
        Ok((store, first))
    }

    /// Keys that end with the process, with one admin key: for `--demo` and tests.
    ///
    /// # Errors
    /// [`KeyStoreError::Random`].
    pub fn in_memory() -> Result<(Self, NewKey), KeyStoreError> {
        let inner = Inner {
            folder: None,
            hash_secret: text::random().map_err(KeyStoreError::random)?,
            keys: RwLock::default(),
        };
        let store = Self { inner: Arc::new(inner) };
        let admin = store.create("admin", &[Scope::Admin])?;
        Ok((store, admin))
    }

    /// Makes, stores and returns a key.
    ///
    /// # Errors
    /// When it could not be stored; then it does not exist.
    pub fn create(&self, name: &str, scopes: &[Scope]) -> Result<NewKey, KeyStoreError> {
        let secret = text::new_key().map_err(KeyStoreError::random)?;
        let id = text::new_id().map_err(KeyStoreError::random)?;
        let stored = StoredKey {
            id: id.clone(),
            name: name.to_owned(),
            scopes: scopes.to_vec(),
            hash: text::hex(&self.hash(&secret)),
            created_unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs()),
        };
        let mut keys = self.inner.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.push(stored);
        if let Err(error) = self.save(&keys) {
            keys.pop();
            return Err(error);
        }
        Ok(NewKey { id, secret })
    }

    /// The holder of `presented`, if it is a key of this server. Takes the same time whichever key it resembles.
    pub(crate) fn verify(&self, presented: &str) -> Option<Caller> {
        if !text::is_well_formed(presented) {
            return None;
        }
        let hash = text::hex(&self.hash(presented));
        let keys = self.inner.keys.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = None;
        for key in keys.iter() {
            if bool::from(key.hash.as_bytes().ct_eq(hash.as_bytes())) {
                found = Some(key);
            }
        }
        found.map(|key| Caller {
            id: key.id.as_str().into(),
            tenant: TENANT.into(),
            scopes: key.scopes.as_slice().into(),
        })
    }

    fn hash(&self, key: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.inner.hash_secret).expect("HMAC takes keys of any length");
        mac.update(key.as_bytes());
        mac.finalize().into_bytes().into()
    }

    fn save(&self, keys: &[StoredKey]) -> Result<(), KeyStoreError> {
        self.inner.folder.as_ref().map_or(Ok(()), |folder| folder.save_keys(keys))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{
        files::{HASH_SECRET_FILE, KEYS_FILE},
        text::is_well_formed,
        *,
    };

    #[test]
    fn a_key_is_recognisable_and_checks_itself() {
        let (store, key) = KeyStore::in_memory().unwrap();
        assert!(key.secret.starts_with(text::PREFIX) && is_well_formed(&key.secret));
        assert_eq!(&*store.verify(&key.secret).unwrap().id, key.id);

        let flipped = if key.secret.as_bytes()[10] == b'x' { "y" } else { "x" };
        let mistyped = format!("{}{flipped}{}", &key.secret[..10], &key.secret[11..]);
        assert!(!is_well_formed(&mistyped) && store.verify(&mistyped).is_none());
        assert!(!format!("{key:?}").contains(&key.secret));
    }

    #[test]
    fn another_servers_key_is_unknown() {
        let (store, _) = KeyStore::in_memory().unwrap();
        let (_, other) = KeyStore::in_memory().unwrap();
        assert!(is_well_formed(&other.secret) && store.verify(&other.secret).is_none());
        for nonsense in ["", "att_", "\u{e9}", &"a".repeat(1_000)] {
            assert!(store.verify(nonsense).is_none());
        }
    }

    #[test]
    fn the_admin_key_is_made_once_and_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let (_, first) = KeyStore::open(folder.path()).unwrap();
        let first = first.expect("a first start makes a key");
        let (again, none) = KeyStore::open(folder.path()).unwrap();
        assert!(none.is_none() && again.verify(&first.secret).is_some());

        let stored = fs::read_to_string(folder.path().join("keys").join(KEYS_FILE)).unwrap();
        assert!(!stored.contains(&first.secret), "a key is kept as a hash only");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_servers_user_may_read_the_files() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        KeyStore::open(folder.path()).unwrap();
        for name in [KEYS_FILE, HASH_SECRET_FILE] {
            let mode = fs::metadata(folder.path().join("keys").join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn damage_is_told_and_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        KeyStore::open(folder.path()).unwrap();
        let path = folder.path().join("keys").join(KEYS_FILE);
        fs::write(&path, "{\"version\":1,\"keys\":[{]}").unwrap();
        assert!(matches!(KeyStore::open(folder.path()), Err(KeyStoreError::Damaged { .. })));
        assert!(fs::read_to_string(&path).unwrap().contains("[{]"));

        let folder = tempfile::tempdir().unwrap();
        KeyStore::open(folder.path()).unwrap();
        fs::remove_file(folder.path().join("keys").join(HASH_SECRET_FILE)).unwrap();
        assert!(matches!(KeyStore::open(folder.path()), Err(KeyStoreError::Damaged { .. })));
    }
}
