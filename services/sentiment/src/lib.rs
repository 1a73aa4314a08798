//! Sentiment: what people think of a thing, from what they write about it.
//!
//! [`service`] judges texts with a classifier of the inference core. The rest is how that classifier comes to be:
//! [`data`] reads and splits the rated sentences, [`train`] fine-tunes an adapter on one part of them, [`evaluate`]
//! judges another part as a server would, and [`metrics`] says how well that went.

pub mod card;
pub mod data;
pub mod evaluate;
pub mod metrics;
pub mod progress;
pub mod service;
pub mod train;
