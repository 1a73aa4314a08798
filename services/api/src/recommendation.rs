//! Who makes lists, as the gateway sees it.

use std::sync::Arc;

use async_trait::async_trait;

use crate::rest::recommendation::{RankRequest, RecommendRequest, RecommendResponse, SimilarRequest, TrendingRequest};
use crate::{ApiError, Call};

/// Items of a list that names no number.
pub const K_DEFAULT: usize = 10;
/// The longest list, and the longest page of a feed.
pub const K_MAX: usize = 1_000;
/// The most items that one request excludes.
pub const EXCLUDE_IDS_MAX: usize = 10_000;
/// The most items that one call ranks.
pub const RANK_ITEMS_MAX: usize = 1_000;
/// The most events of a history that comes with a request, and of its session.
pub const HISTORY_EVENTS_MAX: usize = 1_000;

/// Makes lists. An unknown user, and an empty catalogue, are answered; what the request itself has wrong is an error with
/// the place of the fault.
#[async_trait]
pub trait Recommendation: Send + Sync {
    /// A list for somebody.
    async fn recommend(&self, call: &Call, request: RecommendRequest) -> Result<RecommendResponse, ApiError>;

    /// The caller's own items in the order in which somebody would like them.
    async fn rank(&self, call: &Call, request: RankRequest) -> Result<RecommendResponse, ApiError>;

    /// What is like an item.
    async fn similar(&self, call: &Call, request: SimilarRequest) -> Result<RecommendResponse, ApiError>;

    /// What more and more people like.
    async fn trending(&self, call: &Call, request: TrendingRequest) -> Result<RecommendResponse, ApiError>;
}

/// A service that is shared.
pub type SharedRecommendation = Arc<dyn Recommendation>;
