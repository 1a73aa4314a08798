//! Whose taste fits: the factor model's inner product with every item that has a vector, new ones too.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Batch, Checked, Proposals, Reason, RequestError, Scratch, Source, SourceError};
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

    /// What a request's vector is made of; `None` where nothing is known of who asks.
    fn basis<'r>(&'r self, request: &'r Checked) -> Option<Basis<'r>> {
        let factors = self.model.factors();
        let trained = request.get().user.map(|row| row as usize * factors);
        let trained = trained.and_then(|first| self.model.user_factors().get(first..first + factors));
        if self.taste == Taste::History || trained.is_none() {
            let history = request.history();
            let known = self.model.item_factors().len() / factors;
            let liked =
                |(item, weight): (&u32, &f32)| (*weight > 0.0 && (*item as usize) < known).then_some((*item, *weight));
            let (items, weights): (Vec<u32>, Vec<f32>) =
                history.items.iter().zip(history.weights).filter_map(liked).unzip();
            if !items.is_empty() {
                return Some(Basis::History(items, weights));
            }
        }
        trained.map(Basis::Trained).or_else(|| request.get().person.as_deref().map(Basis::Person))
    }

    /// Writes the vector of who asks; false where nothing is known of him.
    fn vector(&self, request: &Checked, queries: &mut Vec<f32>) -> bool {
        let basis = self.basis(request);
        match &basis {
            Some(Basis::History(items, weights)) => queries.extend(self.model.fold_in_user(items, weights)),
            Some(Basis::Trained(vector) | Basis::Person(vector)) => queries.extend_from_slice(vector),
            None => {}
        }
        basis.is_some()
    }
}

/// Where a vector comes from.
enum Basis<'a> {
    /// Liked items, and what each is worth.
    History(Vec<u32>, Vec<f32>),
    Trained(&'a [f32]),
    Person(&'a [f32]),
}

impl Source for Factors {
    fn propose(&self, batch: &Batch<'_>, _: &mut Scratch) -> Result<Vec<Proposals>, SourceError> {
        let mut queries = Vec::with_capacity(batch.requests.len() * self.model.factors());
        let is_known: Vec<bool> = batch.requests.iter().map(|request| self.vector(request, &mut queries)).collect();
        let asked = batch.requests.iter().zip(&is_known).filter(|(_, is_known)| **is_known);
        let excluded: Vec<&[u32]> = asked.map(|(request, _)| &request.get().excluded[..]).collect();
        let Batch { k, allowed, threads, .. } = *batch;
        let found =
            self.items.search_within(&Within { queries: &queries, k, allowed, excluded: &excluded, threads })?;
        let mut found = found.into_iter();
        Ok(is_known.into_iter().map(|is_known| if is_known { found.next() } else { None }).collect())
    }

    fn reason(&self, request: &Checked, _: u32) -> Reason {
        match self.basis(request) {
            Some(Basis::Person(_)) => Reason::Person,
            _ => Reason::Taste,
        }
    }

    fn check(&self, request: &Checked) -> Result<(), RequestError> {
        let (what, need) = ("the vector of the person", self.model.factors());
        match &request.get().person {
            Some(person) if person.len() != need => Err(RequestError::Width { what, len: person.len(), need }),
            _ => Ok(()),
        }
    }
}
