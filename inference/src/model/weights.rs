//! `model.safetensors`, read whole and checked tensor by tensor.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};

use super::adapter::Adapter;
use super::error::{LoadError, read};

/// What the names of a classification head's tensors begin with.
const HEAD: &str = "classifier.";

/// The tensors of one file, by name, in f32. Dropped as soon as an engine has packed what it needs.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    path: PathBuf,
    tensors: HashMap<String, Tensor>,
}

impl Checkpoint {
    /// Reads `model.safetensors` of a model folder. A leading `bert.` of tensor names is taken off.
    ///
    /// # Errors
    /// [`LoadError`] when the file is missing, truncated or damaged.
    pub fn read(folder: &Path) -> Result<Self, LoadError> {
        let path = folder.join("model.safetensors");
        let tensors = read_tensors(&path)?;
        let tensors = tensors.into_iter().map(|(name, tensor)| (strip_family(&name).to_owned(), tensor)).collect();
        Ok(Self { path, tensors })
    }

    /// One tensor of exactly this shape.
    ///
    /// # Errors
    /// [`LoadError::MissingTensor`] or [`LoadError::Shape`].
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<&Tensor, LoadError> {
        let missing = || LoadError::MissingTensor { path: self.path.clone(), tensor: name.to_owned() };
        let tensor = self.tensors.get(name).ok_or_else(missing)?;
        if tensor.dims() != shape {
            let (found, expected) = (tensor.dims().to_vec(), shape.to_vec());
            return Err(LoadError::Shape { path: self.path.clone(), tensor: name.to_owned(), found, expected });
        }
        Ok(tensor)
    }

    /// The values of one tensor of exactly this shape, row-major.
    ///
    /// # Errors
    /// As [`tensor`](Self::tensor).
    pub fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError> {
        let tensor = self.tensor(name, shape)?;
        tensor.flatten_all().and_then(|flat| flat.to_vec1()).map_err(|error| LoadError::damaged(&self.path, error))
    }

    /// All tensors by name, for candle's own models.
    pub fn tensors(&self) -> &HashMap<String, Tensor> {
        &self.tensors
    }

    /// This checkpoint with an adapter's matrices merged in and its saved modules put in place.
    ///
    /// # Errors
    /// [`LoadError`] when the adapter names a matrix that is not here or has another shape.
    pub fn merged(&self, adapter: &Adapter) -> Result<Self, LoadError> {
        let mut merged = self.clone();
        for module in adapter.modules() {
            let name = format!("{module}.weight");
            let missing = || LoadError::MissingTensor { path: self.path.clone(), tensor: name.clone() };
            let base = self.tensors.get(&name).ok_or_else(missing)?;
            let sum = adapter.merge(module, base)?;
            merged.tensors.insert(name, sum);
        }
        for (name, tensor) in adapter.saved() {
            if !self.tensors.contains_key(name) && !name.starts_with(HEAD) {
                return Err(LoadError::unsupported(
                    adapter.path(),
                    format!("{name} belongs to nothing in the base model"),
                ));
            }
            merged.tensors.insert(name.clone(), tensor.clone());
        }
        Ok(merged)
    }
}

/// Parses safetensors and converts every float tensor to f32. Integer tensors (position ids) are left out.
pub(super) fn read_tensors(path: &Path) -> Result<HashMap<String, Tensor>, LoadError> {
    let damaged = |error: candle_core::Error| LoadError::damaged(path, error);
    let tensors = candle_core::safetensors::load_buffer(&read(path)?, &Device::Cpu).map_err(damaged)?;
    tensors
        .into_iter()
        .filter(|(_, tensor)| tensor.dtype().is_float())
        .map(|(name, tensor)| {
            let tensor = tensor.to_dtype(DType::F32).map_err(damaged)?;
            let values = tensor.flatten_all().and_then(|flat| flat.to_vec1::<f32>()).map_err(damaged)?;
            match is_finite(&values) {
                true => Ok((name, tensor)),
                false => Err(LoadError::damaged(path, format!("{name} holds values that are no numbers"))),
            }
        })
        .collect()
}

/// Without a branch for each value: a model has tens of millions of them.
fn is_finite(values: &[f32]) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    !values.iter().fold(false, |found, value| found | (value.to_bits() & EXPONENT == EXPONENT))
}

pub(super) fn strip_family(name: &str) -> &str {
    name.strip_prefix("bert.").unwrap_or(name)
}
