//! What MongoDB's errors mean for a caller.

use mongodb::error::{Error, ErrorKind as Kind, WriteFailure};

use super::STORE;
use crate::{ErrorKind, StoreError};

/// The error of a call.
pub(super) fn fail(call: &'static str) -> impl Fn(Error) -> StoreError {
    move |error| {
        let kind = kind(&error);
        let detail = match kind {
            ErrorKind::Unavailable | ErrorKind::Timeout => format!("cannot reach MongoDB: {error}"),
            _ => error.to_string(),
        };
        StoreError::new(STORE, call, kind, detail).caused_by(error)
    }
}

/// The server's number for what went wrong.
pub(super) fn code(error: &Error) -> Option<i32> {
    match error.kind.as_ref() {
        Kind::Command(command) => Some(command.code),
        Kind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        Kind::Write(WriteFailure::WriteConcernError(concern)) => Some(concern.code),
        Kind::InsertMany(many) => {
            let of_write = many.write_errors.iter().flatten().map(|write| write.code).find(|code| !is_duplicate(*code));
            of_write.or(many.write_concern_error.as_ref().map(|concern| concern.code))
        }
        _ => None,
    }
}

/// Whether the number says that a key is there already.
pub(super) fn is_duplicate(code: i32) -> bool {
    code == 11_000
}

fn kind(error: &Error) -> ErrorKind {
    match error.kind.as_ref() {
        Kind::Authentication { .. } | Kind::InvalidTlsConfig { .. } => return ErrorKind::Denied,
        Kind::InvalidArgument { .. } => return ErrorKind::Invalid,
        Kind::Io(cause) if cause.kind() == std::io::ErrorKind::TimedOut => return ErrorKind::Timeout,
        Kind::Io(_) | Kind::ServerSelection { .. } | Kind::ConnectionPoolCleared { .. } | Kind::DnsResolve { .. } => {
            return ErrorKind::Unavailable;
        }
        _ => (),
    }
    // The numbers are in the server's error_codes.yml.
    match code(error) {
        Some(11_000) => ErrorKind::Conflict,
        Some(13 | 18) => ErrorKind::Denied,
        Some(50 | 64 | 262) => ErrorKind::Timeout,
        Some(6 | 7 | 89 | 91 | 189 | 9_001 | 10_107 | 11_600 | 11_602 | 13_435 | 13_436) => ErrorKind::Unavailable,
        Some(14_031) => ErrorKind::Full,
        Some(10_334) => ErrorKind::TooLarge,
        _ => ErrorKind::Internal,
    }
}
