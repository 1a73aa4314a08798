//! What a call may be about.

use std::time::Duration;

use bytes::Bytes;

use super::{Held, KEYS_MAX, RateLimit, TTL_MAX, VALUE_BYTES_MAX};
use crate::key;
use crate::{ErrorKind, StoreError, StoreKind};

const STORE: StoreKind = StoreKind::Cache;

pub(crate) fn check_key(call: &'static str, key: &str) -> Result<(), StoreError> {
    key::check(STORE, call, key)
}

pub(crate) fn check_keys(call: &'static str, keys: &[&str]) -> Result<(), StoreError> {
    check_entries(call, keys.len())?;
    keys.iter().try_for_each(|key| check_key(call, key))
}

/// Checks the number of keys of a call, or of entries of a list; the limits are the same.
pub(crate) fn check_entries(call: &'static str, entries: usize) -> Result<(), StoreError> {
    if entries <= KEYS_MAX {
        return Ok(());
    }
    let detail = format!("{entries} keys or entries in a call, {KEYS_MAX} are allowed");
    Err(StoreError::new(STORE, call, ErrorKind::TooLarge, detail))
}

pub(crate) fn check_value(call: &'static str, value: &Bytes) -> Result<(), StoreError> {
    key::check_bytes(STORE, call, "a value", value.len(), VALUE_BYTES_MAX)
}

/// Checks a time to live: at least a millisecond, which is what a server counts in.
pub(crate) fn check_ttl(call: &'static str, ttl: Duration) -> Result<(), StoreError> {
    if (Duration::from_millis(1)..=TTL_MAX).contains(&ttl) {
        return Ok(());
    }
    let detail = format!("a time to live of {ttl:?}: 1 ms to {} days are allowed", TTL_MAX.as_secs() / 86_400);
    Err(StoreError::new(STORE, call, ErrorKind::Invalid, detail))
}

/// Checks that a rate is one, and forgotten within the longest time to live.
pub(crate) fn check_limit(call: &'static str, limit: &RateLimit) -> Result<(), StoreError> {
    if limit.rate > 0 && Duration::from_micros(limit.burst_us()).max(limit.period) <= TTL_MAX {
        return Ok(());
    }
    let detail =
        format!("{limit:?} is no rate: one of at least 1, whose burst comes back within {TTL_MAX:?}, is needed");
    Err(StoreError::new(STORE, call, ErrorKind::Invalid, detail))
}

/// A lock is not held any more.
pub(crate) fn lost(call: &'static str, held: &Held) -> StoreError {
    let detail = format!("the lock {:?} is not held with token {} any more", held.name, held.token);
    StoreError::new(STORE, call, ErrorKind::Conflict, detail)
}
