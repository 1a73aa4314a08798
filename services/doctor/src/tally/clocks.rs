//! What times of events say about the clocks that they come from.

use std::collections::HashMap;

use crate::facts::{ClockFacts, ZONES};

/// The network takes no time that is negative; clocks that are kept right differ by less.
const AHEAD_MS: i64 = 2_000;
/// 1990-01-01, in Unix milliseconds: older than any log of clicks.
const ANCIENT_MS: i64 = 631_152_000_000;
const HALF_HOUR_MS: i64 = 30 * 60 * 1_000;
/// How exactly a delay is a number of half hours.
const ZONE_MS: i64 = 2 * 60 * 1_000;
const MINUTE_MS: i64 = 60_000;
/// Minutes that are counted apart. Where there are more, no single one has most events.
const MINUTES_MAX: usize = 100_000;

#[derive(Default)]
pub struct Clocks {
    facts: ClockFacts,
    minutes: HashMap<i64, u64>,
}

impl Clocks {
    pub fn take(&mut self, time_ms: i64, received_ms: i64) {
        let (facts, late_ms) = (&mut self.facts, received_ms - time_ms);
        facts.own += u64::from(late_ms != 0);
        if late_ms < -AHEAD_MS {
            facts.ahead += 1;
            facts.ahead_ms_max = facts.ahead_ms_max.max(-late_ms);
        }
        facts.ancient += u64::from(time_ms < ANCIENT_MS);
        let zone = (late_ms + HALF_HOUR_MS / 2).div_euclid(HALF_HOUR_MS);
        if let Some(count) = usize::try_from(zone).ok().and_then(|zone| facts.by_zone.get_mut(zone)) {
            facts.live += 1;
            *count += u64::from((late_ms - zone * HALF_HOUR_MS).abs() <= ZONE_MS);
        }
        let minute = time_ms.div_euclid(MINUTE_MS);
        if self.minutes.len() < MINUTES_MAX || self.minutes.contains_key(&minute) {
            *self.minutes.entry(minute).or_default() += 1;
        }
    }

    pub fn finish(self) -> ClockFacts {
        ClockFacts { densest_minute: self.minutes.into_values().max().unwrap_or(0), ..self.facts }
    }
}

const _: () = assert!(ZONES == 29, "14 hours of half hours, and none");

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_769_860_830_000;

    fn facts(late_ms: &[i64]) -> ClockFacts {
        let mut clocks = Clocks::default();
        late_ms.iter().for_each(|late_ms| clocks.take(NOW_MS - late_ms, NOW_MS));
        clocks.finish()
    }

    #[test]
    fn clocks_that_are_ahead_and_zones_are_told_from_what_is_merely_late() {
        let hour = 2 * HALF_HOUR_MS;
        let found = facts(&[0, 500, -1_000, -9_000, hour, hour + 100_000, hour - 130_000, 40 * hour]);
        assert_eq!((found.own, found.ahead, found.ahead_ms_max, found.live), (7, 1, 9_000, 7));
        assert_eq!((found.by_zone[0], found.by_zone[2], found.by_zone.iter().sum::<u64>()), (4, 2, 6));
    }

    #[test]
    fn ancient_times_and_the_densest_minute() {
        let found = facts(&[0, 10, 20, 600_000, NOW_MS, NOW_MS - 1]);
        assert_eq!((found.ancient, found.densest_minute), (2, 3));
    }
}
