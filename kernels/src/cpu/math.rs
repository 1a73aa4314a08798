//! exp and erf, as texts over sixteen lanes.
//!
//! The coefficients are minimax fits (Lawson's iteration on Chebyshev nodes, 40 digits, then rounded to f32) made for these
//! forms; the errors below are theirs before the rounding of the evaluation itself. Tables with permutes would be a little
//! faster on AVX-512 alone; polynomials are the same text on every tier. Both take about as many cycles as they have
//! multiply-adds: the one division of erf runs beside them.

use super::lanes::{Lanes, ROUNDING};

/// Below this, [`exp`] would leave the normal numbers, and answers e to this instead: 1.2e-38.
const EXP_MIN: f32 = -87.33;
/// Above this, [`exp`] would overflow, and answers e to this instead.
const EXP_MAX: f32 = 88.37;
/// The upper 15 bits of ln 2, so that its product with a small integer is exact, and the rest.
const LN_2_UPPER: f32 = 0.693_145_75;
const LN_2_LOWER: f32 = 1.428_606_8e-6;
/// `e^r = 1 + r + r^2 (c0 + c1 r + ...)` for |r| <= ln(2) / 2, relative error 3e-9.
const EXP: [f32; 5] = [0.499_999_94, 0.166_665_21, 0.041_668_39, 0.008_368_717, 0.001_381_461_5];

/// e to the power of each lane, within 2 units in the last place; NaN stays NaN.
///
/// Outside -87.33 ..= 88.37 it is e to the nearer end, so it never gives zero, a subnormal or an infinity.
#[inline(always)]
pub(crate) fn exp<L: Lanes>(x: L) -> L {
    // `min` and `max` give their argument where one is NaN: this way round NaN survives.
    let x = x.constant(EXP_MAX).min(x.constant(EXP_MIN).max(x));
    // x = n ln 2 + r: adding ROUNDING leaves the nearest n in the low bits.
    let shifted = x.mul_add(x.constant(std::f32::consts::LOG2_E), x.constant(ROUNDING));
    let n = shifted.sub(x.constant(ROUNDING));
    let r = n.mul_add(x.constant(-LN_2_LOWER), n.mul_add(x.constant(-LN_2_UPPER), x));
    let tail = polynomial(r, EXP);
    let power = r.mul(r).mul_add(tail, r).add(x.constant(1.0));
    power.mul(shifted.power_of_two())
}

/// Where the normal distribution function is 1 for an f32, squared.
pub(super) const PHI_END_SQUARED: f32 = 5.5 * 5.5;
/// `Phi(x) - 1/2 = erf(x / sqrt(2)) / 2 = x P(x^2) / Q(x^2)` for |x| <= 5.5, absolute error 1.4e-8. All coefficients are
/// positive, so neither sum cancels.
pub(super) const PHI_P: [f32; 6] =
    [0.398_942_23, 0.033_849_925, 0.004_677_077_8, 0.000_168_795_76, 6.351_708_6e-6, 2.275_026e-8];
pub(super) const PHI_Q: [f32; 6] = [1.0, 0.251_515_1, 0.028_644_271, 0.001_884_277_2, 7.363_682_4e-5, 1.197_499_8e-6];

/// The exact GELU, `x Phi(x)` with Phi the normal distribution function; absolute error at most 2.5e-7 |x|.
#[inline(always)]
pub(crate) fn gelu_erf<L: Lanes>(x: L) -> L {
    let t = x.constant(PHI_END_SQUARED).min(x.mul(x));
    let half = x.constant(0.5);
    let phi = x.mul(polynomial(t, PHI_P)).div(polynomial(t, PHI_Q));
    // Past the end the quotient goes on growing with x: hold it at 1/2, so that Phi is exactly 0 or 1 there.
    let phi = half.min(x.constant(-0.5).max(phi));
    x.mul(phi.add(half))
}

/// `c[0] + c[1] x + c[2] x^2 + ...` by Horner's rule.
#[inline(always)]
fn polynomial<L: Lanes, const N: usize>(x: L, c: [f32; N]) -> L {
    let mut sum = x.constant(c[N - 1]);
    for &c in c[..N - 1].iter().rev() {
        sum = sum.mul_add(x, x.constant(c));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::exp;
    use crate::cpu::Isa;
    use crate::cpu::lanes::Lanes;
    use crate::cpu::lines::LANES;
    use crate::cpu::tier::{Kernel, Tier};

    struct Exp<'a>(&'a mut [[f32; LANES]]);

    impl Kernel for Exp<'_> {
        type Output = ();

        #[inline(always)]
        fn run<T: Tier>(self, tier: T) {
            for x in self.0 {
                exp(tier.load(x)).store(x);
            }
        }
    }

    fn exp_on(isa: Isa, x: &[f32]) -> Vec<f32> {
        let mut lines: Vec<[f32; LANES]> = x.chunks_exact(LANES).map(|x| x.try_into().expect("16 values")).collect();
        isa.run(Exp(&mut lines));
        lines.into_flattened()
    }

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        let x: Vec<f32> = (0..1 << 16).map(|i| (i as f32 / 65535.0 - 0.5) * 174.0).collect();
        for isa in Isa::supported() {
            for (x, y) in x.iter().zip(exp_on(isa, &x)) {
                let exact = f64::from(*x).exp();
                let error = (f64::from(y) / exact - 1.0).abs();
                assert!(error <= 2.0 * f64::from(f32::EPSILON), "{isa}: exp({x}) is {y}, off by {error:e}");
            }
        }
    }

    #[test]
    fn exp_stops_at_the_ends_and_keeps_nan() {
        let mut x = [0.0; LANES];
        x[..6].copy_from_slice(&[f32::NEG_INFINITY, -1e30, f32::INFINITY, 1e30, f32::NAN, -0.0]);
        for isa in Isa::supported() {
            let y = exp_on(isa, &x);
            assert!(y[..2].iter().all(|&y| y > 0.0 && y < 1.3e-38), "{isa}: {y:?}");
            assert!(y[2..4].iter().all(|&y| y > 2e38 && y.is_finite()), "{isa}: {y:?}");
            assert!(y[4].is_nan(), "{isa}: {y:?}");
            assert!(y[5..].iter().all(|&y| y == 1.0), "{isa}: {y:?}");
        }
    }
}
