//! What is near, or follows, the items of a user's last steps: one table of item to items, two ways to walk it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Batch, Checked, Proposals, Reason, Scratch, Source, SourceError};
use crate::index::{Scored, keep_best};
use crate::train::{SparseParts, TrainError};

/// Which items of a user are looked at, and how much each counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelatedOptions {
    /// The last events that count.
    pub events_max: usize,
    /// Events after which one counts half.
    pub half_life: f32,
    /// Whether only the session counts, and what comes next is sought rather than what is alike.
    pub session: bool,
}

impl Default for RelatedOptions {
    fn default() -> Self {
        Self { events_max: 100, half_life: 20.0, session: false }
    }
}

/// From items to others, with what each link is worth.
pub trait Links: Send + Sync {
    /// Rows there are; every link is to one of them.
    fn rows(&self) -> usize;

    /// Shows the links of a row, in a fixed order.
    fn each(&self, row: u32, show: impl FnMut(u32, f32));
}

impl Links for SparseParts {
    fn rows(&self) -> usize {
        Self::rows(self)
    }

    fn each(&self, row: u32, mut show: impl FnMut(u32, f32)) {
        let (others, values) = self.row(row as usize);
        others.iter().zip(values).for_each(|(other, value)| show(*other, *value));
    }
}

/// Item neighbours, or co-visits.
#[derive(Clone, Debug)]
pub struct Related<L = SparseParts> {
    links: Arc<L>,
    options: RelatedOptions,
}

impl Related {
    /// `links` lead from the item of an event to others, as those of [`ItemKnn`](crate::train::ItemKnn) and of
    /// [`co_visits`](crate::train::co_visits) do.
    ///
    /// # Errors
    /// [`TrainError`] where the links contradict each other, or the half-life is not above 0.
    pub fn new(links: Arc<SparseParts>, options: RelatedOptions) -> Result<Self, TrainError> {
        links.check(links.rows())?;
        Self::over(links, options)
    }
}

impl<L: Links> Related<L> {
    /// The same with links that are kept in another way.
    ///
    /// # Errors
    /// [`TrainError`] where the half-life is not above 0.
    pub fn over(links: Arc<L>, options: RelatedOptions) -> Result<Self, TrainError> {
        if !(options.half_life > 0.0 && options.half_life.is_finite()) {
            let (value, need) = (options.half_life.into(), "a finite number above 0 is needed");
            return Err(TrainError::Option { name: "half_life", value, need });
        }
        Ok(Self { links, options })
    }

    /// The items to start from, newest first, with what each counts; magnitudes add up to 1.
    fn starts(&self, request: &Checked) -> Vec<(u32, f32)> {
        let mut events: Vec<(u32, f32)> = match self.options.session {
            true => request.session().into_iter().rev().take(self.options.events_max).collect(),
            false => request.events(self.options.events_max).rev().collect(),
        };
        if let Some(item) = request.get().context {
            let largest = events.iter().fold(0.0_f32, |largest, (_, weight)| largest.max(weight.abs()));
            events.insert(0, (item, if largest > 0.0 { largest } else { 1.0 }));
        }
        for (age, (_, weight)) in events.iter_mut().enumerate() {
            *weight *= (-(age as f32) / self.options.half_life).exp2();
        }
        events.retain(|(item, weight)| (*item as usize) < self.links.rows() && *weight != 0.0);
        let total: f32 = events.iter().map(|(_, weight)| weight.abs()).sum();
        events.iter_mut().for_each(|(_, weight)| *weight /= total);
        events
    }

    fn propose_one(&self, batch: &Batch<'_>, request: &Checked, scratch: &mut Scratch) -> Proposals {
        let starts = self.starts(request);
        if starts.is_empty() {
            return None;
        }
        let Scratch { sums, touched, found, .. } = scratch;
        sums.resize(sums.len().max(self.links.rows()), f32::NAN);
        for (item, weight) in starts {
            self.links.each(item, |other, value| {
                let sum = &mut sums[other as usize];
                if sum.is_nan() {
                    *sum = 0.0;
                    touched.push(other);
                }
                *sum += weight * value;
            });
        }
        found.clear();
        for row in touched.drain(..) {
            let score = std::mem::replace(&mut sums[row as usize], f32::NAN);
            if score > 0.0 && batch.admits(request, row) {
                found.push(Scored { row, score });
            }
        }
        keep_best(found, batch.k);
        Some(found.clone())
    }
}

impl<L: Links> Source for Related<L> {
    /// Only items with a score above 0 are proposed: the others are not related.
    fn propose(&self, batch: &Batch<'_>, scratch: &mut Scratch) -> Result<Vec<Proposals>, SourceError> {
        Ok(batch.requests.iter().map(|request| self.propose_one(batch, request, scratch)).collect())
    }

    /// The item that adds most, the newest of equal ones.
    fn reason(&self, request: &Checked, row: u32) -> Reason {
        let mut most = (0.0, row);
        for (item, weight) in self.starts(request) {
            self.links.each(item, |other, value| {
                if other == row && weight * value > most.0 {
                    most = (weight * value, item);
                }
            });
        }
        let item = most.1;
        if self.options.session { Reason::Follows { item } } else { Reason::BecauseOf { item } }
    }
}
