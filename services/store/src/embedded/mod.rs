//! Backends that need nothing installed.

pub mod disk;
pub mod events;
mod format;
pub mod objects;
pub mod search;

use std::io;

use crate::{ErrorKind, StoreError, StoreKind};

/// What an error of the disk means to a caller.
fn disk_failure(store: StoreKind, call: &'static str, what: impl Into<String>, error: &io::Error) -> StoreError {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Full,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
        io::ErrorKind::InvalidData => ErrorKind::Corrupt,
        io::ErrorKind::Unsupported => ErrorKind::TooNew,
        _ => ErrorKind::Unavailable,
    };
    StoreError::new(store, call, kind, format!("{}: {error}", what.into()))
}
