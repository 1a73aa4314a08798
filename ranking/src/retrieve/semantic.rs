//! What reads alike: the vectors of contents, near those of recent items or of a text.

use attune_kernels::{Isa, inner_products};
use serde::{Deserialize, Serialize};

use super::{Batch, Checked, Proposals, Reason, RequestError, Scratch, Source, SourceError};
use crate::index::{View, Within};

/// Which items of a user are looked at, and how much each counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SemanticOptions {
    /// The last liked events that count.
    pub events_max: usize,
    /// Events after which one counts half.
    pub half_life: f32,
}

impl Default for SemanticOptions {
    fn default() -> Self {
        Self { events_max: 20, half_life: 5.0 }
    }
}

/// Content vectors as a source.
#[derive(Clone, Debug)]
pub struct Semantic {
    items: View,
    options: SemanticOptions,
}

impl Semantic {
    /// `items` holds content vectors.
    pub fn new(items: View, options: SemanticOptions) -> Self {
        Self { items, options }
    }

    /// The items to look from, newest first, with what each counts and its vector.
    fn anchors(&self, request: &Checked) -> impl Iterator<Item = (u32, f32, &[f32])> {
        let mut events: Vec<(u32, f32)> = request.recent(self.options.events_max).into_iter().rev().collect();
        if let Some(item) = request.get().context {
            let largest = events.iter().fold(0.0_f32, |largest, (_, weight)| largest.max(*weight));
            events.insert(0, (item, if largest > 0.0 { largest } else { 1.0 }));
        }
        let total: f32 = events.iter().map(|(_, weight)| weight).sum();
        events.into_iter().enumerate().filter_map(move |(age, (item, weight))| {
            let share = weight / total * (-(age as f32) / self.options.half_life).exp2();
            Some((item, share, self.items.vector(item)?))
        })
    }

    /// Writes what to look for: the text, or the mean of what was liked last; false where there is neither.
    fn query(&self, request: &Checked, queries: &mut Vec<f32>) -> bool {
        let first = queries.len();
        if let Some(text) = &request.get().text {
            queries.extend_from_slice(text);
        } else {
            queries.resize(first + self.items.width(), 0.0);
            for (_, share, vector) in self.anchors(request) {
                queries[first..].iter_mut().zip(vector).for_each(|(sum, value)| *sum += share * value);
            }
        }
        let compared = some_direction(&queries[first..]);
        if !compared {
            queries.truncate(first);
        }
        compared
    }
}

/// Vectors of zeros cannot be compared.
fn some_direction(vector: &[f32]) -> bool {
    vector.iter().any(|value| *value != 0.0)
}

impl Source for Semantic {
    fn propose(&self, batch: &Batch<'_>, _: &mut Scratch) -> Result<Vec<Proposals>, SourceError> {
        let mut queries = Vec::with_capacity(batch.requests.len() * self.items.width());
        let is_asked: Vec<bool> = batch.requests.iter().map(|request| self.query(request, &mut queries)).collect();
        let asked = batch.requests.iter().zip(&is_asked).filter(|(_, is_asked)| **is_asked);
        let excluded: Vec<&[u32]> = asked.map(|(request, _)| &request.get().excluded[..]).collect();
        let Batch { k, allowed, threads, .. } = *batch;
        let found =
            self.items.search_within(&Within { queries: &queries, k, allowed, excluded: &excluded, threads })?;
        let mut found = found.into_iter();
        Ok(is_asked.into_iter().map(|is_asked| if is_asked { found.next() } else { None }).collect())
    }

    /// The nearest of the recent items, the first of equal ones.
    fn reason(&self, request: &Checked, row: u32) -> Reason {
        let isa = Isa::active().expect("checked at start");
        let (Some(vector), None) = (self.items.vector(row), &request.get().text) else { return Reason::Text };
        let mut nearest = (f32::NEG_INFINITY, None);
        for (item, _, anchor) in self.anchors(request) {
            let mut likeness = [0.0];
            inner_products(isa, vector, anchor, &mut likeness);
            if likeness[0] > nearest.0 {
                nearest = (likeness[0], Some(item));
            }
        }
        nearest.1.map_or(Reason::Text, |item| Reason::Alike { item })
    }

    fn check(&self, request: &Checked) -> Result<(), RequestError> {
        let (what, need) = ("the vector of the text", self.items.width());
        match &request.get().text {
            Some(text) if text.len() != need => Err(RequestError::Width { what, len: text.len(), need }),
            _ => Ok(()),
        }
    }
}
