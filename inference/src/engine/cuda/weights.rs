//! From a checkpoint to weights on a card, and from a model to its adapted twin.

use std::sync::Arc;

use attune_kernels::cuda::{CudaError, Device, NormWeights, Projection, check_widths};

use super::{CudaModel, CudaModelError, Embeddings, Head, Layer};
use crate::engine::cpu::weights::{LayerModules, load_embeddings, load_head, load_norm};
use crate::engine::cpu::{self};
use crate::model::{Adapter, Architecture, Checkpoint};

/// Puts parts of one checkpoint on one device.
struct Loader<'a> {
    device: &'a Device,
    checkpoint: &'a Checkpoint,
    epsilon: f32,
}

impl CudaModel {
    /// Puts a checkpoint on a device. All memory for weights is taken here.
    ///
    /// # Errors
    /// [`CudaModelError`] when the kernels lack the model's sizes, the checkpoint lacks a tensor, or the card memory.
    pub fn new(
        device: &Device,
        checkpoint: &Checkpoint,
        architecture: &Architecture,
        labels: usize,
        capacity_tokens: usize,
    ) -> Result<Self, CudaModelError> {
        let (hidden, inner) = (architecture.hidden, architecture.intermediate);
        check_widths(hidden, architecture.heads, inner)?;
        let loader = Loader { device, checkpoint, epsilon: architecture.norm.epsilon };
        let layers = (0..architecture.layers).map(|number| {
            let modules = LayerModules::bert(number);
            Ok(Layer {
                query_key_value: loader.projection(&modules.query_key_value, [hidden, hidden], false)?,
                attention_out: loader.projection(&modules.attention_out, [hidden, hidden], false)?,
                attention_norm: Arc::new(loader.norm(&load_norm(checkpoint, &modules.attention_norm, hidden)?)?),
                up: loader.projection(&modules.up, [inner, hidden], true)?,
                down: loader.projection(&modules.down, [hidden, inner], false)?,
                output_norm: Arc::new(loader.norm(&load_norm(checkpoint, &modules.output_norm, hidden)?)?),
            })
        });
        let layers = layers.collect::<Result<_, CudaModelError>>()?;
        let embeddings = load_embeddings(checkpoint, architecture)?;
        Ok(Self {
            embeddings: Arc::new(Embeddings {
                tokens: device.elements(&embeddings.tokens)?,
                positions: device.elements(&embeddings.positions)?,
                norm: loader.norm(&embeddings.norm)?,
            }),
            layers,
            head: loader.head(architecture, labels)?,
            device: device.clone(),
            architecture: architecture.clone(),
            capacity_tokens,
        })
    }

    /// This model with an adapter merged: what the adapter leaves alone is shared with this one.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn adapted(&self, merged: &Checkpoint, adapter: &Adapter, labels: usize) -> Result<Self, CudaModelError> {
        let loader = Loader { device: &self.device, checkpoint: merged, epsilon: self.architecture.norm.epsilon };
        let (hidden, inner) = (self.architecture.hidden, self.architecture.intermediate);
        let again = |shared: &Arc<Projection>, modules: &[String], shape| match modules
            .iter()
            .any(|module| adapter.touches(module))
        {
            true => loader.projection(modules, shape, shared.gelu),
            false => Ok(Arc::clone(shared)),
        };
        let layers = self.layers.iter().enumerate().map(|(number, layer)| {
            let modules = LayerModules::bert(number);
            Ok(Layer {
                query_key_value: again(&layer.query_key_value, &modules.query_key_value, [hidden, hidden])?,
                attention_out: again(&layer.attention_out, &modules.attention_out, [hidden, hidden])?,
                up: again(&layer.up, &modules.up, [inner, hidden])?,
                down: again(&layer.down, &modules.down, [hidden, inner])?,
                ..layer.clone()
            })
        });
        Ok(Self {
            layers: layers.collect::<Result<_, CudaModelError>>()?,
            head: loader.head(&self.architecture, labels)?,
            ..self.clone()
        })
    }
}

impl Loader<'_> {
    /// The named modules one above the other, as one matrix of `rows` x `columns` each.
    fn projection(
        &self,
        modules: &[String],
        [rows, columns]: [usize; 2],
        gelu: bool,
    ) -> Result<Arc<Projection>, CudaModelError> {
        let (mut weights, mut bias) = (Vec::with_capacity(modules.len() * rows * columns), Vec::new());
        for module in modules {
            weights.extend(self.checkpoint.values(&format!("{module}.weight"), &[rows, columns])?);
            bias.extend(self.checkpoint.values(&format!("{module}.bias"), &[rows])?);
        }
        let (weights, bias) = (self.device.elements(&weights)?, self.device.floats(&bias)?);
        Ok(Arc::new(Projection { weights, bias, gelu }))
    }

    fn norm(&self, norm: &cpu::NormWeights) -> Result<NormWeights, CudaError> {
        let (gamma, beta) = (self.device.floats(&norm.gamma)?, self.device.floats(&norm.beta)?);
        Ok(NormWeights { gamma, beta, epsilon: self.epsilon })
    }

    fn head(&self, architecture: &Architecture, labels: usize) -> Result<Option<Arc<Head>>, CudaModelError> {
        let Some(head) = load_head(self.checkpoint, architecture, labels)? else { return Ok(None) };
        let (weights, bias) = (self.device.floats(&head.weights)?, self.device.floats(&head.bias)?);
        Ok(Some(Arc::new(Head { weights, bias })))
    }
}
