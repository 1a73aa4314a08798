//! Several models as one: a weighted sum of their standardised scores.
//!
//! Scores of different models have different units, so each model's are first shifted and scaled to mean 0 and deviation 1
//! over the items that the user has not met. The weights, one a model, are then searched for: the best model alone is
//! where the search begins, each weight in turn is moved up and down, a move stays where it raises the mean nDCG of
//! held-out users, and the steps become smaller. nDCG is what the blend is for and has no gradient; with a weight for each
//! of a few models there is little to overfit, and the blend is never worse on the held-out users than its best part.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::TrainError;
use super::error::{at_least, length};
use super::parallel::{fill_rows, threads_or_all};
use crate::data::{History, Scorer};

/// How far a weight is moved, one pass over the weights after the other.
const STEPS: [f32; 6] = [0.5, 0.25, 0.25, 0.1, 0.1, 0.05];
/// A gain in nDCG below this is taken for noise.
const GAIN_MIN: f64 = 1e-5;

/// A held-out user.
#[derive(Clone, Copy, Debug)]
pub struct BlendCase<'a> {
    /// His row in training, or `None` for a new user.
    pub user: Option<u32>,
    /// What he did before, without what is held out.
    pub history: History<'a>,
    /// What he liked later; cases without any are passed over.
    pub relevant: &'a [u32],
}

/// Settings of [`Blend::fit`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlendOptions {
    /// Length of the lists that are compared.
    pub k: usize,
    /// Cases looked at, the first ones; each takes 4 bytes an item and model.
    pub cases_max: usize,
    /// Threads; 0 for as many as there are. The result does not depend on it.
    pub threads: usize,
}

impl Default for BlendOptions {
    fn default() -> Self {
        Self { k: 10, cases_max: 5_000, threads: 0 }
    }
}

/// Models and the weight of each.
#[derive(Clone)]
pub struct Blend {
    parts: Vec<Arc<dyn Scorer + Send>>,
    weights: Vec<f32>,
}

impl Blend {
    /// Models with weights that are known. They must know the same items.
    ///
    /// # Errors
    /// [`TrainError`] where there is no model, a weight is not finite, or numbers differ.
    pub fn new(parts: Vec<Arc<dyn Scorer + Send>>, weights: Vec<f32>) -> Result<Self, TrainError> {
        at_least("models", parts.len() as f64, 1.0, "at least 1 is needed")?;
        length("weights", weights.len(), parts.len())?;
        for part in &parts {
            length("scores of a model", part.items(), parts[0].items())?;
        }
        for weight in &weights {
            at_least("weight", (*weight).into(), f64::MIN, "a finite number is needed")?;
        }
        Ok(Self { parts, weights })
    }

    /// Models with the weights that rank `cases` best.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`TrainError::Empty`] where no case has anything relevant.
    pub fn fit(
        parts: Vec<Arc<dyn Scorer + Send>>,
        cases: &[BlendCase<'_>],
        options: &BlendOptions,
    ) -> Result<Self, TrainError> {
        let weights = vec![0.0; parts.len()];
        let mut blend = Self::new(parts, weights)?;
        at_least("k", options.k as f64, 1.0, "at least 1 is needed")?;
        let cases: Vec<_> = cases.iter().filter(|case| !case.relevant.is_empty()).take(options.cases_max).collect();
        if cases.is_empty() {
            return Err(TrainError::Empty { rows: 0, items: blend.items() });
        }
        let threads = threads_or_all(options.threads);
        let mut table = vec![0.0; cases.len() * blend.parts.len() * blend.items()];
        let fill = |_: &mut (), row: usize, scores: &mut [f32]| {
            let (part, case) = (&blend.parts[row % blend.parts.len()], cases[row / blend.parts.len()]);
            standardised(part.as_ref(), case.user, case.history, scores);
            Ok::<(), TrainError>(())
        };
        fill_rows(&mut table, blend.items(), threads, || (), fill)?;
        let judge = Judge { cases: &cases, table: &table, items: blend.items(), k: options.k, threads };
        blend.weights = judge.best_weights(blend.parts.len());
        Ok(blend)
    }

    /// One weight a model, in the order of the models.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }
}

/// A model's scores with mean 0 and deviation 1 over the items that are not in the history; those in it are 0.
fn standardised(part: &dyn Scorer, user: Option<u32>, history: History<'_>, scores: &mut [f32]) {
    part.score(user, history, scores);
    history.items.iter().for_each(|item| scores[*item as usize] = f32::NAN);
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

/// The held-out users and every model's scores for them.
struct Judge<'a> {
    cases: &'a [&'a BlendCase<'a>],
    table: &'a [f32],
    items: usize,
    k: usize,
    threads: usize,
}

impl Judge<'_> {
    /// Coordinate search from the best model alone.
    fn best_weights(&self, parts: usize) -> Vec<f32> {
        let alone = |part: usize| (0..parts).map(|at| if at == part { 1.0 } else { 0.0 }).collect::<Vec<f32>>();
        let mut best = (alone(0), self.ndcg(&alone(0)));
        for part in 1..parts {
            let value = self.ndcg(&alone(part));
            if value > best.1 {
                best = (alone(part), value);
            }
        }
        for step in STEPS {
            for part in 0..parts {
                for direction in [step, -step] {
                    self.climb(part, direction, &mut best);
                }
            }
        }
        best.0
    }

    /// Moves one weight as long as that helps.
    fn climb(&self, part: usize, direction: f32, best: &mut (Vec<f32>, f64)) {
        loop {
            let mut weights = best.0.clone();
            weights[part] += direction;
            let value = self.ndcg(&weights);
            if value < best.1 + GAIN_MIN {
                return;
            }
            *best = (weights, value);
        }
    }

    /// The mean nDCG of all cases.
    fn ndcg(&self, weights: &[f32]) -> f64 {
        let mut values = vec![0.0_f64; self.cases.len()];
        let fill = |state: &mut (Vec<f32>, Vec<u32>), case: usize, value: &mut [f64]| {
            let (sums, order) = state;
            sums.fill(0.0);
            let scores = &self.table[case * weights.len() * self.items..][..weights.len() * self.items];
            for (scores, weight) in scores.chunks_exact(self.items).zip(weights) {
                sums.iter_mut().zip(scores).for_each(|(sum, score)| *sum += weight * score);
            }
            let seen = self.cases[case].history.items;
            seen.iter().for_each(|item| sums[*item as usize] = f32::NEG_INFINITY);
            value[0] = ndcg(sums, order, self.cases[case].relevant, self.k);
            Ok::<(), TrainError>(())
        };
        let state = || (vec![0.0; self.items], Vec::new());
        let _ = fill_rows(&mut values, 1, self.threads, state, fill);
        values.iter().sum::<f64>() / values.len() as f64
    }
}

/// nDCG of the `k` best-scored items, relevant ones worth 1; the lower row wins a tie. `order` is memory to use.
fn ndcg(scores: &[f32], order: &mut Vec<u32>, relevant: &[u32], k: usize) -> f64 {
    let best_first =
        |left: &u32, right: &u32| scores[*right as usize].total_cmp(&scores[*left as usize]).then(left.cmp(right));
    order.clear();
    order.extend(0..scores.len() as u32);
    let k = k.min(scores.len());
    if k < order.len() {
        order.select_nth_unstable_by(k, best_first);
    }
    order[..k].sort_unstable_by(best_first);
    let discount = |rank: usize| 1.0 / (rank as f64 + 2.0).log2();
    let gain: f64 = (0..k).filter(|rank| relevant.contains(&order[*rank])).map(discount).sum();
    let ideal: f64 = (0..k.min(relevant.len())).map(discount).sum();
    gain / ideal
}

impl Scorer for Blend {
    fn items(&self) -> usize {
        self.parts[0].items()
    }

    fn score(&self, user: Option<u32>, history: History<'_>, scores: &mut [f32]) {
        assert_eq!(scores.len(), self.items(), "one score an item");
        let mut sums = vec![0.0; scores.len()];
        for (part, weight) in self.parts.iter().zip(&self.weights).filter(|(_, weight)| **weight != 0.0) {
            standardised(part.as_ref(), user, history, scores);
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
        History { items, weights: &[1.0; 4][..items.len()], times: &[] }
    }

    #[test]
    fn ndcg_is_as_by_hand() {
        let scores = [0.1, 0.9, 0.5, 0.5];
        let second = 1.0 / 3.0_f64.log2();
        assert_eq!(ndcg(&scores, &mut Vec::new(), &[1], 2), 1.0);
        assert!((ndcg(&scores, &mut Vec::new(), &[2, 0], 2) - second / (1.0 + second)).abs() < 1e-12);
        assert_eq!(ndcg(&scores, &mut Vec::new(), &[3], 2), 0.0);
        assert_eq!(ndcg(&scores, &mut Vec::new(), &[0], 9), 1.0 / 5.0_f64.log2());
    }

    #[test]
    fn units_do_not_count_and_what_was_met_is_left_out() {
        let mut scores = [0.0; 4];
        standardised(fixed(&[100.0, 1.0, 2.0, 3.0]).as_ref(), None, history(&[0]), &mut scores);
        let unit = 1.5_f32.sqrt();
        assert!(scores.iter().zip([0.0, -unit, 0.0, unit]).all(|(found, need)| (found - need).abs() < 1e-6));
        standardised(fixed(&[7.0; 4]).as_ref(), None, history(&[]), &mut scores);
        assert_eq!(scores, [0.0; 4]);
    }

    #[test]
    fn a_blend_takes_from_each_what_it_is_good_at() {
        let (one, two) = (fixed(&[5.0, 3.0, 0.0, 4.0]), fixed(&[0.0, 30.0, 50.0, 0.0]));
        let cases = [
            BlendCase { user: None, history: history(&[]), relevant: &[1] },
            BlendCase { user: None, history: history(&[1]), relevant: &[0] },
            BlendCase { user: None, history: history(&[]), relevant: &[] },
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
