//! How good each candidate is: one number for all that the sources and features say.
//!
//! What is known of a candidate is a row of named [`Features`]: the score of each source, whether a source answered and
//! left it out, whether it had nothing to go on, and what the caller adds (an item's sentiment, a price). They are plain
//! data, logged with the exposure, and so are the [`Examples`] that a [`LogisticBlend`] learns from: the same rows, with
//! what came of them.
//!
//! The score that is answered is then **the probability that the user acts on the item where it is shown to him**, in
//! the sense of the examples' labels. It is calibrated on lists that were held out: of items with a score of .2, one in
//! five. Before there are examples, [`RankFusion`] joins the sources by the ranks they gave; its score is a share of the
//! best there could be, and no probability. [`learn_ranks`] finds its weights on what was held back of users. Where the
//! caller's own items are ordered for a user of whom something is known, sources that say the same to everybody only break
//! ties.
//!
//! A source that was late says nothing, neither for nor against: its features are missing, and a missing feature counts
//! as its mean. Trees and networks would find interactions by themselves; a linear model says what each feature adds,
//! which is what an explanation needs, and knows how sure it is, which is what exploration needs.

mod blend;
mod error;
mod examples;
mod features;
mod learn;
mod logistic;
mod newton;
mod ranks;

#[cfg(test)]
mod tests;

pub use blend::{Blend, Contribution, Scores};
pub use error::ScoreError;
pub use examples::Examples;
pub use features::{Extra, FeatureLayout, Features};
pub use learn::{RankCase, learn_ranks};
pub use logistic::{Fit, LogisticBlend, LogisticOptions};
pub(crate) use newton::probability;
pub use ranks::{RankBand, RankFusion};
