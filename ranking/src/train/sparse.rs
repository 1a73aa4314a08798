//! Item-to-item values of which most are 0, and the sums over users that they are made from.

use serde::{Deserialize, Serialize};

use super::TrainError;
use super::error::length;
use crate::data::Interactions;

/// A sparse matrix of items by items: what one event on the item of a row adds to the scores of the columns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SparseParts {
    /// Where each row begins, and the end of the last one: one number more than there are items.
    pub offsets: Vec<u64>,
    /// Columns, rising within a row.
    pub columns: Vec<u32>,
    /// Values.
    pub values: Vec<f32>,
}

impl SparseParts {
    /// Rows of (column, value) joined.
    pub(super) fn from_rows(rows: &[Vec<(u32, f32)>]) -> Self {
        let mut parts = Self { offsets: vec![0], ..Self::default() };
        for row in rows {
            parts.columns.extend(row.iter().map(|(column, _)| column));
            parts.values.extend(row.iter().map(|(_, value)| value));
            parts.offsets.push(parts.columns.len() as u64);
        }
        parts
    }

    /// Rows there are.
    pub fn rows(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Refuses parts that contradict each other or `items`.
    ///
    /// # Errors
    /// [`TrainError::Parts`] says which part.
    pub fn check(&self, items: usize) -> Result<(), TrainError> {
        self.check_shape(items, items)
    }

    /// As [`check`](Self::check), where rows are something else than items.
    pub(super) fn check_shape(&self, rows: usize, items: usize) -> Result<(), TrainError> {
        length("offsets", self.offsets.len(), rows + 1)?;
        length("values", self.values.len(), self.columns.len())?;
        let rising = self.offsets.first() == Some(&0) && self.offsets.is_sorted();
        length("columns", self.columns.len(), if rising { self.offsets[rows] as usize } else { 0 })?;
        let known = self.columns.iter().filter(|column| (**column as usize) < items).count();
        length("columns of known items", known, self.columns.len())
    }

    /// The columns and values of a row.
    ///
    /// # Panics
    /// If there is no such row, or the parts were not [checked](Self::check).
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let range = self.offsets[row] as usize..self.offsets[row + 1] as usize;
        (&self.columns[range.clone()], &self.values[range])
    }

    /// `scores += weight * row`.
    pub(super) fn add_row(&self, row: usize, weight: f32, scores: &mut [f32]) {
        let (columns, values) = self.row(row);
        for (&column, value) in columns.iter().zip(values) {
            scores[column as usize] += weight * value;
        }
    }

    /// Rows become columns.
    pub(super) fn transpose(&self) -> Self {
        let items = self.offsets.len() - 1;
        let mut rows = vec![Vec::new(); items];
        for row in 0..items {
            let (columns, values) = self.row(row);
            for (&column, &value) in columns.iter().zip(values) {
                rows[column as usize].push((row as u32, value));
            }
        }
        Self::from_rows(&rows)
    }
}

/// `sums[j] += scale² * sum over users of w_u,item w_u,j`: one row of X'X, or of Y'X where `by_item` is the transpose of
/// another table of the same users.
pub(super) fn add_co_occurrences(
    table: &Interactions,
    by_item: &Interactions,
    item: usize,
    scale: f32,
    sums: &mut [f32],
) {
    let (users, weights) = by_item.row(item);
    for (&user, &weight) in users.iter().zip(weights) {
        let (others, other_weights) = table.row(user as usize);
        for (&other, &other_weight) in others.iter().zip(other_weights) {
            sums[other as usize] += (scale * weight) * (scale * other_weight);
        }
    }
}

/// The largest `count` of `entries` (the lower column wins a tie), columns rising.
pub(super) fn keep_largest(entries: &mut Vec<(u32, f32)>, count: usize) {
    if count == 0 {
        entries.clear();
    } else if entries.len() > count {
        entries.select_nth_unstable_by(count - 1, |left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
        entries.truncate(count);
    }
    entries.sort_unstable_by_key(|(column, _)| *column);
}

/// What weights are multiplied with so that the mean liked one is 1, and options mean the same whatever events are worth;
/// `None` where nothing is liked.
pub(super) fn unit_scale(table: &Interactions) -> Option<f32> {
    let (mut sum, mut count) = (0.0_f64, 0_usize);
    for row in 0..table.rows() {
        for weight in table.row(row).1.iter().filter(|weight| **weight > 0.0) {
            sum += f64::from(*weight);
            count += 1;
        }
    }
    (count > 0).then(|| (count as f64 / sum) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_kept_in_the_order_of_columns() {
        let mut entries = vec![(4, 1.0), (2, 3.0), (9, 1.0), (0, 2.0)];
        keep_largest(&mut entries, 3);
        assert_eq!(entries, [(0, 2.0), (2, 3.0), (4, 1.0)]);
        keep_largest(&mut entries, 0);
        assert_eq!(entries, []);
    }

    #[test]
    fn rows_are_added_and_transposed() {
        let parts = SparseParts::from_rows(&[vec![(1, 2.0)], vec![], vec![(0, 1.0), (1, 3.0)]]);
        let mut scores = [0.0; 3];
        parts.add_row(2, 2.0, &mut scores);
        assert_eq!(scores, [2.0, 6.0, 0.0]);
        assert_eq!(parts.transpose().row(1), (&[0_u32, 2][..], &[2.0_f32, 3.0][..]));
        assert_eq!(parts.transpose().transpose(), parts);
    }

    #[test]
    fn parts_that_contradict_each_other_are_refused() {
        let parts = SparseParts::from_rows(&[vec![(1, 2.0)], vec![]]);
        assert_eq!(parts.check(2), Ok(()));
        assert!(parts.check(3).is_err());
        assert!(SparseParts { columns: vec![2], ..parts.clone() }.check(2).is_err());
        assert!(SparseParts { values: vec![], ..parts.clone() }.check(2).is_err());
        assert!(SparseParts { offsets: vec![0, 2, 1], ..parts }.check(2).is_err());
        assert!(SparseParts::default().check(0).is_err());
    }

    #[test]
    fn the_mean_liked_weight_becomes_one() {
        let table = Interactions::from_entries(2, 2, &[(0, 0, 2.0), (1, 0, 6.0), (1, 1, -9.0)]).unwrap();
        assert_eq!(unit_scale(&table), Some(0.25));
        assert_eq!(unit_scale(&Interactions::from_entries(1, 1, &[(0, 0, -1.0)]).unwrap()), None);
    }
}
