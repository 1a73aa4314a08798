//! Layer norm of a sum, with frozen scale and shift: y = gamma (z - mean z) / sqrt(var z + eps) + beta, z = x + residual.
//!
//! The gradient reaches both summands alike: with h = (z - mean) / deviation and u = g gamma,
//! dz = (u - mean(u) - h mean(u h)) / deviation (Ba, Kiros and Hinton 2016).

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::math::sum;
use super::{Values, floats, tensor_like};

/// Frozen scale and shift of a layer norm, each as wide as a row.
#[derive(Clone, Debug)]
pub struct Norm {
    pub gamma: std::sync::Arc<[f32]>,
    pub beta: std::sync::Arc<[f32]>,
    pub epsilon: f32,
}

/// Layer norm of `x + residual`, row by row.
///
/// # Errors
/// When the shapes differ, or a row is not as wide as `norm`.
pub fn add_layer_norm(x: &Tensor, residual: &Tensor, norm: &Norm) -> Result<Tensor> {
    if x.dims() != residual.dims() || x.dims().last() != Some(&norm.gamma.len()) {
        bail!("layer norm of {} columns given {:?} and {:?}", norm.gamma.len(), x.dims(), residual.dims());
    }
    x.apply_op2(residual, norm.clone())
}

/// Layer norm of each row in place, without a gradient.
pub fn layer_norm(rows: &mut [f32], norm: &Norm) {
    for row in rows.chunks_exact_mut(norm.gamma.len()) {
        let (mean, inverse_deviation) = norm.moments(row);
        for ((value, gamma), beta) in row.iter_mut().zip(&*norm.gamma).zip(&*norm.beta) {
            *value = (*value - mean) * inverse_deviation * gamma + beta;
        }
    }
}

impl Norm {
    fn moments(&self, row: &[f32]) -> (f32, f32) {
        let width = row.len() as f32;
        let mean = sum(row.len(), |i| row[i]) / width;
        let variance = sum(row.len(), |i| (row[i] - mean) * (row[i] - mean)) / width;
        (mean, 1.0 / (variance + self.epsilon).sqrt())
    }

    /// Turns one row of z and its output gradient into the gradient of z, left in `gradient`.
    fn backward(&self, z: &mut [f32], gradient: &mut [f32]) {
        let width = z.len() as f32;
        let (mean, inverse_deviation) = self.moments(z);
        for ((z, gradient), gamma) in z.iter_mut().zip(gradient.iter_mut()).zip(&*self.gamma) {
            *z = (*z - mean) * inverse_deviation;
            *gradient *= gamma;
        }
        let mean_gradient = sum(z.len(), |i| gradient[i]) / width;
        let mean_along = sum(z.len(), |i| gradient[i] * z[i]) / width;
        for (gradient, z) in gradient.iter_mut().zip(z) {
            *gradient = (*gradient - mean_gradient - *z * mean_along) * inverse_deviation;
        }
    }
}

fn add(x: &[f32], residual: &[f32]) -> Vec<f32> {
    x.iter().zip(residual).map(|(x, residual)| x + residual).collect()
}

impl CustomOp2 for Norm {
    fn name(&self) -> &'static str {
        "add-layer-norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, x_at: &Layout, r: &CpuStorage, r_at: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut y = add(floats(x, x_at)?, floats(r, r_at)?);
        layer_norm(&mut y, self);
        Ok((CpuStorage::F32(y), x_at.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, r: &Tensor, _y: &Tensor, g: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let width = self.gamma.len();
        let mut z = add(&Values::of(x)?, &Values::of(r)?);
        let mut gradient = Values::of(g)?.to_vec();
        for (z, gradient) in z.chunks_exact_mut(width).zip(gradient.chunks_exact_mut(width)) {
            self.backward(z, gradient);
        }
        let gradient = tensor_like(gradient, x)?;
        Ok((Some(gradient.clone()), Some(gradient)))
    }
}
