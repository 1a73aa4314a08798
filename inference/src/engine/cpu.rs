//! The fused CPU engine: packed weights, flat batches, no padding, nothing allocated in the steady state.
//!
//! One forward pass serves every precision: a [`Linear`] knows how its weights are packed, all else is f32. Weights are
//! packed once and shared by the engines of all workers, and between a model and its adapters where a matrix is the
//! same; what is one worker's own is a [`Workspace`]. The matrix products carry bias, GELU and residual in their
//! epilogue, so a layer is four products, one attention and two norms over memory.

use std::sync::Arc;

use attune_kernels::{
    Activation as Nonlinear, AttentionShape, Epilogue, Isa, PackedBf16, PackedF32, PackedI8, Scratch, attention,
    gemm_bf16, gemm_f32, gemm_i8, inner_products, layer_norm, pool_first, pool_last, pool_mean,
};

use super::{Engine, EngineError, EngineInfo, FlatBatch, Precision, Stop};
use crate::model::{Activation, Adapter, Architecture, Attention, Checkpoint, LoadError, NormPlace, Pooling};

/// A matrix packed for one precision, with its bias.
#[derive(Debug)]
struct Linear {
    weights: Packed,
    bias: Vec<f32>,
}

#[derive(Debug)]
enum Packed {
    F32(PackedF32),
    Bf16(PackedBf16),
    Int8(PackedI8),
}

impl Linear {
    /// `y = activation(x w^T + bias) + residual`.
    fn apply(&self, x: &[f32], rows: usize, after: After<'_>, y: &mut [f32], scratch: &mut Scratch) {
        let epilogue = Epilogue { bias: Some(&self.bias), activation: after.activation, residual: after.residual };
        match &self.weights {
            Packed::F32(w) => gemm_f32(w, x, rows, epilogue, y, scratch),
            Packed::Bf16(w) => gemm_bf16(w, x, rows, epilogue, y, scratch),
            Packed::Int8(w) => gemm_i8(w, x, rows, epilogue, y, scratch),
        }
    }
}

/// What follows a product.
#[derive(Default)]
struct After<'a> {
    activation: Nonlinear,
    residual: Option<&'a [f32]>,
}

/// Scale and shift of a norm.
#[derive(Clone, Debug)]
struct NormWeights {
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

/// Token and position vectors; the segment vector of a single text is already added to the positions.
#[derive(Debug)]
struct Embeddings {
    tokens: Vec<f32>,
    positions: Vec<f32>,
    norm: NormWeights,
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
struct Head {
    weights: Vec<f32>,
    bias: Vec<f32>,
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

/// Packs matrices for one instruction set and precision.
#[derive(Clone, Copy, Debug)]
struct Packer {
    isa: Isa,
    precision: Precision,
}

impl Packer {
    /// Packs the named modules of `checkpoint` one above the other, as one matrix of `rows` x `columns` each.
    fn linear(
        &self,
        checkpoint: &Checkpoint,
        modules: &[String],
        rows: usize,
        columns: usize,
    ) -> Result<Arc<Linear>, LoadError> {
        let (mut weights, mut bias) = (Vec::with_capacity(modules.len() * rows * columns), Vec::new());
        for module in modules {
            weights.extend(checkpoint.values(&format!("{module}.weight"), &[rows, columns])?);
            bias.extend(checkpoint.values(&format!("{module}.bias"), &[rows])?);
        }
        let rows = rows * modules.len();
        let weights = match self.precision {
            Precision::F32 => Packed::F32(PackedF32::pack(self.isa, &weights, rows, columns)),
            Precision::Bf16 => Packed::Bf16(PackedBf16::pack(self.isa, &weights, rows, columns)),
            Precision::Int8 => Packed::Int8(PackedI8::pack(self.isa, &weights, rows, columns)),
        };
        Ok(Arc::new(Linear { weights, bias }))
    }
}

/// Names of the modules of a BERT layer.
struct LayerModules {
    query_key_value: [String; 3],
    attention_out: [String; 1],
    attention_norm: String,
    up: [String; 1],
    down: [String; 1],
    output_norm: String,
}

impl LayerModules {
    fn bert(layer: usize) -> Self {
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
        let packer = Packer { isa, precision };
        let layers = (0..architecture.layers)
            .map(|layer| load_layer(&packer, checkpoint, architecture, &LayerModules::bert(layer)))
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
        let repack = |shared: &Arc<Linear>, modules: &[String], rows, columns| match modules
            .iter()
            .any(|module| adapter.touches(module))
        {
            true => packer.linear(merged, modules, rows, columns),
            false => Ok(Arc::clone(shared)),
        };
        let layers = self.layers.iter().enumerate().map(|(number, layer)| {
            let modules = LayerModules::bert(number);
            Ok(Layer {
                query_key_value: repack(&layer.query_key_value, &modules.query_key_value, hidden, hidden)?,
                attention_out: repack(&layer.attention_out, &modules.attention_out, hidden, hidden)?,
                up: repack(&layer.up, &modules.up, inner, hidden)?,
                down: repack(&layer.down, &modules.down, hidden, inner)?,
                ..layer.clone()
            })
        });
        Ok(Self {
            layers: layers.collect::<Result<_, _>>()?,
            head: load_head(merged, &self.architecture, labels)?,
            ..self.clone()
        })
    }

    fn width(&self) -> usize {
        self.head.as_ref().map_or(self.architecture.hidden, |head| head.bias.len())
    }
}

fn load_layer(
    packer: &Packer,
    checkpoint: &Checkpoint,
    architecture: &Architecture,
    modules: &LayerModules,
) -> Result<Layer, LoadError> {
    let (hidden, inner) = (architecture.hidden, architecture.intermediate);
    Ok(Layer {
        query_key_value: packer.linear(checkpoint, &modules.query_key_value, hidden, hidden)?,
        attention_out: packer.linear(checkpoint, &modules.attention_out, hidden, hidden)?,
        attention_norm: Arc::new(load_norm(checkpoint, &modules.attention_norm, hidden)?),
        up: packer.linear(checkpoint, &modules.up, inner, hidden)?,
        down: packer.linear(checkpoint, &modules.down, hidden, inner)?,
        output_norm: Arc::new(load_norm(checkpoint, &modules.output_norm, hidden)?),
    })
}

fn load_norm(checkpoint: &Checkpoint, module: &str, width: usize) -> Result<NormWeights, LoadError> {
    Ok(NormWeights {
        gamma: checkpoint.values(&format!("{module}.weight"), &[width])?,
        beta: checkpoint.values(&format!("{module}.bias"), &[width])?,
    })
}

fn load_embeddings(checkpoint: &Checkpoint, architecture: &Architecture) -> Result<Embeddings, LoadError> {
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

fn load_head(checkpoint: &Checkpoint, architecture: &Architecture, labels: usize) -> Result<Option<Head>, LoadError> {
    if labels == 0 {
        return Ok(None);
    }
    Ok(Some(Head {
        weights: checkpoint.values("classifier.weight", &[labels, architecture.hidden])?,
        bias: checkpoint.values("classifier.bias", &[labels])?,
    }))
}

/// One worker's memory, grown to the largest batch seen and then reused.
#[derive(Debug, Default)]
struct Workspace {
    /// tokens x hidden: the states between layers.
    states: Vec<f32>,
    /// tokens x hidden: what attention gathers, then what the layer's second half adds up.
    gathered: Vec<f32>,
    /// tokens x hidden: the states between the halves of a layer.
    middle: Vec<f32>,
    /// tokens x 3 hidden: queries, keys and values; tokens x intermediate: inside the feed-forward part.
    wide: Vec<f32>,
    /// rows x hidden.
    pooled: Vec<f32>,
    scratch: Scratch,
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
            if stop() {
                return Err(EngineError::Stopped);
            }
            model.layer(layer, batch, workspace);
        }
        model.finish(batch, workspace, out);
        Ok(())
    }
}

impl Workspace {
    fn resize(&mut self, architecture: &Architecture, batch: FlatBatch<'_>) {
        let (tokens, hidden) = (batch.tokens().len(), architecture.hidden);
        for states in [&mut self.states, &mut self.gathered, &mut self.middle] {
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

    /// One layer over `states`.
    fn layer(&self, layer: &Layer, batch: FlatBatch<'_>, workspace: &mut Workspace) {
        let (rows, hidden) = (batch.tokens().len(), self.architecture.hidden);
        let Workspace { states, gathered, middle, wide, scratch, .. } = workspace;
        let NormPlace::After = self.architecture.norm.place;

        let projected = &mut wide[..rows * 3 * hidden];
        layer.query_key_value.apply(states, rows, After::default(), projected, scratch);
        let Attention::Full = self.architecture.attention;
        attention(self.isa, self.attention_shape(), projected, batch.offsets(), gathered, scratch);
        let residual = After { residual: Some(states), ..After::default() };
        layer.attention_out.apply(gathered, rows, residual, middle, scratch);
        self.normalise(&layer.attention_norm, middle);

        let inner = &mut wide[..rows * self.architecture.intermediate];
        let Activation::GeluErf = self.architecture.activation;
        let gelu = After { activation: Nonlinear::GeluErf, ..After::default() };
        layer.up.apply(middle, rows, gelu, inner, scratch);
        let residual = After { residual: Some(middle), ..After::default() };
        layer.down.apply(inner, rows, residual, states, scratch);
        self.normalise(&layer.output_norm, states);
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
