//! The same normal equations, solved nearly: a few steps of conjugate gradients from where a row stands.
//!
//! A step costs entries × factors + factors², where the exact solution costs entries × factors² + factors³ / 3. Rows change
//! little from one epoch to the next, so that a few steps are enough (Takács, Pilászy, Tikk 2011), and each of them lowers
//! the loss.

use pulp::{Arch, Simd, WithSimd};

use super::normal::Fixed;

/// Numbers added side by side, for vector instructions.
const LANES: usize = 16;

/// Memory that one thread needs to solve rows.
pub(super) struct Conjugate {
    arch: Arch,
    residual: Vec<f32>,
    direction: Vec<f32>,
    product: Vec<f32>,
}

/// One row's equations: `(gramian + sum_i w_i y_i y_i' + ridge I) x = sum_i w_i y_i`, entries with `w_i > 0` alone.
#[derive(Clone, Copy)]
pub(super) struct Equations<'a> {
    pub(super) fixed: &'a Fixed<'a>,
    pub(super) columns: &'a [u32],
    pub(super) weights: &'a [f32],
    pub(super) ridge: f32,
}

impl Conjugate {
    /// Memory for rows of `factors` numbers.
    pub(super) fn new(factors: usize) -> Self {
        let zeros = || vec![0.0; factors];
        Self { arch: Arch::new(), residual: zeros(), direction: zeros(), product: zeros() }
    }

    /// Moves `row` towards the solution. `false`: numbers overflowed.
    pub(super) fn improve(&mut self, equations: Equations<'_>, steps: usize, row: &mut [f32]) -> bool {
        let arch = self.arch;
        arch.dispatch(Improve { memory: self, equations, steps, row: &mut *row });
        row.iter().all(|value| value.is_finite())
    }

    #[inline(always)]
    fn steps(&mut self, equations: Equations<'_>, steps: usize, row: &mut [f32]) {
        equations.apply(row, -1.0, 1.0, &mut self.residual);
        self.direction.copy_from_slice(&self.residual);
        let mut square = dot(&self.residual, &self.residual);
        for _ in 0..steps {
            if square <= f32::MIN_POSITIVE {
                return;
            }
            equations.apply(&self.direction, 1.0, 0.0, &mut self.product);
            let length = square / dot(&self.direction, &self.product);
            add(length, &self.direction, row);
            add(-length, &self.product, &mut self.residual);
            let next = dot(&self.residual, &self.residual);
            let keep = next / square;
            for (direction, residual) in self.direction.iter_mut().zip(&self.residual) {
                *direction = residual + keep * *direction;
            }
            square = next;
        }
    }
}

/// The work in a form that is compiled once for each instruction set, with all that is inlined into it. A closure would
/// do, were it sure to be inlined itself.
struct Improve<'a> {
    memory: &'a mut Conjugate,
    equations: Equations<'a>,
    steps: usize,
    row: &'a mut [f32],
}

impl WithSimd for Improve<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.memory.steps(self.equations, self.steps, self.row);
    }
}

impl Equations<'_> {
    /// `out = sign * matrix * at + right_hand * right-hand side`.
    #[inline(always)]
    fn apply(self, at: &[f32], sign: f32, right_hand: f32, out: &mut [f32]) {
        out.fill(0.0);
        add(sign * self.ridge, at, out);
        for (value, gramian) in at.iter().zip(self.fixed.gramian.chunks_exact(at.len())) {
            add(sign * value, gramian, out);
        }
        for (&column, &weight) in self.columns.iter().zip(self.weights) {
            if weight > 0.0 {
                let other = &self.fixed.factors[column as usize * at.len()..][..at.len()];
                add(weight * (right_hand + sign * dot(other, at)), other, out);
            }
        }
    }
}

/// `to += scale * from`.
#[inline(always)]
fn add(scale: f32, from: &[f32], to: &mut [f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += scale * from;
    }
}

/// The inner product.
#[inline(always)]
pub(super) fn dot(left: &[f32], right: &[f32]) -> f32 {
    let (left_blocks, left_rest) = left.as_chunks::<LANES>();
    let (right_blocks, right_rest) = right.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (left, right) in left_blocks.iter().zip(right_blocks) {
        for lane in 0..LANES {
            sums[lane] += left[lane] * right[lane];
        }
    }
    let rest: f32 = left_rest.iter().zip(right_rest).map(|(left, right)| left * right).sum();
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0] + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::normal::Normal;

    #[test]
    fn as_many_steps_as_factors_give_the_exact_solution() {
        for factors in [1, 5, 16, 19] {
            let others: Vec<f32> = (0..factors * 40).map(|place| ((place * 37 % 101) as f32 - 50.0) / 50.0).collect();
            let fixed = Fixed::new(&others, factors, 0.3);
            let (columns, weights) = ([3_u32, 7, 8, 30], [1.0, 2.0, -5.0, 0.5]);
            let (mut exact, mut near) = (vec![0.0; factors], vec![0.1; factors]);
            assert!(Normal::new(factors).solve(&fixed, &columns, &weights, 2.0, &mut exact));
            let equations = Equations { fixed: &fixed, columns: &columns, weights: &weights, ridge: 2.0 };
            assert!(Conjugate::new(factors).improve(equations, 2 * factors, &mut near));
            assert!(exact.iter().zip(&near).all(|(exact, near)| (exact - near).abs() < 1e-4), "{exact:?} {near:?}");
        }
    }

    #[test]
    fn overflow_is_told_and_a_row_of_nothing_becomes_nothing() {
        let others = [f32::NAN, 1.0];
        let fixed = Fixed::new(&others, 2, 1.0);
        let equations = Equations { fixed: &fixed, columns: &[0], weights: &[1.0], ridge: 1.0 };
        assert!(!Conjugate::new(2).improve(equations, 2, &mut [0.0; 2]));
        let fixed = Fixed::new(&[0.0, 0.0], 2, 1.0);
        let equations = Equations { fixed: &fixed, columns: &[], weights: &[], ridge: 1.0 };
        let mut row = [3.0, -2.0];
        assert!(Conjugate::new(2).improve(equations, 3, &mut row));
        assert_eq!(row, [0.0; 2]);
    }
}
