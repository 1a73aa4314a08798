//! The seam between a source and whoever asks it.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Checked, RequestError};
use crate::index::{Allowed, IndexError, Scored};

/// Requests that are answered together: they share a filter and a length.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    /// What is known of each.
    pub requests: &'a [Checked],
    /// How many candidates each wants.
    pub k: usize,
    /// Rows that fulfil the filter; all if absent. What a request excludes is excluded besides.
    pub allowed: Option<&'a Allowed>,
    /// Unix seconds.
    pub now: i64,
    /// Threads that an index may use.
    pub threads: usize,
}

/// Why an item is proposed. Items are rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It fits what the user liked.
    Taste,
    /// People of whom the same is known like it.
    Person,
    /// Who liked that item likes this one.
    BecauseOf {
        /// The item that weighed most.
        item: u32,
    },
    /// It is what people go on to from that item.
    Follows {
        /// The item that weighed most.
        item: u32,
    },
    /// Its content is like that item's.
    Alike {
        /// The nearest of the recent items.
        item: u32,
    },
    /// Its content fits the text that was asked for.
    Text,
    /// A model says so that gives no reasons.
    Model,
    /// Somebody outside of this process says so.
    Outside,
    /// More and more people like it.
    Trending,
    /// Everybody likes it.
    Popular,
    /// It is new.
    Latest,
}

/// The candidates of one request, best first, with scores in the source's own unit; `None` where it has nothing to go on.
pub type Proposals = Option<Vec<Scored>>;

/// Why a source could not answer.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum SourceError {
    /// Its index refused.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// Whoever was asked outside of this process did not answer, or not well; in words.
    #[error("{0}")]
    Outside(String),
}

/// Memory that sources use again and again; one a thread.
#[derive(Debug, Default)]
pub struct Scratch {
    /// By row; NaN where nothing was added.
    pub(super) sums: Vec<f32>,
    pub(super) touched: Vec<u32>,
    pub(super) scores: Vec<f32>,
    pub(super) found: Vec<Scored>,
}

/// Something that proposes candidates. A source never changes: a newer one takes its place.
pub trait Source: Send + Sync {
    /// The exact best `k` items of each request among those that are allowed and not excluded, best first, equal scores
    /// by row.
    ///
    /// # Errors
    /// [`SourceError`] where it cannot answer at all.
    fn propose(&self, batch: &Batch<'_>, scratch: &mut Scratch) -> Result<Vec<Proposals>, SourceError>;

    /// Why it proposes an item to somebody. To find that may take longer than to find the item, and most lists are not
    /// explained: it is asked for by itself.
    fn reason(&self, request: &Checked, row: u32) -> Reason;

    /// Whether it answers those of whom nothing is known.
    fn serves_everyone(&self) -> bool {
        false
    }

    /// Refuses what the caller should have given otherwise.
    ///
    /// # Errors
    /// [`RequestError`] names it.
    fn check(&self, _request: &Checked) -> Result<(), RequestError> {
        Ok(())
    }
}

impl Batch<'_> {
    /// Whether a request may have an item.
    pub(super) fn admits(&self, request: &Checked, row: u32) -> bool {
        self.allowed.is_none_or(|allowed| allowed.contains(row)) && !request.excludes(row)
    }
}
