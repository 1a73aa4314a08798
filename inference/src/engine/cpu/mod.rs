//! The fused CPU engine: packed weights, flat batches, no padding, nothing allocated in the steady state.
//!
//! One forward pass serves every precision: a [`Linear`] knows how its weights are packed, all else is f32. Weights are
//! packed once and shared by the engines of all workers, and between a model and its adapters where a matrix is the
//! same; what is one worker's own is a [`Workspace`]. The matrix products carry bias, GELU and residual in their
//! epilogue, so a layer is four products, one attention and two norms over memory.

mod linear;
mod parts;
mod smooth;
pub(in crate::engine) mod weights;

use std::sync::Arc;

use attune_kernels::{
    Activation as Nonlinear, AttentionShape, Isa, attention, inner_products, layer_norm, pool_first, pool_last,
    pool_mean,
};

use self::linear::{After, Linear, Memory};
use self::parts::{Part, Parts};
use super::{Engine, EngineError, EngineInfo, FlatBatch, Precision, Stop};
use crate::model::{Activation, Architecture, Attention, NormPlace, Pooling};

/// Scale and shift of a norm.
#[derive(Clone, Debug)]
pub(in crate::engine) struct NormWeights {
    pub(in crate::engine) gamma: Vec<f32>,
    pub(in crate::engine) beta: Vec<f32>,
}

/// Token and position vectors; the segment vector of a single text is already added to the positions.
#[derive(Debug)]
pub(in crate::engine) struct Embeddings {
    pub(in crate::engine) tokens: Vec<f32>,
    pub(in crate::engine) positions: Vec<f32>,
    pub(in crate::engine) norm: NormWeights,
}

#[derive(Clone, Debug)]
struct Layer {
    query_key_value: Arc<Linear>,
    attention_out: Arc<Linear>,
    attention_norm: Arc<NormWeights>,
    up: Arc<Linear>,
    down: Arc<Linear>,
    output_norm: Arc<NormWeights>,
}

/// A classification head: few rows, so plain f32 at any precision.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Head {
    pub(in crate::engine) weights: Vec<f32>,
    pub(in crate::engine) bias: Vec<f32>,
}

/// The packed weights of one model at one precision.
#[derive(Clone, Debug)]
pub struct CpuModel {
    architecture: Architecture,
    isa: Isa,
    precision: Precision,
    capacity_tokens: usize,
    embeddings: Arc<Embeddings>,
    layers: Vec<Layer>,
    head: Option<Head>,
}

impl CpuModel {
    fn width(&self) -> usize {
        self.head.as_ref().map_or(self.architecture.hidden, |head| head.bias.len())
    }
}

/// One worker's memory, grown to the largest batch seen and then reused. Only the states between layers are kept for all
/// tokens of a batch; what a layer needs in between is kept for one of its [`Parts`] at a time.
#[derive(Debug, Default)]
struct Workspace {
    parts: Parts,
    /// All tokens x hidden: the states between layers.
    states: Vec<f32>,
    /// tokens x hidden: what attention gathers.
    gathered: Vec<f32>,
    /// tokens x hidden: the states between the halves of a layer.
    middle: Vec<f32>,
    /// tokens x 3 hidden: queries, keys and values; tokens x intermediate: inside the feed-forward part.
    wide: Vec<f32>,
    /// rows x hidden.
    pooled: Vec<f32>,
    memory: Memory,
}

/// One worker's handle on a [`CpuModel`].
#[derive(Debug)]
pub struct CpuEngine {
    model: Arc<CpuModel>,
    workspace: Workspace,
}

impl CpuEngine {
    /// An engine over shared weights.
    pub fn new(model: Arc<CpuModel>) -> Self {
        Self { model, workspace: Workspace::default() }
    }
}

impl Engine for CpuEngine {
    fn info(&self) -> EngineInfo {
        EngineInfo { name: "cpu", instruction_set: self.model.isa.name(), precision: self.model.precision }
    }

    fn width(&self) -> usize {
        self.model.width()
    }

    fn capacity_tokens(&self) -> usize {
        self.model.capacity_tokens
    }

    fn run(&mut self, batch: FlatBatch<'_>, stop: Stop<'_>, out: &mut [f32]) -> Result<(), EngineError> {
        batch.check(self, self.model.architecture.vocabulary, out)?;
        let longest = batch.iter().map(<[u32]>::len).max().unwrap_or(0);
        if longest > self.model.architecture.positions_max() {
            return Err(EngineError::Batch("a row longer than the model has positions"));
        }
        let (model, workspace) = (&self.model, &mut self.workspace);
        workspace.resize(&model.architecture, batch);
        model.embed(batch, workspace);
        for layer in &model.layers {
            for number in 0..workspace.parts.count() {
                model.layer(layer, number, workspace, stop)?;
            }
        }
        model.finish(batch, workspace, out);
        Ok(())
    }
}

/// Asked before every product: the longest of them is the longest that a stop, or another thread, waits.
fn go_on(stop: Stop<'_>) -> Result<(), EngineError> {
    if stop() { Err(EngineError::Stopped) } else { Ok(()) }
}

impl Workspace {
    fn resize(&mut self, architecture: &Architecture, batch: FlatBatch<'_>) {
        let hidden = architecture.hidden;
        self.parts.cut(batch.offsets());
        self.states.resize(batch.tokens().len() * hidden, 0.0);
        let tokens = self.parts.tokens_max();
        for states in [&mut self.gathered, &mut self.middle] {
            states.resize(tokens * hidden, 0.0);
        }
        self.wide.resize(tokens * architecture.intermediate.max(3 * hidden), 0.0);
        self.pooled.resize(batch.rows() * hidden, 0.0);
    }
}

impl CpuModel {
    /// Token vectors plus position vectors, normalised, into `states`. Positions start again with each row.
    fn embed(&self, batch: FlatBatch<'_>, workspace: &mut Workspace) {
        let hidden = self.architecture.hidden;
        let Embeddings { tokens, positions, norm } = &*self.embeddings;
        let places = batch.iter().flat_map(|row| row.iter().enumerate());
        for ((place, &token), state) in places.zip(workspace.states.chunks_exact_mut(hidden)) {
            let token = &tokens[token as usize * hidden..][..hidden];
            let position = &positions[place * hidden..][..hidden];
            for ((state, token), position) in state.iter_mut().zip(token).zip(position) {
                *state = token + position;
            }
        }
        self.normalise(norm, &mut workspace.states);
    }

    /// One layer over one part of `states`.
    fn layer(&self, layer: &Layer, part: usize, workspace: &mut Workspace, stop: Stop<'_>) -> Result<(), EngineError> {
        let hidden = self.architecture.hidden;
        let Workspace { parts, states, gathered, middle, wide, memory, .. } = workspace;
        let part = parts.get(part);
        let (rows, Part { first_token, offsets }) = (part.tokens(), part);
        let states = &mut states[first_token * hidden..][..rows * hidden];
        let (gathered, middle) = (&mut gathered[..rows * hidden], &mut middle[..rows * hidden]);
        let NormPlace::After = self.architecture.norm.place;

        go_on(stop)?;
        let projected = &mut wide[..rows * 3 * hidden];
        layer.query_key_value.apply(states, rows, After::default(), projected, memory);
        let Attention::Full = self.architecture.attention;
        attention(self.isa, self.attention_shape(), projected, offsets, gathered, &mut memory.scratch);
        go_on(stop)?;
        let residual = After { residual: Some(states), ..After::default() };
        layer.attention_out.apply(gathered, rows, residual, middle, memory);
        self.normalise(&layer.attention_norm, middle);

        go_on(stop)?;
        let inner = &mut wide[..rows * self.architecture.intermediate];
        let Activation::GeluErf = self.architecture.activation;
        let gelu = After { activation: Nonlinear::GeluErf, ..After::default() };
        layer.up.apply(middle, rows, gelu, inner, memory);
        go_on(stop)?;
        let residual = After { residual: Some(middle), ..After::default() };
        layer.down.apply(inner, rows, residual, states, memory);
        self.normalise(&layer.output_norm, states);
        Ok(())
    }

    /// Pools each row of `states` and applies the head.
    fn finish(&self, batch: FlatBatch<'_>, workspace: &mut Workspace, out: &mut [f32]) {
        let hidden = self.architecture.hidden;
        let Workspace { states, pooled, .. } = workspace;
        let Some(head) = &self.head else {
            return self.pool(states, batch.offsets(), out);
        };
        self.pool(states, batch.offsets(), pooled);
        for (row, logits) in pooled.chunks_exact(hidden).zip(out.chunks_exact_mut(head.bias.len())) {
            inner_products(self.isa, row, &head.weights, logits);
            logits.iter_mut().zip(&head.bias).for_each(|(logit, bias)| *logit += bias);
        }
    }

    fn pool(&self, states: &[f32], offsets: &[usize], out: &mut [f32]) {
        let hidden = self.architecture.hidden;
        match self.architecture.pooling {
            Pooling::Mean => pool_mean(self.isa, states, offsets, hidden, out),
            Pooling::First => pool_first(states, offsets, hidden, out),
            Pooling::Last => pool_last(states, offsets, hidden, out),
        }
    }

    fn attention_shape(&self) -> AttentionShape {
        let Architecture { hidden, heads, .. } = self.architecture;
        let head_width = hidden / heads;
        AttentionShape { heads, head_width, scale: 1.0 / (head_width as f32).sqrt() }
    }

    fn normalise(&self, norm: &NormWeights, states: &mut [f32]) {
        layer_norm(self.isa, states, &norm.gamma, &norm.beta, self.architecture.norm.epsilon);
    }
}
