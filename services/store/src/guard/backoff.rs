//! How long to wait before trying again.

use std::time::Duration;

/// A random part of a pause that doubles with each attempt, from `pause_min` to `pause_max`; `number` counts the attempts
/// that were made, from 1, and `random` is 0 to 1. All of the pause is random ("full jitter" in Brooker, "Exponential
/// Backoff and Jitter", 2015), since callers that failed together would otherwise come back together.
pub(super) fn pause(number: u32, pause_min: Duration, pause_max: Duration, random: f64) -> Duration {
    let doubled = pause_min.saturating_mul(1_u32.checked_shl(number - 1).unwrap_or(u32::MAX));
    doubled.min(pause_max).mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_their_bound_and_are_random_in_all() {
        let (min, max) = (Duration::from_millis(10), Duration::from_millis(100));
        let longest: Vec<u128> = (1..=40).map(|number| pause(number, min, max, 1.0).as_millis()).collect();
        assert_eq!(longest[..5], [10, 20, 40, 80, 100]);
        assert!(longest[5..].iter().all(|ms| *ms == 100));
        assert_eq!(pause(3, min, max, 0.0), Duration::ZERO);
        assert_eq!(pause(3, min, max, 0.5), Duration::from_millis(20));
    }
}
