//! The fused GPU engine: flat batches, no padding, all memory taken when the engine is made.
//!
//! The same forward pass as the CPU engine's, with states in bf16 (f32 for checking). A worker has a stream of its own, so
//! that the copies and kernels of two workers overlap: two workers keep a card busy. It runs as well on an emulated
//! [`Device`], which is how it is tested where there is no GPU.
//!
//! A batch that fails here is no failure of a request: [`guard`] answers it from the CPU.

pub mod guard;
mod weights;

use std::sync::Arc;
use std::time::Duration;

use attune_kernels::cuda::{
    ARCHITECTURES, Arithmetic, AttentionSize, BatchPlan, Bucket, Buffer, CudaError, Device, Element, NormWeights,
    PlanError, PoolKind, Projection, Recording, Stream, StreamSize,
};

use super::{Engine, EngineError, EngineInfo, FlatBatch, Precision, Stop};
use crate::model::{Activation, Architecture, Attention, LoadError, NormPlace, Pooling};

/// How long a batch may take before the card counts as hung. The largest takes some milliseconds.
const BATCH_MAX: Duration = Duration::from_millis(500);

/// Forward passes that a worker keeps: more buckets than a server's traffic usually falls into.
const RECORDINGS_MAX: usize = 64;

/// Why a model is not on a GPU.
#[derive(Debug, thiserror::Error)]
pub enum CudaModelError {
    /// The checkpoint is at fault.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The card is.
    #[error(transparent)]
    Card(#[from] CudaError),
    /// The kernels do not do what the model needs.
    #[error(transparent)]
    Kernels(#[from] PlanError),
}

#[derive(Debug)]
struct Embeddings {
    tokens: Buffer<Element>,
    positions: Buffer<Element>,
    norm: NormWeights,
}

#[derive(Clone, Debug)]
struct Layer {
    query_key_value: Arc<Projection>,
    attention_out: Arc<Projection>,
    attention_norm: Arc<NormWeights>,
    up: Arc<Projection>,
    down: Arc<Projection>,
    output_norm: Arc<NormWeights>,
}

#[derive(Debug)]
struct Head {
    weights: Buffer<f32>,
    bias: Buffer<f32>,
}

/// The weights of one model on one card.
#[derive(Clone, Debug)]
pub struct CudaModel {
    device: Device,
    architecture: Architecture,
    capacity_tokens: usize,
    embeddings: Arc<Embeddings>,
    layers: Vec<Layer>,
    head: Option<Arc<Head>>,
}

impl CudaModel {
    /// The device that it is on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    fn width(&self) -> usize {
        self.head.as_ref().map_or(self.architecture.hidden, |head| head.bias.len())
    }

    /// What runs.
    pub fn info(&self) -> EngineInfo {
        let name = self.device.card().architecture();
        EngineInfo {
            name: "cuda",
            instruction_set: ARCHITECTURES.into_iter().find(|known| *known == name).unwrap_or("cuda"),
            precision: match self.device.arithmetic() {
                Arithmetic::F32 => Precision::F32,
                Arithmetic::Bf16 => Precision::Bf16,
                Arithmetic::F16 => Precision::F16,
            },
        }
    }
}

/// One worker's stream and memory for a [`CudaModel`].
#[derive(Debug)]
pub struct CudaEngine {
    model: Arc<CudaModel>,
    plan: BatchPlan,
    stream: Stream,
    memory: States,
    /// Forward passes of small batches, the latest used first.
    recordings: Vec<(Bucket, Recording)>,
}

/// What a forward pass works on.
#[derive(Debug)]
struct States {
    /// tokens x hidden: the states between layers.
    states: Buffer<Element>,
    /// tokens x hidden: what attention gathers.
    gathered: Buffer<Element>,
    /// tokens x hidden: what a product adds to the states.
    change: Buffer<Element>,
    /// tokens x 3 hidden: queries, keys and values; tokens x intermediate: inside the feed-forward part.
    wide: Buffer<Element>,
    /// rows x hidden.
    pooled: Buffer<f32>,
    /// rows x labels.
    logits: Buffer<f32>,
}

impl CudaEngine {
    /// An engine over shared weights, with memory for batches of the model's capacity.
    ///
    /// # Errors
    /// [`CudaError`] when the card has too little memory left.
    pub fn new(model: Arc<CudaModel>) -> Result<Self, CudaError> {
        let (device, tokens) = (&model.device, model.capacity_tokens);
        let Architecture { hidden, intermediate, .. } = model.architecture;
        let size = StreamSize { tokens, download_bytes: tokens * model.width() * size_of::<f32>(), upload_bytes: 0 };
        let memory = States {
            states: device.allocate(tokens * hidden)?,
            gathered: device.allocate(tokens * hidden)?,
            change: device.allocate(tokens * hidden)?,
            wide: device.allocate(tokens * intermediate.max(3 * hidden))?,
            pooled: device.allocate(tokens * hidden)?,
            logits: device.allocate(tokens * model.head.as_ref().map_or(0, |head| head.bias.len()))?,
        };
        let stream = device.stream(size)?;
        Ok(Self { plan: BatchPlan::default(), stream, memory, recordings: Vec::new(), model })
    }

    /// Queues a whole forward pass; the rows are then in `pooled` or `logits`.
    fn enqueue(&mut self, bucket: Option<Bucket>) -> Result<(), CudaError> {
        let Self { model, plan, stream, memory, recordings } = self;
        stream.begin(plan, BATCH_MAX)?;
        let Some(bucket) = bucket else { return memory.forward(model, stream) };
        match recordings.iter().position(|(recorded, _)| *recorded == bucket) {
            Some(place) => recordings[..=place].rotate_right(1),
            None => {
                let recording = stream.record(|stream| memory.forward(model, stream))?;
                recordings.insert(0, (bucket, recording));
                recordings.truncate(RECORDINGS_MAX);
            }
        }
        stream.replay(&recordings[0].1)
    }
}

impl States {
    fn forward(&mut self, model: &CudaModel, stream: &mut Stream) -> Result<(), CudaError> {
        let Embeddings { tokens, positions, norm } = &*model.embeddings;
        stream.embed_norm(tokens, positions, norm, &mut self.states)?;
        for layer in &model.layers {
            self.layer(&model.architecture, layer, stream)?;
        }
        let kind = match model.architecture.pooling {
            Pooling::Mean => PoolKind::Mean,
            Pooling::First => PoolKind::First,
            Pooling::Last => PoolKind::Last,
        };
        stream.pool(kind, None, model.architecture.hidden, &self.states, &mut self.pooled)?;
        match &model.head {
            Some(head) => stream.head(&head.weights, &head.bias, &self.pooled, &mut self.logits),
            None => Ok(()),
        }
    }

    fn layer(&mut self, architecture: &Architecture, layer: &Layer, stream: &mut Stream) -> Result<(), CudaError> {
        let Self { states, gathered, change, wide, .. } = self;
        let Architecture { hidden, heads, .. } = *architecture;
        let head_width = hidden / heads;
        let (NormPlace::After, Attention::Full) = (architecture.norm.place, architecture.attention);
        let Activation::GeluErf = architecture.activation;

        stream.project(&layer.query_key_value, states, wide)?;
        let size = AttentionSize { heads, head_width, scale: 1.0 / (head_width as f32).sqrt() };
        stream.attention(size, wide, gathered)?;
        stream.project_norm(&layer.attention_out, gathered, &layer.attention_norm, change, states)?;
        stream.project(&layer.up, states, wide)?;
        stream.project_norm(&layer.down, wide, &layer.output_norm, change, states)
    }
}

impl Engine for CudaEngine {
    fn info(&self) -> EngineInfo {
        self.model.info()
    }

    fn width(&self) -> usize {
        self.model.width()
    }

    fn capacity_tokens(&self) -> usize {
        self.model.capacity_tokens
    }

    /// A stop is looked at before the batch is queued: a whole one takes less than a layer does on a CPU.
    fn run(&mut self, batch: FlatBatch<'_>, stop: Stop<'_>, out: &mut [f32]) -> Result<(), EngineError> {
        let Architecture { vocabulary, .. } = self.model.architecture;
        batch.check(self, vocabulary, out)?;
        let positions = self.model.architecture.positions_max();
        let (tokens, offsets) = (batch.tokens(), batch.offsets());
        let bucket = Bucket::of(tokens.len(), offsets.len() - 1, self.model.capacity_tokens);
        self.plan.lay_out(tokens, offsets, vocabulary, positions, bucket).map_err(|error| match error {
            PlanError::Batch(what) => EngineError::Batch(what),
            error => EngineError::Compute(error.to_string()),
        })?;
        if stop() {
            return Err(EngineError::Stopped);
        }
        let rows = self.enqueue(bucket).and_then(|()| {
            let from = if self.model.head.is_some() { &self.memory.logits } else { &self.memory.pooled };
            self.stream.finish_into(from, out, BATCH_MAX)
        });
        rows.map_err(|error| EngineError::Compute(error.to_string()))
    }
}
