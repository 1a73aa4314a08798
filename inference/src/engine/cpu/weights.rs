//! From a checkpoint to packed weights, and from a model to its adapted twin.

use std::sync::Arc;

use attune_kernels::Isa;

use super::linear::{Linear, Packer, Smoothing};
use super::smooth::{LayerPeaks, measure_peaks};
use super::{CpuModel, Embeddings, Head, Layer, NormWeights};
use crate::engine::Precision;
use crate::model::{Adapter, Architecture, Checkpoint, LoadError};

/// Names of the modules of a BERT layer.
pub(in crate::engine) struct LayerModules {
    pub(in crate::engine) query_key_value: [String; 3],
    pub(in crate::engine) attention_out: [String; 1],
    pub(in crate::engine) attention_norm: String,
    pub(in crate::engine) up: [String; 1],
    pub(in crate::engine) down: [String; 1],
    pub(in crate::engine) output_norm: String,
}

impl LayerModules {
    pub(in crate::engine) fn bert(layer: usize) -> Self {
        let module = |name: &str| format!("encoder.layer.{layer}.{name}");
        Self {
            query_key_value: ["query", "key", "value"].map(|part| module(&format!("attention.self.{part}"))),
            attention_out: [module("attention.output.dense")],
            attention_norm: module("attention.output.LayerNorm"),
            up: [module("intermediate.dense")],
            down: [module("output.dense")],
            output_norm: module("output.LayerNorm"),
        }
    }
}

impl CpuModel {
    /// Packs a checkpoint.
    ///
    /// # Errors
    /// [`LoadError`] when the checkpoint lacks a tensor or has one of another shape.
    pub fn new(
        checkpoint: &Checkpoint,
        architecture: &Architecture,
        isa: Isa,
        precision: Precision,
        labels: usize,
        capacity_tokens: usize,
    ) -> Result<Self, LoadError> {
        let peaks = match precision {
            Precision::Int8 => {
                let exact = Self::new(checkpoint, architecture, isa, Precision::F32, labels, capacity_tokens)?;
                measure_peaks(&exact)
            }
            Precision::F32 | Precision::F16 | Precision::Bf16 => Vec::new(),
        };
        let packer = Packer { isa, precision };
        let layers = (0..architecture.layers)
            .map(|layer| load_layer(&packer, checkpoint, architecture, &LayerModules::bert(layer), peaks.get(layer)))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            embeddings: Arc::new(load_embeddings(checkpoint, architecture)?),
            head: load_head(checkpoint, architecture, labels)?,
            architecture: architecture.clone(),
            isa,
            precision,
            capacity_tokens,
            layers,
        })
    }

    /// This model with an adapter merged: matrices that the adapter touches are packed anew from `merged`, all others,
    /// and the embeddings, are shared with this one.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn adapted(&self, merged: &Checkpoint, adapter: &Adapter, labels: usize) -> Result<Self, LoadError> {
        let packer = Packer { isa: self.isa, precision: self.precision };
        let (hidden, inner) = (self.architecture.hidden, self.architecture.intermediate);
        let repack = |shared: &Arc<Linear>, modules: &[String], shape| match modules
            .iter()
            .any(|module| adapter.touches(module))
        {
            true => packer.linear(merged, modules, shape, Smoothing::Like(shared)),
            false => Ok(Arc::clone(shared)),
        };
        let layers = self.layers.iter().enumerate().map(|(number, layer)| {
            let modules = LayerModules::bert(number);
            Ok(Layer {
                query_key_value: repack(&layer.query_key_value, &modules.query_key_value, [hidden, hidden])?,
                attention_out: repack(&layer.attention_out, &modules.attention_out, [hidden, hidden])?,
                up: repack(&layer.up, &modules.up, [inner, hidden])?,
                down: repack(&layer.down, &modules.down, [hidden, inner])?,
                ..layer.clone()
            })
        });
        Ok(Self {
            layers: layers.collect::<Result<_, _>>()?,
            head: load_head(merged, &self.architecture, labels)?,
            ..self.clone()
        })
    }
}

fn load_layer(
    packer: &Packer,
    checkpoint: &Checkpoint,
    architecture: &Architecture,
    modules: &LayerModules,
    peaks: Option<&LayerPeaks>,
) -> Result<Layer, LoadError> {
    let (hidden, inner) = (architecture.hidden, architecture.intermediate);
    let (before, between) = match peaks {
        Some(peaks) => (Smoothing::Peaks(&peaks.query_key_value), Smoothing::Peaks(&peaks.up)),
        None => (Smoothing::Off, Smoothing::Off),
    };
    let linear = |modules: &[String], shape, smoothing| packer.linear(checkpoint, modules, shape, smoothing);
    Ok(Layer {
        query_key_value: linear(&modules.query_key_value, [hidden, hidden], before)?,
        attention_out: linear(&modules.attention_out, [hidden, hidden], Smoothing::Off)?,
        attention_norm: Arc::new(load_norm(checkpoint, &modules.attention_norm, hidden)?),
        up: linear(&modules.up, [inner, hidden], between)?,
        down: linear(&modules.down, [hidden, inner], Smoothing::Off)?,
        output_norm: Arc::new(load_norm(checkpoint, &modules.output_norm, hidden)?),
    })
}

pub(in crate::engine) fn load_norm(
    checkpoint: &Checkpoint,
    module: &str,
    width: usize,
) -> Result<NormWeights, LoadError> {
    Ok(NormWeights {
        gamma: checkpoint.values(&format!("{module}.weight"), &[width])?,
        beta: checkpoint.values(&format!("{module}.bias"), &[width])?,
    })
}

pub(in crate::engine) fn load_embeddings(
    checkpoint: &Checkpoint,
    architecture: &Architecture,
) -> Result<Embeddings, LoadError> {
    let hidden = architecture.hidden;
    let count = architecture.positions_max();
    let mut positions = checkpoint.values("embeddings.position_embeddings.weight", &[count, hidden])?;
    let segments = checkpoint.values("embeddings.token_type_embeddings.weight", &[2, hidden])?;
    for position in positions.chunks_exact_mut(hidden) {
        position.iter_mut().zip(&segments[..hidden]).for_each(|(value, segment)| *value += segment);
    }
    Ok(Embeddings {
        tokens: checkpoint.values("embeddings.word_embeddings.weight", &[architecture.vocabulary, hidden])?,
        positions,
        norm: load_norm(checkpoint, "embeddings.LayerNorm", hidden)?,
    })
}

pub(in crate::engine) fn load_head(
    checkpoint: &Checkpoint,
    architecture: &Architecture,
    labels: usize,
) -> Result<Option<Head>, LoadError> {
    if labels == 0 {
        return Ok(None);
    }
    Ok(Some(Head {
        weights: checkpoint.values("classifier.weight", &[labels, architecture.hidden])?,
        bias: checkpoint.values("classifier.bias", &[labels])?,
    }))
}
