//! Tokenise, schedule and run transformer encoders: texts in, embeddings or class probabilities out.
//!
//! [`Inference`] is the whole of it: models loaded from folders ([`registry`]), texts tokenised off the async threads
//! ([`tokenize`]), batches formed when an engine is free ([`schedule`]), rows computed ([`engine`]) and finished
//! ([`task`]). It knows nothing of HTTP, gRPC or stores.

pub mod call;
mod cards;
pub mod engine;
pub mod facade;
pub mod model;
pub mod registry;
pub mod schedule;
pub mod task;
pub mod testing;
pub mod tokenize;
pub mod train;

pub use attune_kernels::cuda::{CardState, DeviceChoice};
pub use call::{
    CallContext, Classifications, ClassifyRequest, EmbedRequest, Embeddings, InferenceError, Input, TextLimits, Timing,
    Truncate, WorkClass,
};
pub use engine::{EngineInfo, Precision};
pub use facade::{Inference, InferenceConfig};
pub use model::LoadError;
pub use registry::{EngineChoice, ModelInfo, ModelSpec, PrecisionChoice, Task};
pub use schedule::Stats;
