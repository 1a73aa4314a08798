//! `attune.v1.Content`.

use attune_api::{
    ApiError,
    content::{Condition, PAGE_ROWS_DEFAULT, SharedContent},
    v1::{self, content_server},
};
use serde_json::Value;
use tonic::{Request, Response, Status, async_trait};

use super::{Batch, keep_all, messages};
use crate::grpc::{answered, call_of};

/// The gRPC face of the service.
#[derive(Clone)]
pub(crate) struct Grpc {
    service: SharedContent,
}

impl Grpc {
    pub fn new(service: SharedContent) -> Self {
        Self { service }
    }

    async fn put(&self, call: &attune_api::Call, request: v1::PutItemRequest) -> Result<v1::PutItemResponse, ApiError> {
        let v1::PutItemRequest { id, body, condition } = request;
        let (body, condition) = (messages::item_body(body)?, messages::condition(condition));
        let saved = self.service.put(call, &id, body, condition).await?;
        Ok(v1::PutItemResponse { item: Some(messages::item(saved.item)), is_new: saved.is_new })
    }

    async fn put_many(
        &self,
        call: &attune_api::Call,
        request: v1::PutItemsRequest,
    ) -> Result<v1::PutItemsResponse, ApiError> {
        let items = request.items.into_iter();
        let read =
            items.map(|v1::NewItem { id, body }| (Some(id.clone()), messages::item_body(body).map(|body| (id, body))));
        let Batch { kept, failed } = keep_all(&self.service, call, read.collect()).await?;
        let rejected = failed.into_iter().map(|(index, id, error)| messages::rejected(index, id, &error));
        Ok(v1::PutItemsResponse { kept: messages::count(kept), rejected: rejected.collect() })
    }

    async fn patch(&self, call: &attune_api::Call, request: v1::PatchItemRequest) -> Result<v1::Item, ApiError> {
        let v1::PatchItemRequest { id, patch, condition } = request;
        let patch = Value::Object(messages::fields(patch, "/patch")?);
        let item = self.service.patch(call, &id, patch, messages::condition(condition)).await?;
        Ok(messages::item(item))
    }
}

#[async_trait]
impl content_server::Content for Grpc {
    async fn put_item(&self, request: Request<v1::PutItemRequest>) -> Result<Response<v1::PutItemResponse>, Status> {
        let call = call_of(&request)?;
        answered(&call, self.put(&call.service(), request.into_inner()).await)
    }

    async fn put_items(&self, request: Request<v1::PutItemsRequest>) -> Result<Response<v1::PutItemsResponse>, Status> {
        let call = call_of(&request)?;
        answered(&call, self.put_many(&call.service(), request.into_inner()).await)
    }

    async fn get_item(&self, request: Request<v1::GetItemRequest>) -> Result<Response<v1::Item>, Status> {
        let call = call_of(&request)?;
        let item = self.service.item(&call.service(), &request.into_inner().id).await;
        answered(&call, item.map(messages::item))
    }

    async fn patch_item(&self, request: Request<v1::PatchItemRequest>) -> Result<Response<v1::Item>, Status> {
        let call = call_of(&request)?;
        answered(&call, self.patch(&call.service(), request.into_inner()).await)
    }

    async fn delete_item(
        &self,
        request: Request<v1::DeleteItemRequest>,
    ) -> Result<Response<v1::DeleteItemResponse>, Status> {
        let call = call_of(&request)?;
        let v1::DeleteItemRequest { id, condition } = request.into_inner();
        let condition: Condition = messages::condition(condition);
        let deleted = self.service.delete(&call.service(), &id, condition).await;
        answered(&call, deleted.map(|()| v1::DeleteItemResponse {}))
    }

    async fn get_schema(&self, request: Request<v1::GetSchemaRequest>) -> Result<Response<v1::ItemSchema>, Status> {
        let call = call_of(&request)?;
        answered(&call, self.service.schema(&call.service()).await.map(messages::schema_message))
    }

    async fn extend_schema(&self, request: Request<v1::ItemSchema>) -> Result<Response<v1::ItemSchema>, Status> {
        let call = call_of(&request)?;
        let extended = match messages::schema(request.into_inner()) {
            Ok(stated) => self.service.extend_schema(&call.service(), stated).await,
            Err(error) => Err(error),
        };
        answered(&call, extended.map(messages::schema_message))
    }

    async fn search(&self, request: Request<v1::SearchRequest>) -> Result<Response<v1::SearchResponse>, Status> {
        let call = call_of(&request)?;
        let found = match messages::search(request.into_inner()) {
            Ok(request) => self.service.search(&call.service(), request).await,
            Err(error) => Err(error),
        };
        answered(&call, found.map(messages::found))
    }

    async fn add_review(&self, request: Request<v1::AddReviewRequest>) -> Result<Response<v1::Review>, Status> {
        let call = call_of(&request)?;
        let v1::AddReviewRequest { item_id, body } = request.into_inner();
        let review = self.service.add_review(&call.service(), &item_id, messages::review_body(body)).await;
        answered(&call, review.map(messages::review))
    }

    async fn list_reviews(
        &self,
        request: Request<v1::ListReviewsRequest>,
    ) -> Result<Response<v1::ListReviewsResponse>, Status> {
        let call = call_of(&request)?;
        let v1::ListReviewsRequest { item_id, cursor, limit, hidden } = request.into_inner();
        let rows = limit.map_or(PAGE_ROWS_DEFAULT, |limit| limit as usize);
        let list = self.service.reviews(&call.service(), &item_id, cursor.as_deref(), rows, hidden).await;
        answered(&call, list.map(messages::reviews))
    }

    async fn moderate_review(
        &self,
        request: Request<v1::ModerateReviewRequest>,
    ) -> Result<Response<v1::Review>, Status> {
        let call = call_of(&request)?;
        let request = request.into_inner();
        let decided = messages::decided(&request);
        let review = self.service.moderate(&call.service(), &request.item_id, &request.review_id, decided).await;
        answered(&call, review.map(messages::review))
    }

    async fn add_asset(&self, request: Request<v1::AddAssetRequest>) -> Result<Response<v1::Asset>, Status> {
        let call = call_of(&request)?;
        let (item_id, wanted) = messages::asset_request(request.into_inner());
        let asset = self.service.add_asset(&call.service(), &item_id, wanted).await;
        answered(&call, asset.map(messages::asset))
    }

    async fn list_assets(
        &self,
        request: Request<v1::ListAssetsRequest>,
    ) -> Result<Response<v1::ListAssetsResponse>, Status> {
        let call = call_of(&request)?;
        let v1::ListAssetsRequest { item_id, cursor } = request.into_inner();
        let list = self.service.assets(&call.service(), &item_id, cursor.as_deref()).await;
        answered(&call, list.map(messages::assets))
    }

    async fn delete_asset(
        &self,
        request: Request<v1::DeleteAssetRequest>,
    ) -> Result<Response<v1::DeleteAssetResponse>, Status> {
        let call = call_of(&request)?;
        let v1::DeleteAssetRequest { item_id, name } = request.into_inner();
        let deleted = self.service.delete_asset(&call.service(), &item_id, &name).await;
        answered(&call, deleted.map(|()| v1::DeleteAssetResponse {}))
    }
}
