//! The reference: candle's own model, one text at a time. Slow, plain, and what the fused engine is held against.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};

use super::{Engine, EngineError, EngineInfo, FlatBatch, Precision, Stop};
use crate::model::{Architecture, Checkpoint, LoadError, Pooling};

/// Shared parts of the reference engines of one model.
pub struct ReferenceModel {
    model: BertModel,
    head: Option<(Tensor, Tensor)>,
    architecture: Architecture,
    width: usize,
    capacity_tokens: usize,
}

impl std::fmt::Debug for ReferenceModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReferenceModel").field("architecture", &self.architecture).finish_non_exhaustive()
    }
}

impl ReferenceModel {
    /// Builds candle's model from a checkpoint, with a classification head of `labels` rows unless that is 0.
    ///
    /// # Errors
    /// [`LoadError`] when the checkpoint lacks a tensor or has one of another shape.
    pub fn new(
        checkpoint: &Checkpoint,
        architecture: &Architecture,
        labels: usize,
        capacity_tokens: usize,
    ) -> Result<Self, LoadError> {
        let builder = VarBuilder::from_tensors(checkpoint.tensors().clone(), DType::F32, &Device::Cpu);
        let model = BertModel::load(builder, &candle_config(architecture))
            .map_err(|error| LoadError::Machine(format!("candle cannot build the model: {error}")))?;
        let head = match labels {
            0 => None,
            _ => Some((
                checkpoint.tensor("classifier.weight", &[labels, architecture.hidden])?.clone(),
                checkpoint.tensor("classifier.bias", &[labels])?.clone(),
            )),
        };
        let width = if labels == 0 { architecture.hidden } else { labels };
        Ok(Self { model, head, architecture: architecture.clone(), width, capacity_tokens })
    }

    fn row(&self, ids: &[u32]) -> candle_core::Result<Vec<f32>> {
        let ids = Tensor::new(ids, &Device::Cpu)?.unsqueeze(0)?;
        let states = self.model.forward(&ids, &ids.zeros_like()?, None)?.squeeze(0)?;
        let pooled = match self.architecture.pooling {
            Pooling::Mean => states.mean(0)?,
            Pooling::First => states.get(0)?,
            Pooling::Last => states.get(states.dim(0)? - 1)?,
        };
        match &self.head {
            Some((weight, bias)) => (weight.matmul(&pooled.unsqueeze(1)?)?.squeeze(1)? + bias)?.to_vec1(),
            None => pooled.to_vec1(),
        }
    }
}

fn candle_config(architecture: &Architecture) -> Config {
    Config {
        vocab_size: architecture.vocabulary,
        hidden_size: architecture.hidden,
        num_hidden_layers: architecture.layers,
        num_attention_heads: architecture.heads,
        intermediate_size: architecture.intermediate,
        max_position_embeddings: architecture.positions_max(),
        layer_norm_eps: f64::from(architecture.norm.epsilon),
        hidden_dropout_prob: 0.0,
        ..Config::default()
    }
}

/// One worker's handle on a [`ReferenceModel`].
#[derive(Clone, Debug)]
pub struct ReferenceEngine(pub Arc<ReferenceModel>);

impl Engine for ReferenceEngine {
    fn info(&self) -> EngineInfo {
        EngineInfo { name: "reference", instruction_set: "candle", precision: Precision::F32 }
    }

    fn width(&self) -> usize {
        self.0.width
    }

    fn capacity_tokens(&self) -> usize {
        self.0.capacity_tokens
    }

    fn run(&mut self, batch: FlatBatch<'_>, stop: Stop<'_>, out: &mut [f32]) -> Result<(), EngineError> {
        batch.check(self, self.0.architecture.vocabulary, out)?;
        for (ids, row) in batch.iter().zip(out.chunks_exact_mut(self.0.width)) {
            if stop() {
                return Err(EngineError::Stopped);
            }
            let values = self.0.row(ids).map_err(|error| EngineError::Compute(error.to_string()))?;
            row.copy_from_slice(&values);
        }
        Ok(())
    }
}
