//! The search for weights: how good they are on held-out users, and which are best.

use super::BlendCase;
use crate::train::TrainError;
use crate::train::parallel::fill_rows;

/// How far a weight is moved, one pass over the weights after the other.
const STEPS: [f32; 6] = [0.5, 0.25, 0.25, 0.1, 0.1, 0.05];
/// A gain in mean nDCG below so many of its standard errors is taken for noise.
const GAIN_LEAST: f64 = 0.5;

/// What weights may be, and when one is moved.
#[derive(Clone, Copy)]
pub(crate) struct Moves {
    /// The least weight.
    pub floor: f32,
    /// Standard errors that a gain has to be beyond.
    pub gain_least: f64,
}

/// Weights, and the nDCG of each case with them.
type Judged = (Vec<f32>, Vec<f64>);

/// The held-out users and every model's scores for them.
pub(super) struct Judge<'a> {
    pub(super) cases: &'a [&'a BlendCase<'a>],
    /// Cases by models by items.
    pub(super) table: &'a [f32],
    pub(super) items: usize,
    pub(super) k: usize,
    pub(super) threads: usize,
}

impl Judge<'_> {
    /// The best weights, which may be below 0.
    pub(super) fn best_weights(&self, parts: usize) -> Vec<f32> {
        let moves = Moves { floor: f32::NEG_INFINITY, gain_least: GAIN_LEAST };
        best_weights(parts, moves, &|weights| self.judge(weights))
    }

    fn judge(&self, weights: &[f32]) -> Vec<f64> {
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
        values
    }
}

/// Coordinate search from the best part alone. `judge` says how good weights are for each case.
pub(crate) fn best_weights(parts: usize, moves: Moves, judge: &dyn Fn(&[f32]) -> Vec<f64>) -> Vec<f32> {
    let alone = |part: usize| {
        let weights = (0..parts).map(|at| if at == part { 1.0 } else { 0.0 }).collect::<Vec<f32>>();
        let values = judge(&weights);
        (weights, values)
    };
    let mut best = alone(0);
    for other in (1..parts).map(alone) {
        if other.1.iter().sum::<f64>() > best.1.iter().sum() {
            best = other;
        }
    }
    for step in STEPS {
        for part in 0..parts {
            for direction in [step, -step] {
                climb(part, direction, moves, judge, &mut best);
            }
        }
    }
    best.0
}

/// Moves one weight as long as that helps.
fn climb(part: usize, direction: f32, moves: Moves, judge: &dyn Fn(&[f32]) -> Vec<f64>, best: &mut Judged) {
    loop {
        let mut weights = best.0.clone();
        weights[part] += direction;
        if weights[part] < moves.floor {
            return;
        }
        let values = judge(&weights);
        if !is_better(&best.1, &values, moves.gain_least) {
            return;
        }
        *best = (weights, values);
    }
}

/// Whether the cases' second values are better than their first beyond noise.
fn is_better(first: &[f64], second: &[f64], gain_least: f64) -> bool {
    let (mut sum, mut squares) = (0.0, 0.0);
    for (first, second) in first.iter().zip(second) {
        sum += second - first;
        squares += (second - first).powi(2);
    }
    sum > 0.0 && sum > gain_least * squares.sqrt()
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_gain_counts_beyond_noise() {
        let is_better = |first: &[f64], second: &[f64]| is_better(first, second, GAIN_LEAST);
        assert!(is_better(&[0.1; 4], &[0.2; 4]));
        assert!(!is_better(&[0.1; 4], &[0.1; 4]) && !is_better(&[0.2; 4], &[0.1; 4]));
        // A sum of .1 where the squares' root is .58.
        assert!(!is_better(&[0.0, 0.4, 0.0, 0.0], &[0.4, 0.0, 0.1, 0.0]));
    }
}
