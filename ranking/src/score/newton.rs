//! The maximum of a penalised likelihood, by Newton's method.

use faer::linalg::solvers::Solve;
use faer::{Mat, Side};

const ITERATIONS_MAX: usize = 50;
/// Halvings of a step that does not help.
const HALVINGS_MAX: usize = 20;
/// A step that gains less than this share of the loss is the last.
const GAIN_MIN: f64 = 1e-10;

/// A penalised logistic regression.
pub(super) struct Problem<'a> {
    pub width: usize,
    /// Row by row.
    pub design: &'a [f64],
    /// From 0 to 1.
    pub targets: Vec<f64>,
    /// By row: it counts as so many.
    pub importance: Vec<f64>,
    /// By weight: what its square counts in the loss, twice.
    pub ridge: Vec<f64>,
}

impl Problem<'_> {
    fn rows(&self) -> impl Iterator<Item = (&[f64], f64, f64)> {
        let rows = self.design.chunks_exact(self.width).zip(&self.targets).zip(&self.importance);
        rows.map(|((row, target), importance)| (row, *target, *importance))
    }

    fn loss(&self, weights: &[f64]) -> f64 {
        let of_row = |(row, target, importance): (&[f64], f64, f64)| {
            let log_odds = dot(row, weights);
            // ln(1 + e^x) - t x, without overflow.
            importance * (log_odds.max(0.0) + (-log_odds.abs()).exp().ln_1p() - target * log_odds)
        };
        let penalty: f64 = weights.iter().zip(&self.ridge).map(|(weight, ridge)| ridge * weight * weight / 2.0).sum();
        self.rows().map(of_row).sum::<f64>() + penalty
    }

    /// Weights, and the inverse of the second derivative there.
    pub(super) fn solve(&self, mut weights: Vec<f64>) -> (Vec<f64>, Vec<f64>) {
        let mut loss = self.loss(&weights);
        for _ in 0..ITERATIONS_MAX {
            let (gradient, curvature) = self.derivatives(&weights);
            let Some(step) = solved(&curvature, &gradient) else { break };
            let Some((next, next_loss)) = self.step(&weights, &step, loss) else { break };
            let gain = loss - next_loss;
            (weights, loss) = (next, next_loss);
            if gain <= GAIN_MIN * loss.abs() {
                break;
            }
        }
        let (_, curvature) = self.derivatives(&weights);
        let inverse = solved(&curvature, &Mat::identity(self.width, self.width));
        let inverse = inverse.unwrap_or_else(|| Mat::zeros(self.width, self.width));
        let places = (0..self.width).flat_map(|row| (0..self.width).map(move |column| (row, column)));
        let covariance = places.map(|place| inverse[place]).collect();
        (weights, covariance)
    }

    /// As much of a step as helps.
    fn step(&self, weights: &[f64], step: &Mat<f64>, loss: f64) -> Option<(Vec<f64>, f64)> {
        let mut share = 1.0;
        for _ in 0..HALVINGS_MAX {
            let next: Vec<f64> =
                weights.iter().enumerate().map(|(at, weight)| weight - share * step[(at, 0)]).collect();
            let next_loss = self.loss(&next);
            if next_loss < loss {
                return Some((next, next_loss));
            }
            share /= 2.0;
        }
        None
    }

    fn derivatives(&self, weights: &[f64]) -> (Mat<f64>, Mat<f64>) {
        let mut gradient = Mat::zeros(self.width, 1);
        let mut curvature = Mat::zeros(self.width, self.width);
        for (row, target, importance) in self.rows() {
            let chance = probability(dot(row, weights));
            let (slope, bend) = (importance * (chance - target), importance * chance * (1.0 - chance));
            for (at, value) in row.iter().enumerate() {
                gradient[(at, 0)] += slope * value;
                for (other, other_value) in row[..=at].iter().enumerate() {
                    curvature[(at, other)] += bend * value * other_value;
                }
            }
        }
        for (at, ridge) in self.ridge.iter().enumerate() {
            gradient[(at, 0)] += ridge * weights[at];
            // Enough for the bias where all probabilities are near 0 or 1.
            curvature[(at, at)] += ridge.max(1e-9);
        }
        (gradient, curvature)
    }
}

/// The solution with the symmetric matrix whose lower triangle is given.
fn solved(lower: &Mat<f64>, right: &Mat<f64>) -> Option<Mat<f64>> {
    Some(lower.llt(Side::Lower).ok()?.solve(right))
}

pub(super) fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

/// Of log-odds.
pub(crate) fn probability(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}
