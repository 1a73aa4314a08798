//! GELU with the exact error function: x Phi(x), whose derivative is Phi(x) + x phi(x).
//!
//! Phi comes from Abramowitz and Stegun 7.1.26 (absolute error 1.5e-7), because its only costly term, exp(-x^2 / 2), is
//! phi as well: value and derivative cost one exponential.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::math::exp_of_negative;
use super::{Values, floats, tensor_like};

struct Gelu;

/// GELU of every element.
///
/// # Errors
/// When `x` is not a contiguous f32 tensor on the CPU.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    x.apply_op1(Gelu)
}

/// Phi(x) and exp(-x^2 / 2).
#[inline(always)]
fn normal(x: f32) -> (f32, f32) {
    let bell = exp_of_negative(-0.5 * x * x);
    let magnitude = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * magnitude);
    let series = t * (0.254_829_6 + t * (-0.284_496_72 + t * (1.421_413_8 + t * (-1.453_152_1 + t * 1.061_405_4))));
    let upper_tail = 0.5 * series * bell;
    (if x > 0.0 { 1.0 - upper_tail } else { upper_tail }, bell)
}

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = floats(storage, layout)?.iter().map(|&x| x * normal(x).0).collect();
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (values, gradient) = (Values::of(x)?, Values::of(gradient)?);
        let slope = |x: f32| {
            let (below, bell) = normal(x);
            // 1 / sqrt(2 pi)
            below + x * bell * 0.398_942_3
        };
        let out = values.iter().zip(gradient.iter()).map(|(&x, &g)| g * slope(x)).collect();
        tensor_like(out, x).map(Some)
    }
}
