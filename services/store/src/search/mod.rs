//! Full text, filters and facets over what there is to show.
//!
//! An index is derived: everything in it can be written again from the documents. So what a store promises is not that
//! it loses nothing, but that it converges. Every [`Change`] carries the version that its document has at the source,
//! and an older one never replaces a newer one, in whatever order and however often they come; a deletion is a version
//! like any other. What replays after a crash and what writes at the same time need not know of each other.
//!
//! A tenant has one live index, of one [`Schema`]. Another schema, or an index that is damaged, means another index:
//!
//! 1. [`begin`](Search::begin) makes an empty one beside it. From here on every write goes to both.
//! 2. The caller writes all its documents, by [`write`](Search::write).
//! 3. [`publish`](Search::publish) puts the new one in the place of the old one, in one step.
//!
//! Searches find the old index until the last step and the new one after it; there is no gap, and nothing is lost that
//! is written meanwhile. The first index of a tenant is made in the same way.

mod cursor;
mod guarded;
mod highlight;
mod limits;

use async_trait::async_trait;
use attune_ranking::attributes::{Schema, Value};
use attune_ranking::filter::Expr;

use crate::{Health, StoreError, Tenant};
pub(crate) use cursor::tie;
pub use cursor::{Cursor, CursorError};
pub use highlight::Fragment;
pub(crate) use highlight::MARKS;
pub use limits::{
    CHANGES_MAX, FACET_VALUES_MAX, FACETS_MAX, HITS_MAX, ID_BYTES_MAX, QUERY_BYTES_MAX, QUERY_WORDS_MAX,
    TEXT_BYTES_MAX, WRITE_BYTES_MAX,
};
pub(crate) use limits::{check_changes, check_query, facet_kind, invalid, order_kind};

/// Finds what there is to show.
#[async_trait]
pub trait Search: std::fmt::Debug + Send + Sync {
    /// The indices of a tenant.
    async fn indices(&self, tenant: &Tenant) -> Result<Indices, StoreError>;

    /// Makes an empty index beside the live one, which from here on gets every write too.
    ///
    /// # Errors
    /// `Conflict`: there is one already. [`publish`](Self::publish) or [`abandon`](Self::abandon) it.
    async fn begin(&self, tenant: &Tenant, schema: &Schema) -> Result<(), StoreError>;

    /// Puts the new index in the place of the live one, which is removed. All that was written is found afterwards.
    ///
    /// # Errors
    /// `NotFound`: there is no new index.
    async fn publish(&self, tenant: &Tenant) -> Result<(), StoreError>;

    /// Removes the new index, if there is one; the live one stays.
    async fn abandon(&self, tenant: &Tenant) -> Result<(), StoreError>;

    /// Writes changes, at most [`CHANGES_MAX`], to the live index and to the new one. Of one document the newest version
    /// stays. Each index takes the attributes that its schema has, in the kind that it has there, and leaves the others
    /// out. They are found after the next [`refresh`](Self::refresh), or within a second. Safe to make twice.
    ///
    /// # Errors
    /// `NotFound`: the tenant has no index. `Invalid` and `TooLarge`: nothing was written.
    async fn write(&self, tenant: &Tenant, changes: &[Change]) -> Result<Written, StoreError>;

    /// Lets everything that was written before be found.
    async fn refresh(&self, tenant: &Tenant) -> Result<(), StoreError>;

    /// Searches the live index.
    ///
    /// # Errors
    /// `NotFound`: the tenant has no live index. `Invalid`: the filter, a facet or the order does not fit its schema.
    async fn search(&self, tenant: &Tenant, query: &Query) -> Result<Page, StoreError>;

    /// Removes everything that the tenant has.
    async fn erase(&self, tenant: &Tenant) -> Result<(), StoreError>;

    /// Whether the store is there, and what it is.
    async fn health(&self) -> Result<Health, StoreError>;
}

/// What indices a tenant has: the schemas of the one that is searched and of the one that is being filled.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Indices {
    /// Searched and written.
    pub live: Option<Schema>,
    /// Written, and not searched yet.
    pub building: Option<Schema>,
}

/// What becomes of one document.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// It is there.
    Put(Entry),
    /// It is not there any more.
    Delete {
        /// Which.
        id: String,
        /// The version of the deletion.
        version: u64,
    },
}

/// A document as it is found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// 1 to [`ID_BYTES_MAX`] bytes of any text.
    pub id: String,
    /// Greater for a newer state of the same document; at most `i64::MAX`.
    pub version: u64,
    /// What it is called. A word found here counts twice.
    pub title: String,
    /// The rest of what is searched.
    pub text: String,
    /// What is filtered, counted and sorted by.
    pub attributes: Vec<(String, Value)>,
}

/// What became of changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Those that are the newest version of their document.
    pub applied: usize,
    /// Those that the live index had already, or something newer.
    pub stale: usize,
}

/// What is searched for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// Words, of which an entry has to have every one in its title or text, upper and lower case alike. If no entry has
    /// them, those with nearly the same words are found: one letter off for words from three letters, two from six. A
    /// text without a word finds nothing; an empty text does not choose.
    pub text: String,
    /// What else has to hold.
    pub filter: Option<Expr>,
    /// Of which attributes the values are counted, over everything that matches.
    pub facets: Vec<FacetQuery>,
    /// In which order.
    pub order: Order,
    /// Where the page before ended.
    pub after: Option<Cursor>,
    /// How many hits a page has at most, up to [`HITS_MAX`].
    pub hits_max: usize,
    /// Whether each hit shows where the words are.
    pub highlight: bool,
}

/// Values to count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FacetQuery {
    /// An attribute of keywords or booleans.
    pub attribute: String,
    /// How many values are wanted, the most frequent first; up to [`FACET_VALUES_MAX`].
    pub values_max: usize,
}

/// The order of hits. Equal ones have a fixed order, the same on every page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The best match first. What is a good match depends on all entries: pages may shift while others are written.
    #[default]
    Relevance,
    /// By a number or a time; those without it last. Pages stay as they are while others are written.
    By {
        /// The attribute.
        attribute: String,
        /// The greatest first.
        descending: bool,
    },
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// In the order asked for.
    pub hits: Vec<Hit>,
    /// How many entries match in all.
    pub matches: u64,
    /// One for each facet of the query.
    pub facets: Vec<Facet>,
    /// Where the next page begins, if there is more.
    pub next: Option<Cursor>,
    /// Whether no entry had the words as they were, and those with nearly the same words were found.
    pub is_approximate: bool,
}

/// One entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Which.
    pub id: String,
    /// How well it matches; 0 in another order than by relevance.
    pub score: f32,
    /// Where the words are, where it was asked for and there are any.
    pub fragment: Option<Fragment>,
}

/// The values of one attribute among everything that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facet {
    /// The attribute.
    pub attribute: String,
    /// Values and how many entries have them, the most frequent first and then by value.
    pub values: Vec<(String, u64)>,
}
