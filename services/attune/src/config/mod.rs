//! Configuration: every key, its default, and the one order in which sources win.
//!
//! A flag beats an environment variable, which beats the file, which beats the default. `attune.example.toml` at the
//! root of the repository documents every key; a test keeps it equal to the defaults below.

mod analytics;
mod auth;
mod flags;
mod front;
mod lake;
mod limits;
mod load;
mod roles;
mod telemetry;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, bail, ensure};
use attune_inference::DeviceChoice;
use attune_outside::OutsideConfig;
use attune_ranking::data::Worth;
use attune_recommendation::RecommendationConfig;
use attune_store::resolve::StoresConfig;
use attune_trainer::TrainerConfig;
use serde::{Deserialize, Serialize};

pub use analytics::Analytics;
pub use auth::Auth;
pub use flags::{EngineFlags, ServerFlags, WorkerFlags};
pub use front::Front;
pub use lake::Lake;
pub use limits::Limits;
pub use load::{Overrides, environment, load, read};
pub use roles::{Replicas, Roles};
pub use telemetry::Telemetry;

/// No count or size is larger: what counts them would overflow long before memory is full.
const COUNT_MAX: u64 = u32::MAX as u64;
/// No time is longer: ten years are as good as for ever, and can still be added to a clock.
const SECONDS_MAX: u64 = 10 * 366 * 86_400;
/// More worker threads than any machine has processors.
const WORKERS_MAX: u64 = 1_024;
/// A batch of an hour.
const BATCH_MS_MAX: f64 = 3.6e6;

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The data folder: models and keys.
    pub data: PathBuf,
    /// What is logged: a level, or `target=level` parts separated by commas.
    pub log: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which services this process has: `all`, or some of them after `gateway`, separated by commas.
    pub roles: Roles,
    /// The port and what is accepted on it.
    pub server: Server,
    /// What stands before this server.
    pub front: Front,
    /// Who may call besides holders of keys.
    pub auth: Auth,
    /// How much whoever asks may ask for.
    pub limits: Limits,
    /// How texts are batched and computed.
    pub inference: Inference,
    /// What an event of each type is worth to recommenders.
    pub worth: Worth,
    /// How lists are made.
    pub recommendation: RecommendationConfig,
    /// Which services of the users' own may be asked while lists are made.
    pub outside: OutsideConfig,
    /// What reports may take.
    pub analytics: Analytics,
    /// How the event lake is written.
    pub lake: Lake,
    /// How recommenders are kept fresh.
    pub trainer: TrainerConfig,
    /// Where things are kept.
    pub stores: StoresConfig,
    /// Where the services are that this process does not have.
    pub upstreams: Replicas,
    /// Where traces go.
    pub telemetry: Telemetry,
    /// The models to serve.
    pub models: Vec<Model>,
    /// The file that it was read from.
    #[serde(skip)]
    pub file: Option<PathBuf>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// `[server]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address and port of REST and gRPC.
    pub listen: String,
    /// Largest request body after decompression, and largest gRPC message, in bytes.
    pub body_bytes_max: usize,
    /// Requests to models in work at once; the next one is refused (429).
    pub in_flight_max: usize,
    /// gRPC streams open at once.
    pub streams_max: usize,
    /// Connections at once; at the cap the longest idle one is closed.
    pub connections_max: usize,
    /// A complete request head has to have arrived within this time, in seconds.
    pub head_s_max: u64,
    /// A connection without a request is closed after this time, in seconds.
    pub idle_s_max: u64,
    /// The deadline of a request that names none, in milliseconds.
    pub deadline_ms: u64,
    /// The longest deadline a request may name, in milliseconds.
    pub deadline_ms_max: u64,
    /// How long a stop says "not ready" before it refuses connections, in milliseconds.
    pub drain_notice_ms: u64,
    /// How long a stop waits for requests in flight, in seconds.
    pub drain_s_max: u64,
    /// Origins whose pages may call from a browser; `*` alone is all.
    pub cors_origins: Vec<String>,
    /// The certificate of the port.
    pub tls: Tls,
}

/// `[server.tls]`: without a certificate the port is plain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// The chain in PEM, the server's own certificate first.
    pub certificate: PathBuf,
    /// Its private key in PEM.
    pub key: PathBuf,
}

impl Tls {
    /// Whether the port has a certificate. [`Config::check`] sees to it that there is a key as well.
    pub fn is_set(&self) -> bool {
        !self.certificate.as_os_str().is_empty()
    }
}

/// `[inference]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Inference {
    /// What computes.
    pub engine: Engine,
    /// Where the fused engine computes.
    pub device: Device,
    /// Number format of the matrix products.
    pub precision: Precision,
    /// Worker threads, each with an engine of its own; 0 is one for each core, or two for each GPU.
    pub workers: usize,
    /// Most work in a batch, in milliseconds as measured on this machine.
    pub batch_ms_max: f64,
    /// Most tokens in a batch.
    pub batch_tokens_max: usize,
    /// Most texts in a batch.
    pub batch_texts_max: usize,
    /// Most tokens waiting; beyond it requests are refused at once (429).
    pub queue_tokens_max: u64,
    /// Most texts waiting; beyond it requests are refused at once (429).
    pub queue_texts_max: usize,
    /// How long interactive work may have to wait when it arrives, in milliseconds; beyond it, it is refused (429).
    pub queue_wait_ms_max: u64,
    /// Most texts in one request.
    pub texts_max: usize,
    /// Largest text before truncation, in bytes.
    pub text_bytes_max: usize,
}

/// What computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Attune's own fused kernels.
    Cpu,
    /// candle, to compare with: right and slow.
    Reference,
}

/// Where the fused engine computes: `auto`, `cpu`, `cuda:all`, or `cuda:0` and so on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Device(pub DeviceChoice);

impl From<Device> for String {
    fn from(device: Device) -> Self {
        device.0.to_string()
    }
}

impl TryFrom<String> for Device {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::str::FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

/// Number format of the matrix products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// bf16 on a GPU and where the processor has AMX, else f32.
    Auto,
    /// 32-bit floats, everywhere.
    F32,
    /// bfloat16 products: worth it with AMX, and on AMD processors with AVX512-BF16.
    Bf16,
    /// Weights and activations quantised at load.
    Int8,
}

/// One `[[models]]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// What requests call it.
    pub name: String,
    /// What else requests may call it.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// The model: the name of an installed one, or a path to a folder in the Hugging Face layout.
    pub model: String,
    /// A LoRA adapter on top, by name or path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
    /// Longest text in tokens; longer ones are truncated or refused. The model's own limit if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_max: Option<usize>,
    /// In place of `inference.precision`, for this model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: "data".into(),
            log: "info".into(),
            log_format: LogFormat::Text,
            roles: Roles::default(),
            server: Server::default(),
            front: Front::default(),
            auth: Auth::default(),
            limits: Limits::default(),
            inference: Inference::default(),
            worth: Worth::default(),
            recommendation: RecommendationConfig::default(),
            outside: OutsideConfig::default(),
            analytics: Analytics::default(),
            lake: Lake::default(),
            trainer: TrainerConfig::default(),
            stores: StoresConfig::default(),
            upstreams: Replicas::default(),
            telemetry: Telemetry::default(),
            models: vec![
                Model {
                    name: "all-MiniLM-L6-v2".into(),
                    aliases: vec!["sentence-transformers/all-MiniLM-L6-v2".into()],
                    model: "all-MiniLM-L6-v2".into(),
                    ..Model::default()
                },
                Model {
                    name: "sentiment".into(),
                    model: "all-MiniLM-L6-v2".into(),
                    adapter: Some("sentiment".into()),
                    ..Model::default()
                },
            ],
            file: None,
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".into(),
            body_bytes_max: 4 << 20,
            in_flight_max: 1_024,
            streams_max: 64,
            connections_max: 4_096,
            head_s_max: 10,
            idle_s_max: 75,
            deadline_ms: 60_000,
            deadline_ms_max: 3_600_000,
            drain_notice_ms: 500,
            drain_s_max: 30,
            cors_origins: Vec::new(),
            tls: Tls::default(),
        }
    }
}

impl Default for Inference {
    fn default() -> Self {
        Self {
            engine: Engine::Cpu,
            device: Device::default(),
            precision: Precision::Auto,
            workers: 0,
            batch_ms_max: 25.0,
            batch_tokens_max: 16_384,
            batch_texts_max: 1_024,
            queue_tokens_max: 1 << 20,
            queue_texts_max: 16_384,
            queue_wait_ms_max: 10_000,
            texts_max: 1_024,
            text_bytes_max: 1 << 20,
        }
    }
}

impl Config {
    /// Refuses values that parse and make no sense.
    ///
    /// # Errors
    /// The first such value, with its key.
    pub fn check(&self) -> Result<()> {
        let Self { server, inference, .. } = self;
        let bounds = [
            ("server.body_bytes_max", server.body_bytes_max as u64, 1, COUNT_MAX),
            ("server.in_flight_max", server.in_flight_max as u64, 1, COUNT_MAX),
            ("server.streams_max", server.streams_max as u64, 1, COUNT_MAX),
            ("server.connections_max", server.connections_max as u64, 1, COUNT_MAX),
            ("server.head_s_max", server.head_s_max, 1, SECONDS_MAX),
            ("server.idle_s_max", server.idle_s_max, 1, SECONDS_MAX),
            ("server.deadline_ms", server.deadline_ms, 1, 1_000 * SECONDS_MAX),
            ("server.deadline_ms_max", server.deadline_ms_max, 1, 1_000 * SECONDS_MAX),
            ("server.drain_notice_ms", server.drain_notice_ms, 0, 1_000 * SECONDS_MAX),
            ("server.drain_s_max", server.drain_s_max, 0, SECONDS_MAX),
            ("inference.workers", inference.workers as u64, 0, WORKERS_MAX),
            ("inference.batch_tokens_max", inference.batch_tokens_max as u64, 1, COUNT_MAX),
            ("inference.batch_texts_max", inference.batch_texts_max as u64, 1, COUNT_MAX),
            ("inference.queue_tokens_max", inference.queue_tokens_max, 1, COUNT_MAX),
            ("inference.queue_texts_max", inference.queue_texts_max as u64, 1, COUNT_MAX),
            ("inference.queue_wait_ms_max", inference.queue_wait_ms_max, 0, COUNT_MAX),
            ("inference.texts_max", inference.texts_max as u64, 1, COUNT_MAX),
            ("inference.text_bytes_max", inference.text_bytes_max as u64, 1, COUNT_MAX),
        ];
        for (key, value, min, max) in bounds.into_iter().chain(self.analytics.bounds()) {
            ensure!((min..=max).contains(&value), "{key} is {value}, it must be {min} to {max}");
        }
        let batch_ms_max = inference.batch_ms_max;
        ensure!(
            batch_ms_max > 0.0 && batch_ms_max <= BATCH_MS_MAX,
            "inference.batch_ms_max is {batch_ms_max}, it must be above 0 and at most {BATCH_MS_MAX}"
        );
        crate::logging::filter(&self.log)?;
        attune_gateway::check_origins(&server.cors_origins).context("server.cors_origins")?;
        let has = |path: &PathBuf| !path.as_os_str().is_empty();
        let tls = &server.tls;
        ensure!(has(&tls.certificate) == has(&tls.key), "server.tls needs both `certificate` and `key`, or neither");
        self.front.proxies().map_err(Error::msg)?;
        self.auth.jwt.tokens().map_err(Error::msg)?;
        self.telemetry.check().map_err(Error::msg)?;
        self.limits.check().map_err(Error::msg)?;
        self.worth.check().context("worth")?;
        self.recommendation.check()?;
        self.outside.check()?;
        self.lake.check()?;
        self.trainer.check()?;
        self.stores.check().map_err(Error::msg)?;
        self.upstreams.check(&self.roles)?;
        ensure!(!self.models.is_empty(), "there is no model to serve: add a [[models]] section");
        self.check_names()
    }

    fn check_names(&self) -> Result<()> {
        let mut seen = std::collections::HashSet::new();
        for name in self.models.iter().flat_map(|model| std::iter::once(&model.name).chain(&model.aliases)) {
            ensure!(!name.is_empty(), "a model's name or alias is empty");
            if !seen.insert(name) {
                bail!("two models are called {name:?}: names and aliases must differ");
            }
        }
        Ok(())
    }

    /// What addresses of the server begin with that listens at `address`.
    pub fn url(&self, address: impl fmt::Display) -> String {
        let scheme = if self.server.tls.is_set() { "https" } else { "http" };
        format!("{scheme}://{address}")
    }

    /// Where a model or adapter of the configuration is: paths as they are, names below `DATA/models`.
    pub fn model_folder(&self, name_or_path: &str) -> PathBuf {
        if is_path(name_or_path) {
            PathBuf::from(name_or_path)
        } else {
            crate::models::folder(&self.data, name_or_path)
        }
    }
}

/// Whether a model is named by its path: it has a separator.
fn is_path(name_or_path: &str) -> bool {
    Path::new(name_or_path).components().count() != 1 || name_or_path.contains(std::path::MAIN_SEPARATOR)
}
