//! Sentiment against real data and, in miniature, from rated sentences to a served adapter.

mod corpus;
mod evaluation;
mod support;
mod training;
