//! The search for the knee: the highest rate at which the objective still holds.
//!
//! Pure: it says which rate to try next and is told what happened there. Rates go up by a factor until one misses, then
//! the bracket is halved (on a logarithmic scale) until it is narrow. A run in which the generator itself fell behind
//! counts as a miss: nothing above it could be told either.

/// Up and down by this until the knee lies between two rates.
const STEP: f64 = 1.25;
/// Narrow enough: both ends within 4%.
const BRACKET_MAX: f64 = 1.04;
/// A bound on runs, for a server that answers at random.
const TRIES_MAX: usize = 16;

/// A search under way.
#[derive(Clone, Debug)]
pub struct Knee {
    first: f64,
    met: Option<f64>,
    missed: Option<f64>,
    tries: usize,
}

impl Knee {
    /// Starts at `first` requests a second.
    pub fn new(first: f64) -> Self {
        Self { first, met: None, missed: None, tries: 0 }
    }

    /// The rate to try, or `None` when the knee is known.
    pub fn next(&self) -> Option<f64> {
        if self.tries == TRIES_MAX {
            return None;
        }
        match (self.met, self.missed) {
            (None, None) => Some(self.first),
            (Some(met), None) => Some(met * STEP),
            (None, Some(missed)) => Some(missed / STEP),
            (Some(met), Some(missed)) => (missed / met > BRACKET_MAX).then(|| (met * missed).sqrt()),
        }
    }

    /// Takes down whether the objective was met at `rate_per_s`.
    pub fn record(&mut self, rate_per_s: f64, met: bool) {
        self.tries += 1;
        let end = if met { &mut self.met } else { &mut self.missed };
        *end = Some(rate_per_s);
    }

    /// The highest rate that met the objective.
    pub fn highest_met(&self) -> Option<f64> {
        self.met
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn search(first: f64, meets: impl Fn(f64) -> bool) -> Knee {
        let mut knee = Knee::new(first);
        while let Some(rate_per_s) = knee.next() {
            knee.record(rate_per_s, meets(rate_per_s));
        }
        knee
    }

    proptest! {
        #[test]
        fn a_knee_within_reach_is_found_to_the_bracket(first in 1.0..1e4_f64, share in 0.3..3.0_f64) {
            let limit = first * share;
            let found = search(first, |rate| rate <= limit).highest_met().unwrap();
            prop_assert!(found <= limit && limit < found * BRACKET_MAX, "{found} of {limit}");
        }
    }

    #[test]
    fn a_search_ends_whatever_happens() {
        assert_eq!(search(100.0, |_| false).highest_met(), None);
        assert!(search(100.0, |_| true).highest_met().unwrap() > 1_000.0);
    }
}
