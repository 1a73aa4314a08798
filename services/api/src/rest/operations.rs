//! What `/livez` and `/readyz` answer.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The process runs and its connections are served.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Liveness {
    /// Always `alive`.
    #[schema(example = "alive")]
    pub status: String,
}

/// Whether requests should be sent here, and why not.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// 200 only when `ready`.
    pub status: ReadinessStatus,
    /// Version of the server.
    pub version: String,
    /// The models that answer.
    pub models: Vec<ReadyModel>,
    /// What waits for an engine now.
    pub queue: QueueDepth,
    /// The GPUs, once for each model that is on one; absent where models run on the CPU.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<ReadyGpu>,
    /// The GPUs again, for the segments of items that they search; absent where the CPU searches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<ReadyTables>,
    /// What goes on in the background, and how far behind it is. It is no fault of readiness: answers come all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub background: Vec<ReadyBackground>,
}

/// Something that goes on in the background, in one or several places of this process.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReadyBackground {
    /// What it is: `lists` follows the log, `lake` writes files of it, `trainer` trains recommenders.
    #[schema(example = "lists")]
    pub name: String,
    /// By how many seconds it is behind. It grows when it has ended without a word.
    pub lag_s: f64,
    /// It still reads what was before this process, or a tenant, began: what it is for is not answered yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub starting: bool,
    /// Records of the log that it has dealt with since the process began.
    #[serde(default)]
    pub records: u64,
    /// What it did last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What a GPU does for a model. One that is out of use is no fault of readiness: the CPU answers until it is back.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReadyGpu {
    /// The device, its name and size.
    #[schema(example = "cuda:0 NVIDIA H100 80GB HBM3 (compute 9.0, 81559 MiB)")]
    pub card: String,
    /// Whether batches go there.
    pub in_use: bool,
    /// Why it is out of use, or was the last time.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// The segments of items that a GPU has taken over. One that is out of use is no fault of readiness: the CPU searches it, and
/// the GPU is tried again.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReadyTables {
    /// The device, its name and size.
    #[schema(example = "cuda:0 NVIDIA H100 80GB HBM3 (compute 9.0, 81559 MiB)")]
    pub card: String,
    /// Segments that are searched there.
    pub in_use: usize,
    /// Segments that are searched on the CPU until the GPU is back.
    pub out_of_use: usize,
    /// Searches and attempts that failed there since the start.
    pub failures: u64,
    /// Why one of them is out of use, or was the last time.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Whether requests should be sent here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReadinessStatus {
    /// Models are loaded and engines run.
    Ready,
    /// Not yet.
    Starting,
    /// Finishing what is in flight, then leaving.
    Draining,
}

/// A model that answers.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReadyModel {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What waits for an engine.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct QueueDepth {
    /// Texts, over all classes of work.
    pub texts: usize,
    /// Their tokens.
    pub tokens: u64,
}
