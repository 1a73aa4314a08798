//! One matrix product of a layer, at whichever precision its weights are packed.

use std::sync::Arc;

use attune_kernels::{
    Activation, Epilogue, Isa, PackedBf16, PackedF32, PackedI8, Scratch, gemm_bf16, gemm_f32, gemm_i8,
};

use super::smooth::InputFactors;
use crate::engine::Precision;
use crate::model::{Checkpoint, LoadError};

/// A matrix packed for one precision, with its bias.
#[derive(Debug)]
pub(super) struct Linear {
    weights: Packed,
    bias: Vec<f32>,
    /// What each input is multiplied with on the way in; `None`: 1.
    factors: Option<InputFactors>,
}

#[derive(Debug)]
enum Packed {
    F32(PackedF32),
    Bf16(PackedBf16),
    Int8(PackedI8),
}

impl Linear {
    /// `y = activation(x w^T + bias) + residual`.
    pub(super) fn apply(&self, x: &[f32], rows: usize, after: After<'_>, y: &mut [f32], memory: &mut Memory) {
        let Memory { scaled, scratch } = memory;
        let x = match &self.factors {
            Some(factors) => factors.apply(x, scaled),
            None => x,
        };
        let epilogue = Epilogue { bias: Some(&self.bias), activation: after.activation, residual: after.residual };
        match &self.weights {
            Packed::F32(w) => gemm_f32(w, x, rows, epilogue, y, scratch),
            Packed::Bf16(w) => gemm_bf16(w, x, rows, epilogue, y, scratch),
            Packed::Int8(w) => gemm_i8(w, x, rows, epilogue, y, scratch),
        }
    }
}

/// What follows a product.
#[derive(Default)]
pub(super) struct After<'a> {
    pub(super) activation: Activation,
    pub(super) residual: Option<&'a [f32]>,
}

/// One worker's memory for products.
#[derive(Debug, Default)]
pub(super) struct Memory {
    scaled: Vec<f32>,
    pub(super) scratch: Scratch,
}

/// Packs matrices for one instruction set and precision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packer {
    pub(super) isa: Isa,
    pub(super) precision: Precision,
}

/// What an int8 product does about outliers among its inputs. Other precisions need nothing done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Smoothing<'a> {
    Off,
    /// Balance these peaks of the inputs with the weights.
    Peaks(&'a [f32]),
    /// As another matrix with the same inputs does.
    Like(&'a Linear),
}

impl Packer {
    /// Packs the named modules of `checkpoint` one above the other, as one matrix of `rows` x `columns` each.
    pub(super) fn linear(
        &self,
        checkpoint: &Checkpoint,
        modules: &[String],
        [rows, columns]: [usize; 2],
        smoothing: Smoothing<'_>,
    ) -> Result<Arc<Linear>, LoadError> {
        let (mut weights, mut bias) = (Vec::with_capacity(modules.len() * rows * columns), Vec::new());
        for module in modules {
            weights.extend(checkpoint.values(&format!("{module}.weight"), &[rows, columns])?);
            bias.extend(checkpoint.values(&format!("{module}.bias"), &[rows])?);
        }
        let rows = rows * modules.len();
        let factors = match smoothing {
            Smoothing::Off => None,
            Smoothing::Peaks(peaks) => Some(InputFactors::balance(peaks, &weights)),
            Smoothing::Like(other) => other.factors.clone(),
        };
        if let Some(factors) = &factors {
            factors.absorb_into(&mut weights);
        }
        let weights = match self.precision {
            // No processor multiplies f16 pairs any faster.
            Precision::F32 | Precision::F16 => Packed::F32(PackedF32::pack(self.isa, &weights, rows, columns)),
            Precision::Bf16 => Packed::Bf16(PackedBf16::pack(self.isa, &weights, rows, columns)),
            Precision::Int8 => Packed::Int8(PackedI8::pack(self.isa, &weights, rows, columns)),
        };
        Ok(Arc::new(Linear { weights, bias, factors }))
    }
}
