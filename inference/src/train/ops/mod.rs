//! The differentiable operations of an encoder, each with a backward of its own.
//!
//! candle's fused layer norm and softmax have no backward: they cut the gradient without a word. Composed from its
//! elementary operations they do have one, but every intermediate is written, read and zeroed again, and a matrix
//! product computes the gradient of a frozen weight that nobody wants. So each step of an encoder layer is one
//! operation here: a plain function over slices, its derivative, and a thin candle wrapper. The derivatives are held to
//! finite differences by the tests.
//!
//! All tensors are contiguous f32 of shape tokens x width; tokens of several texts lie end to end without padding, and
//! only [`attention`] needs to know where a text ends.

mod attention;
mod dropout;
mod gelu;
mod lora;
mod math;
mod norm;

use std::ops::{Deref, Range};

use candle_core::{CpuStorage, Layout, Result, Storage, StorageRef, Tensor, bail};

pub use attention::attention;
pub use dropout::dropout;
pub use gelu::gelu;
pub use lora::{MergedLinear, lora_linear};
pub use norm::{Norm, add_layer_norm, layer_norm};

/// The floats of a contiguous CPU tensor, read in place.
struct Values<'a> {
    storage: StorageRef<'a>,
    range: Range<usize>,
}

impl<'a> Values<'a> {
    fn of(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        let range = contiguous(layout)?;
        match &*storage {
            Storage::Cpu(CpuStorage::F32(_)) => Ok(Self { storage, range }),
            _ => bail!("training runs on f32 tensors on the CPU"),
        }
    }
}

impl Deref for Values<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => &values[self.range.clone()],
            _ => unreachable!("checked when it was made"),
        }
    }
}

/// The floats of an operation's argument.
fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    Ok(&storage.as_slice::<f32>()?[contiguous(layout)?])
}

fn contiguous(layout: &Layout) -> Result<Range<usize>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(start..end),
        None => bail!("a training operation was given a tensor with gaps: make it contiguous first"),
    }
}

/// A tensor of `like`'s shape that owns `values`.
fn tensor_like(values: Vec<f32>, like: &Tensor) -> Result<Tensor> {
    Tensor::from_vec(values, like.shape(), like.device())
}

#[cfg(test)]
mod tests;
