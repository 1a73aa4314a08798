//! Reviews as whoever counts them sees them.

use async_trait::async_trait;
use attune_api::analytics::{JudgedReviews, KeepsReviews};
use attune_api::{ApiError, Call, ErrorCode};
use attune_store::{Cursor, PAGE_ROWS_MAX, PageRequest};

use crate::document::REVIEWS;
use crate::reviews::judged;
use crate::service::ContentService;
use crate::shared::tenant_of;

#[async_trait]
impl KeepsReviews for ContentService {
    /// Keys of reviews fall with time, so a scan has the newest first.
    async fn judged(&self, call: &Call, from: Option<&str>) -> Result<JudgedReviews, ApiError> {
        let after = from.map(str::parse::<Cursor>).transpose();
        let after = after.map_err(|error| ApiError::new(ErrorCode::Invalid, error.to_string()))?;
        let page = PageRequest { after, rows: PAGE_ROWS_MAX };
        let found = self.shared().stores.documents.scan(&tenant_of(call)?, REVIEWS, page).await?;
        let reviews = found.rows.iter().filter_map(|document| judged(document).transpose());
        Ok(JudgedReviews {
            reviews: reviews.collect::<Result<_, _>>()?,
            next: found.next.map(|cursor| cursor.to_string()),
        })
    }
}
