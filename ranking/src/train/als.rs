//! Implicit alternating least squares: a vector for every user and item, whose inner product is the score.
//!
//! This is iALS (Hu, Koren, Volinsky 2008) with the loss and the regularisation of "Revisiting the Performance of iALS on
//! Item Recommendation Benchmarks" (Rendle, Krichene, Zhang, Koren 2021):
//!
//! ```text
//! sum over observed (u, i) of w_ui (1 - x_u y_i)²  +  alpha0 * sum over all (u, i) of (x_u y_i)²
//!   +  lambda * sum over u of (|I_u| + alpha0 |I|)^nu |x_u|²  +  lambda * sum over i of (|U_i| + alpha0 |U|)^nu |y_i|²
//! ```
//!
//! Weights are scaled so that the mean liked one is 1: only their ratios matter, and alpha0 means the same whatever events
//! are worth.
//!
//! Each half step moves its side's rows by a few steps of conjugate gradients, which costs entries × factors + rows ×
//! factors² a step; 0 steps ask for the exact solution, at entries × factors² + rows × factors³ / 3.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::conjugate::{Conjugate, Equations, dot};
use super::error::{at_least, length, positive};
use super::normal::{Fixed, Normal};
use super::parallel::{fill_rows, threads_or_all};
use super::sparse::unit_scale;
use super::{Popular, TrainError};
use crate::data::{History, Interactions, Scorer};

/// Most numbers of a vector: each thread has a matrix of their square, and more than this no catalogue needs.
const FACTORS_MAX: usize = 4_096;

/// Settings of [`Als`]; the default is what did best on held-out parts of MovieLens-100K.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlsOptions {
    /// Numbers a vector, from 1 to 4,096.
    pub factors: usize,
    /// Passes over both sides.
    pub epochs: usize,
    /// alpha0: what a pair that was not observed weighs, beside the 1 of an observed one.
    pub unobserved_weight: f32,
    /// lambda.
    pub regularisation: f32,
    /// nu: how the regularisation grows with a row's entries; 0 is alike for all, 1 in proportion.
    pub nu: f32,
    /// sigma*: standard deviation of a fresh vector's length; a number has this divided by the root of `factors`.
    pub stddev: f32,
    /// Steps of conjugate gradients for a row; 0 for the exact solution.
    pub steps: usize,
    /// Seed of the fresh vectors.
    pub seed: u64,
    /// Threads; 0 for as many as there are. The result does not depend on it.
    pub threads: usize,
}

impl Default for AlsOptions {
    fn default() -> Self {
        Self {
            factors: 64,
            epochs: 12,
            unobserved_weight: 0.5,
            regularisation: 0.01,
            nu: 1.0,
            stddev: 0.1,
            steps: 3,
            seed: 0,
            threads: 0,
        }
    }
}

impl AlsOptions {
    fn check(&self) -> Result<(), TrainError> {
        if !(1..=FACTORS_MAX).contains(&self.factors) {
            let (name, value) = ("factors", self.factors as f64);
            return Err(TrainError::Option { name, value, need: "a number from 1 to 4096 is needed" });
        }
        at_least("unobserved_weight", self.unobserved_weight.into(), 0.0, "a finite number from 0 is needed")?;
        positive("regularisation", self.regularisation.into())?;
        at_least("nu", self.nu.into(), 0.0, "a finite number from 0 is needed")?;
        positive("stddev", self.stddev.into())
    }

    /// The weight of a row's squared length in the loss: `entries` of its own, `others` rows on the other side.
    fn ridge(&self, entries: usize, others: usize) -> f32 {
        self.regularisation * (entries as f32 + self.unobserved_weight * others as f32).powf(self.nu)
    }
}

/// A trained factor model.
#[derive(Clone, Debug)]
pub struct Als {
    parts: AlsParts,
    item_gramian: Vec<f32>,
}

/// All that a factor model is, to be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct AlsParts {
    /// The options it was trained with.
    pub options: AlsOptions,
    /// Users by factors.
    pub users: Vec<f32>,
    /// Items by factors.
    pub items: Vec<f32>,
    /// What everybody likes.
    pub popular: Popular,
    /// What the weight of an event is multiplied with, above 0: the inverse of the mean liked weight in training.
    pub weight_scale: f32,
}

impl Als {
    /// Trains on users by items.
    ///
    /// # Errors
    /// [`TrainError`] where an option makes no sense, nothing is liked, or numbers overflow.
    pub fn train(table: &Interactions, options: &AlsOptions) -> Result<Self, TrainError> {
        Self::train_watched(table, options, |_, _| {})
    }

    /// As [`train`](Self::train), with `watch` called after each half step with users' and items' factors.
    fn train_watched(
        table: &Interactions,
        options: &AlsOptions,
        mut watch: impl FnMut(&[f32], &[f32]),
    ) -> Result<Self, TrainError> {
        options.check()?;
        let popular = Popular::train(table)?;
        let weight_scale = unit_scale(table).unwrap_or(1.0);
        let by_item = table.transpose();
        let mut random = ChaCha8Rng::seed_from_u64(options.seed);
        let mut users = fresh(table.rows(), options, &mut random);
        let mut items = fresh(table.width(), options, &mut random);
        for _ in 0..options.epochs {
            solve_side((table, weight_scale), &items, &mut users, options)?;
            watch(&users, &items);
            solve_side((&by_item, weight_scale), &users, &mut items, options)?;
            watch(&users, &items);
        }
        Self::from_parts(AlsParts { options: options.clone(), users, items, popular, weight_scale })
    }

    /// A model from its parts.
    ///
    /// # Errors
    /// [`TrainError::Parts`] where lengths contradict each other, [`TrainError::Option`] for bad options.
    pub fn from_parts(parts: AlsParts) -> Result<Self, TrainError> {
        parts.options.check()?;
        let factors = parts.options.factors;
        positive("weight_scale", parts.weight_scale.into())?;
        length("users", parts.users.len(), parts.users.len() / factors * factors)?;
        length("items", parts.items.len(), parts.popular.scores().len() * factors)?;
        let item_gramian = Fixed::new(&parts.items, factors, parts.options.unobserved_weight).gramian;
        Ok(Self { parts, item_gramian })
    }

    /// The model's parts.
    pub fn into_parts(self) -> AlsParts {
        self.parts
    }

    /// Numbers a vector.
    pub fn factors(&self) -> usize {
        self.parts.options.factors
    }

    /// Users by factors, row by row.
    pub fn user_factors(&self) -> &[f32] {
        &self.parts.users
    }

    /// Items by factors, row by row: a user's score of an item is the inner product of their rows.
    pub fn item_factors(&self) -> &[f32] {
        &self.parts.items
    }

    /// The vector of a user who was not trained with, from what he did; zeros where he likes nothing.
    pub fn fold_in_user(&self, items: &[u32], weights: &[f32]) -> Vec<f32> {
        let fixed = Fixed { factors: &self.parts.items, gramian: self.item_gramian.clone() };
        self.fold_in(&fixed, items, weights)
    }

    /// The vector of an item that was not trained with, from who met it; zeros where nobody likes it.
    pub fn fold_in_item(&self, users: &[u32], weights: &[f32]) -> Vec<f32> {
        let fixed = Fixed::new(&self.parts.users, self.factors(), self.parts.options.unobserved_weight);
        self.fold_in(&fixed, users, weights)
    }

    /// The normal equations of one row; columns may repeat and come in any order.
    fn fold_in(&self, fixed: &Fixed<'_>, columns: &[u32], weights: &[f32]) -> Vec<f32> {
        let others = fixed.factors.len() / self.factors();
        let ridge = self.parts.options.ridge(liked(weights), others);
        let weights: Vec<f32> = weights.iter().map(|weight| weight * self.parts.weight_scale).collect();
        let mut row = vec![0.0; self.factors()];
        if !Normal::new(self.factors()).solve(fixed, columns, &weights, ridge, &mut row) {
            row.fill(0.0);
        }
        row
    }
}

/// Entries that count as positives.
fn liked(weights: &[f32]) -> usize {
    weights.iter().filter(|weight| **weight > 0.0).count()
}

/// Fresh factors of `rows` rows.
fn fresh(rows: usize, options: &AlsOptions, random: &mut ChaCha8Rng) -> Vec<f32> {
    let scale = options.stddev / (options.factors as f32).sqrt();
    StandardNormal.sample_iter(random).take(rows * options.factors).map(|value: f32| value * scale).collect()
}

/// One half step: every row of one side, given the other. Weights are scaled a row at a time: a scaled table beside the
/// other would be as large as that.
fn solve_side(
    (table, weight_scale): (&Interactions, f32),
    others: &[f32],
    rows: &mut [f32],
    options: &AlsOptions,
) -> Result<(), TrainError> {
    let fixed = Fixed::new(others, options.factors, options.unobserved_weight);
    let state = || (Normal::new(options.factors), Conjugate::new(options.factors), Vec::new());
    let solve = |state: &mut (Normal, Conjugate, Vec<f32>), row: usize, values: &mut [f32]| {
        let (normal, conjugate, scaled) = state;
        let (columns, weights) = table.row(row);
        scaled.clear();
        scaled.extend(weights.iter().map(|weight| weight * weight_scale));
        let weights = &scaled[..];
        let ridge = options.ridge(liked(weights), table.width());
        let solved = match options.steps {
            0 => normal.solve(&fixed, columns, weights, ridge, values),
            steps => conjugate.improve(Equations { fixed: &fixed, columns, weights, ridge }, steps, values),
        };
        if solved { Ok(()) } else { Err(TrainError::NotSolvable { row }) }
    };
    fill_rows(rows, options.factors, threads_or_all(options.threads), state, solve)
}

impl Scorer for Als {
    fn items(&self) -> usize {
        self.parts.popular.scores().len()
    }

    fn score(&self, user: Option<u32>, history: History<'_>, scores: &mut [f32]) {
        assert_eq!(scores.len(), self.items(), "one score an item");
        let folded;
        let vector = match user {
            Some(row) => &self.parts.users[row as usize * self.factors()..][..self.factors()],
            None if liked(history.weights) == 0 => return self.parts.popular.score(None, history, scores),
            None => {
                folded = self.fold_in_user(history.items, history.weights);
                &folded
            }
        };
        for (score, item) in scores.iter_mut().zip(self.parts.items.chunks_exact(self.factors())) {
            *score = dot(vector, item);
        }
    }
}

#[cfg(test)]
mod tests;
