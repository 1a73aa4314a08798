//! The installation's secret: what the hashes of keys are keyed by.
//!
//! It is a file in the data folder that only this user may read, apart from the store that has the hashes: a list of them
//! that leaked says nothing without it. Servers that share a store need the same file.

use std::{fs, io, io::Write as _, path::Path};

use attune_store::relational::KeyHash;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{
    KeyStoreError, damaged, io_error,
    text::{self, SECRET_BYTES},
};

pub(super) const FILE: &str = "keys.secret";

/// Hashes keys. Cheap to use: the first block of HMAC is computed once.
#[derive(Clone)]
pub(super) struct HashSecret(Hmac<Sha256>);

impl HashSecret {
    /// One that ends with the process.
    pub fn in_memory() -> Result<Self, KeyStoreError> {
        Ok(Self::new(&text::random().map_err(KeyStoreError::random)?))
    }

    /// The one in `folder`. A new secret beside old hashes would lock everybody out without a word, so one is made only
    /// where there are no keys yet.
    pub fn open(folder: &Path, may_create: bool) -> Result<Self, KeyStoreError> {
        if let Some(secret) = Self::read(folder, may_create)? {
            return Ok(secret);
        }
        let path = folder.join(FILE);
        let secret = text::random().map_err(KeyStoreError::random)?;
        fs::create_dir_all(folder).map_err(|error| io_error("create", folder, error))?;
        write_private(&path, &secret)?;
        Ok(Self::new(&secret))
    }

    /// The one in `folder`; nothing where there is none and may be none.
    pub fn read(folder: &Path, may_be_absent: bool) -> Result<Option<Self>, KeyStoreError> {
        let path = folder.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => {
                let reason = format!("it has {} bytes instead of {SECRET_BYTES}", bytes.len());
                let secret: [u8; SECRET_BYTES] = bytes.try_into().map_err(|_| damaged(&path, reason))?;
                Ok(Some(Self::new(&secret)))
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("read", &path, error)),
            Err(_) if may_be_absent => Ok(None),
            Err(_) => {
                let reason = "it is missing, and without it no stored key can be checked: servers that share a store of \
                              keys need the same file";
                Err(damaged(&path, reason.to_owned()))
            }
        }
    }

    /// What is kept of a key.
    pub fn hash(&self, key: &str) -> KeyHash {
        self.0.clone().chain_update(key.as_bytes()).finalize().into_bytes().into()
    }

    fn new(secret: &[u8; SECRET_BYTES]) -> Self {
        Self(Hmac::new_from_slice(secret).expect("HMAC takes keys of any length"))
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
