//! Where keys are kept: two files in the data folder that only this user may read.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::text::{self, SECRET_BYTES};
use crate::auth::Scope;

const FOLDER: &str = "keys";
pub(super) const KEYS_FILE: &str = "keys.json";
pub(super) const HASH_SECRET_FILE: &str = "keys.secret";
const FORMAT_VERSION: u32 = 1;

/// Why keys could not be read or kept.
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
}

impl KeyStoreError {
    pub(super) fn random(error: impl std::fmt::Display) -> Self {
        Self::Random(error.to_string())
    }
}

/// One key, as it is kept.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredKey {
    pub id: String,
    pub name: String,
    pub scopes: Vec<Scope>,
    /// HMAC-SHA256 of the key, in hex.
    pub hash: String,
    pub created_unix_s: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysFile {
    version: u32,
    keys: Vec<StoredKey>,
}

/// The folder of the two files.
pub(super) struct KeyFolder(PathBuf);

impl KeyFolder {
    pub fn open(data_folder: &Path) -> Result<Self, KeyStoreError> {
        let folder = data_folder.join(FOLDER);
        fs::create_dir_all(&folder).map_err(|source| io_error("create", &folder, source))?;
        Ok(Self(folder))
    }

    /// None, where there is no file yet.
    pub fn load_keys(&self) -> Result<Vec<StoredKey>, KeyStoreError> {
        let path = self.0.join(KEYS_FILE);
        let Some(bytes) = read_if_present(&path)? else { return Ok(Vec::new()) };
        let file: KeysFile = serde_json::from_slice(&bytes).map_err(|error| damaged(&path, error.to_string()))?;
        if file.version != FORMAT_VERSION {
            let reason = format!("its version is {}, this program reads {FORMAT_VERSION}", file.version);
            return Err(damaged(&path, reason));
        }
        Ok(file.keys)
    }

    pub fn save_keys(&self, keys: &[StoredKey]) -> Result<(), KeyStoreError> {
        let file = KeysFile { version: FORMAT_VERSION, keys: keys.to_vec() };
        let json = serde_json::to_vec_pretty(&file).expect("strings and numbers always serialise");
        write_private(&self.0.join(KEYS_FILE), &json)
    }

    /// A new secret beside old hashes would lock everybody out without a word, so one is made only where there are no
    /// keys yet.
    pub fn load_hash_secret(&self, may_create: bool) -> Result<[u8; SECRET_BYTES], KeyStoreError> {
        let path = self.0.join(HASH_SECRET_FILE);
        if let Some(bytes) = read_if_present(&path)? {
            let reason = format!("it has {} bytes instead of {SECRET_BYTES}", bytes.len());
            return bytes.try_into().map_err(|_| damaged(&path, reason));
        }
        if !may_create {
            return Err(damaged(&path, "it is missing, and without it no stored key can be checked".to_owned()));
        }
        let secret = text::random().map_err(KeyStoreError::random)?;
        write_private(&path, &secret)?;
        Ok(secret)
    }
}

fn damaged(path: &Path, reason: String) -> KeyStoreError {
    KeyStoreError::Damaged { path: path.to_owned(), reason }
}

fn read_if_present(path: &Path) -> Result<Option<Vec<u8>>, KeyStoreError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io_error("read", path, source)),
    }
}

/// Readable by this user alone from its first byte, and either wholly there or not at all.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), KeyStoreError> {
    let temporary = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all())
        .map_err(|source| io_error("write", path, source))
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> KeyStoreError {
    KeyStoreError::Io { action, path: path.to_owned(), source }
}
