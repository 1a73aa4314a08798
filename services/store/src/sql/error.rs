//! What a database's error means for a caller.

use sqlx::Error;
use sqlx::error::DatabaseError;

use super::{Dialect, STORE};
use crate::{ErrorKind, StoreError, StoreKind};

impl Dialect {
    /// The error of a call to the relational store.
    pub(super) fn fail(self, call: &'static str, error: Error) -> StoreError {
        self.fail_of(STORE, call, error)
    }

    /// The error of a call to a store.
    pub(crate) fn fail_of(self, store: StoreKind, call: &'static str, error: Error) -> StoreError {
        let (kind, detail) = match &error {
            Error::Database(cause) => (self.kind(&**cause), cause.message().to_owned()),
            Error::Io(cause) => (ErrorKind::Unavailable, format!("cannot reach {}: {cause}", self.name())),
            Error::PoolTimedOut => (
                ErrorKind::Unavailable,
                format!("no connection to {}: it is away, or all connections are in use", self.name()),
            ),
            Error::PoolClosed | Error::WorkerCrashed | Error::BeginFailed | Error::Protocol(_) => {
                (ErrorKind::Unavailable, format!("the connection to {} was lost: {error}", self.name()))
            }
            Error::Tls(cause) => (ErrorKind::Denied, format!("no TLS with {}: {cause}", self.name())),
            Error::Configuration(_) => (ErrorKind::Invalid, error.to_string()),
            Error::ColumnDecode { .. } | Error::Decode(_) => (ErrorKind::Corrupt, error.to_string()),
            _ => (ErrorKind::Internal, error.to_string()),
        };
        let detail = match kind {
            ErrorKind::Corrupt => format!("{detail}: the database is damaged; restore it from a backup"),
            ErrorKind::Full => format!("{detail}: nothing was written; make room and try again"),
            _ => detail,
        };
        StoreError::new(store, call, kind, detail).caused_by(error)
    }

    fn kind(self, error: &dyn DatabaseError) -> ErrorKind {
        let code = error.code().unwrap_or_default();
        match self {
            Self::Sqlite => of_sqlite(code.parse().unwrap_or(0)),
            Self::Postgres => of_postgres(&code),
        }
    }
}

/// From an extended result code (sqlite.org/rescode.html); its low byte is the primary one.
fn of_sqlite(code: u32) -> ErrorKind {
    const IOERR_SHMSIZE: u32 = 10 | (19 << 8);
    match (code & 0xff, code) {
        (13, _) | (_, IOERR_SHMSIZE) => ErrorKind::Full,
        (11 | 26, _) => ErrorKind::Corrupt,
        (3 | 8 | 14 | 23, _) => ErrorKind::Denied,
        (5 | 6, _) => ErrorKind::Unavailable,
        (18, _) => ErrorKind::TooLarge,
        (19, _) => ErrorKind::Conflict,
        _ => ErrorKind::Internal,
    }
}

/// From an SQLSTATE (PostgreSQL's appendix A); the first two letters are its class.
fn of_postgres(code: &str) -> ErrorKind {
    match code {
        "57014" => ErrorKind::Timeout,
        "53100" => ErrorKind::Full,
        "3D000" => ErrorKind::NotFound,
        "42501" => ErrorKind::Denied,
        "54000" | "54001" => ErrorKind::TooLarge,
        "XX001" | "XX002" => ErrorKind::Corrupt,
        "25006" => ErrorKind::Unavailable,
        _ => match code.get(..2) {
            Some("08" | "53" | "57") => ErrorKind::Unavailable,
            Some("28") => ErrorKind::Denied,
            Some("23" | "40") => ErrorKind::Conflict,
            Some("22") => ErrorKind::Invalid,
            _ => ErrorKind::Internal,
        },
    }
}
