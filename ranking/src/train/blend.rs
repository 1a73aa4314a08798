//! Several models as one: a weighted sum of their standardised scores.
//!
//! Scores of different models have different units, so each model's are first shifted and scaled to mean 0 and deviation 1
//! over the items that the user has not met. The weights are then searched for, one a model and apart for short and long
//! histories, since what is known of a newcomer says other things than what is known of a regular: the best model alone is
//! where the search begins, each weight in turn is moved up and down, a move stays where it raises the mean nDCG of
//! held-out users beyond noise, and the steps become smaller. nDCG is what the blend is for and has no gradient; with a
//! weight for each of a few models there is little to overfit, and the blend is never worse on the held-out users than its
//! best part.

pub(crate) mod judge;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::judge::Judge;
use super::TrainError;
use super::error::{at_least, length};
use super::parallel::{fill_rows, threads_or_all};
use crate::data::{History, Scorer};

/// The bands of history lengths that have weights of their own: each begins with so many events.
pub const BLEND_BANDS: [usize; 5] = [0, 1, 2, 6, 20];
/// Cases that a band needs for weights of its own; with fewer it has those of the next band.
const CASES_LEAST: usize = 30;

/// A held-out user.
#[derive(Clone, Copy, Debug, Default)]
pub struct BlendCase<'a> {
    /// His row in training, or `None` for a new user.
    pub user: Option<u32>,
    /// What he did before, without what is held out.
    pub history: History<'a>,
    /// What is known of him: columns of the table of users by attributes, if the models were trained with one.
    pub attributes: &'a [u32],
    /// What he liked later; cases without any are passed over.
    pub relevant: &'a [u32],
}

/// Settings of [`Blend::fit`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlendOptions {
    /// Length of the lists that are compared. Longer than what is shown: more of what was held out is in them, so that
    /// chance has less of a say.
    pub k: usize,
    /// Cases looked at, the first ones; each takes 4 bytes an item and model.
    pub cases_max: usize,
    /// Threads; 0 for as many as there are. The result does not depend on it.
    pub threads: usize,
}

impl Default for BlendOptions {
    fn default() -> Self {
        Self { k: 30, cases_max: 5_000, threads: 0 }
    }
}

/// Models and the weight of each.
#[derive(Clone)]
pub struct Blend {
    parts: Vec<Arc<dyn Scorer + Send>>,
    weights: Vec<f32>,
}

impl Blend {
    /// Models with weights that are known: one a model, or one a model for each of [`BLEND_BANDS`], band by band. The
    /// models must know the same items.
    ///
    /// # Errors
    /// [`TrainError`] where there is no model, a weight is not finite, or numbers differ.
    pub fn new(parts: Vec<Arc<dyn Scorer + Send>>, mut weights: Vec<f32>) -> Result<Self, TrainError> {
        at_least("models", parts.len() as f64, 1.0, "at least 1 is needed")?;
        if weights.len() == parts.len() {
            weights = weights.repeat(BLEND_BANDS.len());
        }
        length("weights", weights.len(), parts.len() * BLEND_BANDS.len())?;
        for part in &parts {
            length("scores of a model", part.items(), parts[0].items())?;
        }
        for weight in &weights {
            at_least("weight", (*weight).into(), f64::MIN, "a finite number is needed")?;
        }
        Ok(Self { parts, weights })
    }

    /// Models with the weights that rank `cases` best, which may have histories of all lengths.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`TrainError::Empty`] where no case has anything relevant.
    pub fn fit(
        parts: Vec<Arc<dyn Scorer + Send>>,
        cases: &[BlendCase<'_>],
        options: &BlendOptions,
    ) -> Result<Self, TrainError> {
        let weights = vec![0.0; parts.len()];
        let blend = Self::new(parts, weights)?;
        at_least("k", options.k as f64, 1.0, "at least 1 is needed")?;
        let cases: Vec<_> = cases.iter().filter(|case| !case.relevant.is_empty()).take(options.cases_max).collect();
        if cases.is_empty() {
            return Err(TrainError::Empty { rows: 0, items: blend.items() });
        }
        let mut banded = vec![Vec::new(); BLEND_BANDS.len()];
        cases.iter().for_each(|case| banded[band(case.history)].push(*case));
        let least = CASES_LEAST.min(banded.iter().map(Vec::len).max().unwrap_or(0));
        let fitted = banded
            .iter()
            .map(|cases| if cases.len() < least { Ok(None) } else { blend.best_weights(cases, options).map(Some) });
        let fitted = fitted.collect::<Result<Vec<_>, _>>()?;
        // The next band with weights is one of longer histories, or else of shorter ones.
        let nearest = |band: usize| fitted[band..].iter().chain(fitted[..band].iter().rev()).flatten().next();
        let weights: Vec<f32> = (0..fitted.len()).filter_map(nearest).flatten().copied().collect();
        Self::new(blend.parts, weights)
    }

    /// The weights that rank `cases` best.
    fn best_weights(&self, cases: &[&BlendCase<'_>], options: &BlendOptions) -> Result<Vec<f32>, TrainError> {
        let threads = threads_or_all(options.threads);
        let mut table = vec![0.0; cases.len() * self.parts.len() * self.items()];
        let fill = |_: &mut (), row: usize, scores: &mut [f32]| {
            let (part, case) = (&self.parts[row % self.parts.len()], cases[row / self.parts.len()]);
            standardised(part.as_ref(), case, scores);
            Ok::<(), TrainError>(())
        };
        fill_rows(&mut table, self.items(), threads, || (), fill)?;
        Ok(Judge { cases, table: &table, items: self.items(), k: options.k, threads }.best_weights(self.parts.len()))
    }

    /// One weight a model, in the order of the models, for each of [`BLEND_BANDS`], band by band.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }
}

/// The band that a history falls in.
fn band(history: History<'_>) -> usize {
    BLEND_BANDS.partition_point(|&first| first <= history.items.len()) - 1
}

/// A model's scores with mean 0 and deviation 1 over the items that are not in the history; those in it are 0.
fn standardised(part: &dyn Scorer, case: &BlendCase<'_>, scores: &mut [f32]) {
    part.score_described(case.user, case.history, case.attributes, scores);
    case.history.items.iter().for_each(|item| scores[*item as usize] = f32::NAN);
    let (mut count, mut sum, mut squares) = (0_usize, 0.0_f64, 0.0_f64);
    for score in scores.iter().filter(|score| score.is_finite()) {
        count += 1;
        sum += f64::from(*score);
        squares += f64::from(*score).powi(2);
    }
    let mean = sum / count.max(1) as f64;
    let deviation = (squares / count.max(1) as f64 - mean * mean).max(0.0).sqrt();
    let scale = if deviation > 0.0 { 1.0 / deviation } else { 0.0 };
    for score in scores {
        *score = if score.is_finite() { ((f64::from(*score) - mean) * scale) as f32 } else { 0.0 };
    }
}

impl Scorer for Blend {
    fn items(&self) -> usize {
        self.parts[0].items()
    }

    fn score(&self, user: Option<u32>, history: History<'_>, scores: &mut [f32]) {
        self.score_described(user, history, &[], scores);
    }

    fn score_described(&self, user: Option<u32>, history: History<'_>, attributes: &[u32], scores: &mut [f32]) {
        assert_eq!(scores.len(), self.items(), "one score an item");
        let case = BlendCase { user, history, attributes, relevant: &[] };
        let weights = &self.weights[band(history) * self.parts.len()..][..self.parts.len()];
        let mut sums = vec![0.0; scores.len()];
        for (part, weight) in self.parts.iter().zip(weights).filter(|(_, weight)| **weight != 0.0) {
            standardised(part.as_ref(), &case, scores);
            sums.iter_mut().zip(scores.iter()).for_each(|(sum, score)| *sum += weight * score);
        }
        scores.copy_from_slice(&sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Popular;

    fn fixed(scores: &[f32]) -> Arc<dyn Scorer + Send> {
        Arc::new(Popular::from_scores(scores.to_vec()))
    }

    fn history(items: &[u32]) -> History<'_> {
        History { items, weights: &[1.0; 6][..items.len()], times: &[] }
    }

    #[test]
    fn units_do_not_count_and_what_was_met_is_left_out() {
        let mut scores = [0.0; 4];
        let met = BlendCase { history: history(&[0]), ..BlendCase::default() };
        standardised(fixed(&[100.0, 1.0, 2.0, 3.0]).as_ref(), &met, &mut scores);
        let unit = 1.5_f32.sqrt();
        assert!(scores.iter().zip([0.0, -unit, 0.0, unit]).all(|(found, need)| (found - need).abs() < 1e-6));
        standardised(fixed(&[7.0; 4]).as_ref(), &BlendCase::default(), &mut scores);
        assert_eq!(scores, [0.0; 4]);
    }

    #[test]
    fn a_blend_takes_from_each_what_it_is_good_at() {
        let (one, two) = (fixed(&[5.0, 3.0, 0.0, 4.0]), fixed(&[0.0, 30.0, 50.0, 0.0]));
        let cases = [
            BlendCase { relevant: &[1], ..BlendCase::default() },
            BlendCase { relevant: &[1, 0], ..BlendCase::default() },
            BlendCase::default(),
        ];
        let options = BlendOptions { k: 4, threads: 1, ..Default::default() };
        let blend = Blend::fit(vec![one.clone(), two.clone()], &cases, &options).unwrap();
        let mut scores = [0.0; 4];
        blend.score(None, history(&[]), &mut scores);
        assert!([0, 2, 3].iter().all(|other| scores[1] > scores[*other]), "{scores:?} {:?}", blend.weights());
        let threaded = Blend::fit(vec![one, two], &cases, &BlendOptions { threads: 2, ..options }).unwrap();
        assert_eq!(threaded.weights(), blend.weights());
    }

    #[test]
    fn short_and_long_histories_have_weights_of_their_own() {
        let parts = vec![fixed(&[3.0, 2.0, 1.0, 0.0]), fixed(&[0.0, 1.0, 2.0, 3.0])];
        let new = BlendCase { relevant: &[0], ..BlendCase::default() };
        let old = BlendCase { history: history(&[1, 2, 1, 2, 1, 2]), relevant: &[3], ..BlendCase::default() };
        let cases = [vec![new; CASES_LEAST], vec![old; CASES_LEAST]].concat();
        let blend = Blend::fit(parts.clone(), &cases, &BlendOptions::default()).unwrap();
        assert_eq!(blend.weights()[..2], [1.0, 0.0]);
        for band in 1..BLEND_BANDS.len() {
            assert_eq!(blend.weights()[2 * band..][..2], [0.0, 1.0], "as the nearest longer or else shorter one");
        }
        let mut scores = [0.0; 4];
        for (events, best) in [(&[][..], 0), (&[1, 2, 1], 3), (&[1, 2, 1, 2, 1, 2], 3)] {
            blend.score(None, history(events), &mut scores);
            assert!((0..4).all(|item| scores[item] <= scores[best]), "{events:?} {scores:?}");
        }
        assert_eq!(Blend::new(parts, blend.weights().to_vec()).unwrap().weights(), blend.weights());
    }

    #[test]
    fn what_cannot_be_blended_is_told() {
        let error = |parts: Vec<_>, weights| Blend::new(parts, weights).err();
        assert!(matches!(error(vec![], vec![]), Some(TrainError::Option { name: "models", .. })));
        assert!(matches!(error(vec![fixed(&[1.0])], vec![f32::NAN]), Some(TrainError::Option { .. })));
        assert!(matches!(error(vec![fixed(&[1.0])], vec![]), Some(TrainError::Parts { .. })));
        let unlike = vec![fixed(&[1.0]), fixed(&[1.0, 2.0])];
        assert!(matches!(error(unlike, vec![1.0, 1.0]), Some(TrainError::Parts { .. })));
        let none = Blend::fit(vec![fixed(&[1.0])], &[], &BlendOptions::default()).err();
        assert_eq!(none, Some(TrainError::Empty { rows: 0, items: 1 }));
    }
}
