//! Layer normalisation, softmax and activations: the specification.

use crate::cpu::math::{PHI_END_SQUARED, PHI_P, PHI_Q};

/// The exact GELU of one value.
pub(crate) fn gelu_erf(x: f32) -> f32 {
    let t = f32::min(x * x, PHI_END_SQUARED);
    let polynomial = |c: &[f32]| c.iter().rev().fold(0.0, |sum, c| sum * t + c);
    let phi = x * polynomial(&PHI_P) / polynomial(&PHI_Q);
    x * (phi.clamp(-0.5, 0.5) + 0.5)
}

/// Rows of mean 0 and variance 1, scaled and shifted.
pub(crate) fn layer_norm(x: &mut [f32], gamma: &[f32], beta: &[f32], epsilon: f32) {
    let width = gamma.len() as f32;
    for row in x.chunks_exact_mut(gamma.len()) {
        let mean = row.iter().sum::<f32>() / width;
        let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / width;
        let scale = 1.0 / (variance + epsilon).sqrt();
        for ((x, gamma), beta) in row.iter_mut().zip(gamma).zip(beta) {
            *x = (*x - mean) * scale * gamma + beta;
        }
    }
}

/// Rows of probabilities.
pub(crate) fn softmax(x: &mut [f32], width: usize) {
    for row in x.chunks_exact_mut(width) {
        let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.iter_mut().for_each(|x| *x = (*x - highest).exp());
        let scale = 1.0 / row.iter().sum::<f32>();
        row.iter_mut().for_each(|x| *x *= scale);
    }
}
