//! The one entrance: what services call.

use std::sync::Arc;
use std::time::Instant;

use attune_kernels::cuda::{CardState, DeviceChoice};
use tokio::sync::Semaphore;

use crate::call::{
    CallContext, Classifications, ClassifyRequest, EmbedRequest, Embeddings, InferenceError, Input, TextLimits, Timing,
    Truncate,
};
use crate::model::LoadError;
use crate::registry::{EngineChoice, Model, ModelInfo, ModelSpec, PrecisionChoice, Registry, Task};
use crate::schedule::{Job, JobError, Limits, ModelId, Refused, Rows, Scheduler, SchedulerConfig, Stats};
use crate::task;
use crate::tokenize::{Encoded, TextTokenizer};

/// Calls with fewer bytes of text are tokenised where they are (some 50 us); larger ones on a thread that may block.
const INLINE_BYTES_MAX: usize = 2048;

/// Workers that keep a card busy: while one's batch is copied and queued, another's is computed. With more, batches would
/// be smaller.
const WORKERS_PER_CARD: usize = 2;

/// How a process runs its models.
#[derive(Clone, Debug, Default)]
pub struct InferenceConfig {
    /// Worker threads, each with an engine of every model; `None`: two for each card in use, else one per processor.
    pub workers: Option<usize>,
    /// The bounds of queues and batches.
    pub queue: Limits,
    /// Which engine.
    pub engine: EngineChoice,
    /// Number format of models that do not say.
    pub precision: PrecisionChoice,
    /// Where the fused engine runs.
    pub device: DeviceChoice,
    /// Bounds on one call.
    pub limits: TextLimits,
}

/// Models, tokenizers, a queue and the threads that empty it. Cheap to clone; the last clone stops the threads.
#[derive(Clone, Debug)]
pub struct Inference {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    registry: Registry,
    scheduler: Scheduler,
    limits: TextLimits,
    queue: Limits,
    /// Large calls that are tokenised at once, one for each processor: each may need many times the memory of its text.
    tokenising: Arc<Semaphore>,
}

/// Texts of one call, tokenised.
struct Tokenised {
    ids: Vec<Vec<u32>>,
    tokens: Vec<usize>,
    truncated: Vec<bool>,
}

impl Inference {
    /// Loads the models and starts the workers.
    ///
    /// # Errors
    /// [`LoadError`] of the first model that cannot be loaded, or when the system refuses a thread.
    pub fn start(config: InferenceConfig, models: Vec<ModelSpec>) -> Result<Self, LoadError> {
        let registry = Registry::load(&models, config.engine, config.precision, config.device)?;
        let factories = registry.models().iter().map(|model| Arc::clone(model) as _).collect();
        let mut scheduling = SchedulerConfig { limits: config.queue.clone(), ..SchedulerConfig::default() };
        scheduling.workers = config.workers.unwrap_or(match registry.card_count() {
            0 => scheduling.workers,
            cards => cards * WORKERS_PER_CARD,
        });
        let scheduler = Scheduler::start(factories, scheduling)
            .map_err(|error| LoadError::Machine(format!("cannot start the worker threads: {error}")))?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = Shared {
            registry,
            scheduler,
            limits: config.limits,
            queue: config.queue,
            tokenising: Arc::new(Semaphore::new(processors)),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Embeds texts. Dropping the future cancels what has not been computed.
    ///
    /// # Errors
    /// [`InferenceError`], before any work for all that the caller can mend.
    pub async fn embed(&self, request: EmbedRequest, call: CallContext) -> Result<Embeddings, InferenceError> {
        let (place, model) = self.find(&request.model)?;
        let Task::Embed { dimensions: width } = model.info.task else {
            return Err(wrong_task(model, "embed"));
        };
        let dimensions = request.dimensions.unwrap_or(width);
        if !(1..=width).contains(&dimensions) {
            return Err(InferenceError::BadDimensions { asked: dimensions, max: width });
        }
        let (texts, rows, timing) = self.run(place, model, request.inputs, request.truncate, call).await?;
        Ok(Embeddings {
            model: model.info.name.clone(),
            version: model.info.version.clone(),
            values: task::embed::finish(rows.values, width, dimensions, request.normalize),
            dimensions,
            tokens: texts.tokens,
            truncated: texts.truncated,
            timing,
        })
    }

    /// Classifies texts. Dropping the future cancels what has not been computed.
    ///
    /// # Errors
    /// As [`embed`](Self::embed).
    pub async fn classify(
        &self,
        request: ClassifyRequest,
        call: CallContext,
    ) -> Result<Classifications, InferenceError> {
        let (place, model) = self.find(&request.model)?;
        let Task::Classify { labels } = &model.info.task else {
            return Err(wrong_task(model, "classify"));
        };
        let (texts, rows, timing) = self.run(place, model, request.inputs, request.truncate, call).await?;
        Ok(Classifications {
            model: model.info.name.clone(),
            version: model.info.version.clone(),
            labels: Arc::clone(labels),
            probabilities: task::classify::probabilities(&rows.values, labels.len()),
            tokens: texts.tokens,
            truncated: texts.truncated,
            timing,
        })
    }

    /// The models, in the order of the configuration.
    pub fn models(&self) -> Vec<ModelInfo> {
        self.shared.registry.models().iter().map(|model| model.info.clone()).collect()
    }

    /// The bounds on one call.
    pub fn text_limits(&self) -> TextLimits {
        self.shared.limits
    }

    /// The bounds of queues and batches.
    pub fn queue_limits(&self) -> &Limits {
        &self.shared.queue
    }

    /// What the GPUs do: one state for each model and card, none where models run on the CPU.
    pub fn cards(&self) -> Vec<CardState> {
        self.shared.registry.cards()
    }

    /// What happens and has happened.
    pub fn stats(&self) -> Stats {
        self.shared.scheduler.stats()
    }

    /// Whether calls are taken.
    pub fn is_ready(&self) -> bool {
        !self.stats().draining
    }

    /// Refuses new calls from now on, and returns when all earlier ones have been answered.
    pub async fn drain(&self) {
        self.shared.scheduler.drain().await;
    }

    fn find(&self, name: &str) -> Result<(ModelId, &Arc<Model>), InferenceError> {
        let registry = &self.shared.registry;
        let found = registry.find(name).map(|(place, model)| (ModelId(place), model));
        found.ok_or_else(|| InferenceError::UnknownModel {
            name: name.to_owned(),
            known: registry.models().iter().map(|model| model.info.name.clone()).collect(),
        })
    }

    async fn run(
        &self,
        place: ModelId,
        model: &Arc<Model>,
        inputs: Vec<Input>,
        truncate: Truncate,
        call: CallContext,
    ) -> Result<(Tokenised, Rows, Timing), InferenceError> {
        check_inputs(&inputs, self.shared.limits)?;
        let start = Instant::now();
        let mut texts = self.tokenise(model, inputs, truncate).await?;
        let tokenize = start.elapsed();
        let job = Job {
            model: place,
            tokens: std::mem::take(&mut texts.ids),
            class: call.class,
            caller: call.caller,
            deadline: call.deadline,
        };
        let rows = self.shared.scheduler.submit(job).map_err(refusal)?.await.map_err(failure)?;
        let timing = Timing { tokenize, queue: rows.queue, infer: rows.infer };
        Ok((texts, rows, timing))
    }

    /// Tokenises where it does not hold up other tasks. Dropping the future ends it at the next text.
    async fn tokenise(
        &self,
        model: &Arc<Model>,
        inputs: Vec<Input>,
        truncate: Truncate,
    ) -> Result<Tokenised, InferenceError> {
        let bytes: usize = inputs.iter().map(|input| if let Input::Text(text) = input { text.len() } else { 0 }).sum();
        if bytes <= INLINE_BYTES_MAX {
            return tokenise_all(model, &inputs, truncate, || true);
        }
        let turn = Arc::clone(&self.shared.tokenising).acquire_owned().await.expect("it is never closed");
        let waiting = Arc::new(());
        let (model, still_waiting) = (Arc::clone(model), Arc::downgrade(&waiting));
        let texts = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            tokenise_all(&model, &inputs, truncate, || still_waiting.strong_count() > 0)
        });
        texts.await.unwrap_or_else(|error| Err(InferenceError::Engine(format!("tokenising: {error}"))))
    }
}

fn wrong_task(model: &Model, asked: &'static str) -> InferenceError {
    let task = match model.info.task {
        Task::Embed { .. } => "embedding",
        Task::Classify { .. } => "classification",
    };
    InferenceError::WrongTask { name: model.info.name.clone(), asked, task }
}

fn check_inputs(inputs: &[Input], limits: TextLimits) -> Result<(), InferenceError> {
    if inputs.is_empty() {
        return Err(InferenceError::NoInputs);
    }
    if inputs.len() > limits.texts_max {
        return Err(InferenceError::TooManyInputs { count: inputs.len(), max: limits.texts_max });
    }
    let bytes = |input: &Input| match input {
        Input::Text(text) => text.len(),
        Input::Tokens(_) => 0,
    };
    match inputs.iter().map(bytes).enumerate().find(|(_, bytes)| *bytes > limits.text_bytes_max) {
        Some((index, bytes)) => Err(InferenceError::TextTooLarge { index, bytes, max: limits.text_bytes_max }),
        None => Ok(()),
    }
}

fn tokenise_all(
    model: &Model,
    inputs: &[Input],
    truncate: Truncate,
    is_wanted: impl Fn() -> bool,
) -> Result<Tokenised, InferenceError> {
    let mut texts = Tokenised { ids: Vec::new(), tokens: Vec::new(), truncated: Vec::new() };
    for (index, input) in inputs.iter().enumerate() {
        if !is_wanted() {
            return Err(InferenceError::DeadlinePassed); // for nobody to see
        }
        let encoded = match input {
            Input::Text(text) => encode(&model.tokenizer, index, text, truncate)?,
            Input::Tokens(ids) => check_ids(&model.info, index, ids)?,
        };
        texts.tokens.push(encoded.ids.len());
        texts.truncated.push(encoded.tokens > encoded.ids.len());
        texts.ids.push(encoded.ids);
    }
    Ok(texts)
}

fn encode(tokenizer: &TextTokenizer, index: usize, text: &str, truncate: Truncate) -> Result<Encoded, InferenceError> {
    let encoded = tokenizer.encode(text).map_err(|detail| InferenceError::Untokenisable { index, detail })?;
    let max = tokenizer.tokens_max();
    match truncate {
        Truncate::Refuse if encoded.tokens > max => {
            Err(InferenceError::TooManyTokens { index, tokens: encoded.tokens, max })
        }
        _ => Ok(encoded),
    }
}

fn check_ids(info: &ModelInfo, index: usize, ids: &[u32]) -> Result<Encoded, InferenceError> {
    if ids.is_empty() {
        return Err(InferenceError::NoTokens { index });
    }
    if ids.len() > info.max_tokens {
        return Err(InferenceError::TooManyTokens { index, tokens: ids.len(), max: info.max_tokens });
    }
    let vocabulary = info.vocabulary;
    match ids.iter().find(|&&token| token as usize >= vocabulary) {
        Some(&token) => Err(InferenceError::UnknownToken { index, token, vocabulary }),
        None => Ok(Encoded { ids: ids.to_vec(), tokens: ids.len() }),
    }
}

fn refusal(refused: Refused) -> InferenceError {
    match refused {
        Refused::Full { retry_after } => InferenceError::Overloaded { retry_after },
        Refused::DeadlinePassed => InferenceError::DeadlinePassed,
        Refused::Draining => InferenceError::Draining,
        Refused::TooLarge { .. } => InferenceError::TooLarge(refused.to_string()),
        Refused::NoTexts => InferenceError::NoInputs,
        Refused::TextTooLong { index, tokens, tokens_max } => {
            InferenceError::TooManyTokens { index, tokens, max: tokens_max }
        }
        Refused::EmptyText { index } => InferenceError::NoTokens { index },
        Refused::UnknownModel(_) => InferenceError::Engine(refused.to_string()),
    }
}

fn failure(error: JobError) -> InferenceError {
    match error {
        JobError::DeadlinePassed => InferenceError::DeadlinePassed,
        JobError::ShutDown => InferenceError::Draining,
        JobError::Engine(_) | JobError::Panicked(_) => InferenceError::Engine(error.to_string()),
    }
}
