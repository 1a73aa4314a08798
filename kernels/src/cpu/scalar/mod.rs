//! The specification: plain loops in the order in which a reader would do the sums. Runs on every processor.

pub(crate) mod bf16;
pub(crate) mod int8;
pub(crate) mod lanes;

use super::math::{PHI_END_SQUARED, PHI_P, PHI_Q};
use super::tier::{Kernel, Tier};

/// The tier that needs no instruction set.
#[derive(Clone, Copy)]
pub(crate) struct Plain;

impl Tier for Plain {
    type Lanes = lanes::Array;

    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }
}

/// The exact GELU of one value.
pub(crate) fn gelu_erf(x: f32) -> f32 {
    let t = f32::min(x * x, PHI_END_SQUARED);
    let polynomial = |c: &[f32]| c.iter().rev().fold(0.0, |sum, c| sum * t + c);
    let phi = x * polynomial(&PHI_P) / polynomial(&PHI_Q);
    x * (phi.clamp(-0.5, 0.5) + 0.5)
}
