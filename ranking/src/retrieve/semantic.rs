//! What reads alike: the vectors of contents, near those of recent items or of a text.

use attune_kernels::{Isa, inner_products};
use serde::{Deserialize, Serialize};

use super::{Batch, Checked, Proposal, Proposals, Reason, RequestError, Scratch, Source, SourceError};
use crate::index::{Scored, View, Within};

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

/// What one request is compared with: recent items that have vectors, and those, row-major.
#[derive(Default)]
struct Anchor {
    items: Vec<u32>,
    vectors: Vec<f32>,
}

impl Semantic {
    /// `items` holds content vectors.
    pub fn new(items: View, options: SemanticOptions) -> Self {
        Self { items, options }
    }

    /// Writes what to look for: the text, or the mean of what was liked last; `None` where there is neither.
    fn query(&self, request: &Checked, queries: &mut Vec<f32>) -> Option<Anchor> {
        let first = queries.len();
        if let Some(text) = &request.get().text {
            let compared = some_direction(text);
            queries.extend_from_slice(if compared { text } else { &[] });
            return compared.then(Anchor::default);
        }
        let mut events: Vec<(u32, f32)> = request.recent(self.options.events_max).into_iter().rev().collect();
        if let Some(item) = request.get().context {
            let largest = events.iter().fold(0.0_f32, |largest, (_, weight)| largest.max(*weight));
            events.insert(0, (item, if largest > 0.0 { largest } else { 1.0 }));
        }
        queries.resize(first + self.items.width(), 0.0);
        let total: f32 = events.iter().map(|(_, weight)| weight).sum();
        let mut anchor = Anchor::default();
        for (age, (item, weight)) in events.into_iter().enumerate() {
            let Some(vector) = self.items.vector(item) else { continue };
            let share = weight / total * (-(age as f32) / self.options.half_life).exp2();
            queries[first..].iter_mut().zip(vector).for_each(|(sum, value)| *sum += share * value);
            anchor.items.push(item);
            anchor.vectors.extend_from_slice(vector);
        }
        if some_direction(&queries[first..]) {
            return Some(anchor);
        }
        queries.truncate(first);
        None
    }

    /// The nearest of the recent items, the first of equal ones; `products` is memory to use.
    fn reason(&self, anchor: &Anchor, row: u32, products: &mut Vec<f32>) -> Reason {
        let Some(vector) = self.items.vector(row).filter(|_| !anchor.items.is_empty()) else { return Reason::Text };
        products.resize(anchor.items.len(), 0.0);
        inner_products(Isa::active().expect("checked at start"), vector, &anchor.vectors, products);
        let mut nearest = (f32::NEG_INFINITY, 0);
        for (item, likeness) in anchor.items.iter().zip(products) {
            if *likeness > nearest.0 {
                nearest = (*likeness, *item);
            }
        }
        Reason::Alike { item: nearest.1 }
    }
}

/// Vectors of zeros cannot be compared.
fn some_direction(vector: &[f32]) -> bool {
    vector.iter().any(|value| *value != 0.0)
}

impl Source for Semantic {
    fn propose(&self, batch: &Batch<'_>, _: &mut Scratch) -> Result<Vec<Proposals>, SourceError> {
        let mut queries = Vec::with_capacity(batch.requests.len() * self.items.width());
        let anchors: Vec<_> = batch.requests.iter().map(|request| self.query(request, &mut queries)).collect();
        let asked = batch.requests.iter().zip(&anchors).filter(|(_, anchor)| anchor.is_some());
        let excluded: Vec<&[u32]> = asked.map(|(request, _)| &request.get().excluded[..]).collect();
        let Batch { k, allowed, threads, .. } = *batch;
        let found =
            self.items.search_within(&Within { queries: &queries, k, allowed, excluded: &excluded, threads })?;
        let mut found = found.into_iter();
        let mut products = Vec::new();
        let proposals = |anchor: Option<Anchor>| {
            let anchor = anchor?;
            let proposal = |Scored { row, score }: Scored| Proposal {
                row,
                score,
                reason: self.reason(&anchor, row, &mut products),
            };
            Some(found.next()?.into_iter().map(proposal).collect())
        };
        Ok(anchors.into_iter().map(proposals).collect())
    }

    fn check(&self, request: &Checked) -> Result<(), RequestError> {
        let (what, need) = ("the vector of the text", self.items.width());
        match &request.get().text {
            Some(text) if text.len() != need => Err(RequestError::Width { what, len: text.len(), need }),
            _ => Ok(()),
        }
    }
}
