//! `attune bench`: how fast the engine is alone, and how the server stands under load.

pub mod infer;
mod report;
mod workload;

pub use workload::Lengths;
