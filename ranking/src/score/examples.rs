//! What was shown, what was known of it, and what came of it.

use serde::{Deserialize, Serialize};

use super::ScoreError;

/// Rows of features with their outcomes; plain data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Examples {
    names: Vec<String>,
    values: Vec<Option<f32>>,
    acted: Vec<bool>,
    lists: Vec<u64>,
    weights: Vec<f32>,
}

impl Examples {
    /// None yet.
    pub fn new(names: &[String]) -> Self {
        Self { names: names.to_vec(), ..Self::default() }
    }

    /// Adds an item that was shown. `features` has NaN where something is missing; `list` says which were shown together,
    /// so that lists are held out as a whole; `weight` is 1, or one over the propensity.
    ///
    /// # Errors
    /// [`ScoreError`] where there are too few or too many features, or a weight is not finite or below 0.
    pub fn push(&mut self, features: &[f32], acted: bool, list: u64, weight: f32) -> Result<(), ScoreError> {
        if features.len() != self.names.len() {
            return Err(ScoreError::Width { len: features.len(), need: self.names.len() });
        }
        if !(weight.is_finite() && weight >= 0.0) {
            return Err(ScoreError::Weight { example: self.len(), weight });
        }
        self.values.extend(features.iter().map(|value| value.is_finite().then_some(*value)));
        self.acted.push(acted);
        self.lists.push(list);
        self.weights.push(weight);
        Ok(())
    }

    /// Names of the features.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.acted.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.acted.is_empty()
    }

    pub(super) fn row(&self, example: usize) -> &[Option<f32>] {
        &self.values[example * self.names.len()..][..self.names.len()]
    }

    pub(super) fn acted(&self, example: usize) -> bool {
        self.acted[example]
    }

    pub(super) fn weight(&self, example: usize) -> f64 {
        self.weights[example].into()
    }

    /// Whether the list of an example is among those of a fold, of `folds`: decided by the list's number alone.
    pub(super) fn in_fold(&self, example: usize, fold: u64, folds: u64) -> bool {
        // The finaliser of SplitMix64: neighbours fall apart.
        let mut mixed = self.lists[example].wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % folds == fold
    }

    /// Refuses data that was put together elsewhere and does not fit.
    pub(super) fn check(&self) -> Result<(), ScoreError> {
        let (count, width) = (self.len(), self.names.len());
        let need = count.saturating_mul(width);
        match [(self.values.len(), need), (self.lists.len(), count), (self.weights.len(), count)] {
            lengths if lengths.iter().all(|(len, need)| len == need) => {}
            lengths => {
                let (len, need) = lengths.into_iter().find(|(len, need)| len != need).unwrap_or_default();
                return Err(ScoreError::Width { len, need });
            }
        }
        let example = self.weights.iter().position(|weight| !(weight.is_finite() && *weight >= 0.0));
        example.map_or(Ok(()), |example| Err(ScoreError::Weight { example, weight: self.weights[example] }))
    }
}
