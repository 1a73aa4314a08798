//! How many retries a store can bear.
//!
//! Retries help against a call that was lost, and harm a store that cannot keep up: where every call fails, three
//! attempts each are three times the load at the worst moment. So retries are paid for: each call brings a fraction of
//! one, and what is saved has a bound.

/// What a [`Budget`] allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BudgetSettings {
    /// Retries for each call, over time: 0.1 is one for ten calls.
    pub share: f64,
    /// Retries that can be saved up, and are there at the start, so that a store that is seldom called has some too.
    pub saved_max: f64,
}

impl Default for BudgetSettings {
    fn default() -> Self {
        Self { share: 0.1, saved_max: 10.0 }
    }
}

/// Counts retries against calls.
#[derive(Debug)]
pub struct Budget {
    settings: BudgetSettings,
    saved: f64,
}

impl Budget {
    /// A budget with all that can be saved up.
    pub fn new(settings: BudgetSettings) -> Self {
        Self { settings, saved: settings.saved_max }
    }

    /// A call is made for the first time.
    pub fn called(&mut self) {
        self.saved = (self.saved + self.settings.share).min(self.settings.saved_max);
    }

    /// Whether there is a retry to be had. If so, it is spent.
    pub fn retry(&mut self) -> bool {
        let is_there = self.saved >= 1.0;
        if is_there {
            self.saved -= 1.0;
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// In any stretch of calls, retries are no more than their share and what was saved before.
        #[test]
        fn retries_stay_within_their_share(steps in vec(0_u8..4, 0..2_000), share in 0.0_f64..0.5, start in 0_usize..500) {
            let settings = BudgetSettings { share, saved_max: 5.0 };
            let mut budget = Budget::new(settings);
            let (mut calls, mut retries) = (0, 0);
            for (place, step) in steps.into_iter().enumerate() {
                let counts = place >= start;
                if step == 0 {
                    budget.called();
                    calls += usize::from(counts);
                } else if budget.retry() {
                    retries += usize::from(counts);
                }
                prop_assert!(retries as f64 <= calls as f64 * share + settings.saved_max + 1e-6);
            }
        }
    }

    /// A backend that fails half its calls, with two more attempts for each: the load grows by the share, not by half.
    #[test]
    fn a_backend_that_fails_half_its_calls_bears_a_tenth_more() {
        let mut budget = Budget::new(BudgetSettings::default());
        let mut attempts = 0_u32;
        for call in 0..10_000 {
            budget.called();
            attempts += 1;
            let fails = (call % 2 == 0).then(|| budget.retry());
            attempts += u32::from(fails == Some(true));
        }
        assert!((10_900..=11_020).contains(&attempts), "{attempts}");
    }
}
