//! What every backend asks of its callers, said once.

use std::ops::Range;
use std::time::Duration;

use super::{KEY_BYTES_MAX, KEY_PART_BYTES_MAX, PAGE_MAX, PRESIGNED_MAX, PUT_BYTES_MAX};
use crate::{ErrorKind, StoreError, StoreKind};

/// An error of this store.
pub(crate) fn failure(call: &'static str, kind: ErrorKind, detail: impl Into<String>) -> StoreError {
    StoreError::new(StoreKind::Objects, call, kind, detail)
}

/// Whether an object may be called so.
pub(crate) fn key(call: &'static str, key: &str) -> Result<(), StoreError> {
    let fits = |part: &str| (1..=KEY_PART_BYTES_MAX).contains(&part.len()) && part != "." && part != "..";
    if key.len() <= KEY_BYTES_MAX && !key.contains(char::is_control) && key.split('/').all(fits) {
        return Ok(());
    }
    let shown: String = key.chars().take(100).collect();
    let detail = format!(
        "{shown:?} cannot be a key: up to {KEY_BYTES_MAX} bytes without control characters are needed, and between two \
         `/` 1 to {KEY_PART_BYTES_MAX} bytes other than `.` and `..`"
    );
    Err(failure(call, ErrorKind::Invalid, detail))
}

/// Whether so many bytes may be put at once.
pub(crate) fn body(bytes: usize) -> Result<(), StoreError> {
    if bytes <= PUT_BYTES_MAX {
        return Ok(());
    }
    let detail = format!("{bytes} bytes at once, {PUT_BYTES_MAX} are allowed: upload it in pieces");
    Err(failure("put", ErrorKind::TooLarge, detail))
}

/// Whether keys can begin so, and whether so many may be asked for.
pub(crate) fn list(prefix: &str, limit: usize) -> Result<(), StoreError> {
    if prefix.len() > KEY_BYTES_MAX || prefix.contains(char::is_control) {
        let detail = format!("no key begins with {} bytes of that kind", prefix.len());
        return Err(failure("list", ErrorKind::Invalid, detail));
    }
    if (1..=PAGE_MAX).contains(&limit) {
        return Ok(());
    }
    Err(failure("list", ErrorKind::Invalid, format!("{limit} asked for, 1 to {PAGE_MAX} are possible")))
}

/// The bytes of an object that a range means.
pub(crate) fn range(asked: Option<Range<u64>>, bytes: u64) -> Result<Range<u64>, StoreError> {
    let Some(asked) = asked else { return Ok(0..bytes) };
    if asked.start < asked.end && asked.start < bytes {
        return Ok(asked.start..asked.end.min(bytes));
    }
    let detail = format!("bytes {} to {} of an object of {bytes}", asked.start, asked.end);
    Err(failure("get", ErrorKind::Invalid, detail))
}

/// Whether an address may be good for so long.
pub(crate) fn good_for(time: Duration) -> Result<(), StoreError> {
    if time >= Duration::from_secs(1) && time <= PRESIGNED_MAX {
        return Ok(());
    }
    let detail = format!("an address for {time:?}, 1 second to {} days are possible", PRESIGNED_MAX.as_secs() / 86_400);
    Err(failure("presign", ErrorKind::Invalid, detail))
}
