//! How far a screened score may be from the exact one: the proof that no item of an answer is lost.
//!
//! Let `q` be a query, `x` an item, `q'` and `x'` what the screen makes of them (bf16; or levels: whole numbers in -127..=127,
//! times what one is worth, which each item and each query has of its own), `t = q - q'` and `r = x - x'`. All norms are
//! Euclidean. Then
//!
//! ```text
//! q.x - q'.x' = t.x' + q.r,    so    |q.x - q'.x'| <= |t| |x'| + |q| |r|
//! ```
//!
//! by Cauchy and Schwarz. The exact score is a sum of `n` products in f32, off by no more than `g |q| |x|`, `g = (n + 16) u`
//! with `u = 2^-23` (as in `attune-ranking`'s bounds). The screened one is a sum on tensor cores: products of bf16 are exact
//! in f32, and what is cut when some of them and a sum are brought to one exponent is a unit of 2^-23 of the largest term for
//! each of them and one for the result, where no term is above `|q'| |x'|`. That is 18 units for 16 products, or four times
//! 6 where a tensor core takes them in fours: 1.5 n at most. [`Bounds::sum_error`] is `(n + 32) 2^-22`, which is 2 n + 64
//! units, and leaves room at any `n` for the few operations with thresholds. Sums of levels stay below 2^24 up to
//! [`TOPK_WIDTH_MAX`] values, so that f32 has each of them; the two products that turn them into a score cost less than
//! that. Where a product underflows it is off by less than the smallest normal number. Values below the normal numbers are
//! no part of `q'` and `x'`, so nothing depends on how a tensor core treats those. So both scores differ by no more than
//!
//! ```text
//! e = |t| W + |q| (R + g X) + |q'| W (n + 32) 2^-22 + underflow
//! ```
//!
//! where `W`, `R` and `X` are the largest `|x'|`, `|r|` and `|x|`, computed from what is stored and rounded up.

use std::thread;

use super::plan::TOPK_WIDTH_MAX;

/// The largest level.
const LEVEL_MAX: i32 = 127;
/// A sum of products of levels is a whole number that f32 has.
const _: () = assert!(TOPK_WIDTH_MAX as i64 * (LEVEL_MAX * LEVEL_MAX) as i64 <= 1 << f32::MANTISSA_DIGITS);

/// What is known of all items of a table in one of its forms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bounds {
    /// `W`.
    pub items_max: f32,
    /// `R + g X`.
    pub unseen_max: f32,
    /// Of a sum on tensor cores, as a part of both norms.
    pub sum_error: f32,
    /// What underflow may add.
    pub underflow: f32,
}

/// The largest norms so far.
#[derive(Clone, Copy, Debug, Default)]
struct Norms {
    rounded: f64,
    left: f64,
    whole: f64,
}

impl Norms {
    fn max(self, other: Self) -> Self {
        Self {
            rounded: self.rounded.max(other.rounded),
            left: self.left.max(other.left),
            whole: self.whole.max(other.whole),
        }
    }

    fn bounds(self, width: usize) -> Bounds {
        let rounding = (width + 16) as f64 * f64::from(f32::EPSILON);
        Bounds {
            items_max: (self.rounded as f32).next_up(),
            unseen_max: ((self.left + rounding * self.whole) as f32).next_up(),
            sum_error: (width + 32) as f32 / (1 << 22) as f32,
            underflow: (2 * width + 2) as f32 * f32::MIN_POSITIVE,
        }
    }
}

/// A value as the screen sees it: bf16, and 0 below the normal numbers.
pub(super) fn rounded(value: f32) -> half::bf16 {
    let rounded = half::bf16::from_f32(value);
    if rounded.to_f32().abs() < f32::MIN_POSITIVE { half::bf16::ZERO } else { rounded }
}

/// A form that items are screened in.
pub(super) trait Form: Copy + Default + Send {
    /// Writes what the screen sees of a row (places beyond the row's end stay 0), and gives what one step is worth.
    fn write(row: &[f32], to: &mut [Self]) -> f32;
    /// What a value of a row written with such steps stands for.
    fn value(self, step: f32) -> f64;
}

/// bf16.
impl Form for u16 {
    fn write(row: &[f32], to: &mut [Self]) -> f32 {
        row.iter().zip(to).for_each(|(&value, to)| *to = rounded(value).to_bits());
        1.0
    }

    fn value(self, _: f32) -> f64 {
        half::bf16::from_bits(self).to_f64()
    }
}

/// Levels.
impl Form for i8 {
    fn write(row: &[f32], to: &mut [Self]) -> f32 {
        let largest = row.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        // Below that a step would be none of the normal numbers: such a row has no levels.
        if largest < 1e-30 {
            return 0.0;
        }
        let most = LEVEL_MAX as f32;
        let step = largest / most;
        row.iter().zip(to).for_each(|(&value, to)| *to = (value / step).round_ties_even().clamp(-most, most) as i8);
        step
    }

    fn value(self, step: f32) -> f64 {
        f64::from(self) * f64::from(step)
    }
}

/// Items as the screen sees them.
pub(super) struct Rounded<F> {
    /// By item, rows filled up with zeros.
    pub values: Vec<F>,
    /// By item, what a step is worth.
    pub steps: Vec<f32>,
    pub bounds: Bounds,
}

/// Rows of `width` values in a form, filled up with zeros to `padded`. `row(i)` is the i-th of `count`.
pub(super) fn round_rows<'a, F: Form>(
    count: usize,
    width: usize,
    padded: usize,
    row: impl Fn(usize) -> &'a [f32] + Sync,
) -> Rounded<F> {
    let (mut values, mut steps) = (vec![F::default(); count * padded], vec![0.0; count]);
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get()).min(count.div_ceil(4096)).max(1);
    let share = count.div_ceil(threads).max(1);
    let norms = thread::scope(|scope| {
        let row = &row;
        let part = |(number, (rows, steps)): (usize, (&mut [F], &mut [f32]))| {
            let mut norms = Norms::default();
            for (i, (to, step)) in rows.chunks_exact_mut(padded).zip(steps).enumerate() {
                let row = row(number * share + i);
                *step = F::write(row, to);
                norms = norms.max(norms_of(row, to, *step));
            }
            norms
        };
        let parts = values.chunks_mut(share * padded).zip(steps.chunks_mut(share)).enumerate();
        let handles: Vec<_> = parts.map(|both| scope.spawn(move || part(both))).collect();
        let joined = handles.into_iter().map(|handle| handle.join().expect("rounding does not panic"));
        joined.fold(Norms::default(), Norms::max)
    });
    Rounded { values, steps, bounds: norms.bounds(width) }
}

fn norms_of<F: Form>(row: &[f32], written: &[F], step: f32) -> Norms {
    // Four sums each, which one instruction adds to.
    let (mut whole, mut kept, mut left) = ([0.0_f64; 4], [0.0_f64; 4], [0.0_f64; 4]);
    for (i, (&value, written)) in row.iter().zip(written).enumerate() {
        let (value, seen) = (f64::from(value), written.value(step));
        whole[i % 4] += value * value;
        kept[i % 4] += seen * seen;
        left[i % 4] += (value - seen) * (value - seen);
    }
    let norm = |sums: [f64; 4]| (sums.iter().sum::<f64>()).sqrt() * (1.0 + 1e-9);
    Norms { rounded: norm(kept), left: norm(left), whole: norm(whole) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_of_the_worst_row() {
        let rows = [[3.0_f32, 4.0], [1.0 + 1.0 / 256.0, 0.0], [1e-39, 0.0]];
        let Rounded { values, bounds, .. } = round_rows::<u16>(3, 2, 64, |i| &rows[i]);
        assert_eq!(values[..3], [half::bf16::from_f32(3.0).to_bits(), half::bf16::from_f32(4.0).to_bits(), 0]);
        assert_eq!(values[64..66], [half::bf16::from_f32(1.0).to_bits(), 0], "a tie goes to the even one");
        assert_eq!(values[128], 0, "below the normal numbers");
        assert!((5.0..5.000_01).contains(&bounds.items_max));
        let rounding = 18.0 * f32::EPSILON * 5.0;
        assert!((1.0 / 256.0..1.0 / 256.0 + 1.01 * rounding).contains(&bounds.unseen_max), "{bounds:?}");
    }

    #[test]
    fn levels_are_of_each_rows_own_step() {
        let rows = [[127.0_f32, -63.4], [0.0127, 0.0001], [0.0, 0.0], [1e-35, -1e-35]];
        let Rounded { values, steps, bounds } = round_rows::<i8>(4, 2, 64, |i| &rows[i]);
        assert_eq!(values[..3], [127, -63, 0]);
        assert_eq!(values[64..66], [127, 1]);
        assert_eq!((&values[128..130], &values[192..194]), (&[0, 0][..], &[0, 0][..]));
        assert_eq!((steps[0], steps[2], steps[3]), (1.0, 0.0, 0.0));
        let rounding = 18.0 * f32::EPSILON * 142.0;
        assert!((0.399..0.401 + rounding).contains(&bounds.unseen_max), "{bounds:?}");
    }

    #[test]
    fn many_rows_on_several_threads_are_as_one() {
        let all: Vec<f32> = (0..20_000 * 3).map(|i| (i as f32 * 0.37).sin()).collect();
        let row = |i: usize| &all[i * 3..][..3];
        let Rounded { values, steps, bounds } = round_rows::<i8>(20_000, 3, 64, row);
        let mut worst = Norms::default();
        for (i, (expected, step)) in values.chunks_exact(64).zip(steps).enumerate() {
            let mut one = [0; 64];
            assert_eq!((i8::write(row(i), &mut one), &one[..]), (step, expected));
            worst = worst.max(norms_of(row(i), &one, step));
        }
        assert_eq!(worst.bounds(3), bounds);
    }
}
