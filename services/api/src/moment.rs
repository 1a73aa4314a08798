//! This moment.

use std::time::{SystemTime, UNIX_EPOCH};

/// This moment, in Unix milliseconds.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
