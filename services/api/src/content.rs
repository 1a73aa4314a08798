//! What the keeper of items is asked, whichever protocol asks.
//!
//! What other services see of the same items is a [`catalogue`](crate::catalogue).

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::rest::content::{
    Asset, AssetList, AssetRequest, Item, ItemBody, ItemSchema, Review, ReviewBody, ReviewList, ReviewPatch,
    SearchAnswer, SearchRequest,
};
use crate::{ApiError, Call, ErrorCode};

/// The most items of a batch.
pub const BATCH_ITEMS_MAX: usize = 1_000;
/// The longest id of an item, in bytes.
pub const ITEM_ID_BYTES_MAX: usize = 256;
/// The longest title, in bytes.
pub const TITLE_BYTES_MAX: usize = 4 << 10;
/// The longest text of an item or a review, in bytes.
pub const TEXT_BYTES_MAX: usize = 256 << 10;
/// The most attributes of an item.
pub const ITEM_ATTRIBUTES_MAX: usize = 128;
/// The most hits of a page of a search.
pub const SEARCH_HITS_MAX: usize = 1_000;
/// How many hits a page of a search has if nobody says.
pub const SEARCH_HITS_DEFAULT: usize = 10;
/// The most rows of a page of reviews or assets.
pub const PAGE_ROWS_MAX: usize = 1_000;
/// How many rows such a page has if nobody says.
pub const PAGE_ROWS_DEFAULT: usize = 100;

/// What must be there for a write to happen: `If-Match` and `If-None-Match`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Anything or nothing.
    #[default]
    None,
    /// Nothing: `If-None-Match: *`.
    Absent,
    /// Something: `If-Match: *`.
    Present,
    /// This version: `If-Match: "7"`.
    Version(u64),
}

impl Condition {
    /// Whether what is there, by its version, fulfils it. `what` is the kind of thing, in a refusal.
    ///
    /// # Errors
    /// `PreconditionFailed`.
    pub fn check(self, what: &str, found: Option<u64>) -> Result<(), ApiError> {
        let fault = match (self, found) {
            (Self::Absent, Some(_)) => format!("the {what} is there already"),
            (Self::Present | Self::Version(_), None) => format!("the {what} is not there"),
            (Self::Version(wanted), Some(version)) if version != wanted => {
                format!("the {what} is at version {version} and not at {wanted}: read it again")
            }
            _ => return Ok(()),
        };
        Err(ApiError::new(ErrorCode::PreconditionFailed, fault))
    }
}

/// An item as a write left it.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    /// What is there now.
    pub item: Item,
    /// There was none before.
    pub is_new: bool,
}

/// Keeps items and finds them.
///
/// # Errors
/// All calls: `Invalid` with pointers where what was given cannot be, `Absent` where an item, review or asset is not
/// there, `PreconditionFailed` where a [`Condition`] does not hold, `Unavailable` and `StorageFull` from the stores.
#[async_trait]
pub trait Content: Send + Sync {
    /// Makes an item, or replaces it as a whole. It is found by a search within a second.
    async fn put(&self, call: &Call, id: &str, item: ItemBody, condition: Condition) -> Result<Saved, ApiError>;

    /// Makes or replaces up to [`BATCH_ITEMS_MAX`] items, each by itself: one that cannot be kept holds up no other. The
    /// answers are in the order of `items`; of two items of one id the later one stays.
    async fn put_many(
        &self,
        call: &Call,
        items: Vec<(String, ItemBody)>,
    ) -> Result<Vec<Result<Saved, ApiError>>, ApiError>;

    /// One item, hidden or not.
    async fn item(&self, call: &Call, id: &str) -> Result<Item, ApiError>;

    /// Changes an item by a JSON merge patch (RFC 7396).
    async fn patch(&self, call: &Call, id: &str, patch: Value, condition: Condition) -> Result<Item, ApiError>;

    /// Deletes an item with its reviews and assets.
    async fn delete(&self, call: &Call, id: &str, condition: Condition) -> Result<(), ApiError>;

    /// The kinds of the tenant's attributes.
    async fn schema(&self, call: &Call) -> Result<ItemSchema, ApiError>;

    /// States attributes before an item uses them. Those that are there stay as they are.
    ///
    /// # Errors
    /// `Conflict` where one is there in another kind.
    async fn extend_schema(&self, call: &Call, schema: ItemSchema) -> Result<ItemSchema, ApiError>;

    /// Finds items that are shown now.
    async fn search(&self, call: &Call, request: SearchRequest) -> Result<SearchAnswer, ApiError>;

    /// Adds a review and judges its sentiment.
    async fn add_review(&self, call: &Call, item_id: &str, review: ReviewBody) -> Result<Review, ApiError>;

    /// Reviews of an item, the newest first; hidden ones only where `with_hidden`.
    async fn reviews(
        &self,
        call: &Call,
        item_id: &str,
        cursor: Option<&str>,
        rows: usize,
        with_hidden: bool,
    ) -> Result<ReviewList, ApiError>;

    /// What a moderator decides.
    async fn moderate(
        &self,
        call: &Call,
        item_id: &str,
        review_id: &str,
        patch: ReviewPatch,
    ) -> Result<Review, ApiError>;

    /// An address at which a file of an item can be put, without a key and for a while.
    async fn add_asset(&self, call: &Call, item_id: &str, request: AssetRequest) -> Result<Asset, ApiError>;

    /// The files of an item, each with an address at which it can be read.
    async fn assets(&self, call: &Call, item_id: &str, cursor: Option<&str>) -> Result<AssetList, ApiError>;

    /// Deletes a file of an item; one that is not there is gone already.
    async fn delete_asset(&self, call: &Call, item_id: &str, name: &str) -> Result<(), ApiError>;
}

/// A service that is shared.
pub type SharedContent = Arc<dyn Content>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_holds_or_says_why_not() {
        for (condition, found) in [
            (Condition::None, None),
            (Condition::None, Some(7)),
            (Condition::Absent, None),
            (Condition::Present, Some(7)),
            (Condition::Version(7), Some(7)),
        ] {
            assert_eq!(condition.check("film", found), Ok(()));
        }
        for (condition, found, why) in [
            (Condition::Absent, Some(7), "the film is there already"),
            (Condition::Present, None, "the film is not there"),
            (Condition::Version(7), None, "the film is not there"),
            (Condition::Version(8), Some(7), "the film is at version 7 and not at 8: read it again"),
        ] {
            let error = condition.check("film", found).unwrap_err();
            assert_eq!((error.code, error.detail.as_str()), (ErrorCode::PreconditionFailed, why));
        }
    }
}
