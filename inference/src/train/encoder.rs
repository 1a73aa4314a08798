//! The frozen base and its differentiable forward.
//!
//! Weights are read once and never change; what a step trains is added to them by [`Encoder::merge`], so the forward
//! sees plain linear layers. The embeddings, their layer norm included, lie below every adapter and are computed
//! without a graph.

use std::path::Path;
use std::result::Result as Outcome;
use std::sync::Arc;

use candle_core::{Device, Result, Tensor};

use super::adapter::{LoraPair, Parameters};
use super::ops::{MergedLinear, Norm, add_layer_norm, attention, gelu, layer_norm, lora_linear};
use super::{TARGETS, TrainError};
use crate::model::{Activation, Architecture, Attention, Checkpoint, LoadError, ModelConfig, NormPlace, Pooling};

/// What is done with states where a dropout belongs.
pub type Drop<'a> = dyn FnMut(&Tensor) -> Result<Tensor> + 'a;

/// Token ids of several texts, end to end; text i is `offsets[i]..offsets[i + 1]`.
pub struct Texts {
    pub tokens: Vec<u32>,
    pub offsets: Arc<[usize]>,
}

impl Texts {
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a [u32]>) -> Self {
        let (mut tokens, mut offsets) = (Vec::new(), vec![0]);
        for text in texts {
            tokens.extend_from_slice(text);
            offsets.push(tokens.len());
        }
        Self { tokens, offsets: offsets.into() }
    }
}

/// A frozen encoder.
pub struct Encoder {
    architecture: Architecture,
    words: Tensor,
    positions: Tensor,
    embedding_norm: Norm,
    layers: Vec<Layer>,
}

struct Layer {
    /// In the order of [`TARGETS`].
    linears: Vec<Linear>,
    attention_norm: Norm,
    output_norm: Norm,
}

struct Linear {
    path: String,
    /// out x in.
    weight: Tensor,
    bias: Tensor,
}

/// One step's linear layers, layer by layer in the order of [`TARGETS`].
pub struct Merged {
    layers: Vec<Vec<MergedLinear>>,
}

impl Encoder {
    /// Reads a Hugging Face folder.
    pub fn load(folder: &Path) -> Outcome<Self, TrainError> {
        let architecture = ModelConfig::read(folder)?.architecture;
        // What the forward below does. A value added to one of these stops the build here.
        let (Activation::GeluErf, Attention::Full, NormPlace::After) =
            (architecture.activation, architecture.attention, architecture.norm.place);
        if architecture.pooling != Pooling::Mean {
            return Err(TrainError::Recipe("the base pools by a single token; training knows the mean".to_string()));
        }
        Self::assemble(architecture, &Checkpoint::read(folder)?)
    }

    fn assemble(architecture: Architecture, weights: &Checkpoint) -> Outcome<Self, TrainError> {
        let embedding = |name: &str, rows| {
            weights.tensor(&format!("embeddings.{name}_embeddings.weight"), &[rows, architecture.hidden])
        };
        // Every text is one segment: the first segment's embedding belongs to every position.
        let segment = embedding("token_type", 2)?.narrow(0, 0, 1)?;
        let positions = embedding("position", architecture.positions_max())?.broadcast_add(&segment)?;
        let layers = (0..architecture.layers)
            .map(|layer| Layer::assemble(weights, &format!("encoder.layer.{layer}"), &architecture))
            .collect::<Outcome<_, _>>()?;
        Ok(Self {
            words: embedding("word", architecture.vocabulary)?.clone(),
            positions,
            embedding_norm: norm(weights, "embeddings", &architecture)?,
            layers,
            architecture,
        })
    }

    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// (path, out, in) of every linear layer that carries an adapter, from the lowest up.
    pub fn linears(&self) -> Vec<(String, usize, usize)> {
        let linears = self.layers.iter().flat_map(|layer| &layer.linears);
        linears.map(|linear| (linear.path.clone(), linear.weight.dims()[0], linear.weight.dims()[1])).collect()
    }

    /// Adds the adapters, scaled by `scale`, to the frozen weights.
    pub fn merge(&self, parameters: &Parameters, scale: f64) -> Result<Merged> {
        let merge = |(linear, pair): (&Linear, &LoraPair)| {
            MergedLinear::new(&linear.weight, &linear.bias, &pair.a, &pair.b, scale)
        };
        let layers = self.layers.iter().zip(parameters.adapters.chunks(TARGETS.len()));
        let layers = layers.map(|(layer, pairs)| layer.linears.iter().zip(pairs).map(merge).collect());
        Ok(Merged { layers: layers.collect::<Result<_>>()? })
    }

    /// Mean-pooled texts x hidden. `drop` is applied where BERT has its dropouts: to the embeddings, to what each half
    /// of a layer adds, and to the pooled text.
    pub fn forward(
        &self,
        merged: &Merged,
        parameters: &Parameters,
        texts: &Texts,
        drop: &mut Drop<'_>,
    ) -> Result<Tensor> {
        let mut x = drop(&self.embed(texts)?)?;
        let steps = merged.layers.iter().zip(parameters.adapters.chunks(TARGETS.len()));
        for (layer, (linears, pairs)) in self.layers.iter().zip(steps) {
            x = layer.forward(&x, linears, pairs, &texts.offsets, self.architecture.heads, drop)?;
        }
        drop(&mean_pool(&texts.offsets)?.matmul(&x)?)
    }

    fn embed(&self, texts: &Texts) -> Result<Tensor> {
        let positions = texts.offsets.windows(2).flat_map(|text| 0..(text[1] - text[0]) as u32);
        let positions = Tensor::from_iter(positions, &Device::Cpu)?;
        let words = Tensor::from_slice(&texts.tokens, texts.tokens.len(), &Device::Cpu)?;
        let words = self.words.index_select(&words, 0)?;
        let mut rows = (words + self.positions.index_select(&positions, 0)?)?.flatten_all()?.to_vec1::<f32>()?;
        layer_norm(&mut rows, &self.embedding_norm);
        Tensor::from_vec(rows, (texts.tokens.len(), self.architecture.hidden), &Device::Cpu)
    }
}

impl Layer {
    fn assemble(weights: &Checkpoint, path: &str, architecture: &Architecture) -> Outcome<Self, LoadError> {
        Ok(Self {
            linears: TARGETS
                .iter()
                .map(|target| Linear::assemble(weights, format!("{path}.{target}"), architecture))
                .collect::<Outcome<_, _>>()?,
            attention_norm: norm(weights, &format!("{path}.attention.output"), architecture)?,
            output_norm: norm(weights, &format!("{path}.output"), architecture)?,
        })
    }

    fn forward(
        &self,
        x: &Tensor,
        linears: &[MergedLinear],
        pairs: &[LoraPair],
        offsets: &Arc<[usize]>,
        heads: usize,
        drop: &mut Drop<'_>,
    ) -> Result<Tensor> {
        let linear = |at: usize, x: &Tensor| lora_linear(x, &pairs[at].a, &pairs[at].b, &linears[at]);
        let context = attention(&linear(0, x)?, &linear(1, x)?, &linear(2, x)?, offsets, heads)?;
        let x = add_layer_norm(&drop(&linear(3, &context)?)?, x, &self.attention_norm)?;
        let inner = gelu(&linear(4, &x)?)?;
        add_layer_norm(&drop(&linear(5, &inner)?)?, &x, &self.output_norm)
    }
}

/// texts x tokens: row i holds 1 / length over the tokens of text i.
fn mean_pool(offsets: &[usize]) -> Result<Tensor> {
    let (texts, tokens) = (offsets.len() - 1, offsets[offsets.len() - 1]);
    let mut weights = vec![0.0f32; texts * tokens];
    for (text, ends) in offsets.windows(2).enumerate() {
        weights[text * tokens..][ends[0]..ends[1]].fill(1.0 / (ends[1] - ends[0]) as f32);
    }
    Tensor::from_vec(weights, (texts, tokens), &Device::Cpu)
}

impl Linear {
    fn assemble(weights: &Checkpoint, path: String, architecture: &Architecture) -> Outcome<Self, LoadError> {
        let Architecture { hidden, intermediate, .. } = *architecture;
        let (outputs, inputs) = match path.as_str() {
            path if path.ends_with(".intermediate.dense") => (intermediate, hidden),
            path if path.ends_with(".attention.output.dense") => (hidden, hidden),
            path if path.ends_with(".output.dense") => (hidden, intermediate),
            _ => (hidden, hidden),
        };
        let weight = weights.tensor(&format!("{path}.weight"), &[outputs, inputs])?.clone();
        let bias = weights.tensor(&format!("{path}.bias"), &[outputs])?.clone();
        Ok(Self { path, weight, bias })
    }
}

/// The layer norm of `path`.
fn norm(weights: &Checkpoint, path: &str, architecture: &Architecture) -> Outcome<Norm, LoadError> {
    let values = |name: &str| weights.values(&format!("{path}.LayerNorm.{name}"), &[architecture.hidden]);
    Ok(Norm { gamma: values("weight")?.into(), beta: values("bias")?.into(), epsilon: architecture.norm.epsilon })
}
