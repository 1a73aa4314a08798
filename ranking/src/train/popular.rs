//! What everybody likes: the answer for users without a history, and the baseline of every comparison.

use serde::{Deserialize, Serialize};

use super::TrainError;
use super::error::positive;
use crate::data::{History, Interactions, Scorer};

/// Items by the sum of their weights, dislikes subtracted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Popular {
    scores: Vec<f32>,
}

impl Popular {
    /// Sums the columns of users by items.
    ///
    /// # Errors
    /// [`TrainError::Empty`] where nothing is liked.
    pub fn train(table: &Interactions) -> Result<Self, TrainError> {
        let mut sums = vec![0.0_f64; table.width()];
        let mut any = false;
        for row in 0..table.rows() {
            let (columns, weights) = table.row(row);
            for (&column, &weight) in columns.iter().zip(weights) {
                sums[column as usize] += f64::from(weight);
                any |= weight > 0.0;
            }
        }
        Self::from_sums(&sums, any, table.rows())
    }

    /// Sums the events of all users; an event's worth halves every `half_life_s` seconds, counted back from the last one.
    ///
    /// # Errors
    /// [`TrainError::Empty`] where nothing is liked, [`TrainError::Option`] unless the half-life is finite and above 0.
    ///
    /// # Panics
    /// If an item is not below `items`.
    pub fn train_decayed(histories: &[History<'_>], items: usize, half_life_s: f64) -> Result<Self, TrainError> {
        positive("half_life_s", half_life_s)?;
        let last = histories.iter().flat_map(|history| history.times).max().copied().unwrap_or(0);
        let mut sums = vec![0.0_f64; items];
        let mut any = false;
        for history in histories {
            for ((&item, &weight), &time) in history.items.iter().zip(history.weights).zip(history.times) {
                let age_s = last as f64 - time as f64;
                sums[item as usize] += f64::from(weight) * (-age_s / half_life_s).exp2();
                any |= weight > 0.0;
            }
        }
        Self::from_sums(&sums, any, histories.len())
    }

    fn from_sums(sums: &[f64], any: bool, rows: usize) -> Result<Self, TrainError> {
        if !any {
            return Err(TrainError::Empty { rows, items: sums.len() });
        }
        Ok(Self { scores: sums.iter().map(|sum| *sum as f32).collect() })
    }

    /// A model from its scores.
    pub fn from_scores(scores: Vec<f32>) -> Self {
        Self { scores }
    }

    /// One score an item.
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }
}

impl Scorer for Popular {
    fn items(&self) -> usize {
        self.scores.len()
    }

    fn score(&self, _: Option<u32>, _: History<'_>, scores: &mut [f32]) {
        scores.copy_from_slice(&self.scores);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dislikes_are_subtracted_and_doubling_changes_no_order() {
        let entries = [(0, 0, 1.0), (1, 0, 2.0), (1, 1, 5.0), (2, 1, -4.0)];
        let table = Interactions::from_entries(3, 3, &entries).unwrap();
        assert_eq!(Popular::train(&table).unwrap().scores(), [3.0, 1.0, 0.0]);
        let doubled = entries.map(|(row, column, weight)| (row, column, 2.0 * weight));
        let table = Interactions::from_entries(3, 3, &doubled).unwrap();
        assert_eq!(Popular::train(&table).unwrap().scores(), [6.0, 2.0, 0.0]);
    }

    #[test]
    fn an_old_event_is_worth_less() {
        let old = History { items: &[0, 0], weights: &[1.0, 1.0], times: &[0, 10] };
        let new = History { items: &[1], weights: &[1.0], times: &[20] };
        let model = Popular::train_decayed(&[old, new], 2, 10.0).unwrap();
        assert_eq!(model.scores(), [0.75, 1.0]);
        assert!(Popular::train_decayed(&[old], 2, f64::NAN).is_err());
        assert_eq!(Popular::train_decayed(&[], 2, 1.0).unwrap_err(), TrainError::Empty { rows: 0, items: 2 });
    }

    #[test]
    fn everybody_gets_the_same() {
        let model = Popular::from_scores(vec![1.0, 2.0]);
        let mut scores = [0.0; 2];
        model.score(Some(7), History::default(), &mut scores);
        assert_eq!(scores, [1.0, 2.0]);
    }
}
