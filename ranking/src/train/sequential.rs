//! What comes next: a history that fades, pushed through two item-to-item models.
//!
//! The first is [`Ease`], which knows what belongs together whatever the order; recent events count more (half as much
//! `history_half_life` events back, never less than `floor`). The second counts what followed what within a window of
//! events, nearer successors more, and divides by the root of how often either side occurs, so that what is popular
//! anyway does not follow everything (in the spirit of sequential rules: Ludewig, Jannach 2018). Scores are
//! `ease + follow_weight * follows`. Ages are counted in events and not in seconds: pauses say little about taste.
//!
//! A network trained on sequences is not needed at the sizes this is made for; order within a history is the caller's,
//! also between events of one second.

use serde::{Deserialize, Serialize};

use super::error::{at_least, positive};
use super::parallel::{fill_rows, threads_or_all};
use super::sparse::{SparseParts, keep_largest};
use super::{Ease, EaseOptions, TrainError};
use crate::data::{History, Interactions, Scorer};

/// Settings of [`Sequential`]; the default is what did best on the second to last events of MovieLens-100K's users.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SequentialOptions {
    /// The order-blind part.
    pub ease: EaseOptions,
    /// Events after which one counts half for the order-blind part.
    pub history_half_life: f32,
    /// What the oldest event still counts there, 0 to 1.
    pub floor: f32,
    /// Events after which one counts half for what follows.
    pub follow_history_half_life: f32,
    /// Distance in events at which a successor counts half as much as the next event.
    pub follow_half_life: f32,
    /// Events after one that count as its successors.
    pub window: usize,
    /// Added to either side's count before its root divides: what occurs rarely is believed less.
    pub follow_shrinkage: f32,
    /// Successors kept for an item.
    pub successors_max: usize,
    /// Weight of what follows beside the order-blind part.
    pub follow_weight: f32,
}

impl Default for SequentialOptions {
    fn default() -> Self {
        Self {
            ease: EaseOptions::default(),
            history_half_life: 5.0,
            floor: 0.1,
            follow_history_half_life: 2.0,
            follow_half_life: 5.0,
            window: 30,
            follow_shrinkage: 10.0,
            successors_max: 2_000,
            follow_weight: 3.0,
        }
    }
}

impl SequentialOptions {
    fn check(&self) -> Result<(), TrainError> {
        positive("history_half_life", self.history_half_life.into())?;
        positive("follow_history_half_life", self.follow_history_half_life.into())?;
        positive("follow_half_life", self.follow_half_life.into())?;
        positive("follow_shrinkage", self.follow_shrinkage.into())?;
        at_least("follow_weight", self.follow_weight.into(), 0.0, "a finite number from 0 is needed")?;
        if (0.0..=1.0).contains(&self.floor) {
            return Ok(());
        }
        Err(TrainError::Option { name: "floor", value: self.floor.into(), need: "a number from 0 to 1 is needed" })
    }
}

/// A trained sequence model; it knows users by their history alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequential {
    options: SequentialOptions,
    ease: Ease,
    follows: SparseParts,
}

impl Sequential {
    /// Trains on users by items, and on the same users' events in order. Dislikes neither follow nor are followed.
    ///
    /// # Errors
    /// [`TrainError`] as for [`Ease::train`].
    ///
    /// # Panics
    /// If an item of a history is not in the table.
    pub fn train(
        table: &Interactions,
        histories: &[History<'_>],
        options: &SequentialOptions,
    ) -> Result<Self, TrainError> {
        options.check()?;
        let ease = Ease::train(table, &options.ease)?;
        let follows = follows(table.width(), histories, options)?;
        Ok(Self { options: options.clone(), ease, follows })
    }

    /// A model from its parts.
    ///
    /// # Errors
    /// [`TrainError`] where they contradict each other.
    pub fn from_parts(options: SequentialOptions, ease: Ease, follows: SparseParts) -> Result<Self, TrainError> {
        options.check()?;
        follows.check(ease.items())?;
        Ok(Self { options, ease, follows })
    }

    /// The options, the order-blind part, and what follows what.
    pub fn into_parts(self) -> (SequentialOptions, Ease, SparseParts) {
        (self.options, self.ease, self.follows)
    }
}

/// What follows what, without the order-blind part: for catalogues too large for that.
pub(super) fn follows(
    items: usize,
    histories: &[History<'_>],
    options: &SequentialOptions,
) -> Result<SparseParts, TrainError> {
    let mut rows = count_successors(items, histories, options)?;
    correct_popularity(&mut rows, options);
    Ok(SparseParts::from_rows(&rows))
}

/// Where each item occurs as something liked: (history, place) by item.
fn occurrences(items: usize, histories: &[History<'_>]) -> Vec<Vec<(u32, u32)>> {
    let mut places = vec![Vec::new(); items];
    for (row, history) in histories.iter().enumerate() {
        for (place, (&item, &weight)) in history.items.iter().zip(history.weights).enumerate() {
            if weight > 0.0 {
                places[item as usize].push((row as u32, place as u32));
            }
        }
    }
    places
}

/// For each item its successors with their counts, a successor `d` events later counting `2^-((d - 1) / half-life)`.
fn count_successors(
    items: usize,
    histories: &[History<'_>],
    options: &SequentialOptions,
) -> Result<Vec<Vec<(u32, f32)>>, TrainError> {
    let places = occurrences(items, histories);
    let count = |sums: &mut Vec<f32>, item: usize, row: &mut [Vec<(u32, f32)>]| {
        sums.fill(0.0);
        for &(row, place) in &places[item] {
            let history = histories[row as usize];
            let later = history.items.iter().zip(history.weights).skip(place as usize + 1).take(options.window);
            for (distance, (&other, &weight)) in later.enumerate() {
                if weight > 0.0 {
                    sums[other as usize] += (-(distance as f32) / options.follow_half_life).exp2();
                }
            }
        }
        row[0] = sums.iter().zip(0..).filter(|(sum, _)| **sum > 0.0).map(|(sum, other)| (other, *sum)).collect();
        keep_largest(&mut row[0], options.successors_max);
        Ok(())
    };
    let mut rows = vec![Vec::new(); items];
    fill_rows(&mut rows, 1, threads_or_all(options.ease.threads), || vec![0.0; items], count)?;
    Ok(rows)
}

/// Divides each count by the roots of both sides' sums.
fn correct_popularity(rows: &mut [Vec<(u32, f32)>], options: &SequentialOptions) {
    let mut column_sums = vec![options.follow_shrinkage; rows.len()];
    for (column, value) in rows.iter().flatten() {
        column_sums[*column as usize] += value;
    }
    for row in rows {
        let sum: f32 = options.follow_shrinkage + row.iter().map(|(_, value)| value).sum::<f32>();
        row.iter_mut().for_each(|(column, value)| *value /= (sum * column_sums[*column as usize]).sqrt());
    }
}

impl Scorer for Sequential {
    fn items(&self) -> usize {
        self.ease.items()
    }

    fn score(&self, user: Option<u32>, history: History<'_>, scores: &mut [f32]) {
        assert_eq!(scores.len(), self.items(), "one score an item");
        if history.items.is_empty() {
            return self.ease.score(user, history, scores);
        }
        scores.fill(0.0);
        let (options, events) = (&self.options, history.items.len());
        let mut weights = history.weights.to_vec();
        for (weight, age) in weights.iter_mut().zip((0..events).rev()) {
            *weight *= options.floor + (1.0 - options.floor) * (-(age as f32) / options.history_half_life).exp2();
        }
        self.ease.add_rows(history.items, &weights, scores);
        for (age, (&item, &weight)) in history.items.iter().zip(history.weights).rev().enumerate() {
            let recency = options.follow_weight * (-(age as f32) / options.follow_history_half_life).exp2();
            if recency >= f32::MIN_POSITIVE {
                self.follows.add_row(item as usize, recency * weight, scores);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONES: [f32; 4] = [1.0; 4];

    fn history<'a>(items: &'a [u32]) -> History<'a> {
        History { items, weights: &ONES[..items.len()], times: &[] }
    }

    fn train(histories: &[History<'_>], options: &SequentialOptions) -> Result<Sequential, TrainError> {
        let entries: Vec<_> = histories
            .iter()
            .zip(0..)
            .flat_map(|(history, user)| history.items.iter().zip(history.weights).map(move |(i, w)| (user, *i, *w)))
            .collect();
        Sequential::train(&Interactions::from_entries(histories.len(), 4, &entries).unwrap(), histories, options)
    }

    #[test]
    fn successors_are_counted_as_by_hand() {
        let options = SequentialOptions { follow_half_life: 1.0, follow_shrinkage: 1.0, ..Default::default() };
        let (_, _, follows) = train(&[history(&[0, 1, 2])], &options).unwrap().into_parts();
        // Counts: 0 -> 1: 1, 0 -> 2: 1/2, 1 -> 2: 1. Sums with 1 added: rows 2.5, 2, 1, 1; columns 1, 2, 2.5, 1.
        let need = [1.0 / 5.0_f32.sqrt(), 0.5 / 6.25_f32.sqrt(), 1.0 / 5.0_f32.sqrt()];
        assert_eq!((&follows.offsets[..], &follows.columns[..]), (&[0, 2, 3, 3, 3][..], &[1, 2, 2][..]));
        assert!(follows.values.iter().zip(need).all(|(found, need)| (found - need).abs() < 1e-6), "{follows:?}");
    }

    #[test]
    fn what_followed_comes_next_and_order_counts() {
        let histories = [history(&[0, 1, 2]), history(&[0, 1, 3]), history(&[0, 1])];
        let model = train(&histories, &SequentialOptions::default()).unwrap();
        let mut forth = [0.0; 4];
        model.score(None, history(&[0]), &mut forth);
        assert!(forth[1] > forth[2] && forth[1] > forth[3], "{forth:?}");
        let (mut one, mut two) = ([0.0; 4], [0.0; 4]);
        model.score(None, history(&[2, 0]), &mut one);
        model.score(None, history(&[0, 2]), &mut two);
        assert!(one[1] > two[1], "{one:?} {two:?}");
        model.score(None, History::default(), &mut one);
        assert_eq!(one, [3.0, 3.0, 1.0, 1.0]);
    }

    #[test]
    fn windows_dislikes_and_bounds_are_kept() {
        let disliked = History { items: &[0, 1, 2], weights: &[1.0, -1.0, 1.0], times: &[] };
        let (_, _, follows) = train(&[disliked], &SequentialOptions::default()).unwrap().into_parts();
        assert_eq!(follows.columns, [2]);
        let options = SequentialOptions { window: 1, ..Default::default() };
        assert!(train(&[disliked], &options).unwrap().into_parts().2.columns.is_empty());
        let options = SequentialOptions { successors_max: 1, ..Default::default() };
        let (_, _, follows) = train(&[history(&[0, 1, 2])], &options).unwrap().into_parts();
        assert_eq!(follows.offsets, [0, 1, 2, 2, 2]);
    }

    #[test]
    fn one_model_whatever_the_threads_and_from_its_parts() {
        let histories = [history(&[0, 1, 2, 3]), history(&[3, 1, 0])];
        let with = |threads| {
            let ease = EaseOptions { threads, ..Default::default() };
            train(&histories, &SequentialOptions { ease, ..Default::default() }).unwrap().into_parts()
        };
        let (options, ease, follows) = with(1);
        assert_eq!((&ease, &follows), (&with(2).1, &with(2).2));
        assert!(Sequential::from_parts(options.clone(), ease.clone(), follows).is_ok());
        assert!(Sequential::from_parts(options, ease, SparseParts::default()).is_err());
    }

    #[test]
    fn what_cannot_be_trained_is_told() {
        assert_eq!(train(&[], &Default::default()), Err(TrainError::Empty { rows: 0, items: 4 }));
        for bad in [
            SequentialOptions { floor: 1.5, ..Default::default() },
            SequentialOptions { floor: f32::NAN, ..Default::default() },
            SequentialOptions { history_half_life: 0.0, ..Default::default() },
            SequentialOptions { follow_weight: f32::INFINITY, ..Default::default() },
        ] {
            assert!(matches!(train(&[history(&[0])], &bad), Err(TrainError::Option { .. })), "{bad:?}");
        }
    }
}
