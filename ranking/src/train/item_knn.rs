//! Item-to-item neighbours: cosine with shrinkage, each item's nearest few.
//!
//! The similarity of two items is `x_i x_j / (|x_i| |x_j| + shrinkage)` over the columns of users by items, so that a pair
//! met by few users does not look close by chance. An item's score is the sum over the history of weight times similarity,
//! where an item listens to its nearest neighbours alone (Sarwar et al. 2001; Deshpande, Karypis 2004). A dislike lowers
//! the similarity to what the same user likes, and in a history the score of the neighbours.

use serde::{Deserialize, Serialize};

use super::error::at_least;
use super::parallel::{fill_rows, threads_or_all};
use super::sparse::{SparseParts, add_co_occurrences, keep_largest, unit_scale};
use super::{Popular, TrainError};
use crate::data::{History, Interactions, Scorer};

/// Settings of [`ItemKnn`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ItemKnnOptions {
    /// Neighbours that an item listens to.
    pub neighbours: usize,
    /// Added to the product of the norms; weights are scaled so that the mean liked one is 1.
    pub shrinkage: f32,
    /// Threads; 0 for as many as there are. The result does not depend on it.
    pub threads: usize,
}

impl Default for ItemKnnOptions {
    fn default() -> Self {
        Self { neighbours: 100, shrinkage: 20.0, threads: 0 }
    }
}

/// A trained neighbourhood model; it knows users by their history alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ItemKnn {
    similarities: SparseParts,
    popular: Popular,
}

impl ItemKnn {
    /// Trains on users by items: as many steps as there are pairs of entries in one row.
    ///
    /// # Errors
    /// [`TrainError`] where an option makes no sense or nothing is liked.
    pub fn train(table: &Interactions, options: &ItemKnnOptions) -> Result<Self, TrainError> {
        at_least("shrinkage", options.shrinkage.into(), 0.0, "a finite number from 0 is needed")?;
        let popular = Popular::train(table)?;
        let scale = unit_scale(table).unwrap_or(1.0);
        let by_item = table.transpose();
        let norms: Vec<f32> = (0..table.width()).map(|item| norm(by_item.row(item).1, scale)).collect();
        let nearest = |sums: &mut Vec<f32>, item: usize, row: &mut [Vec<(u32, f32)>]| {
            sums.fill(0.0);
            add_co_occurrences(table, &by_item, item, scale, sums);
            sums[item] = 0.0;
            let similar = sums
                .iter()
                .enumerate()
                .filter(|(_, sum)| **sum > 0.0)
                .map(|(other, sum)| (other as u32, sum / (norms[item] * norms[other] + options.shrinkage)));
            row[0] = similar.collect();
            keep_largest(&mut row[0], options.neighbours);
            Ok(())
        };
        let mut rows = vec![Vec::new(); table.width()];
        fill_rows(&mut rows, 1, threads_or_all(options.threads), || vec![0.0; table.width()], nearest)?;
        Ok(Self { similarities: SparseParts::from_rows(&rows).transpose(), popular })
    }

    /// A model from its parts.
    ///
    /// # Errors
    /// [`TrainError::Parts`] where they contradict each other.
    pub fn from_parts(similarities: SparseParts, popular: Popular) -> Result<Self, TrainError> {
        similarities.check(popular.scores().len())?;
        Ok(Self { similarities, popular })
    }

    /// Similarities, from the item of an event to those that listen to it, and what everybody likes.
    pub fn into_parts(self) -> (SparseParts, Popular) {
        (self.similarities, self.popular)
    }

    /// The items that listen to `item`, with their similarities.
    pub fn listeners(&self, item: u32) -> (&[u32], &[f32]) {
        self.similarities.row(item as usize)
    }
}

/// The length of a column.
fn norm(weights: &[f32], scale: f32) -> f32 {
    weights.iter().map(|weight| (scale * weight).powi(2)).sum::<f32>().sqrt()
}

impl Scorer for ItemKnn {
    fn items(&self) -> usize {
        self.popular.scores().len()
    }

    fn score(&self, _: Option<u32>, history: History<'_>, scores: &mut [f32]) {
        assert_eq!(scores.len(), self.items(), "one score an item");
        if history.items.is_empty() {
            return self.popular.score(None, history, scores);
        }
        scores.fill(0.0);
        for (&item, &weight) in history.items.iter().zip(history.weights) {
            self.similarities.add_row(item as usize, weight, scores);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<(u32, u32, f32)> {
        (0..120_u32)
            .map(|step| ((step * 7) % 15, (step * step + step / 9) % 12, [1.0, 2.0, -1.0, 1.5][step as usize % 4]))
            .collect()
    }

    fn scores(model: &ItemKnn, items: &[u32], weights: &[f32]) -> Vec<f32> {
        let mut scores = vec![0.0; model.items()];
        model.score(None, History { items, weights, times: &[] }, &mut scores);
        scores
    }

    fn order(scores: &[f32]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|left, right| scores[*right].total_cmp(&scores[*left]));
        order
    }

    #[test]
    fn similarities_are_those_of_the_definition() {
        let table = Interactions::from_entries(15, 12, &entries()).unwrap();
        let options = ItemKnnOptions { neighbours: 12, shrinkage: 3.0, threads: 2 };
        let model = ItemKnn::train(&table, &options).unwrap();
        let scale = f64::from(unit_scale(&table).unwrap());
        let weight = |user: usize, item: u32| {
            let (columns, weights) = table.row(user);
            columns.iter().position(|at| *at == item).map_or(0.0, |at| scale * f64::from(weights[at]))
        };
        let product = |one: u32, two: u32| (0..15).map(|user| weight(user, one) * weight(user, two)).sum::<f64>();
        for one in 0..12 {
            let found = scores(&model, &[one], &[1.0]);
            for two in 0..12 {
                let norms = (product(one, one) * product(two, two)).sqrt();
                let need = if one == two { 0.0 } else { (product(one, two) / (norms + 3.0)).max(0.0) };
                assert!((f64::from(found[two as usize]) - need).abs() < 1e-5, "{one} {two}");
            }
        }
    }

    #[test]
    fn an_item_listens_to_its_nearest_alone() {
        let table = Interactions::from_entries(15, 12, &entries()).unwrap();
        let options = ItemKnnOptions { neighbours: 2, ..ItemKnnOptions::default() };
        let (similarities, _) = ItemKnn::train(&table, &options).unwrap().into_parts();
        let by_target = similarities.transpose();
        assert!((0..12).all(|item| by_target.row(item).0.len() <= 2));
    }

    #[test]
    fn dislikes_lower_the_neighbours() {
        let table = Interactions::from_entries(2, 3, &[(0, 0, 1.0), (0, 1, 1.0), (1, 0, 1.0), (1, 2, -1.0)]).unwrap();
        let model = ItemKnn::train(&table, &ItemKnnOptions::default()).unwrap();
        assert!(scores(&model, &[0], &[1.0])[1] > 0.0);
        assert!(scores(&model, &[0], &[-1.0])[1] < 0.0);
        assert_eq!(scores(&model, &[0], &[1.0])[2], 0.0);
        assert_eq!(order(&scores(&model, &[], &[]))[0], 0);
    }

    #[test]
    fn neither_threads_nor_doubled_weights_change_the_order() {
        let table = Interactions::from_entries(15, 12, &entries()).unwrap();
        let one = ItemKnn::train(&table, &ItemKnnOptions { threads: 1, ..ItemKnnOptions::default() }).unwrap();
        let two = ItemKnn::train(&table, &ItemKnnOptions { threads: 2, ..ItemKnnOptions::default() }).unwrap();
        assert_eq!(one, two);
        let doubled: Vec<_> = entries().iter().map(|(row, column, weight)| (*row, *column, 2.0 * weight)).collect();
        let table = Interactions::from_entries(15, 12, &doubled).unwrap();
        let doubled = ItemKnn::train(&table, &ItemKnnOptions::default()).unwrap();
        assert_eq!(order(&scores(&one, &[3, 4], &[1.0, 2.0])), order(&scores(&doubled, &[3, 4], &[2.0, 4.0])));
    }

    #[test]
    fn small_tables_train_and_bad_parts_do_not() {
        let table = Interactions::from_entries(1, 1, &[(0, 0, 1.0)]).unwrap();
        let model = ItemKnn::train(&table, &ItemKnnOptions::default()).unwrap();
        assert_eq!(scores(&model, &[0], &[1.0]), [0.0]);
        let (parts, popular) = model.into_parts();
        assert!(ItemKnn::from_parts(parts.clone(), Popular::from_scores(vec![1.0; 2])).is_err());
        assert!(ItemKnn::from_parts(parts, popular).is_ok());
        let empty = Interactions::from_entries(2, 2, &[]).unwrap();
        assert_eq!(ItemKnn::train(&empty, &ItemKnnOptions::default()), Err(TrainError::Empty { rows: 2, items: 2 }));
        let options = ItemKnnOptions { shrinkage: f32::NAN, ..ItemKnnOptions::default() };
        assert!(matches!(ItemKnn::train(&table, &options), Err(TrainError::Option { name: "shrinkage", .. })));
    }
}
