//! The models of a process: read from disk, packed, named.
//!
//! Models that stand on one folder share what is the same: the tokenizer, the embeddings, every matrix that an adapter
//! leaves alone. Checkpoints live only while loading.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use attune_kernels::Isa;
use attune_kernels::cuda::{CardState, DeviceChoice};
use sha2::{Digest, Sha256};

use crate::cards::{CardSource, Cards, OnCards};
use crate::engine::cpu::{CpuEngine, CpuModel};
use crate::engine::reference::{ReferenceEngine, ReferenceModel};
use crate::engine::{Engine, EngineInfo, Precision};
use crate::model::error::read;
use crate::model::{Adapter, Architecture, Checkpoint, LoadError, ModelConfig, Pooling};
use crate::schedule::EngineFactory;
use crate::tokenize::TextTokenizer;

/// Most tokens of a batch: what a worker's memory is sized for. The 25 ms bound is far below it on a CPU.
pub(crate) const CAPACITY_TOKENS: usize = 4096;

/// Hex digits of a version: 48 bits, enough to tell the versions of one model apart.
const VERSION_DIGITS: usize = 12;

/// A model to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSpec {
    /// What clients call it.
    pub name: String,
    /// Other names for it.
    pub aliases: Vec<String>,
    /// A folder in the Hugging Face layout.
    pub path: PathBuf,
    /// A folder in PEFT's layout, merged into the model at load.
    pub adapter: Option<PathBuf>,
    /// Number format; `None`: the process's choice.
    pub precision: Option<PrecisionChoice>,
    /// Longest text in tokens; `None`: what the model's positions allow.
    pub max_tokens: Option<usize>,
}

/// Which engine runs the models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineChoice {
    /// candle, one text at a time.
    Reference,
    /// The fused engines: on cards where there are any and the device says so, else on the CPU.
    #[default]
    Cpu,
}

/// Number format of the matrix products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PrecisionChoice {
    /// bf16 on a GPU (f16 before compute 8.0) and where AMX is, else f32.
    #[default]
    Auto,
    /// IEEE single.
    F32,
    /// bfloat16.
    Bf16,
    /// 7-bit rows by 8-bit channels.
    Int8,
}

impl PrecisionChoice {
    /// The format for a processor.
    pub fn on(self, isa: Isa) -> Precision {
        match self {
            Self::Auto if isa == Isa::Amx => Precision::Bf16,
            Self::Auto | Self::F32 => Precision::F32,
            Self::Bf16 => Precision::Bf16,
            Self::Int8 => Precision::Int8,
        }
    }
}

/// What a model does with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// A vector of this many dimensions.
    Embed {
        /// Floats in an embedding.
        dimensions: usize,
    },
    /// A probability for each label.
    Classify {
        /// Labels by class number.
        labels: Arc<[String]>,
    },
}

/// What a client may know of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    /// Canonical name.
    pub name: String,
    /// Other names.
    pub aliases: Vec<String>,
    /// Changes whenever answers may change.
    pub version: String,
    /// What it does.
    pub task: Task,
    /// How token states become one vector.
    pub pooling: Pooling,
    /// Longest text in tokens, special ones included.
    pub max_tokens: usize,
    /// Token ids are below this.
    pub vocabulary: usize,
    /// What computes it.
    pub engine: EngineInfo,
    /// Name of the folder that it stands on.
    pub base: String,
    /// Whether an adapter is merged in.
    pub adapted: bool,
}

impl ModelInfo {
    /// Whether this is its name or an alias.
    pub fn answers_to(&self, name: &str) -> bool {
        self.name == name || self.aliases.iter().any(|alias| alias == name)
    }
}

/// A loaded model: a name, a tokenizer and the weights that engines share.
#[derive(Debug)]
pub struct Model {
    /// What clients may know.
    pub info: ModelInfo,
    /// Text to ids.
    pub tokenizer: Arc<TextTokenizer>,
    architecture: Architecture,
    weights: Weights,
}

#[derive(Clone, Debug)]
enum Weights {
    Reference(Arc<ReferenceModel>),
    Cpu(Arc<CpuModel>),
    /// On cards, with the CPU's weights behind them.
    Cuda(Arc<OnCards>),
}

impl Weights {
    fn engine(&self) -> Box<dyn Engine> {
        match self {
            Self::Reference(model) => Box::new(ReferenceEngine(Arc::clone(model))),
            Self::Cpu(model) => Box::new(CpuEngine::new(Arc::clone(model))),
            Self::Cuda(cards) => cards.engine(),
        }
    }
}

impl Model {
    fn cards(&self) -> Vec<CardState> {
        match &self.weights {
            Weights::Cuda(cards) => cards.states(),
            Weights::Reference(_) | Weights::Cpu(_) => Vec::new(),
        }
    }
}

impl EngineFactory for Model {
    fn engine(&self) -> Box<dyn Engine> {
        self.weights.engine()
    }

    fn capacity_tokens(&self) -> usize {
        CAPACITY_TOKENS
    }

    fn work(&self, tokens: usize) -> f64 {
        self.architecture.flops(tokens)
    }
}

/// Models by name and alias.
#[derive(Debug, Default)]
pub struct Registry {
    models: Vec<Arc<Model>>,
    places: HashMap<String, usize>,
}

impl Registry {
    /// Loads models in order.
    ///
    /// # Errors
    /// [`LoadError`] of the first that cannot be loaded, when two share a name, or when a card was named that cannot be
    /// used.
    pub fn load(
        specs: &[ModelSpec],
        engine: EngineChoice,
        precision: PrecisionChoice,
        device: DeviceChoice,
    ) -> Result<Self, LoadError> {
        let isa = Isa::active().map_err(|error| LoadError::Machine(error.to_string()))?;
        let cards = match engine {
            EngineChoice::Reference => Cards::none("the reference engine runs on the CPU"),
            EngineChoice::Cpu => Cards::find(device).map_err(|error| LoadError::Machine(error.to_string()))?,
        };
        let mut loader = Loader { isa, engine, precision, cards, folders: HashMap::new(), packed: HashMap::new() };
        let mut registry = Self::default();
        for spec in specs {
            let model = loader.load(spec)?;
            registry.add(model)?;
        }
        Ok(registry)
    }

    fn add(&mut self, model: Model) -> Result<(), LoadError> {
        for name in std::iter::once(&model.info.name).chain(&model.info.aliases) {
            if self.places.insert(name.clone(), self.models.len()).is_some() {
                let detail = "two models have this name or alias; names must differ".into();
                return Err(LoadError::Model { name: name.clone(), detail });
            }
        }
        self.models.push(Arc::new(model));
        Ok(())
    }

    /// What the cards do: one state for each model and card.
    pub fn cards(&self) -> Vec<CardState> {
        self.models.iter().flat_map(|model| model.cards()).collect()
    }

    /// How many cards the models are on.
    pub fn card_count(&self) -> usize {
        self.models.iter().map(|model| model.cards().len()).max().unwrap_or(0)
    }

    /// All models, in the order of their loading.
    pub fn models(&self) -> &[Arc<Model>] {
        &self.models
    }

    /// A model and its place in the list, by name or alias.
    pub fn find(&self, name: &str) -> Option<(usize, &Arc<Model>)> {
        let place = *self.places.get(name)?;
        Some((place, &self.models[place]))
    }
}

/// What several models may share while they are loaded.
struct Loader {
    isa: Isa,
    engine: EngineChoice,
    precision: PrecisionChoice,
    cards: Cards,
    folders: HashMap<PathBuf, Folder>,
    packed: HashMap<(PathBuf, Precision), Arc<CpuModel>>,
}

/// A model folder in memory.
struct Folder {
    config: ModelConfig,
    checkpoint: Checkpoint,
    digest: Sha256,
    tokenizers: HashMap<usize, Arc<TextTokenizer>>,
}

impl Folder {
    fn read(path: &Path) -> Result<Self, LoadError> {
        let config = ModelConfig::read(path)?;
        let checkpoint = Checkpoint::read(path)?;
        let mut digest = Sha256::new();
        for file in ["config.json", "tokenizer.json", "model.safetensors"] {
            digest.update(read(&path.join(file))?);
        }
        Ok(Self { config, checkpoint, digest, tokenizers: HashMap::new() })
    }
}

impl Loader {
    fn load(&mut self, spec: &ModelSpec) -> Result<Model, LoadError> {
        if !self.folders.contains_key(&spec.path) {
            self.folders.insert(spec.path.clone(), Folder::read(&spec.path)?);
        }
        let adapter = spec.adapter.as_deref().map(Adapter::read).transpose()?;
        let precision = match self.engine {
            EngineChoice::Reference => Precision::F32,
            EngineChoice::Cpu => match (spec.precision.unwrap_or(self.precision), self.cards.half()) {
                (PrecisionChoice::Auto, Some(half)) => half,
                (asked, _) => asked.on(self.isa),
            },
        };
        let labels = self.labels(spec, adapter.as_ref())?;
        let weights = self.weights(spec, adapter.as_ref(), precision, labels.len())?;
        let folder = self.folders.get_mut(&spec.path).expect("read above");
        let architecture = folder.config.architecture.clone();
        let max_tokens = tokens_max(spec, &architecture)?;
        let tokenizer = folder.tokenizer(&spec.path, max_tokens)?;
        let task = match labels.is_empty() {
            true => Task::Embed { dimensions: architecture.hidden },
            false => Task::Classify { labels: labels.into() },
        };
        let info = ModelInfo {
            name: spec.name.clone(),
            aliases: spec.aliases.clone(),
            version: version(folder, spec.adapter.as_deref(), precision)?,
            task,
            pooling: architecture.pooling,
            max_tokens,
            vocabulary: architecture.vocabulary,
            engine: weights.engine().info(),
            base: spec.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            adapted: adapter.is_some(),
        };
        Ok(Model { info, tokenizer, architecture, weights })
    }

    fn labels(&self, spec: &ModelSpec, adapter: Option<&Adapter>) -> Result<Vec<String>, LoadError> {
        let own = &self.folders[&spec.path].config.labels;
        let Some(adapter) = adapter else { return Ok(own.clone()) };
        let labels = adapter.labels()?;
        let trained = adapter.saved().contains_key("classifier.weight");
        match (labels.is_empty(), trained) {
            (true, true) if own.is_empty() => Err(LoadError::Model {
                name: spec.name.clone(),
                detail: "the adapter has a classifier but no id2label says what its classes are".into(),
            }),
            (true, _) => Ok(own.clone()),
            (false, _) => Ok(labels),
        }
    }

    fn weights(
        &mut self,
        spec: &ModelSpec,
        adapter: Option<&Adapter>,
        precision: Precision,
        labels: usize,
    ) -> Result<Weights, LoadError> {
        let Folder { config, checkpoint, .. } = &self.folders[&spec.path];
        let architecture = &config.architecture;
        let merged = adapter.map(|adapter| checkpoint.merged(adapter)).transpose()?;
        if self.engine == EngineChoice::Reference {
            let checkpoint = merged.as_ref().unwrap_or(checkpoint);
            let model = ReferenceModel::new(checkpoint, architecture, labels, CAPACITY_TOKENS)?;
            return Ok(Weights::Reference(Arc::new(model)));
        }
        let key = (spec.path.clone(), precision);
        if !self.packed.contains_key(&key) {
            let labels = config.labels.len();
            let model = CpuModel::new(checkpoint, architecture, self.isa, precision, labels, CAPACITY_TOKENS)?;
            self.packed.insert(key.clone(), Arc::new(model));
        }
        let base = &self.packed[&key];
        let cpu = match (adapter, &merged) {
            (Some(adapter), Some(merged)) => Arc::new(base.adapted(merged, adapter, labels)?),
            _ => Arc::clone(base),
        };
        let source = CardSource { spec, checkpoint, merged: merged.as_ref().zip(adapter), architecture, labels };
        Ok(match self.cards.load(&source, precision, &cpu)? {
            Some(cards) => Weights::Cuda(Arc::new(cards)),
            None => Weights::Cpu(cpu),
        })
    }
}

impl Folder {
    fn tokenizer(&mut self, path: &Path, tokens_max: usize) -> Result<Arc<TextTokenizer>, LoadError> {
        if let Some(shared) = self.tokenizers.get(&tokens_max) {
            return Ok(Arc::clone(shared));
        }
        let tokenizer = TextTokenizer::read(path, tokens_max, self.config.architecture.vocabulary)?;
        Ok(Arc::clone(self.tokenizers.entry(tokens_max).or_insert(Arc::new(tokenizer))))
    }
}

fn tokens_max(spec: &ModelSpec, architecture: &Architecture) -> Result<usize, LoadError> {
    let most = architecture.positions_max().min(CAPACITY_TOKENS);
    match spec.max_tokens {
        None => Ok(most),
        Some(asked) if (3..=most).contains(&asked) => Ok(asked),
        Some(asked) => {
            let detail = format!("max_tokens is {asked}, the model takes 3 to {most}");
            Err(LoadError::Model { name: spec.name.clone(), detail })
        }
    }
}

/// A short hash over all that decides an answer.
fn version(folder: &Folder, adapter: Option<&Path>, precision: Precision) -> Result<String, LoadError> {
    let mut digest = folder.digest.clone();
    if let Some(adapter) = adapter {
        for file in ["adapter_config.json", "adapter_model.safetensors"] {
            digest.update(read(&adapter.join(file))?);
        }
    }
    digest.update(precision.to_string());
    let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{}-{precision}", &hex[..VERSION_DIGITS]))
}
