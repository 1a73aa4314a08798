//! A frozen linear layer under a low-rank adapter: y = x (W + s B A)^T + bias (Hu et al., 2021).
//!
//! The adapter is added to the weight once a step instead of being run beside it for every token, so the forward is one
//! product. The backward never forms the gradient of the frozen weight: with u = x A^T and v = g B it is
//! dx = g (W + s B A), dA = s v^T x, dB = s g^T u. Recorded as elementary operations, candle would also compute g^T x,
//! as large as the forward itself, and throw it away.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Storage, Tensor, Var, bail};

use super::Values;
use super::math::add_scaled;

/// A linear layer with its adapter added for one step.
#[derive(Clone, Debug)]
pub struct MergedLinear {
    /// W + s B A, out x in.
    weight: Tensor,
    /// Frozen, out.
    bias: Tensor,
    scale: f64,
}

impl MergedLinear {
    /// Adds `scale` B A to the frozen weight. `a` is rank x in, `b` out x rank.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn new(weight: &Tensor, bias: &Tensor, a: &Var, b: &Var, scale: f64) -> Result<Self> {
        let update = b.as_detached_tensor().matmul(&a.as_detached_tensor())?;
        Ok(Self { weight: (weight + (update * scale)?)?, bias: bias.clone(), scale })
    }
}

/// Runs `linear` over `x` (tokens x in) and lets the gradient reach `x`, `a` and `b`.
///
/// # Errors
/// When the shapes do not fit.
pub fn lora_linear(x: &Tensor, a: &Var, b: &Var, linear: &MergedLinear) -> Result<Tensor> {
    x.apply_op3(a, b, linear.clone())
}

impl CustomOp3 for MergedLinear {
    fn name(&self) -> &'static str {
        "lora-linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_at: &Layout,
        _a: &CpuStorage,
        _a_at: &Layout,
        _b: &CpuStorage,
        _b_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (tokens, inputs) = x_at.shape().dims2()?;
        let transposed = self.weight.t()?;
        let (weight, weight_at) = transposed.storage_and_layout();
        let outputs = self.weight.dim(0)?;
        let Storage::Cpu(weight) = &*weight else { bail!("training runs on the CPU") };
        let mut y = x.matmul(weight, (1, tokens, outputs, inputs), x_at, weight_at)?;
        let CpuStorage::F32(values) = &mut y else { bail!("training runs on f32 tensors") };
        let bias = Values::of(&self.bias)?;
        values.chunks_exact_mut(outputs).for_each(|row| add_scaled(row, 1.0, &bias));
        Ok((y, Shape::from((tokens, outputs))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        a: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        // The embeddings below the first layer are frozen: nothing to hand further down.
        let to_x = x.track_op().then(|| gradient.matmul(&self.weight)).transpose()?;
        let (x, a, b) = (x.detach(), a.detach(), b.detach());
        let u = (x.matmul(&a.t()?)? * self.scale)?;
        let v = (gradient.matmul(&b)? * self.scale)?;
        let to_a = v.t()?.matmul(&x)?;
        let to_b = gradient.t()?.matmul(&u)?;
        Ok((to_x, Some(to_a), Some(to_b)))
    }
}
