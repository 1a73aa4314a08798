//! What Redis's errors mean for a caller.

use redis::{RedisError, ServerErrorKind};

use crate::{ErrorKind, StoreError, StoreKind};

/// The error of a call.
pub(super) fn fail(call: &'static str, error: RedisError) -> StoreError {
    let kind = kind(&error);
    let detail = match kind {
        ErrorKind::Unavailable => format!("cannot reach Redis: {error}"),
        ErrorKind::Timeout => "no answer from Redis in time".to_owned(),
        _ => error.to_string(),
    };
    StoreError::new(StoreKind::Cache, call, kind, detail).caused_by(error)
}

fn kind(error: &RedisError) -> ErrorKind {
    use redis::ErrorKind as Kind;
    match error.code() {
        Some("OOM" | "MISCONF") => return ErrorKind::Full,
        Some("NOAUTH" | "WRONGPASS") => return ErrorKind::Denied,
        Some("BUSY") => return ErrorKind::Unavailable,
        _ => (),
    }
    match error.kind() {
        _ if error.is_timeout() => ErrorKind::Timeout,
        Kind::Io => ErrorKind::Unavailable,
        Kind::AuthenticationFailed => ErrorKind::Denied,
        Kind::InvalidClientConfig => ErrorKind::Invalid,
        Kind::Server(ServerErrorKind::NoPerm) => ErrorKind::Denied,
        Kind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly,
        ) => ErrorKind::Unavailable,
        _ if error.is_connection_dropped() || error.is_connection_refusal() => ErrorKind::Unavailable,
        _ if error.to_string().contains("DB index") => ErrorKind::Invalid,
        _ => ErrorKind::Internal,
    }
}
