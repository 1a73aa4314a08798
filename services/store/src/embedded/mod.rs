//! Backends that need nothing installed.

pub mod cache;
pub mod disk;
pub mod documents;
pub mod events;
mod format;
pub(crate) mod integrity;
pub mod objects;
pub mod relational;
pub mod search;

use std::path::Path;
use std::{fs, io};

use crate::{ErrorKind, StoreError, StoreKind};

/// What an error of the disk means to a caller.
fn disk_failure(store: StoreKind, call: &'static str, what: impl Into<String>, error: &io::Error) -> StoreError {
    let kind = match error.kind() {
        // Too large is a file beyond the limit that the process has (`ulimit -f`).
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => ErrorKind::Full,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
        io::ErrorKind::InvalidData => ErrorKind::Corrupt,
        io::ErrorKind::Unsupported => ErrorKind::TooNew,
        _ => ErrorKind::Unavailable,
    };
    StoreError::new(store, call, kind, format!("{}: {error}", what.into()))
}

/// Makes the folder that a file is to be in.
fn make_folder(store: StoreKind, path: &Path) -> Result<(), StoreError> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    fs::create_dir_all(folder).map_err(|error| {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Full,
            _ => ErrorKind::Denied,
        };
        let detail = format!("cannot make the folder {}: {error}", folder.display());
        StoreError::new(store, "open", kind, detail).caused_by(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_may_not_grow_is_a_full_disk() {
        const EFBIG: i32 = 27;
        let error = io::Error::from_raw_os_error(EFBIG);
        assert_eq!(disk_failure(StoreKind::Events, "append", "a segment", &error).kind, ErrorKind::Full);
    }
}
