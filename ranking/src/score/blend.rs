//! From features to one number, learnt or by ranks.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::newton::probability;
use super::{FeatureLayout, Features, LogisticBlend, RankFusion, ScoreError};
use crate::retrieve::Union;

/// How candidates are scored.
#[derive(Clone, Debug)]
pub enum Blend {
    /// By what was learnt from examples: probabilities.
    Logistic {
        /// The model.
        model: Arc<LogisticBlend>,
        /// Where the layout has each of its features.
        columns: Vec<usize>,
    },
    /// By the ranks that the sources gave, and features of the items: no probabilities.
    Ranks(RankFusion),
}

/// One score a candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// From 0 to 1.
    pub scores: Vec<f32>,
    /// Standard deviation of the log-odds; 0 for ranks.
    pub deviations: Vec<f32>,
}

/// What one feature or source adds to a score: to the log-odds of a probability, or to the sum of shares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contribution {
    /// Name of the feature or source; `base` for what is there without any.
    pub name: String,
    /// What it adds.
    pub value: f32,
}

impl Blend {
    /// A learnt blend over the features of a layout, which may have more than it was trained with.
    ///
    /// # Errors
    /// [`ScoreError`] where the layout lacks a feature, or the model's parts do not fit.
    pub fn logistic(model: Arc<LogisticBlend>, layout: &FeatureLayout) -> Result<Self, ScoreError> {
        model.check()?;
        let place = |name: &String| {
            let place = layout.names().iter().position(|known| known == name);
            place.ok_or_else(|| ScoreError::Unknown { name: name.clone() })
        };
        let columns = model.names().iter().map(place).collect::<Result<_, _>>()?;
        Ok(Self::Logistic { model, columns })
    }

    /// Which model this is.
    pub fn version(&self) -> &str {
        match self {
            Self::Logistic { model, .. } => &model.version,
            Self::Ranks(_) => "ranks",
        }
    }

    /// Whether scores are probabilities, whose log-odds have a deviation.
    pub fn is_calibrated(&self) -> bool {
        matches!(self, Self::Logistic { .. })
    }

    /// Scores all candidates. Deviations are only computed if wanted.
    pub fn score(&self, union: &Union, features: &Features, with_deviations: bool) -> Scores {
        let candidates = union.rows().len();
        let mut scores = Scores { scores: Vec::with_capacity(candidates), deviations: vec![0.0; candidates] };
        let mut row = Vec::new();
        for candidate in 0..candidates {
            scores.scores.push(match self {
                Self::Ranks(ranks) => ranks.shares(union, features, candidate).sum::<f32>().min(1.0),
                Self::Logistic { model, columns } => {
                    row.clear();
                    model.standardise(chosen(features.row(candidate), columns), &mut row);
                    if with_deviations {
                        scores.deviations[candidate] = model.deviation(&row) as f32;
                    }
                    probability(model.log_odds(&row)) as f32
                }
            });
        }
        scores
    }

    /// What makes up the score of a candidate. The sum is the log-odds of its probability, or its score by ranks.
    pub fn explain(&self, union: &Union, features: &Features, candidate: usize) -> Vec<Contribution> {
        let named = |name: &str, value: f32| Contribution { name: name.to_owned(), value };
        match self {
            Self::Ranks(ranks) => {
                let shares = ranks.names().iter().zip(ranks.shares(union, features, candidate));
                shares.map(|(name, value)| named(name, value)).collect()
            }
            Self::Logistic { model, columns } => {
                let mut row = Vec::new();
                model.standardise(chosen(features.row(candidate), columns), &mut row);
                let names = std::iter::once("base").chain(model.names().iter().map(String::as_str));
                names.zip(model.contributions(&row)).map(|(name, value)| named(name, value as f32)).collect()
            }
        }
    }
}

/// The features of a row that a model knows, in its order.
fn chosen<'r>(row: &'r [f32], columns: &'r [usize]) -> impl Iterator<Item = Option<f32>> + 'r {
    columns.iter().map(|column| row[*column]).map(|value| value.is_finite().then_some(value))
}
