//! The time of day, as far as it can be trusted.
//!
//! Somebody may set the clock. A time that says until when something is valid is compared with the latest time that this
//! process can vouch for, and one that says from when with the earliest, so that a clock that jumps bypasses neither.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

static START: LazyLock<(i64, Instant)> = LazyLock::new(|| (wall_ms(), Instant::now()));

/// Unix milliseconds, for what must not be used after its end.
pub fn latest_ms() -> i64 {
    wall_ms().max(counted_ms())
}

/// Unix milliseconds, for what must not be used before its beginning.
pub fn earliest_ms() -> i64 {
    wall_ms().min(counted_ms())
}

/// Unix milliseconds, for what is written down.
pub fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Counted from the first look at the clock, whatever became of it since.
fn counted_ms() -> i64 {
    let (wall_ms, at) = *START;
    wall_ms.saturating_add(at.elapsed().as_millis() as i64)
}
