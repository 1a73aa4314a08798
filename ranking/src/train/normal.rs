//! One row's normal equations of weighted least squares with implicit feedback, formed and solved.
//!
//! A row asks for `x` with `(alpha0 Y'Y + sum_i w_i y_i y_i' + r I) x = sum_i w_i y_i` (Hu, Koren, Volinsky 2008, in the form
//! of Rendle et al. 2021). `Y'Y` is shared by all rows; the sum costs as many rank-1 updates as the row has entries, which
//! are made together as one symmetric product of the gathered rows: rank-1 updates one by one would pass over the whole
//! matrix in memory for each entry.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::{factor, solve};
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, MatMut, MatRef, Par, Spec};

/// Rows of factors gathered at a time: bounds the memory of a row with very many entries.
const GATHER_ROWS: usize = 512;
/// Share of the mean diagonal that is first added where rounding made a matrix look singular; times 100 at each try.
const JITTER: f32 = 1e-6;
/// Tries at a larger diagonal before giving up.
const JITTER_TRIES: usize = 4;

/// Memory that one thread needs to solve rows.
pub(super) struct Normal {
    factors: usize,
    gathered: Vec<f32>,
    sum: Vec<f32>,
    cholesky: Vec<f32>,
    scratch: MemBuffer,
}

/// What all rows of one side share: the other side's factors and their Gramian times the unobserved weight.
pub(super) struct Fixed<'a> {
    pub(super) factors: &'a [f32],
    pub(super) gramian: Vec<f32>,
}

impl<'a> Fixed<'a> {
    /// The Gramian of `factors`, `width` numbers a row, times `unobserved_weight`.
    pub(super) fn new(factors: &'a [f32], width: usize, unobserved_weight: f32) -> Self {
        let mut gramian = vec![0.0; width * width];
        for rows in factors.chunks(width * GATHER_ROWS) {
            add_gramian(&mut gramian, rows, width, unobserved_weight);
        }
        for row in 0..width {
            for column in row + 1..width {
                gramian[column * width + row] = gramian[row * width + column];
            }
        }
        Self { factors, gramian }
    }
}

/// `lower(matrix) += scale * sum of row' row` over the rows of `rows`.
fn add_gramian(matrix: &mut [f32], rows: &[f32], width: usize, scale: f32) {
    let rows = MatRef::from_column_major_slice(rows, width, rows.len() / width);
    triangular::matmul(
        MatMut::from_column_major_slice_mut(matrix, width, width),
        BlockStructure::TriangularLower,
        Accum::Add,
        rows,
        BlockStructure::Rectangular,
        rows.transpose(),
        BlockStructure::Rectangular,
        scale,
        Par::Seq,
    );
}

impl Normal {
    /// Memory for rows of `factors` numbers.
    pub(super) fn new(factors: usize) -> Self {
        let need = factor::cholesky_in_place_scratch::<f32>(factors, Par::Seq, Spec::default());
        Self {
            factors,
            gathered: Vec::with_capacity(GATHER_ROWS * factors),
            sum: vec![0.0; factors * factors],
            cholesky: vec![0.0; factors * factors],
            scratch: MemBuffer::new(need),
        }
    }

    /// Writes the solution to `row`; entries whose weight is not above 0 are passed over. `false`: there is none.
    pub(super) fn solve(
        &mut self,
        fixed: &Fixed<'_>,
        columns: &[u32],
        weights: &[f32],
        ridge: f32,
        row: &mut [f32],
    ) -> bool {
        self.sum.copy_from_slice(&fixed.gramian);
        row.fill(0.0);
        for (columns, weights) in columns.chunks(GATHER_ROWS).zip(weights.chunks(GATHER_ROWS)) {
            self.gather(fixed.factors, columns, weights, row);
            add_gramian(&mut self.sum, &self.gathered, self.factors, 1.0);
        }
        let trace: f32 = self.sum.iter().step_by(self.factors + 1).sum();
        let mut jitter = 0.0;
        for attempt in 0..=JITTER_TRIES {
            if self.factorise(ridge + jitter) {
                self.substitute(row);
                return row.iter().all(|value| value.is_finite());
            }
            jitter = (trace / self.factors as f32) * JITTER * 100_f32.powi(attempt as i32);
        }
        false
    }

    /// Rows of the other side times the square root of their weight, and the right-hand side.
    fn gather(&mut self, factors: &[f32], columns: &[u32], weights: &[f32], right: &mut [f32]) {
        self.gathered.clear();
        for (&column, &weight) in columns.iter().zip(weights) {
            if weight > 0.0 {
                let other = &factors[column as usize * self.factors..][..self.factors];
                let root = weight.sqrt();
                self.gathered.extend(other.iter().map(|value| value * root));
                right.iter_mut().zip(other).for_each(|(sum, value)| *sum += weight * value);
            }
        }
    }

    /// The Cholesky factor of the sum with `ridge` added to its diagonal; `false` where a pivot is not above 0.
    fn factorise(&mut self, ridge: f32) -> bool {
        self.cholesky.copy_from_slice(&self.sum);
        self.cholesky.iter_mut().step_by(self.factors + 1).for_each(|value| *value += ridge);
        let matrix = MatMut::from_column_major_slice_mut(&mut self.cholesky, self.factors, self.factors);
        let stack = MemStack::new(&mut self.scratch);
        factor::cholesky_in_place(matrix, Default::default(), Par::Seq, stack, Spec::default()).is_ok()
    }

    /// Solves with the Cholesky factor at hand.
    fn substitute(&mut self, right: &mut [f32]) {
        let lower = MatRef::from_column_major_slice(&self.cholesky, self.factors, self.factors);
        let right = MatMut::from_column_major_slice_mut(right, self.factors, 1);
        solve::solve_in_place(lower, right, Par::Seq, MemStack::new(&mut self.scratch));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_two_factors_is_solved_as_by_hand() {
        // Y = [[1, 0], [1, 1]]; alpha0 = 1, w = 2 for item 1 alone, ridge 1:
        // [[2, 1], [1, 1]] + 2 [[1, 1], [1, 1]] + I = [[5, 3], [3, 4]]; right side [2, 2]; solution [2/11, 4/11].
        let factors = [1.0, 0.0, 1.0, 1.0];
        let fixed = Fixed::new(&factors, 2, 1.0);
        let mut row = [9.0; 2];
        assert!(Normal::new(2).solve(&fixed, &[0, 1], &[-1.0, 2.0], 1.0, &mut row));
        assert!((row[0] - 2.0 / 11.0).abs() < 1e-6 && (row[1] - 4.0 / 11.0).abs() < 1e-6, "{row:?}");
    }

    #[test]
    fn a_long_row_is_the_sum_of_its_parts() {
        let factors: Vec<f32> = (0..3 * 1_300).map(|place| ((place * 37 % 101) as f32 - 50.0) / 50.0).collect();
        let columns: Vec<u32> = (0..1_300).collect();
        let fixed = Fixed::new(&factors, 3, 0.0);
        let mut row = [0.0; 3];
        assert!(Normal::new(3).solve(&fixed, &columns, &vec![1.0; 1_300], 0.5, &mut row));
        for place in 0..3 {
            let left: f64 = factors
                .chunks(3)
                .map(|other| {
                    let score: f64 = other.iter().zip(&row).map(|(left, right)| f64::from(left * right)).sum();
                    f64::from(other[place]) * (score - 1.0)
                })
                .sum();
            assert!((left + 0.5 * f64::from(row[place])).abs() < 1e-2, "{left}");
        }
    }

    #[test]
    fn a_singular_row_is_solved_and_nan_is_told() {
        let factors = [1.0, 1.0];
        let mut row = [0.0; 2];
        assert!(Normal::new(2).solve(&Fixed::new(&factors, 2, 0.0), &[0], &[1.0], 0.0, &mut row));
        assert!((row[0] + row[1] - 1.0).abs() < 1e-2, "{row:?}");
        let factors = [f32::NAN, 1.0];
        assert!(!Normal::new(2).solve(&Fixed::new(&factors, 2, 1.0), &[0], &[1.0], 1.0, &mut row));
    }
}
