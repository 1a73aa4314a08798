//! Layer normalisation, softmax and GELU, in place, row by row.
//!
//! Together they touch each activation a few times, where the products touch it hundreds of times: they stay below a few
//! percent as long as every step is on lanes and a row stays in the first-level cache between its passes.

use super::lanes::Lanes;
use super::lines::LANES;
use super::tier::{Kernel, Tier};
use super::{Isa, math, scalar};

/// Independent sums of one row, to hide the latency of the additions.
const SUMS: usize = 4;

/// `(x - mean) / sqrt(variance + epsilon) * gamma + beta` for each row of `x`, in place (Ba, Kiros and Hinton, 2016). A row
/// is as long as `gamma` and `beta`; the variance is the biased one, found in a second pass over the row, because the one
/// pass that subtracts the square of the mean cancels.
///
/// # Panics
/// If `gamma` is empty, `beta` is not as long, `x` is not whole rows, or this machine does not support `isa`.
pub fn layer_norm(isa: Isa, x: &mut [f32], gamma: &[f32], beta: &[f32], epsilon: f32) {
    assert!(gamma.len() == beta.len(), "gamma has {} values, beta {}", gamma.len(), beta.len());
    check_rows(x, gamma.len());
    match isa {
        Isa::Scalar => scalar::layers::layer_norm(x, gamma, beta, epsilon),
        _ => isa.run(LayerNorm { x, gamma, beta, epsilon }),
    }
}

/// Each row of `x` becomes `exp(x) / sum(exp(x))`, in place. Differences of more than 87 give 1e-38, not zero.
///
/// # Panics
/// If `width` is zero, `x` is not whole rows, or this machine does not support `isa`.
pub fn softmax(isa: Isa, x: &mut [f32], width: usize) {
    check_rows(x, width);
    match isa {
        Isa::Scalar => scalar::layers::softmax(x, width),
        _ => isa.run(Softmax { x, width }),
    }
}

/// The exact GELU of each value, in place; absolute error at most 2.5e-7 of its magnitude.
///
/// # Panics
/// If this machine does not support `isa`.
pub fn gelu_erf(isa: Isa, x: &mut [f32]) {
    match isa {
        Isa::Scalar => x.iter_mut().for_each(|x| *x = scalar::layers::gelu_erf(*x)),
        _ => isa.run(Gelu { x }),
    }
}

#[track_caller]
pub(super) fn check_rows(x: &[f32], width: usize) {
    assert!(width > 0 && x.len().is_multiple_of(width), "{} values are not whole rows of {width}", x.len());
}

struct LayerNorm<'a> {
    x: &'a mut [f32],
    gamma: &'a [f32],
    beta: &'a [f32],
    epsilon: f32,
}

impl Kernel for LayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<T: Tier>(self, tier: T) {
        let width = self.gamma.len() as f32;
        for row in self.x.chunks_exact_mut(self.gamma.len()) {
            let mean = tier.splat(sum(tier, row) / width);
            let variance = sum_of_squares(tier, row, mean) / width;
            let scale = tier.splat(1.0 / (variance + self.epsilon).sqrt());
            let parameters = self.gamma.chunks(LANES).zip(self.beta.chunks(LANES));
            for (x, (gamma, beta)) in row.chunks_mut(LANES).zip(parameters) {
                let normal = tier.load_part(x).sub(mean).mul(scale);
                normal.mul_add(tier.load_part(gamma), tier.load_part(beta)).store_part(x);
            }
        }
    }
}

struct Softmax<'a> {
    x: &'a mut [f32],
    width: usize,
}

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<T: Tier>(self, tier: T) {
        for row in self.x.chunks_exact_mut(self.width) {
            let total = exponentials(tier, row, self.width, 1.0);
            scale_row(tier, row, 1.0 / total);
        }
    }
}

struct Gelu<'a> {
    x: &'a mut [f32],
}

impl Kernel for Gelu<'_> {
    type Output = ();

    #[inline(always)]
    fn run<T: Tier>(self, tier: T) {
        for x in self.x.chunks_mut(LANES) {
            tier.load_part(x).gelu_erf().store_part(x);
        }
    }
}

/// The numerators of a softmax: the first `count` values of `row` become `exp(scale (x - highest x))`, and their sum is the
/// answer. `row` may end in padding up to a whole number of lines, which becomes zero. `scale` must not be negative.
#[inline(always)]
pub(super) fn exponentials<T: Tier>(tier: T, row: &mut [f32], count: usize, scale: f32) -> f32 {
    let (lines, rest) = row.split_at_mut(count / LANES * LANES);
    let lines = lines.as_chunks_mut::<LANES>().0;
    let in_rest = count % LANES;
    let lowest = tier.splat(f32::NEG_INFINITY);
    let mut highest = tier.load_part(rest).first_or(in_rest, lowest);
    for x in lines.iter() {
        highest = highest.max(tier.load(x));
    }
    let (scale, highest) = (tier.splat(scale), tier.splat(highest.highest()));
    let mut total = tier.splat(0.0);
    for x in lines {
        let power = math::exp(tier.load(x).sub(highest).mul(scale));
        total = total.add(power);
        power.store(x);
    }
    if in_rest > 0 {
        let power = math::exp(tier.load_part(rest).sub(highest).mul(scale)).first_or(in_rest, tier.splat(0.0));
        total = total.add(power);
        power.store_part(rest);
    }
    total.sum()
}

/// Multiplies a row.
#[inline(always)]
pub(super) fn scale_row<T: Tier>(tier: T, row: &mut [f32], scale: f32) {
    let scale = tier.splat(scale);
    for x in row.chunks_mut(LANES) {
        tier.load_part(x).mul(scale).store_part(x);
    }
}

/// The sum of a row, in an order that depends on its length alone.
#[inline(always)]
fn sum<T: Tier>(tier: T, row: &[f32]) -> f32 {
    let (stripes, rest) = row.as_chunks::<{ SUMS * LANES }>();
    let mut sums = [tier.splat(0.0); SUMS];
    for stripe in stripes {
        for (sum, x) in sums.iter_mut().zip(stripe.as_chunks().0) {
            *sum = sum.add(tier.load(x));
        }
    }
    for x in rest.chunks(LANES) {
        sums[0] = sums[0].add(tier.load_part(x));
    }
    sums[0].add(sums[1]).add(sums[2].add(sums[3])).sum()
}

/// The sum of the squared distances from `mean`, in an order that depends on the length alone.
#[inline(always)]
pub(super) fn sum_of_squares<T: Tier>(tier: T, row: &[f32], mean: T::Lanes) -> f32 {
    let (stripes, rest) = row.as_chunks::<{ SUMS * LANES }>();
    let mut sums = [tier.splat(0.0); SUMS];
    for stripe in stripes {
        for (sum, x) in sums.iter_mut().zip(stripe.as_chunks().0) {
            let distance = tier.load(x).sub(mean);
            *sum = distance.mul_add(distance, *sum);
        }
    }
    for x in rest.chunks(LANES) {
        let distance = tier.load_part(x).first_or(x.len(), mean).sub(mean);
        sums[0] = distance.mul_add(distance, sums[0]);
    }
    sums[0].add(sums[1]).add(sums[2].add(sums[3])).sum()
}
