//! Sentiment: answers, labelled data, training and evaluation.
pub mod data;
pub mod metrics;
