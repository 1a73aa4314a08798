//! Dropout: each element is zero with some probability, and the rest are scaled up so that the mean stays
//! (Srivastava et al., 2014).

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{Values, floats, tensor_like};

/// Probabilities are kept in steps of 1 / 256, one random byte an element.
const STEPS: f64 = 256.0;

struct Dropout {
    kept: Vec<bool>,
    scale: f32,
}

/// Drops elements of `x` with `probability`, which is below 1; 0 leaves `x` as it is.
///
/// # Errors
/// When `x` is not a contiguous f32 tensor on the CPU.
pub fn dropout(x: &Tensor, probability: f64, rng: &mut ChaCha8Rng) -> Result<Tensor> {
    let dropped = (probability * STEPS).round().min(STEPS - 1.0);
    if dropped == 0.0 {
        return Ok(x.clone());
    }
    let mut bytes = vec![0u8; x.elem_count()];
    rng.fill_bytes(&mut bytes);
    let kept = bytes.into_iter().map(|byte| f64::from(byte) >= dropped).collect();
    x.apply_op1(Dropout { kept, scale: (STEPS / (STEPS - dropped)) as f32 })
}

impl Dropout {
    fn apply(&self, values: &[f32]) -> Vec<f32> {
        values.iter().zip(&self.kept).map(|(value, kept)| if *kept { value * self.scale } else { 0.0 }).collect()
    }
}

impl CustomOp1 for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(self.apply(floats(storage, layout)?)), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        tensor_like(self.apply(&Values::of(gradient)?), x).map(Some)
    }
}
