//! What every kernel test needs: lengths, random numbers, the tiers to run, and one error bound.

use attune_kernels::Isa;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Lengths around the edges that kernels have: one, a register of 8, a register or panel of 16, tiles of 12 rows and 32 or
/// 48 columns, a cache line of bytes, a block of 384; and some that divide by nothing.
pub const PARITY_LENS: [usize; 19] = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 47, 49, 63, 65, 127, 383, 385, 769];

/// A generator with a fresh seed, which is printed so that a failure can be run again.
pub fn rng() -> ChaCha8Rng {
    let seed = rand::random();
    eprintln!("seed {seed}");
    ChaCha8Rng::seed_from_u64(seed)
}

/// Uniform values in `-scale..scale`.
pub fn uniform(count: usize, scale: f32, rng: &mut impl Rng) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-scale..scale)).collect()
}

/// The bit patterns, for comparisons that must not forgive a rounding.
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Runs `test` on every tier of this machine, and prints those it cannot run as skipped.
pub fn on_every_tier(mut test: impl FnMut(Isa)) {
    for isa in Isa::ALL {
        if isa.is_supported() {
            test(isa);
        } else {
            eprintln!("skipped: this machine has no {isa}");
        }
    }
}

/// Runs `compute` on every vector tier and holds the results to the same bits: lanes are added in one order on all of them.
pub fn same_bits_on_vector_tiers(compute: impl Fn(Isa) -> Vec<f32>) {
    let mut expected: Option<Vec<u32>> = None;
    on_every_tier(|isa| {
        if isa != Isa::Scalar {
            let got = bits(&compute(isa));
            assert_eq!(expected.get_or_insert_with(|| got.clone()), &got, "{isa}");
        }
    });
}

/// How far a sum of `terms` f32 products may lie from the exact one: each addition and each product rounds once, so the
/// error is at most `(terms + 1) u / (1 - (terms + 1) u)` of the sum of magnitudes, u = 2^-24 (Higham, Accuracy and
/// Stability of Numerical Algorithms, section 3.1), in whatever order.
pub fn sum_bound(terms: usize, magnitudes: f64) -> f64 {
    let nu = (terms + 1) as f64 * f64::powi(2.0, -24);
    nu / (1.0 - nu) * magnitudes + f64::from(f32::MIN_POSITIVE)
}

/// Panics unless `got` is within `bound` of `expected`. NaN is within no bound.
#[track_caller]
pub fn assert_close(got: f32, expected: f64, bound: f64, context: impl std::fmt::Display) {
    let error = (f64::from(got) - expected).abs();
    assert!(error <= bound, "{context}: {got} is {error:e} from {expected}, more than {bound:e}");
}

/// The error function to about 1e-13: its Taylor series near zero, the continued fraction of its complement beyond.
pub fn erf(x: f64) -> f64 {
    let t = x.abs();
    let value = if t < 2.5 {
        let (mut term, mut sum) = (t, t);
        for n in 1..60 {
            term *= -t * t / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    } else {
        let fraction = (1..=80).rev().fold(t, |fraction, n| t + f64::from(n) / 2.0 / fraction);
        1.0 - (-t * t).exp() / (fraction * std::f64::consts::PI.sqrt())
    };
    value.copysign(x)
}

/// The exact GELU in f64.
pub fn gelu(x: f64) -> f64 {
    x / 2.0 * (1.0 + erf(x / std::f64::consts::SQRT_2))
}

/// The unit of rounding of f32: no operation is off by more than this part of its result.
pub const UNIT: f64 = f64::EPSILON * 536_870_912.0 / 2.0;

/// Row offsets of texts of these lengths.
pub fn offsets(lengths: &[usize]) -> Vec<usize> {
    std::iter::once(0)
        .chain(lengths.iter().scan(0, |end, length| {
            *end += length;
            Some(*end)
        }))
        .collect()
}
