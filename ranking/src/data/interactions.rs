//! Users by items with one weight each: the table that models are trained on.

use thiserror::Error;

/// A sparse matrix in compressed rows; the columns of a row rise.
#[derive(Clone, Debug, PartialEq)]
pub struct Interactions {
    offsets: Vec<usize>,
    columns: Vec<u32>,
    weights: Vec<f32>,
    width: usize,
}

/// Why a table cannot be made.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum InteractionsError {
    /// A row or column beyond the stated shape.
    #[error("entry {entry} is at row {row}, column {column}: the table has {rows} rows and {width} columns")]
    OutOfShape {
        /// Number of the entry, from 0.
        entry: usize,
        /// Its row.
        row: u32,
        /// Its column.
        column: u32,
        /// Rows of the table.
        rows: usize,
        /// Columns of the table.
        width: usize,
    },
    /// A weight that is not a number, or infinite.
    #[error("the weight of entry {entry} is {weight}: a finite number is needed")]
    NotFinite {
        /// Number of the entry, from 0.
        entry: usize,
        /// The weight.
        weight: f32,
    },
}

impl Interactions {
    /// A table of `rows` by `width` from entries (row, column, weight) in any order; entries at the same place add up.
    ///
    /// # Errors
    /// [`InteractionsError`] names the first entry that does not fit.
    pub fn from_entries(rows: usize, width: usize, entries: &[(u32, u32, f32)]) -> Result<Self, InteractionsError> {
        Self::from_each(rows, width, entries.iter().copied())
    }

    /// The same of entries that are not kept: they are asked for twice, and have to be the same both times. A list of them
    /// would be larger than the table.
    ///
    /// # Errors
    /// As [`from_entries`](Self::from_entries).
    pub fn from_each(
        rows: usize,
        width: usize,
        entries: impl Iterator<Item = (u32, u32, f32)> + Clone,
    ) -> Result<Self, InteractionsError> {
        let mut offsets = vec![0_usize; rows + 1];
        for (entry, (row, column, weight)) in entries.clone().enumerate() {
            if row as usize >= rows || column as usize >= width {
                return Err(InteractionsError::OutOfShape { entry, row, column, rows, width });
            }
            if !weight.is_finite() {
                return Err(InteractionsError::NotFinite { entry, weight });
            }
            offsets[row as usize + 1] += 1;
        }
        for row in 0..rows {
            offsets[row + 1] += offsets[row];
        }
        let (mut places, count) = (offsets.clone(), offsets[rows]);
        let (mut columns, mut weights) = (vec![0_u32; count], vec![0.0_f32; count]);
        for (row, column, weight) in entries {
            let place = &mut places[row as usize];
            (columns[*place], weights[*place]) = (column, weight);
            *place += 1;
        }
        let mut table = Self { offsets, columns, weights, width };
        table.add_up();
        Ok(table)
    }

    /// Has the columns of each row rise, and makes one entry of those at the same place; rows move up behind each other.
    fn add_up(&mut self) {
        let (mut sorted, mut first, mut kept) = (Vec::new(), 0, 0);
        for row in 0..self.rows() {
            let last = self.offsets[row + 1];
            let entries = self.columns[first..last].iter().copied().zip(self.weights[first..last].iter().copied());
            sorted.clear();
            sorted.extend(entries);
            sorted.sort_by_key(|(column, _): &(u32, f32)| *column);
            for same in sorted.chunk_by(|left, right| left.0 == right.0) {
                self.columns[kept] = same[0].0;
                self.weights[kept] = same.iter().map(|(_, weight)| weight).sum();
                kept += 1;
            }
            self.offsets[row + 1] = kept;
            first = last;
        }
        self.columns.truncate(kept);
        self.weights.truncate(kept);
        self.columns.shrink_to_fit();
        self.weights.shrink_to_fit();
    }

    /// Rows: users, unless transposed.
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Columns: items, unless transposed.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Entries in all.
    pub fn entries(&self) -> usize {
        self.columns.len()
    }

    /// The columns and weights of a row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let range = self.offsets[row]..self.offsets[row + 1];
        (&self.columns[range.clone()], &self.weights[range])
    }

    /// The same with all weights multiplied by `factor`.
    pub fn scaled(&self, factor: f32) -> Self {
        let weights = self.weights.iter().map(|weight| weight * factor).collect();
        Self { offsets: self.offsets.clone(), columns: self.columns.clone(), weights, width: self.width }
    }

    /// Items by users.
    pub fn transpose(&self) -> Self {
        let mut offsets = vec![0_usize; self.width + 1];
        for &column in &self.columns {
            offsets[column as usize + 1] += 1;
        }
        for column in 0..self.width {
            offsets[column + 1] += offsets[column];
        }
        let mut places = offsets.clone();
        let mut columns = vec![0_u32; self.entries()];
        let mut weights = vec![0.0_f32; self.entries()];
        for row in 0..self.rows() {
            let (row_columns, row_weights) = self.row(row);
            for (&column, &weight) in row_columns.iter().zip(row_weights) {
                let place = &mut places[column as usize];
                columns[*place] = row as u32;
                weights[*place] = weight;
                *place += 1;
            }
        }
        Self { offsets, columns, weights, width: self.rows() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_at_one_place_add_up_and_columns_rise() {
        let table = Interactions::from_entries(3, 4, &[(2, 3, 1.0), (0, 2, 1.0), (2, 0, 5.0), (2, 3, 0.5)]).unwrap();
        assert_eq!((table.rows(), table.width(), table.entries()), (3, 4, 3));
        assert_eq!(table.row(0), (&[2_u32][..], &[1.0_f32][..]));
        assert_eq!(table.row(1), (&[][..], &[][..]));
        assert_eq!(table.row(2), (&[0_u32, 3][..], &[5.0_f32, 1.5][..]));
    }

    #[test]
    fn rows_move_up_behind_those_that_became_shorter() {
        let entries = [(0, 1, 1.0), (1, 3, 1.0), (0, 1, 2.0), (1, 0, 1.0), (3, 2, 4.0), (1, 0, 0.5)];
        let table = Interactions::from_each(4, 4, entries.into_iter()).unwrap();
        assert_eq!(
            (table.row(0), table.row(1)),
            ((&[1_u32][..], &[3.0_f32][..]), (&[0_u32, 3][..], &[1.5_f32, 1.0][..]))
        );
        assert_eq!((table.row(2), table.row(3)), ((&[][..], &[][..]), (&[2_u32][..], &[4.0_f32][..])));
        assert_eq!((table.entries(), Interactions::from_entries(4, 4, &entries)), (4, Ok(table)));
    }

    #[test]
    fn a_table_transposed_twice_is_the_table() {
        let entries = [(0, 1, 1.0), (1, 0, 2.0), (1, 2, 3.0), (3, 1, 4.0)];
        let table = Interactions::from_entries(4, 3, &entries).unwrap();
        assert_eq!(table.transpose().row(1), (&[0_u32, 3][..], &[1.0_f32, 4.0][..]));
        assert_eq!(table.transpose().transpose(), table);
        assert_eq!(table.scaled(2.0).row(1), (&[0_u32, 2][..], &[4.0_f32, 6.0][..]));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let beyond = Interactions::from_entries(1, 1, &[(0, 0, 1.0), (0, 1, 1.0)]).unwrap_err();
        assert_eq!(beyond, InteractionsError::OutOfShape { entry: 1, row: 0, column: 1, rows: 1, width: 1 });
        let infinite = Interactions::from_entries(1, 1, &[(0, 0, f32::INFINITY)]).unwrap_err();
        assert!(matches!(infinite, InteractionsError::NotFinite { entry: 0, .. }));
        assert_eq!(Interactions::from_entries(0, 0, &[]).unwrap().entries(), 0);
    }
}
