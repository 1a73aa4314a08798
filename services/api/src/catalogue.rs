//! What there is to show, as one service tells another: the seam between who keeps items and who ranks them.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{ApiError, Call};

/// The most items of a call.
pub const ITEMS_MAX: usize = 1_000;

/// Everything about an item that ranking looks at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// Its id.
    pub item_id: String,
    /// Greater for a newer state of the same item; the first is the time in microseconds.
    pub version: u64,
    /// What it is called.
    pub title: String,
    /// Attributes by name: text, list of texts, number, boolean, or time as RFC 3339, as the schema says. What the
    /// service itself knows stands among them: `published`, `review_count`, `sentiment`, `sentiment_trend`.
    pub attributes: Map<String, Value>,
    /// The embedding of its texts, of unit length; absent until it is computed.
    pub vector: Option<Vec<f32>>,
    /// Not to be shown: hidden, not published yet, or expired.
    pub is_hidden: bool,
}

/// What an attribute holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttributeKind {
    /// One word, compared by exact bytes.
    Keyword,
    /// Several.
    Keywords,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A moment.
    Time,
}

/// A page of the catalogue in the order of ids.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entries {
    /// Up to as many as were asked for.
    pub entries: Vec<Entry>,
    /// Where the next page begins; absent at the end.
    pub next: Option<String>,
}

/// Who keeps items, as others see it.
#[async_trait]
pub trait Catalogue: Send + Sync {
    /// Attributes by name, in a fixed order.
    async fn schema(&self, call: &Call) -> Result<Vec<(String, AttributeKind)>, ApiError>;

    /// Items by id, at most [`ITEMS_MAX`], in the order of `ids`; nothing where there is none.
    async fn entries(&self, call: &Call, ids: &[String]) -> Result<Vec<Option<Entry>>, ApiError>;

    /// All items, `max` at a time, from where a page before ended. An item that is written meanwhile may be missed or come
    /// twice: its record in the log comes after it.
    async fn scan(&self, call: &Call, from: Option<&str>, max: usize) -> Result<Entries, ApiError>;
}

/// A catalogue that is shared.
pub type SharedCatalogue = Arc<dyn Catalogue>;
