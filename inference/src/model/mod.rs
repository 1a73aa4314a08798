//! A model on disk and what it computes: configuration, weights, adapters.
//!
//! A folder in the Hugging Face layout goes in, an [`Architecture`] and named tensors come out. Nothing here computes.

pub mod adapter;
pub mod architecture;
pub mod config;
pub mod error;
pub mod weights;

pub use adapter::{Adapter, AdapterConfig};
pub use architecture::{Activation, Architecture, Attention, Norm, NormPlace, Pooling, Positions};
pub use config::ModelConfig;
pub use error::LoadError;
pub use weights::Checkpoint;
