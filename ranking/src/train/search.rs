//! The search for settings: random trials, then ever closer ones around the best.
//!
//! Random trials find the dimensions that matter sooner than a grid does (Bergstra, Bengio 2012). The first half of the
//! budget is random; in the second half each trial is drawn around the best one so far, from a box that shrinks from half
//! of each range to a thirty-second.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::TrainError;
use super::error::{at_least, positive};

/// Halvings of the box in the second half of the budget, beyond the first one.
const HALVINGS: f64 = 4.0;

/// Values that one setting may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// Name of the setting.
    pub name: String,
    /// The lowest value.
    pub low: f64,
    /// The highest value.
    pub high: f64,
    /// Whether ratios count rather than differences.
    #[serde(default)]
    pub logarithmic: bool,
}

impl Range {
    fn check(&self) -> Result<(), TrainError> {
        let least = if self.logarithmic { f64::MIN_POSITIVE } else { f64::MIN };
        at_least("low", self.low, least, "a finite number is needed, above 0 if the range is logarithmic")?;
        at_least("high", self.high, self.low, "a finite number not below low is needed")
    }

    /// The value at `share` of the way from low to high.
    fn at(&self, share: f64) -> f64 {
        let between = |low: f64, high: f64| low * (1.0 - share) + high * share;
        let value =
            if self.logarithmic { between(self.low.ln(), self.high.ln()).exp() } else { between(self.low, self.high) };
        value.clamp(self.low, self.high)
    }
}

/// When a search ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    /// After so many trials.
    Trials(usize),
    /// With the trial that is under way after so many seconds; what is found then depends on the machine's speed.
    Seconds(f64),
}

/// Named values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Params(Vec<(String, f64)>);

impl Params {
    /// The value of a name, if there is one.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// Names and values, in the order of the ranges.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }
}

/// Settings that were tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The settings.
    pub params: Params,
    /// How good they are.
    pub value: f64,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Number of the best trial; the first of equals.
    pub best: usize,
    /// Every trial in order.
    pub trials: Vec<Trial>,
}

impl Found {
    /// The best trial.
    pub fn best(&self) -> &Trial {
        &self.trials[self.best]
    }
}

/// Looks for the settings with the highest `value`; a value that is not a number is the worst.
///
/// # Errors
/// [`TrainError::Option`] for a range or a budget that makes no sense.
pub fn search(
    ranges: &[Range],
    budget: Budget,
    seed: u64,
    mut value: impl FnMut(&Params) -> f64,
) -> Result<Found, TrainError> {
    ranges.iter().try_for_each(Range::check)?;
    match budget {
        Budget::Trials(trials) => at_least("trials", trials as f64, 1.0, "at least 1 is needed")?,
        Budget::Seconds(seconds) => positive("seconds", seconds)?,
    }
    let start = Instant::now();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut found = Found { best: 0, trials: Vec::new() };
    let mut centre: Vec<f64> = Vec::new();
    loop {
        let spent = spent(budget, found.trials.len(), start.elapsed());
        if spent >= 1.0 && !found.trials.is_empty() {
            return Ok(found);
        }
        let shares: Vec<f64> = (0..ranges.len()).map(|at| draw(&mut random, spent, centre.get(at))).collect();
        let named = |(range, share): (&Range, &f64)| (range.name.clone(), range.at(*share));
        let params = Params(ranges.iter().zip(&shares).map(named).collect());
        let value = value(&params);
        found.trials.push(Trial { params, value });
        if found.trials.len() == 1 || value > found.best().value || found.best().value.is_nan() {
            found.best = found.trials.len() - 1;
            centre = shares;
        }
    }
}

/// The share of the budget that is used up.
fn spent(budget: Budget, trials: usize, elapsed: Duration) -> f64 {
    match budget {
        Budget::Trials(all) => trials as f64 / all as f64,
        Budget::Seconds(all) => elapsed.as_secs_f64() / all,
    }
}

/// A share of a range: anywhere at first, later near the best one.
fn draw(random: &mut ChaCha8Rng, spent: f64, centre: Option<&f64>) -> f64 {
    let anywhere: f64 = random.random();
    match centre {
        Some(centre) if spent >= 0.5 => {
            let width = 0.5_f64.powf(1.0 + (2.0 * spent - 1.0) * HALVINGS);
            let low = (centre - width / 2.0).clamp(0.0, 1.0 - width);
            low + width * anywhere
        }
        _ => anywhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(name: &str, low: f64, high: f64, logarithmic: bool) -> Range {
        Range { name: name.to_owned(), low, high, logarithmic }
    }

    fn hill(params: &Params) -> f64 {
        -(params.get("x").unwrap() - 3.0).powi(2) - (params.get("y").unwrap().log10() + 2.0).powi(2)
    }

    #[test]
    fn the_top_of_a_hill_is_found_and_the_seed_decides() {
        let ranges = [range("x", -10.0, 10.0, false), range("y", 1e-6, 10.0, true)];
        let found = search(&ranges, Budget::Trials(80), 1, hill).unwrap();
        assert_eq!(found.trials.len(), 80);
        assert!(found.best().value > -0.5, "{:?}", found.best());
        assert!(found.trials.iter().all(|trial| trial.value <= found.best().value));
        assert!(found.trials.iter().all(|trial| (1e-6..=10.0).contains(&trial.params.get("y").unwrap())));
        assert_eq!(found, search(&ranges, Budget::Trials(80), 1, hill).unwrap());
        assert_ne!(found, search(&ranges, Budget::Trials(80), 2, hill).unwrap());
    }

    #[test]
    fn the_second_half_is_better_than_the_first() {
        let ranges = [range("x", -10.0, 10.0, false), range("y", 1e-6, 10.0, true)];
        let found = search(&ranges, Budget::Trials(100), 3, hill).unwrap();
        let mean = |trials: &[Trial]| trials.iter().map(|trial| trial.value).sum::<f64>() / trials.len() as f64;
        assert!(mean(&found.trials[50..]) > mean(&found.trials[..50]) / 2.0);
    }

    #[test]
    fn a_value_that_is_not_a_number_is_never_the_best() {
        let mut trial = 0;
        let value = |_: &Params| {
            trial += 1;
            if trial == 3 { 1.0 } else { f64::NAN }
        };
        assert_eq!(search(&[], Budget::Trials(5), 0, value).unwrap().best, 2);
    }

    #[test]
    fn one_trial_is_made_however_short_the_time() {
        let slow = |_: &Params| {
            std::thread::sleep(Duration::from_millis(2));
            0.0
        };
        assert_eq!(search(&[], Budget::Seconds(1e-9), 0, slow).unwrap().trials.len(), 1);
    }

    #[test]
    fn ranges_and_budgets_are_checked() {
        for bad in [range("x", 1.0, 0.0, false), range("x", 0.0, 1.0, true), range("x", f64::NAN, 1.0, false)] {
            assert!(search(&[bad], Budget::Trials(1), 0, |_| 0.0).is_err());
        }
        assert!(search(&[], Budget::Trials(0), 0, |_| 0.0).is_err());
        assert!(search(&[], Budget::Seconds(f64::NAN), 0, |_| 0.0).is_err());
    }
}
