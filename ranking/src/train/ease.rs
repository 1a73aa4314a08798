//! EASE: the best linear item-to-item model in closed form (Steck, "Embarrassingly Shallow Autoencoders", 2019).
//!
//! `B` minimises `|X - X B|² + lambda |B|²` with a diagonal of 0: with `P = (X'X + lambda I)⁻¹`, `B_ij = -P_ij / P_jj`. There
//! is little to tune and nothing random; the price is a dense matrix of items by items, whose inverse costs items³, so that
//! the number of items is bounded. Long histories weigh less a pair than short ones: who rates everything says little with
//! each event.

use attune_kernels::{Isa, add_rows};
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::{factor, inverse};
use faer::{MatMut, MatRef, Par, Spec};
use serde::{Deserialize, Serialize};

use super::error::{at_least, length, positive};
use super::parallel::{fill_rows, threads_or_all};
use super::sparse::{add_co_occurrences, unit_scale};
use super::{Popular, TrainError};
use crate::data::{History, Interactions, Scorer};

/// Items that a dense model may have: training takes 4.8 GB for that many, scoring 1.6 GB.
pub const EASE_ITEMS_MAX: usize = 20_000;
/// Dense matrices of f32 that are held at one time: the factor, its inverse, and their product.
const MATRICES: u64 = 3;

/// Settings of [`Ease`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EaseOptions {
    /// lambda, in events: weights are scaled so that the mean liked one is 1.
    pub regularisation: f32,
    /// The power of the number of a user's events that all his pairs are divided by: 0 counts every event alike, 1 every
    /// user. Weights are then scaled so that their sum stays what it was.
    pub activity_power: f32,
    /// Threads that count pairs; 0 for as many as there are. The result does not depend on it.
    pub threads: usize,
}

impl Default for EaseOptions {
    fn default() -> Self {
        Self { regularisation: 300.0, activity_power: 0.25, threads: 0 }
    }
}

/// A trained linear item-to-item model; it knows users by their history alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Ease {
    weights: Vec<f32>,
    popular: Popular,
}

impl Ease {
    /// Trains on users by items.
    ///
    /// # Errors
    /// [`TrainError`] where an option makes no sense, nothing is liked, there are more than [`EASE_ITEMS_MAX`] items, or
    /// the matrix cannot be inverted in f32.
    pub fn train(table: &Interactions, options: &EaseOptions) -> Result<Self, TrainError> {
        positive("regularisation", options.regularisation.into())?;
        at_least("activity_power", options.activity_power.into(), 0.0, "a finite number from 0 is needed")?;
        let items = table.width();
        if items > EASE_ITEMS_MAX {
            let bytes = MATRICES * 4 * (items as u64).saturating_mul(items as u64);
            return Err(TrainError::TooManyItems { items, items_max: EASE_ITEMS_MAX, bytes });
        }
        let popular = Popular::train(table)?;
        let scale = unit_scale(table).unwrap_or(1.0);
        let table = &by_activity(table, options.activity_power);
        let by_item = table.transpose();
        let mut gramian = vec![0.0; items * items];
        let count = |_: &mut (), item: usize, sums: &mut [f32]| {
            add_co_occurrences(table, &by_item, item, scale, sums);
            sums[item] += options.regularisation;
            Ok(())
        };
        fill_rows(&mut gramian, items, threads_or_all(options.threads), || (), count)?;
        let weights = weights_of(inverse_of(gramian, items)?, items);
        Ok(Self { weights, popular })
    }

    /// A model from its parts.
    ///
    /// # Errors
    /// [`TrainError::Parts`] unless `weights` has items² numbers.
    pub fn from_parts(weights: Vec<f32>, popular: Popular) -> Result<Self, TrainError> {
        length("weights", weights.len(), popular.scores().len() * popular.scores().len())?;
        Ok(Self { weights, popular })
    }

    /// B and what everybody likes.
    pub fn into_parts(self) -> (Vec<f32>, Popular) {
        (self.weights, self.popular)
    }

    /// B: items by items, row by row; a row holds what one event on its item adds to the scores.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// What everybody likes.
    pub fn popular(&self) -> &Popular {
        &self.popular
    }

    /// Adds what some items say of all, each times its weight.
    pub(super) fn add_rows(&self, items: &[u32], weights: &[f32], scores: &mut [f32]) {
        add_rows(Isa::active().expect("checked at start"), &self.weights, items, weights, scores);
    }
}

/// The table with rows of `n` entries multiplied by the root of `n^-power`, and all by what keeps the sum of the squared
/// factors over all entries.
fn by_activity(table: &Interactions, power: f32) -> Interactions {
    let entries = |row: usize| table.row(row).0.len() as f64;
    let share = |row: usize| entries(row).max(1.0).powf(-f64::from(power));
    let all: f64 = (0..table.rows()).map(|row| entries(row) * share(row)).sum();
    let scale = if all > 0.0 { table.entries() as f64 / all } else { 1.0 };
    let of_row = |row: usize| {
        let (columns, weights) = table.row(row);
        let factor = (share(row) * scale).sqrt() as f32;
        columns.iter().zip(weights).map(move |(column, weight)| (row as u32, *column, factor * weight))
    };
    let entries = (0..table.rows()).flat_map(of_row);
    Interactions::from_each(table.rows(), table.width(), entries).expect("entries of a table of this shape")
}

/// The lower triangle of the inverse of a symmetric positive definite matrix.
fn inverse_of(mut matrix: Vec<f32>, items: usize) -> Result<Vec<f32>, TrainError> {
    let need = factor::cholesky_in_place_scratch::<f32>(items, Par::Seq, Spec::default())
        .or(inverse::inverse_scratch::<f32>(items, Par::Seq));
    let mut scratch = MemBuffer::new(need);
    let lower = MatMut::from_column_major_slice_mut(&mut matrix, items, items);
    let stack = MemStack::new(&mut scratch);
    factor::cholesky_in_place(lower, Default::default(), Par::Seq, stack, Spec::default()).map_err(|error| {
        let factor::LltError::NonPositivePivot { index } = error;
        TrainError::NotSolvable { row: index }
    })?;
    let mut inverse = vec![0.0; items * items];
    inverse::inverse(
        MatMut::from_column_major_slice_mut(&mut inverse, items, items),
        MatRef::from_column_major_slice(&matrix, items, items),
        Par::Seq,
        MemStack::new(&mut scratch),
    );
    match (0..items).find(|row| !(inverse[row * (items + 1)] > 0.0 && inverse[row * (items + 1)].is_finite())) {
        Some(row) => Err(TrainError::NotSolvable { row }),
        None => Ok(inverse),
    }
}

/// B from the lower triangle of P, which in rows is the upper one.
fn weights_of(mut inverse: Vec<f32>, items: usize) -> Vec<f32> {
    let scales: Vec<f32> = (0..items).map(|item| -1.0 / inverse[item * (items + 1)]).collect();
    for row in 0..items {
        inverse[row * (items + 1)] = 0.0;
        for column in row + 1..items {
            let value = inverse[row * items + column];
            inverse[row * items + column] = value * scales[column];
            inverse[column * items + row] = value * scales[row];
        }
    }
    inverse
}

impl Scorer for Ease {
    fn items(&self) -> usize {
        self.popular.scores().len()
    }

    fn score(&self, _: Option<u32>, history: History<'_>, scores: &mut [f32]) {
        assert_eq!(scores.len(), self.items(), "one score an item");
        if history.items.is_empty() {
            return self.popular.score(None, history, scores);
        }
        scores.fill(0.0);
        self.add_rows(history.items, history.weights, scores);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(regularisation: f32) -> EaseOptions {
        EaseOptions { regularisation, activity_power: 0.0, threads: 1 }
    }

    fn table(factor: f32) -> Interactions {
        let entries: Vec<_> =
            (0..200_u32).map(|step| ((step * 7) % 31, (step * step + step / 9) % 20, factor)).collect();
        Interactions::from_entries(31, 20, &entries).unwrap()
    }

    #[test]
    fn two_items_are_solved_as_by_hand() {
        // X'X = [[2, 1], [1, 1]], lambda 1: [[3, 1], [1, 2]]; its inverse [[2, -1], [-1, 3]] / 5.
        let table = Interactions::from_entries(2, 2, &[(0, 0, 1.0), (0, 1, 1.0), (1, 0, 1.0)]).unwrap();
        let (weights, _) = Ease::train(&table, &options(1.0)).unwrap().into_parts();
        for (found, need) in weights.iter().zip([0.0, 1.0 / 3.0, 0.5, 0.0]) {
            assert!((found - need).abs() < 1e-6, "{weights:?}");
        }
    }

    #[test]
    fn long_histories_count_less_and_the_sum_stays() {
        // Rows of 4 and 1 entries: divided by 2 and 1, 4 / 2 + 1 = 3 of 5 is left, so that all are multiplied by 5 / 3.
        let entries = [(0, 0, 1.0), (0, 1, 1.0), (0, 2, 1.0), (0, 3, 2.0), (1, 0, 1.0)];
        let table = Interactions::from_entries(3, 4, &entries).unwrap();
        let weighed = by_activity(&table, 0.5);
        let need = [5.0 / 6.0, 5.0 / 6.0, 5.0 / 6.0, 20.0 / 6.0];
        assert!(weighed.row(0).1.iter().zip(need).all(|(found, need)| (found * found - need).abs() < 1e-6_f32));
        assert!((weighed.row(1).1[0].powi(2) - 5.0 / 3.0).abs() < 1e-6);
        assert_eq!(by_activity(&table, 0.0), table);
        assert!(Ease::train(&table, &EaseOptions { activity_power: -1.0, ..options(1.0) }).is_err());
    }

    #[test]
    fn the_inverse_is_one() {
        let items = 20;
        let mut matrix = vec![0.0_f32; items * items];
        let table = table(1.0);
        for item in 0..items {
            add_co_occurrences(&table, &table.transpose(), item, 1.0, &mut matrix[item * items..][..items]);
            matrix[item * (items + 1)] += 5.0;
        }
        let lower = inverse_of(matrix.clone(), items).unwrap();
        let inverse = |row: usize, column: usize| lower[row.min(column) * items + row.max(column)];
        for row in 0..items {
            for column in 0..items {
                let sum: f32 = (0..items).map(|at| matrix[row * items + at] * inverse(at, column)).sum();
                assert!((sum - f32::from(u8::from(row == column))).abs() < 1e-4, "{row} {column}: {sum}");
            }
        }
        assert_eq!(inverse_of(vec![-1.0], 1), Err(TrainError::NotSolvable { row: 0 }));
        assert_eq!(inverse_of(vec![f32::NAN], 1), Err(TrainError::NotSolvable { row: 0 }));
    }

    #[test]
    fn neither_threads_nor_doubled_weights_change_the_model() {
        let one = Ease::train(&table(1.0), &options(10.0)).unwrap();
        assert_eq!(one, Ease::train(&table(1.0), &EaseOptions { threads: 2, ..options(10.0) }).unwrap());
        assert_eq!(one.weights(), Ease::train(&table(2.0), &options(10.0)).unwrap().weights());
    }

    #[test]
    fn a_history_is_the_sum_of_its_rows_and_none_is_popularity() {
        let model = Ease::train(&table(1.0), &options(10.0)).unwrap();
        let mut scores = vec![0.0; 20];
        model.score(None, History { items: &[3, 4], weights: &[1.0, -2.0], times: &[] }, &mut scores);
        let need = model.weights()[3 * 20 + 7] - 2.0 * model.weights()[4 * 20 + 7];
        assert!((scores[7] - need).abs() < 1e-6);
        model.score(None, History::default(), &mut scores);
        assert_eq!(scores, model.popular().scores());
    }

    #[test]
    fn what_cannot_be_trained_is_told() {
        let large = Interactions::from_entries(1, EASE_ITEMS_MAX + 1, &[(0, 0, 1.0)]).unwrap();
        let error = Ease::train(&large, &options(1.0)).unwrap_err();
        assert!(matches!(error, TrainError::TooManyItems { bytes: 4_800_480_012, .. }), "{error:?}");
        let empty = Interactions::from_entries(0, 0, &[]).unwrap();
        assert_eq!(Ease::train(&empty, &options(1.0)), Err(TrainError::Empty { rows: 0, items: 0 }));
        assert!(Ease::train(&table(1.0), &options(f32::NAN)).is_err());
        assert!(Ease::train(&table(1.0), &options(0.0)).is_err());
        let single = Interactions::from_entries(1, 1, &[(0, 0, 3.0)]).unwrap();
        assert_eq!(Ease::train(&single, &options(1.0)).unwrap().weights(), [0.0]);
        assert!(Ease::from_parts(vec![0.0; 3], Popular::from_scores(vec![0.0; 2])).is_err());
    }
}
