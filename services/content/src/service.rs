//! The face of the service.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use attune_api::content::{Condition, Content, Saved};
use attune_api::rest::content::{
    Asset, AssetList, AssetRequest, Item, ItemBody, ItemSchema, Review, ReviewBody, ReviewList, ReviewPatch,
    SearchAnswer, SearchRequest,
};
use attune_api::{ApiError, Call};
use attune_inference::Inference;
use serde_json::Value;

use crate::engine::{Engine, Models};
use crate::shared::{Options, Shared, Stores, defect, tenant_of};

/// Keeps items, and finds them. Cheap to clone.
#[derive(Clone)]
pub struct ContentService {
    shared: Arc<Shared>,
}

impl ContentService {
    /// Over these stores and this engine. What follows a write is done by [`Workers`](crate::Workers).
    pub fn new(stores: Stores, inference: Inference, models: &Models, options: Options) -> Self {
        Self { shared: Arc::new(Shared::new(stores, Engine::new(inference, models), options)) }
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }
}

/// Runs a write to its end, also when its caller gives up: one that ends in the middle would have to be thought unwritten
/// for as long as a store may take.
pub(crate) async fn to_the_end<T: Send + 'static>(
    write: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::spawn(write).await.map_err(defect)?
}

#[async_trait]
impl Content for ContentService {
    async fn put(&self, call: &Call, id: &str, item: ItemBody, condition: Condition) -> Result<Saved, ApiError> {
        let put = self.shared().put(tenant_of(call)?, vec![(id.to_owned(), item)], condition);
        let saved = to_the_end(put).await?.pop();
        saved.unwrap_or_else(|| Err(ApiError::internal())).map_err(|mut error| {
            // The id is in the address, not in the body.
            error.fields.iter_mut().filter(|field| field.pointer == "/id").for_each(|field| field.pointer.clear());
            error
        })
    }

    async fn put_many(
        &self,
        call: &Call,
        items: Vec<(String, ItemBody)>,
    ) -> Result<Vec<Result<Saved, ApiError>>, ApiError> {
        to_the_end(self.shared().put(tenant_of(call)?, items, Condition::None)).await
    }

    async fn item(&self, call: &Call, id: &str) -> Result<Item, ApiError> {
        Ok(self.shared.stored(&tenant_of(call)?, id).await?.item())
    }

    async fn patch(&self, call: &Call, id: &str, patch: Value, condition: Condition) -> Result<Item, ApiError> {
        let patched = self.shared().patch(tenant_of(call)?, id.to_owned(), patch, condition);
        Ok(to_the_end(patched).await?.item)
    }

    async fn delete(&self, call: &Call, id: &str, condition: Condition) -> Result<(), ApiError> {
        to_the_end(self.shared().delete(tenant_of(call)?, id.to_owned(), condition)).await
    }

    async fn schema(&self, call: &Call) -> Result<ItemSchema, ApiError> {
        let rows = self.shared.stores.relational.as_ref();
        Ok(self.shared.schemas.read(rows, &tenant_of(call)?).await?.answer())
    }

    async fn extend_schema(&self, call: &Call, schema: ItemSchema) -> Result<ItemSchema, ApiError> {
        self.shared.extend_schema(&tenant_of(call)?, schema).await
    }

    async fn search(&self, call: &Call, request: SearchRequest) -> Result<SearchAnswer, ApiError> {
        self.shared.find(call, request).await
    }

    async fn add_review(&self, call: &Call, item_id: &str, review: ReviewBody) -> Result<Review, ApiError> {
        to_the_end(self.shared().add_review(call.clone(), item_id.to_owned(), review)).await
    }

    async fn reviews(
        &self,
        call: &Call,
        item_id: &str,
        cursor: Option<&str>,
        rows: usize,
        with_hidden: bool,
    ) -> Result<ReviewList, ApiError> {
        self.shared.reviews(&tenant_of(call)?, item_id, cursor, rows, with_hidden).await
    }

    async fn moderate(
        &self,
        call: &Call,
        item_id: &str,
        review_id: &str,
        patch: ReviewPatch,
    ) -> Result<Review, ApiError> {
        let (item_id, review_id) = (item_id.to_owned(), review_id.to_owned());
        to_the_end(self.shared().moderate(tenant_of(call)?, item_id, review_id, patch)).await
    }

    async fn add_asset(&self, call: &Call, item_id: &str, request: AssetRequest) -> Result<Asset, ApiError> {
        self.shared.add_asset(&tenant_of(call)?, item_id, request).await
    }

    async fn assets(&self, call: &Call, item_id: &str, cursor: Option<&str>) -> Result<AssetList, ApiError> {
        self.shared.assets(&tenant_of(call)?, item_id, cursor).await
    }

    async fn delete_asset(&self, call: &Call, item_id: &str, name: &str) -> Result<(), ApiError> {
        self.shared.delete_asset(&tenant_of(call)?, item_id, name).await
    }
}

impl fmt::Debug for ContentService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentService").finish_non_exhaustive()
    }
}
