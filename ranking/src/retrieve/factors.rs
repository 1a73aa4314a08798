//! Whose taste fits: the factor model's inner product with every item that has a vector, new ones too.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Batch, Checked, Proposal, Proposals, Reason, RequestError, Scratch, Source, SourceError};
use crate::index::{View, Within};
use crate::train::Als;

/// Where a trained user's vector comes from if his history is at hand, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Taste {
    /// From the history: what was liked a moment ago counts. It must be all that is known of him.
    #[default]
    History,
    /// From training: for histories that are cut off.
    Trained,
}

/// The factor model as a source.
#[derive(Clone, Debug)]
pub struct Factors {
    model: Arc<Als>,
    items: View,
    taste: Taste,
}

impl Factors {
    /// `items` holds the factors of the items by their inner product; items that the model does not know may be among
    /// them, [mapped](crate::train::ContentMap) from what is known of them or folded in.
    ///
    /// # Errors
    /// [`RequestError::Width`] if the index has vectors of another length than the model.
    pub fn new(model: Arc<Als>, items: View, taste: Taste) -> Result<Self, RequestError> {
        let (len, need) = (items.width(), model.factors());
        if len != need {
            return Err(RequestError::Width { what: "the index of factors", len, need });
        }
        Ok(Self { model, items, taste })
    }

    /// Writes the vector of who asks, and says where it comes from; `None` where nothing is known of him.
    fn vector(&self, request: &Checked, queries: &mut Vec<f32>) -> Option<Reason> {
        let (history, factors) = (request.history(), self.model.factors());
        let trained = request.get().user.map(|row| row as usize * factors);
        let trained = trained.and_then(|first| self.model.user_factors().get(first..first + factors));
        let known = self.model.item_factors().len() / factors;
        let liked =
            |(item, weight): (&u32, &f32)| (*weight > 0.0 && (*item as usize) < known).then_some((*item, *weight));
        let from_history = self.taste == Taste::History || trained.is_none();
        let (items, weights): (Vec<u32>, Vec<f32>) = if from_history {
            history.items.iter().zip(history.weights).filter_map(liked).unzip()
        } else {
            Default::default()
        };
        if !items.is_empty() {
            queries.extend(self.model.fold_in_user(&items, &weights));
            return Some(Reason::Taste);
        }
        let (vector, reason) = match (trained, &request.get().person) {
            (Some(trained), _) => (trained, Reason::Taste),
            (None, Some(person)) => (&person[..], Reason::Person),
            (None, None) => return None,
        };
        queries.extend_from_slice(vector);
        Some(reason)
    }
}

impl Source for Factors {
    fn propose(&self, batch: &Batch<'_>, _: &mut Scratch) -> Result<Vec<Proposals>, SourceError> {
        let mut queries = Vec::with_capacity(batch.requests.len() * self.model.factors());
        let reasons: Vec<Option<Reason>> =
            batch.requests.iter().map(|request| self.vector(request, &mut queries)).collect();
        let asked = batch.requests.iter().zip(&reasons).filter(|(_, reason)| reason.is_some());
        let excluded: Vec<&[u32]> = asked.map(|(request, _)| &request.get().excluded[..]).collect();
        let Batch { k, allowed, threads, .. } = *batch;
        let found =
            self.items.search_within(&Within { queries: &queries, k, allowed, excluded: &excluded, threads })?;
        let mut found = found.into_iter();
        let proposals = |reason: Option<Reason>| {
            let reason = reason?;
            let proposal = |scored: crate::index::Scored| Proposal { row: scored.row, score: scored.score, reason };
            Some(found.next()?.into_iter().map(proposal).collect())
        };
        Ok(reasons.into_iter().map(proposals).collect())
    }

    fn check(&self, request: &Checked) -> Result<(), RequestError> {
        let (what, need) = ("the vector of the person", self.model.factors());
        match &request.get().person {
            Some(person) if person.len() != need => Err(RequestError::Width { what, len: person.len(), need }),
            _ => Ok(()),
        }
    }
}
