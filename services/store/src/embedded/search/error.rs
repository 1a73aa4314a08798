//! What tantivy and the disk report, as errors of the store.

use std::io;

use tantivy::TantivyError;
use tantivy::directory::error::{OpenReadError, OpenWriteError};

use crate::{ErrorKind, StoreError, StoreKind};

/// The kind of a fault, its own words, and itself as the cause.
pub(super) fn fault(call: &'static str, error: impl Into<TantivyError>) -> StoreError {
    let error = error.into();
    let (kind, detail) = match &error {
        TantivyError::IoError(error) => of_io(error),
        TantivyError::OpenReadError(OpenReadError::IoError { io_error, .. })
        | TantivyError::OpenWriteError(OpenWriteError::IoError { io_error, .. }) => of_io(io_error),
        TantivyError::DataCorruption(_) | TantivyError::OpenReadError(_) | TantivyError::IncompatibleIndex(_) => {
            (ErrorKind::Corrupt, format!("the index is damaged ({error}): build a new one"))
        }
        _ => (ErrorKind::Internal, error.to_string()),
    };
    StoreError::new(StoreKind::Search, call, kind, detail).caused_by(error)
}

fn of_io(error: &io::Error) -> (ErrorKind, String) {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            (ErrorKind::Full, format!("no space is left for the index ({error}): free some, and it goes on"))
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            (ErrorKind::Denied, format!("the index cannot be written: {error}"))
        }
        _ => (ErrorKind::Internal, error.to_string()),
    }
}
