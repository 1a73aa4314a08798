//! An item as it is kept: the document that everything else is derived from.

use attune_api::ApiError;
use attune_api::rest::content::{Item, ItemBody};
use attune_ranking::attributes::Value;
use attune_store::Version;
use attune_store::documents::{Collection, Document};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::opinion::Opinion;
use crate::schema::Attributes;
use crate::{attribute, time};

/// The truth.
pub(crate) const ITEMS: Collection = Collection { name: "items", lookups: &[] };
/// Embeddings of items, which can be computed again.
pub(crate) const VECTORS: Collection = Collection { name: "item_vectors", lookups: &[] };
/// What is said of items.
pub(crate) const REVIEWS: Collection = Collection { name: "item_reviews", lookups: &["item_id", "user_id"] };

/// The body of the document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Body {
    pub title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub attributes: Map<String, Json>,
    pub hidden: bool,
    /// Microseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<i64>,
    /// What clients know as the version. The document's own also grows when the reviews are counted again, which is no
    /// reason to refuse somebody who edits the item.
    pub edition: u64,
    pub reviews: Opinion,
}

/// An item with the version of its document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    pub id: String,
    pub version: Version,
    pub body: Body,
}

impl Stored {
    /// # Errors
    /// Somebody else wrote the document.
    pub fn of(document: Document) -> Result<Self, ApiError> {
        let Document { id, version, body } = document;
        match serde_json::from_value(body) {
            Ok(body) => Ok(Self { id, version, body }),
            Err(error) => {
                tracing::error!(id, %error, "a document of an item cannot be read");
                Err(ApiError::internal())
            }
        }
    }

    /// As clients see it.
    pub fn item(self) -> Item {
        let Body { title, text, attributes, hidden, published, expires, edition, reviews } = self.body;
        let moment = |micros: Option<i64>| micros.map(|micros| Json::from(time::rfc3339(micros)));
        Item {
            id: self.id,
            version: edition,
            body: ItemBody {
                title,
                text,
                attributes,
                hidden,
                published_at: moment(published),
                expires_at: moment(expires),
            },
            review_count: reviews.count,
            sentiment: reviews.sentiment(),
            sentiment_trend: reviews.trend(),
        }
    }
}

impl Body {
    /// Whether it is to be shown at that time.
    pub fn is_shown(&self, now_micros: i64) -> bool {
        let is_out = self.published.is_none_or(|from| from <= now_micros);
        let is_over = self.expires.is_some_and(|until| until <= now_micros);
        !self.hidden && is_out && !is_over
    }

    /// What is embedded.
    pub fn embedded_text(&self) -> String {
        match &self.text {
            Some(text) if !text.is_empty() => format!("{}\n{text}", self.title),
            _ => self.title.clone(),
        }
    }

    /// What filters read: the item's own attributes as the schema says, and the service's.
    pub fn values(&self, schema: &Attributes) -> Vec<(String, Value)> {
        let own = self.attributes.iter().filter_map(|(name, json)| {
            let value = attribute::read(schema.kind(name)?, json).ok().flatten()?;
            Some((name.clone(), value))
        });
        let of_service = [
            ("hidden", Some(Value::Boolean(self.hidden))),
            ("published", self.published.map(Value::Time)),
            ("expires", self.expires.map(Value::Time)),
            ("review_count", Some(Value::Number(self.reviews.count as f64))),
            ("sentiment", self.reviews.sentiment().map(Value::Number)),
            ("sentiment_trend", self.reviews.trend().map(Value::Number)),
        ];
        own.chain(of_service.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)))).collect()
    }

    pub fn json(&self) -> Json {
        serde_json::to_value(self).expect("texts, numbers and JSON are JSON")
    }
}
