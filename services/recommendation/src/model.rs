//! A trained model as a source. Models know items by rows of their own; here they are known by ours.

use std::collections::HashMap;
use std::sync::Arc;

use attune_ranking::attributes::Schema;
use attune_ranking::data::History;
use attune_ranking::index::{Index, IndexError, Item, Metric, Scored, View, Within, keep_best};
use attune_ranking::retrieve::{Batch, Checked, Proposals, Reason, Scratch, Source, SourceError};
use attune_ranking::score::RankBand;

use crate::fold::{Rules, State};
use crate::stage::NO_ROW;

/// What the source is called.
pub const MODEL: &str = "model";
/// What its ranks weigh in the default pipeline.
pub const MODEL_WEIGHT: f32 = 1.0;

/// A trained model, as whoever keeps models hands it over. Rows are the model's own.
pub trait Trained: Send + Sync {
    /// Name and version.
    fn version(&self) -> &str;

    /// How many items it knows.
    fn items(&self) -> usize;

    /// The id of an item.
    fn item(&self, row: u32) -> &str;

    /// Values a vector, the vectors of all items, and how they are compared, where scores are such comparisons.
    fn vectors(&self) -> Option<(usize, &[f32], Metric)>;

    /// The vector of somebody who did this, where there are vectors and one comes out.
    fn fold_in(&self, history: History<'_>) -> Option<Vec<f32>>;

    /// Writes the score of every item for somebody who did this.
    fn score(&self, history: History<'_>, scores: &mut [f32]);

    /// What the ranks of the sources, this model's among them, were found to weigh best, by how much is known of a user;
    /// none where that was not looked for.
    fn blend(&self) -> &[RankBand] {
        &[]
    }
}

/// Who keeps trained models. Its calls take as long as a disk.
pub trait TrainedModels: Send + Sync {
    /// The model of a tenant that is in service, `None` if that is the one of version `known`, or if there is none and
    /// none was known.
    ///
    /// # Errors
    /// In words for the log. The model that is served stays.
    fn changed(&self, tenant: &str, known: Option<&str>) -> Result<Option<Change>, String>;

    /// Removes what is kept here of a tenant that is no more.
    ///
    /// # Errors
    /// In words for the log. It is asked again with the next start.
    fn forget(&self, tenant: &str) -> Result<(), String>;
}

/// What is to be served from now on.
pub enum Change {
    /// This one.
    Served(Arc<dyn Trained>),
    /// None any more.
    Gone,
}

/// Our rows of a model's items; of those for which there is no room, one that no item has.
pub fn rows(model: &dyn Trained, state: &mut State, rules: &Rules) -> Vec<u32> {
    (0..model.items()).map(|row| state.row(model.item(row as u32), rules).unwrap_or(NO_ROW)).collect()
}

/// The model's rows by ours, and ours by the model's.
struct Rows {
    ours: Vec<u32>,
    models: HashMap<u32, u32>,
}

impl Rows {
    /// What somebody did, in the model's rows, each magnitude 1 on average. Items that the model does not know are left
    /// out.
    fn history(&self, request: &Checked) -> Owned {
        let mut owned = Owned::default();
        let told = request.get();
        for ((item, weight), time) in told.items.iter().zip(&told.weights).zip(&told.times) {
            if let Some(row) = self.models.get(item) {
                owned.items.push(*row);
                owned.weights.push(*weight);
                owned.times.push(*time);
            }
        }
        let total: f32 = owned.weights.iter().map(|weight| weight.abs()).sum();
        if total > 0.0 {
            let scale = owned.weights.len() as f32 / total;
            owned.weights.iter_mut().for_each(|weight| *weight *= scale);
        }
        owned
    }
}

#[derive(Default)]
struct Owned {
    items: Vec<u32>,
    weights: Vec<f32>,
    times: Vec<i64>,
}

impl Owned {
    fn get(&self) -> History<'_> {
        History { items: &self.items, weights: &self.weights, times: &self.times }
    }

    fn likes(&self) -> bool {
        self.weights.iter().any(|weight| *weight > 0.0)
    }
}

/// Makes a source of a model; `ours` has our row of each of its items.
///
/// # Errors
/// Its vectors cannot be searched.
pub fn source(model: Arc<dyn Trained>, ours: Vec<u32>) -> Result<Arc<dyn Source>, IndexError> {
    let models = (0..).zip(&ours).map(|(row, our)| (*our, row)).collect();
    let rows = Rows { ours, models };
    let Some((width, vectors, metric)) = model.vectors() else { return Ok(Arc::new(Scoring { model, rows })) };
    let index = Index::new(width, metric, Schema::default())?;
    let item = |(row, vector): (&u32, &[f32])| Item { row: *row, vector: vector.to_vec(), attributes: Vec::new() };
    // A vector of zeros has no direction to compare, and an item without a row is none of ours.
    let some = |item: &Item| item.row != NO_ROW && item.vector.iter().any(|value| *value != 0.0);
    let items = rows.ours.iter().zip(vectors.chunks_exact(width)).map(item).filter(some).collect();
    index.upsert(items, 1)?;
    Ok(Arc::new(Searching { view: index.view(), model, rows }))
}

/// By exact search among the model's vectors.
struct Searching {
    model: Arc<dyn Trained>,
    rows: Rows,
    view: View,
}

impl Source for Searching {
    fn propose(&self, batch: &Batch<'_>, _: &mut Scratch) -> Result<Vec<Proposals>, SourceError> {
        let vector = |request: &Checked| {
            let history = self.rows.history(request);
            if history.likes() { self.model.fold_in(history.get()) } else { None }
        };
        let vectors: Vec<Option<Vec<f32>>> = batch.requests.iter().map(vector).collect();
        let queries: Vec<f32> = vectors.iter().flatten().flatten().copied().collect();
        let asked = batch.requests.iter().zip(&vectors).filter(|(_, vector)| vector.is_some());
        let excluded: Vec<&[u32]> = asked.map(|(request, _)| &request.get().excluded[..]).collect();
        let Batch { k, allowed, threads, .. } = *batch;
        let within = Within { queries: &queries, k, allowed, excluded: &excluded, threads };
        let mut found = self.view.search_within(&within)?.into_iter();
        Ok(vectors.into_iter().map(|vector| vector.and_then(|_| found.next())).collect())
    }

    fn reason(&self, _: &Checked, _: u32) -> Reason {
        Reason::Taste
    }
}

/// By the scores of all items.
struct Scoring {
    model: Arc<dyn Trained>,
    rows: Rows,
}

impl Source for Scoring {
    fn propose(&self, batch: &Batch<'_>, _: &mut Scratch) -> Result<Vec<Proposals>, SourceError> {
        let mut scores = vec![0.0; self.model.items()];
        let list = |request: &Checked| {
            let history = self.rows.history(request);
            if !history.likes() {
                return None;
            }
            self.model.score(history.get(), &mut scores);
            let admits = |row| batch.allowed.is_none_or(|allowed| allowed.contains(row)) && !request.excludes(row);
            let scored = self.rows.ours.iter().zip(&scores).filter(|(row, score)| !score.is_nan() && admits(**row));
            let mut best: Vec<Scored> = scored.map(|(row, score)| Scored { row: *row, score: *score }).collect();
            keep_best(&mut best, batch.k);
            Some(best)
        };
        Ok(batch.requests.iter().map(list).collect())
    }

    fn reason(&self, _: &Checked, _: u32) -> Reason {
        Reason::Model
    }
}

#[cfg(test)]
mod tests {
    use attune_ranking::index::Allowed;
    use attune_ranking::retrieve::Request;

    use super::*;

    /// Items `i0..`, each like the two beside it.
    struct Ring(bool);

    const VECTORS: [f32; 8] = [1.0, 0.0, 0.9, 0.4, 0.0, 1.0, 0.0, 0.0];

    impl Trained for Ring {
        fn version(&self) -> &str {
            "ring/1"
        }

        fn items(&self) -> usize {
            4
        }

        fn item(&self, _: u32) -> &str {
            "i"
        }

        fn vectors(&self) -> Option<(usize, &[f32], Metric)> {
            self.0.then_some((2, &VECTORS[..], Metric::Cosine))
        }

        fn fold_in(&self, history: History<'_>) -> Option<Vec<f32>> {
            Some(VECTORS[2 * history.items[0] as usize..][..2].to_vec())
        }

        fn score(&self, history: History<'_>, scores: &mut [f32]) {
            scores.fill(0.0);
            history.items.iter().for_each(|item| scores[(*item as usize + 1) % 4] += 1.0);
        }
    }

    fn rows(source: &dyn Source, items: Vec<u32>, allowed: Option<&Allowed>) -> Option<Vec<u32>> {
        let (weights, times) = (vec![2.0; items.len()], vec![0; items.len()]);
        let request = Request { excluded: items.clone(), items, weights, times, ..Request::default() };
        let requests = [request.check().unwrap()];
        let batch = Batch { requests: &requests, k: 2, allowed, now: 0, threads: 1 };
        let found = source.propose(&batch, &mut Scratch::default()).unwrap().remove(0);
        found.map(|list| list.iter().map(|proposal| proposal.row).collect())
    }

    #[test]
    fn both_kinds_answer_in_our_rows() {
        let ours = vec![70, 3, 50, 9];
        let searching = source(Arc::new(Ring(true)), ours.clone()).unwrap();
        assert_eq!(rows(&*searching, vec![70], None), Some(vec![3, 50]));
        assert_eq!(rows(&*searching, vec![1], None), None, "the model does not know it");
        let scoring = source(Arc::new(Ring(false)), ours).unwrap();
        assert_eq!(rows(&*scoring, vec![70], None), Some(vec![3, 9]), "equals by row");
        assert_eq!(rows(&*scoring, vec![70], Some(&Allowed::new(60, [50]))), Some(vec![50]));
        assert_eq!(rows(&*scoring, vec![], None), None);
    }
}
