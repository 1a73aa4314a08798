//! Items, their schema, search, reviews and assets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::sentiment::SentimentResult;
use crate::FieldError;
use crate::catalogue::AttributeKind;

/// An item as it is written. Unknown fields are refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ItemBody {
    /// What it is called.
    #[schema(example = "The Third Man")]
    pub title: String,
    /// A description: searched, and embedded together with the title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What is filtered and counted by: text, list of texts, number, boolean, or time as RFC 3339. The first item that
    /// uses a name decides its kind. `hidden`, `published`, `expires`, `review_count`, `sentiment`
    /// and `sentiment_trend` are taken.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object, example = json!({"genres": ["noir", "thriller"], "year": 1949}))]
    pub attributes: Map<String, Value>,
    /// Kept, and not found by anybody.
    #[serde(default)]
    pub hidden: bool,
    /// From when on it is found: RFC 3339 or Unix seconds; at once, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "2026-01-31T08:00:00Z")]
    pub published_at: Option<Value>,
    /// From when on it is not found any more; never, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Value>,
}

/// An item as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Item {
    /// Its id.
    pub id: String,
    /// Which state of it this is. Reviews do not change it, though they change the ETag; `if-match` takes either, in quotes.
    pub version: u64,
    /// What was written; times are RFC 3339 in UTC.
    #[serde(flatten)]
    pub body: ItemBody,
    /// Reviews that are not hidden.
    pub review_count: u64,
    /// What they say, from -1 to 1: the mean of positive minus negative, drawn to 0 while there are few.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentiment: Option<f64>,
    /// How much better the ten latest are than those before them, from -2 to 2; absent while there are only ten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentiment_trend: Option<f64>,
}

/// `POST /v1/items:batch`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchRequest {
    /// Up to 1,000 items, each an item's body with its `id`. One that cannot be kept holds up no other.
    #[schema(value_type = Vec<BatchItem>)]
    pub items: Vec<Value>,
}

/// One item of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchItem {
    /// Its id.
    pub id: String,
    /// What it is called.
    pub title: String,
    /// As in [`ItemBody`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// As in [`ItemBody`].
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub attributes: Map<String, Value>,
    /// As in [`ItemBody`].
    #[serde(default)]
    pub hidden: bool,
    /// As in [`ItemBody`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub published_at: Option<Value>,
    /// As in [`ItemBody`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Value>,
}

impl From<BatchItem> for (String, ItemBody) {
    fn from(item: BatchItem) -> Self {
        let BatchItem { id, title, text, attributes, hidden, published_at, expires_at } = item;
        (id, ItemBody { title, text, attributes, hidden, published_at, expires_at })
    }
}

/// The answer of `POST /v1/items:batch`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BatchAnswer {
    /// Items that were kept.
    pub kept: usize,
    /// Those that were not, by their place in the request.
    pub rejected: Vec<Rejected>,
}

/// An item that was not kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rejected {
    /// Its place in the request, from 0.
    pub index: usize,
    /// Its id, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The error's stable name.
    #[schema(example = "invalid")]
    pub code: String,
    /// This occurrence, in words.
    pub detail: String,
    /// Where, as pointers into the item.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// Attributes and their kinds. A kind never changes; attributes are only added.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ItemSchema {
    /// By name.
    #[schema(example = json!({"genres": "keywords", "year": "number"}))]
    pub attributes: BTreeMap<String, AttributeKind>,
}

/// By what items are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SearchMode {
    /// By words.
    #[default]
    Text,
    /// By meaning: the items whose embeddings are nearest to that of the query.
    Semantic,
    /// By both, joined by their ranks.
    Hybrid,
}

/// What is searched for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SearchRequest {
    /// Words, or a sentence. Without it everything that the filter allows is found.
    #[serde(default)]
    pub q: String,
    /// A filter over the attributes, for example `year > 1990 and genres in ["drama"]`.
    #[serde(default)]
    pub filter: Option<String>,
    /// Attributes, separated by commas, of which the values are counted.
    #[serde(default)]
    pub facets: Option<String>,
    /// How many hits a page has at most: 10 if absent, at most 1,000.
    #[serde(default)]
    pub k: Option<usize>,
    /// Where the page before ended.
    #[serde(default)]
    pub cursor: Option<String>,
    /// `text` if absent.
    #[serde(default)]
    pub mode: SearchMode,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SearchAnswer {
    /// The best first.
    pub hits: Vec<Hit>,
    /// How many items match in all; by meaning, every item that the filter allows.
    pub matches: u64,
    /// Counts by attribute over everything that matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facets: Vec<Facet>,
    /// No item had the words as they were, and those with nearly the same words were found.
    #[serde(default)]
    pub approximate: bool,
    /// Where the next page begins; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// One item that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Hit {
    /// How well it matches. Only good for comparing within one answer.
    pub score: f32,
    /// A piece of its text with the words in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub highlight: Option<Highlight>,
    /// The item.
    pub item: Item,
}

/// A piece of a text. Plain text: whoever shows it escapes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Highlight {
    /// The piece.
    pub text: String,
    /// Where the words are: pairs of start and end, in bytes of UTF-8.
    pub marks: Vec<(usize, usize)>,
}

/// How often each value of an attribute occurs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Facet {
    /// The attribute.
    pub attribute: String,
    /// The most frequent first.
    pub values: Vec<FacetValue>,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FacetValue {
    /// The value.
    pub value: String,
    /// Items that have it.
    pub count: u64,
}

/// A review as it is written. Unknown fields are refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReviewBody {
    /// Who wrote it, if he said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// A number of stars, or whatever else the application counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rating: Option<f64>,
    /// What he says.
    #[schema(example = "Wonderful from the first shot to the last.")]
    pub text: String,
}

/// A review as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Review {
    /// Its id. The newest review of an item has the least.
    pub id: String,
    /// What it is about.
    pub item_id: String,
    /// When it was written, as RFC 3339.
    pub created_at: String,
    /// What was written.
    #[serde(flatten)]
    pub body: ReviewBody,
    /// What our engine makes of the text; absent where no classifier is loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentiment: Option<SentimentResult>,
    /// A moderator has looked at it.
    pub moderated: bool,
    /// Kept, but neither shown nor counted.
    pub hidden: bool,
}

/// What a moderator decides; what is absent stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReviewPatch {
    /// He has looked at it.
    #[serde(default)]
    pub moderated: Option<bool>,
    /// It is kept, but neither shown nor counted.
    #[serde(default)]
    pub hidden: Option<bool>,
}

/// A page of reviews.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReviewList {
    /// The newest first.
    pub reviews: Vec<Review>,
    /// Where the next page begins; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A file to add to an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AssetRequest {
    /// What it is called, 1 to 200 bytes without `/`; one of that name is replaced.
    #[schema(example = "poster.jpg")]
    pub name: String,
    /// How long the address is good for, in seconds: 3,600 if absent, at most 604,800.
    #[serde(default)]
    pub good_for_s: Option<u64>,
}

/// A file of an item, or the place for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Asset {
    /// What it is called.
    pub name: String,
    /// Where it can be read or put. Whoever has this has the access.
    pub url: String,
    /// `GET` or `PUT`.
    pub method: String,
    /// Until when, as RFC 3339.
    pub expires_at: String,
    /// Its size, where it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// A page of assets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AssetList {
    /// By name.
    pub assets: Vec<Asset>,
    /// Where the next page begins; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}
