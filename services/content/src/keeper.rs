//! What this service keeps of a person, the reviews that he wrote under his own name, and of a tenant: all its items.

use std::sync::Arc;

use async_trait::async_trait;
use attune_api::rest::users::Erased;
use attune_api::users::{KeepsOfPeople, KeepsOfTenants, Someone};
use attune_api::{ApiError, Call};
use attune_store::{Expect, PAGE_ROWS_MAX, PageRequest, Tenant};
use serde_json::Value;

use crate::document::{ITEMS, REVIEWS, VECTORS};
use crate::items::Plan;
use crate::service::{ContentService, to_the_end};
use crate::shared::{Shared, tenant_of};

#[async_trait]
impl KeepsOfPeople for ContentService {
    fn what(&self) -> &'static str {
        "reviews"
    }

    async fn export(&self, call: &Call, someone: &Someone) -> Result<Value, ApiError> {
        let (tenant, mut page) = (tenant_of(call)?, PageRequest::first(PAGE_ROWS_MAX));
        let mut reviews = Vec::new();
        loop {
            let documents = &self.shared().stores.documents;
            let found = documents.find(&tenant, REVIEWS, "user_id", &someone.user_id, page.clone()).await?;
            reviews.extend(found.rows.into_iter().map(|document| document.body));
            page.after = found.next;
            if page.after.is_none() {
                return Ok(Value::Array(reviews));
            }
        }
    }

    async fn erase(&self, call: &Call, someone: &Someone) -> Result<Erased, ApiError> {
        let deleted = to_the_end(self.shared().erase_reviews(tenant_of(call)?, someone.user_id.clone())).await?;
        Ok(Erased { store: "documents".to_owned(), what: "reviews".to_owned(), deleted, note: None })
    }
}

#[async_trait]
impl KeepsOfTenants for ContentService {
    async fn erase_tenant(&self, call: &Call) -> Result<Vec<Erased>, ApiError> {
        let (tenant, shared) = (tenant_of(call)?, self.shared());
        shared.drop_tenant(&tenant);
        let mut lines = Vec::new();
        for (collection, what) in [(ITEMS, "items"), (VECTORS, "embeddings"), (REVIEWS, "reviews")] {
            let deleted = shared.stores.documents.clear(&tenant, collection).await?;
            lines.push(Erased { store: "documents".to_owned(), what: what.to_owned(), deleted, note: None });
        }
        let indices = shared.stores.search.indices(&tenant).await?;
        shared.stores.search.erase(&tenant).await?;
        let deleted = indices.live.iter().chain(&indices.building).count() as u64;
        lines.push(Erased { store: "search".to_owned(), what: "indices".to_owned(), deleted, note: None });
        Ok(lines)
    }
}

impl Shared {
    /// Deletes the reviews of a user; their items are counted again.
    async fn erase_reviews(self: Arc<Self>, tenant: Tenant, user_id: String) -> Result<u64, ApiError> {
        let mut deleted = 0;
        loop {
            let page = PageRequest::first(PAGE_ROWS_MAX);
            let found = self.stores.documents.find(&tenant, REVIEWS, "user_id", &user_id, page).await?;
            for document in &found.rows {
                let ids = document.body["item_id"].as_str().map(str::to_owned).into_iter().collect();
                let plan = Plan { ids, recount: true, ..Plan::default() };
                let delete = self.stores.documents.delete(&tenant, REVIEWS, &document.id, Expect::Any);
                deleted += u64::from(self.entered(&tenant, plan, None, delete).await?);
            }
            if found.next.is_none() {
                return Ok(deleted);
            }
        }
    }
}
