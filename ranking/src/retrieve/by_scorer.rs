//! Any model that scores the whole catalogue, as a source: for catalogues that such models suit.

use std::sync::Arc;

use super::{Batch, Checked, Proposals, Reason, Scratch, Source, SourceError};
use crate::data::{History, Scorer};
use crate::index::{Scored, keep_best};

/// A model that scores every item for every request: EASE, a sequence model, or a blend of several.
#[derive(Clone)]
pub struct ByScorer {
    model: Arc<dyn Scorer + Send>,
    users: usize,
}

impl ByScorer {
    /// `users`: the rows below it are users whom the model was trained with; 0 for a model that knows histories alone.
    pub fn new(model: Arc<dyn Scorer + Send>, users: usize) -> Self {
        Self { model, users }
    }

    fn propose_one(&self, batch: &Batch<'_>, request: &Checked, scratch: &mut Scratch) -> Proposals {
        let items = self.model.items();
        let user = request.get().user.filter(|user| (*user as usize) < self.users);
        let history = Known::of(request.history(), items);
        if user.is_none() && history.items.is_empty() {
            return None;
        }
        let Scratch { scores, found, .. } = scratch;
        scores.clear();
        scores.resize(items, 0.0);
        self.model.score(user, history.get(), scores);
        for row in request.get().excluded.iter().take_while(|row| (**row as usize) < items) {
            scores[*row as usize] = f32::NAN;
        }
        let scored = |row: u32| Scored { row, score: scores[row as usize] };
        found.clear();
        match batch.allowed {
            Some(allowed) => found.extend(allowed.iter().take_while(|row| (*row as usize) < items).map(scored)),
            None => found.extend((0..items as u32).map(scored)),
        }
        found.retain(|scored| !scored.score.is_nan());
        keep_best(found, batch.k);
        Some(found.clone())
    }
}

/// The events on items that the model knows.
#[derive(Default)]
struct Known {
    items: Vec<u32>,
    weights: Vec<f32>,
    times: Vec<i64>,
}

impl Known {
    /// Magnitudes of the weights are 1 on average, so that their unit does not count.
    fn of(history: History<'_>, items: usize) -> Self {
        let mut known = Self::default();
        for ((&item, &weight), &time) in history.items.iter().zip(history.weights).zip(history.times) {
            if (item as usize) < items {
                known.items.push(item);
                known.weights.push(weight);
                known.times.push(time);
            }
        }
        let total: f32 = known.weights.iter().map(|weight| weight.abs()).sum();
        if total > 0.0 {
            let scale = known.weights.len() as f32 / total;
            known.weights.iter_mut().for_each(|weight| *weight *= scale);
        }
        known
    }

    fn get(&self) -> History<'_> {
        History { items: &self.items, weights: &self.weights, times: &self.times }
    }
}

impl Source for ByScorer {
    fn propose(&self, batch: &Batch<'_>, scratch: &mut Scratch) -> Result<Vec<Proposals>, SourceError> {
        Ok(batch.requests.iter().map(|request| self.propose_one(batch, request, scratch)).collect())
    }

    fn reason(&self, _: &Checked, _: u32) -> Reason {
        Reason::Model
    }
}
