//! What every store demands of a key.

use crate::{ErrorKind, StoreError, StoreKind};

/// The longest key, in bytes: twice the longest id of the wire contract.
pub const KEY_BYTES_MAX: usize = 512;

/// Checks a key. Any text of 1 to [`KEY_BYTES_MAX`] bytes is one, except that it has no NUL, which PostgreSQL cannot
/// hold.
///
/// # Errors
/// [`ErrorKind::Invalid`], [`ErrorKind::TooLarge`].
pub(crate) fn check(store: StoreKind, call: &'static str, key: &str) -> Result<(), StoreError> {
    let refuse = |kind, detail| Err(StoreError::new(store, call, kind, detail));
    if key.is_empty() {
        return refuse(ErrorKind::Invalid, "a key is empty".to_owned());
    }
    if key.len() > KEY_BYTES_MAX {
        return refuse(ErrorKind::TooLarge, format!("a key has {} bytes, {KEY_BYTES_MAX} are allowed", key.len()));
    }
    if key.contains('\0') {
        return refuse(ErrorKind::Invalid, format!("the key {key:?} has a NUL byte"));
    }
    Ok(())
}

/// Checks that something of `bytes` bytes is not above `bytes_max`.
///
/// # Errors
/// [`ErrorKind::TooLarge`].
pub(crate) fn check_bytes(
    store: StoreKind,
    call: &'static str,
    what: &str,
    bytes: usize,
    bytes_max: usize,
) -> Result<(), StoreError> {
    if bytes <= bytes_max {
        return Ok(());
    }
    let detail = format!("{what} has {bytes} bytes, {bytes_max} are allowed");
    Err(StoreError::new(store, call, ErrorKind::TooLarge, detail))
}
