//! What is said of items.
//!
//! An item's count and sentiment are counted again from its reviews whenever one of them changes, not added to: a count
//! that is added to twice after a crash is wrong for ever. What that costs is a pass over the reviews of one item, once
//! for all that came since the last.

use std::sync::Arc;

use attune_api::analytics::JudgedReview;
use attune_api::content::{PAGE_ROWS_MAX, TEXT_BYTES_MAX};
use attune_api::error::quoted;
use attune_api::rest::content::{Review, ReviewBody, ReviewList, ReviewPatch};
use attune_api::rest::sentiment::SentimentResult;
use attune_api::{ApiError, Call, ErrorCode};
use attune_store::documents::{Document, Put};
use attune_store::objects;
use attune_store::{Cursor, Expect, PageRequest, Tenant, Version};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::check::{self, Faults};
use crate::document::REVIEWS;
use crate::items::{Plan, busy};
use crate::opinion::Opinion;
use crate::shared::{Shared, is_conflict, tenant_of};
use crate::time::{now_micros, rfc3339};
use crate::{assets, engine};

/// How often a change is made again because somebody else was first.
const ROUNDS_MAX: usize = 8;

/// The body of the document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Kept {
    item_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rating: Option<f64>,
    text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sentiment: Option<SentimentResult>,
    #[serde(default)]
    moderated: bool,
    #[serde(default)]
    hidden: bool,
    created: i64,
}

impl Kept {
    fn of(document: &Document) -> Result<Self, ApiError> {
        Self::deserialize(&document.body).map_err(crate::shared::defect)
    }

    /// How positive less how negative it is, where a model judged it.
    fn polarity(&self) -> Option<f64> {
        self.sentiment.as_ref().and_then(|sentiment| engine::polarity(&sentiment.scores))
    }

    /// Adds it to what the reviews of its item come to, if it is not hidden.
    fn count(&self, counted: &mut Opinion) {
        if !self.hidden {
            counted.add(self.polarity());
        }
    }

    fn review(self, id: String) -> Review {
        Review {
            id,
            item_id: self.item_id,
            created_at: rfc3339(self.created),
            body: ReviewBody { user_id: self.user_id, rating: self.rating, text: self.text },
            sentiment: self.sentiment,
            moderated: self.moderated,
            hidden: self.hidden,
        }
    }
}

/// A review as others count it; nothing where it is hidden.
pub(crate) fn judged(document: &Document) -> Result<Option<JudgedReview>, ApiError> {
    let kept = Kept::of(document)?;
    let sentiment = kept.polarity();
    Ok((!kept.hidden).then_some(JudgedReview {
        item_id: kept.item_id,
        time_ms: kept.created.div_euclid(1_000),
        rating: kept.rating,
        sentiment,
    }))
}

impl Shared {
    /// Adds a review.
    pub async fn add_review(
        self: Arc<Self>,
        call: Call,
        item_id: String,
        body: ReviewBody,
    ) -> Result<Review, ApiError> {
        let tenant = tenant_of(&call)?;
        check_review(&body)?;
        self.stored(&tenant, &item_id).await?;
        let sentiment = self.engine.judge(body.text.clone(), engine::of_call(&call)).await?;
        let ReviewBody { user_id, rating, text } = body;
        let created = now_micros();
        let kept = Kept {
            item_id: item_id.clone(),
            user_id,
            rating,
            text,
            sentiment,
            moderated: false,
            hidden: false,
            created,
        };
        let id = new_id(created);
        let put = Put { id: id.clone(), body: json!(kept), expect: Expect::Absent };
        let plan = Plan { ids: vec![item_id], recount: true, ..Plan::default() };
        let written = self.entered(&tenant, plan, None, self.stores.documents.put(&tenant, REVIEWS, vec![put])).await?;
        written.into_iter().collect::<Result<Vec<Version>, _>>()?;
        Ok(kept.review(id))
    }

    /// A page of reviews, the newest first. Hidden ones take their place on a page without being on it, so a page may be
    /// short though there is another.
    pub async fn reviews(
        &self,
        tenant: &Tenant,
        item_id: &str,
        cursor: Option<&str>,
        rows: usize,
        with_hidden: bool,
    ) -> Result<ReviewList, ApiError> {
        if !(1..=PAGE_ROWS_MAX).contains(&rows) {
            let detail = format!("a page has 1 to {PAGE_ROWS_MAX} reviews, not {rows}");
            return Err(ApiError::at(ErrorCode::Invalid, "/limit", detail));
        }
        self.stored(tenant, item_id).await?;
        let after = cursor.map(|text| text.parse::<Cursor>()).transpose();
        let after = after.map_err(|error| ApiError::at(ErrorCode::Invalid, "/cursor", error.to_string()))?;
        let page = PageRequest { after, rows };
        let found = self.stores.documents.find(tenant, REVIEWS, "item_id", item_id, page).await?;
        let reviews = found.rows.into_iter().map(|document| Ok(Kept::of(&document)?.review(document.id)));
        let reviews = reviews.filter(|review| with_hidden || !review.as_ref().is_ok_and(|review| review.hidden));
        let reviews = reviews.collect::<Result<_, ApiError>>()?;
        Ok(ReviewList { reviews, next_cursor: found.next.map(|cursor| cursor.to_string()) })
    }

    /// Changes what a moderator decides.
    pub async fn moderate(
        self: Arc<Self>,
        tenant: Tenant,
        item_id: String,
        review_id: String,
        patch: ReviewPatch,
    ) -> Result<Review, ApiError> {
        for _ in 0..ROUNDS_MAX {
            let ids = [review_id.as_str()];
            check::id("a review", "", &review_id)?;
            let found = self.stores.documents.get(&tenant, REVIEWS, &ids).await?.pop().flatten();
            let there =
                found.map(|document| Ok::<_, ApiError>((document.version, Kept::of(&document)?))).transpose()?;
            let Some((version, mut kept)) = there.filter(|(_, kept): &(_, Kept)| kept.item_id == item_id) else {
                let detail = format!("the item {} has no review {}", quoted(&item_id), quoted(&review_id));
                return Err(ApiError::new(ErrorCode::Absent, detail));
            };
            kept.moderated = patch.moderated.unwrap_or(kept.moderated);
            kept.hidden = patch.hidden.unwrap_or(kept.hidden);
            let put = Put { id: review_id.clone(), body: json!(kept), expect: Expect::Version(version) };
            let plan = Plan { ids: vec![item_id.clone()], recount: true, ..Plan::default() };
            let put = self.stores.documents.put(&tenant, REVIEWS, vec![put]);
            match self.entered(&tenant, plan, None, put).await?.pop() {
                Some(Err(error)) if is_conflict(&error) => {}
                Some(Err(error)) => return Err(error.into()),
                _ => return Ok(kept.review(review_id)),
            }
        }
        Err(busy())
    }

    /// What the reviews of an item come to. Their keys fall with time, so that the newest come first.
    pub async fn count_reviews(&self, tenant: &Tenant, item_id: &str) -> Result<Opinion, ApiError> {
        let mut counted = Opinion::default();
        let mut page = PageRequest::first(PAGE_ROWS_MAX);
        loop {
            let found = self.stores.documents.find(tenant, REVIEWS, "item_id", item_id, page.clone()).await?;
            for document in &found.rows {
                Kept::of(document)?.count(&mut counted);
            }
            page.after = found.next;
            if page.after.is_none() {
                return Ok(counted);
            }
        }
    }

    /// Removes the reviews and assets of an item that is gone.
    pub async fn remove_belongings(&self, tenant: &Tenant, item_id: &str) -> Result<(), ApiError> {
        loop {
            let page = PageRequest::first(PAGE_ROWS_MAX);
            let found = self.stores.documents.find(tenant, REVIEWS, "item_id", item_id, page).await?;
            for document in &found.rows {
                self.stores.documents.delete(tenant, REVIEWS, &document.id, Expect::Any).await?;
            }
            if found.next.is_none() {
                break;
            }
        }
        let prefix = assets::prefix(item_id);
        loop {
            let found = self.stores.objects.list(tenant, &prefix, None, objects::PAGE_MAX).await?;
            for object in &found.objects {
                self.stores.objects.delete(tenant, &object.key).await?;
            }
            if found.next.is_none() {
                return Ok(());
            }
        }
    }
}

fn check_review(body: &ReviewBody) -> Result<(), ApiError> {
    let mut faults = Faults::default();
    faults.longest("/text", &body.text, TEXT_BYTES_MAX);
    if body.text.trim().is_empty() {
        faults.add("/text", "a review says something");
    }
    if let Some(user) = &body.user_id
        && let Err(error) = check::id("a user", "/user_id", user)
    {
        faults.add("/user_id", error.detail);
    }
    faults.none()
}

/// An id that stands before those of all earlier reviews: the time that is left until the end of time, and chance.
fn new_id(created: i64) -> String {
    format!("{:016x}{:08x}", u64::MAX - created.unsigned_abs(), rand::random::<u32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn review(positive: f32, hidden: bool) -> Kept {
        let scores = [("NEGATIVE".to_owned(), 1.0 - positive), ("positive".to_owned(), positive)].into();
        let sentiment = SentimentResult { label: "positive".into(), score: positive, scores, truncated: false };
        Kept {
            item_id: "a".into(),
            user_id: None,
            rating: None,
            text: "t".into(),
            sentiment: Some(sentiment),
            moderated: false,
            hidden,
            created: 0,
        }
    }

    #[test]
    fn hidden_reviews_do_not_count() {
        let mut counted = Opinion::default();
        review(1.0, false).count(&mut counted);
        review(0.0, true).count(&mut counted);
        assert_eq!((counted.count, counted.sentiment()), (1, Some(1.0 / 6.0)));
        Kept { sentiment: None, ..review(0.0, false) }.count(&mut counted);
        assert_eq!((counted.count, counted.sentiment()), (2, Some(1.0 / 6.0)));
    }

    #[test]
    fn the_newest_review_is_the_first() {
        assert!(new_id(2_000_000) < new_id(1_999_999));
        assert_eq!(new_id(1).len(), 24);
    }
}
