//! Items over REST; [`grpc`] has the same over gRPC. Both ask the one service.

mod grpc;
pub(crate) mod messages;

use attune_api::{
    ApiError, ErrorCode,
    content::{BATCH_ITEMS_MAX, PAGE_ROWS_DEFAULT, SharedContent},
    pointer,
    rest::content::{
        Asset, AssetList, AssetRequest, BatchAnswer, BatchItem, BatchRequest, Item, ItemBody, ItemSchema, Rejected,
        Review, ReviewBody, ReviewList, ReviewPatch, SearchAnswer, SearchRequest,
    },
    v1::content_server::ContentServer,
};
use axum::{
    Router,
    extract::Path,
    response::{IntoResponse, Response},
    routing::{delete, get, patch, post},
};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;
use tonic::codec::CompressionEncoding;
use tower_http::decompression::RequestDecompressionLayer;
use utoipa::IntoParams;

use crate::{
    admission::Call,
    app::App,
    errors::Refusal,
    etag, grpc as wire,
    json::{self, Json},
    query::Query,
};

/// Bytes of one item in JSON, for the size of an answer.
const JSON_ITEM_BYTES: usize = 1_000;

/// The methods of `attune.v1.Content`.
const METHODS: [&str; 14] = [
    "PutItem",
    "PutItems",
    "GetItem",
    "PatchItem",
    "DeleteItem",
    "GetSchema",
    "ExtendSchema",
    "Search",
    "AddReview",
    "ListReviews",
    "ModerateReview",
    "AddAsset",
    "ListAssets",
    "DeleteAsset",
];

/// The routes, where this process has the service. Who may use them is the caller's to say.
pub(crate) fn routes(app: &App) -> Option<Router<App>> {
    let service = app.services.content.clone()?;
    let server = ContentServer::new(grpc::Grpc::new(service.clone()))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(app.config.requests.body_bytes_max)
        .max_encoding_message_size(usize::MAX);
    let rest = Router::new()
        .route("/v1/items/{id}", get(item).put(put).patch(change).delete(remove))
        .route("/v1/items:batch", post(batch))
        .route("/v1/items:schema", get(schema).put(extend_schema))
        .route("/v1/items:search", get(search))
        .route("/v1/items/{id}/reviews", get(reviews).post(add_review))
        .route("/v1/items/{id}/reviews/{review_id}", patch(moderate))
        .route("/v1/items/{id}/assets", get(assets).post(add_asset))
        .route("/v1/items/{id}/assets/{name}", delete(delete_asset))
        .route_layer(RequestDecompressionLayer::new().pass_through_unaccepted(true))
        .layer(axum::Extension(service));
    Some(rest.merge(wire::methods(&METHODS, server)))
}

type Service = axum::Extension<SharedContent>;

/// An item with its ETag.
#[utoipa::path(
    get, path = "/v1/items/{id}", tag = "Content", params(("id" = String, Path, description = "The item")),
    responses((status = 200, body = Item), (status = 304, description = "It is still what `if-none-match` names")),
)]
pub(crate) async fn item(
    service: Service,
    call: Call,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let item = service.item(&call.service(), &id).await?;
    let tag = etag::of_item(&item);
    if let Some(unchanged) = etag::unchanged(&headers, &tag) {
        return Ok(unchanged);
    }
    answer_item(item, StatusCode::OK).await
}

/// Makes an item, or replaces it as a whole. It is found by a search within a second.
#[utoipa::path(
    put, path = "/v1/items/{id}", tag = "Content", request_body = ItemBody,
    params(
        ("id" = String, Path, description = "The item"),
        ("if-match" = Option<String>, Header, description = "The ETag that must be there, or `*` for any"),
        ("if-none-match" = Option<String>, Header, description = "`*`: there must be none"),
    ),
    responses((status = 200, body = Item, description = "Replaced"), (status = 201, body = Item, description = "Made")),
)]
pub(crate) async fn put(
    service: Service,
    call: Call,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(body): Json<ItemBody>,
) -> Result<Response, Refusal> {
    let saved = service.put(&call.service(), &id, body, etag::condition(&headers)?).await?;
    answer_item(saved.item, if saved.is_new { StatusCode::CREATED } else { StatusCode::OK }).await
}

/// Changes an item by a JSON merge patch (RFC 7396).
#[utoipa::path(
    patch, path = "/v1/items/{id}", tag = "Content",
    request_body(content = Object, content_type = "application/merge-patch+json"),
    params(
        ("id" = String, Path, description = "The item"),
        ("if-match" = Option<String>, Header, description = "The ETag that must be there, or `*` for any"),
    ),
    responses((status = 200, body = Item)),
)]
pub(crate) async fn change(
    service: Service,
    call: Call,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Result<Response, Refusal> {
    let item = service.patch(&call.service(), &id, body, etag::condition(&headers)?).await?;
    answer_item(item, StatusCode::OK).await
}

/// Deletes an item with its reviews and assets.
#[utoipa::path(
    delete, path = "/v1/items/{id}", tag = "Content",
    params(
        ("id" = String, Path, description = "The item"),
        ("if-match" = Option<String>, Header, description = "The ETag that must be there, or `*` for any"),
    ),
    responses((status = 204, description = "It is gone")),
)]
pub(crate) async fn remove(
    service: Service,
    call: Call,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    service.delete(&call.service(), &id, etag::condition(&headers)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Makes or replaces up to 1,000 items, each by itself: one that cannot be kept holds up no other.
#[utoipa::path(
    post, path = "/v1/items:batch", tag = "Content", request_body = BatchRequest,
    responses((status = 200, body = BatchAnswer)),
)]
pub(crate) async fn batch(
    service: Service,
    call: Call,
    Json(request): Json<BatchRequest>,
) -> Result<Response, Refusal> {
    let read = request.items.into_iter().map(|value| {
        let id = value.get("id").and_then(Value::as_str).map(str::to_owned);
        (id, pointer::from_value::<BatchItem>(value).map(<(String, ItemBody)>::from))
    });
    let Batch { kept, failed } = keep_all(&service, &call.service(), read.collect()).await?;
    let rejected: Vec<Rejected> = failed.into_iter().map(|(index, id, error)| rejected(index, id, error)).collect();
    let bytes = rejected.len() * JSON_ITEM_BYTES;
    Ok(json::answer(BatchAnswer { kept, rejected }, bytes).await?)
}

/// An item of a batch, as far as it could be read, with its id where that could.
type Read = (Option<String>, Result<(String, ItemBody), ApiError>);

/// What became of a batch.
struct Batch {
    kept: usize,
    /// What was not kept: its place, its id where it could be read, and why. In the order of the places.
    failed: Vec<(usize, Option<String>, ApiError)>,
}

/// Keeps what could be read of a batch.
async fn keep_all(service: &SharedContent, call: &attune_api::Call, read: Vec<Read>) -> Result<Batch, ApiError> {
    if read.len() > BATCH_ITEMS_MAX {
        let detail = format!("{} items, a batch takes {BATCH_ITEMS_MAX}: make several", read.len());
        return Err(ApiError::at(ErrorCode::Invalid, "/items", detail));
    }
    let (mut places, mut items) = (Vec::new(), Vec::new());
    let mut batch = Batch { kept: 0, failed: Vec::new() };
    for (index, (id, item)) in read.into_iter().enumerate() {
        match item {
            Ok(item) => {
                places.push((index, item.0.clone()));
                items.push(item);
            }
            Err(error) => batch.failed.push((index, id, error)),
        }
    }
    for ((index, id), outcome) in places.into_iter().zip(service.put_many(call, items).await?) {
        match outcome {
            Ok(_) => batch.kept += 1,
            Err(error) => batch.failed.push((index, Some(id), error)),
        }
    }
    batch.failed.sort_by_key(|(index, ..)| *index);
    Ok(batch)
}

fn rejected(index: usize, id: Option<String>, error: ApiError) -> Rejected {
    Rejected { index, id, code: error.code.to_string(), detail: error.detail, errors: error.fields }
}

/// The kinds of the attributes that items have.
#[utoipa::path(
    get, path = "/v1/items:schema", tag = "Content", responses((status = 200, body = ItemSchema)),
)]
pub(crate) async fn schema(service: Service, call: Call) -> Result<axum::Json<ItemSchema>, Refusal> {
    Ok(axum::Json(service.schema(&call.service()).await?))
}

/// States attributes before an item uses them. Those that are there stay as they are.
#[utoipa::path(
    put, path = "/v1/items:schema", tag = "Content", request_body = ItemSchema,
    responses((status = 200, body = ItemSchema)),
)]
pub(crate) async fn extend_schema(
    service: Service,
    call: Call,
    Json(stated): Json<ItemSchema>,
) -> Result<axum::Json<ItemSchema>, Refusal> {
    Ok(axum::Json(service.extend_schema(&call.service(), stated).await?))
}

/// Finds items that are shown now: by words, by meaning, or by both.
#[utoipa::path(
    get, path = "/v1/items:search", tag = "Content", params(SearchRequest),
    responses((status = 200, body = SearchAnswer)),
)]
pub(crate) async fn search(
    service: Service,
    call: Call,
    Query(request): Query<SearchRequest>,
) -> Result<Response, Refusal> {
    let answer = service.search(&call.service(), request).await?;
    let bytes = answer.hits.len() * JSON_ITEM_BYTES;
    Ok(json::answer(answer, bytes).await?)
}

/// Which reviews of an item.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReviewPage {
    /// Where the page before ended.
    #[serde(default)]
    cursor: Option<String>,
    /// How many a page has at most: 100 if absent, at most 1,000.
    #[serde(default)]
    limit: Option<usize>,
    /// Hidden ones too.
    #[serde(default)]
    hidden: bool,
}

/// Reviews of an item, the newest first.
#[utoipa::path(
    get, path = "/v1/items/{id}/reviews", tag = "Content",
    params(("id" = String, Path, description = "The item"), ReviewPage),
    responses((status = 200, body = ReviewList)),
)]
pub(crate) async fn reviews(
    service: Service,
    call: Call,
    Path(id): Path<String>,
    Query(page): Query<ReviewPage>,
) -> Result<Response, Refusal> {
    let rows = page.limit.unwrap_or(PAGE_ROWS_DEFAULT);
    let list = service.reviews(&call.service(), &id, page.cursor.as_deref(), rows, page.hidden).await?;
    let bytes = list.reviews.len() * JSON_ITEM_BYTES;
    Ok(json::answer(list, bytes).await?)
}

/// Adds a review, and judges its sentiment.
#[utoipa::path(
    post, path = "/v1/items/{id}/reviews", tag = "Content", request_body = ReviewBody,
    params(("id" = String, Path, description = "The item")),
    responses((status = 201, body = Review)),
)]
pub(crate) async fn add_review(
    service: Service,
    call: Call,
    Path(id): Path<String>,
    Json(body): Json<ReviewBody>,
) -> Result<impl IntoResponse, Refusal> {
    let review = service.add_review(&call.service(), &id, body).await?;
    Ok((StatusCode::CREATED, axum::Json(review)))
}

/// What a moderator decides of a review.
#[utoipa::path(
    patch, path = "/v1/items/{id}/reviews/{review_id}", tag = "Content", request_body = ReviewPatch,
    params(
        ("id" = String, Path, description = "The item"),
        ("review_id" = String, Path, description = "The review"),
    ),
    responses((status = 200, body = Review)),
)]
pub(crate) async fn moderate(
    service: Service,
    call: Call,
    Path((id, review_id)): Path<(String, String)>,
    Json(decided): Json<ReviewPatch>,
) -> Result<axum::Json<Review>, Refusal> {
    Ok(axum::Json(service.moderate(&call.service(), &id, &review_id, decided).await?))
}

/// Which assets of an item.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AssetPage {
    /// Where the page before ended.
    #[serde(default)]
    cursor: Option<String>,
}

/// The files of an item, each with an address at which it can be read for a while.
#[utoipa::path(
    get, path = "/v1/items/{id}/assets", tag = "Content",
    params(("id" = String, Path, description = "The item"), AssetPage),
    responses((status = 200, body = AssetList)),
)]
pub(crate) async fn assets(
    service: Service,
    call: Call,
    Path(id): Path<String>,
    Query(page): Query<AssetPage>,
) -> Result<axum::Json<AssetList>, Refusal> {
    Ok(axum::Json(service.assets(&call.service(), &id, page.cursor.as_deref()).await?))
}

/// An address at which a file of an item can be put, without a key and for a while.
#[utoipa::path(
    post, path = "/v1/items/{id}/assets", tag = "Content", request_body = AssetRequest,
    params(("id" = String, Path, description = "The item")),
    responses((status = 201, body = Asset)),
)]
pub(crate) async fn add_asset(
    service: Service,
    call: Call,
    Path(id): Path<String>,
    Json(request): Json<AssetRequest>,
) -> Result<impl IntoResponse, Refusal> {
    Ok((StatusCode::CREATED, axum::Json(service.add_asset(&call.service(), &id, request).await?)))
}

/// Deletes a file of an item; one that is not there is gone already.
#[utoipa::path(
    delete, path = "/v1/items/{id}/assets/{name}", tag = "Content",
    params(("id" = String, Path, description = "The item"), ("name" = String, Path, description = "The file")),
    responses((status = 204, description = "It is gone")),
)]
pub(crate) async fn delete_asset(
    service: Service,
    call: Call,
    Path((id, name)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    service.delete_asset(&call.service(), &id, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn answer_item(item: Item, status: StatusCode) -> Result<Response, Refusal> {
    let tag = etag::of_item(&item);
    let bytes = item.body.text.as_ref().map_or(0, String::len) + JSON_ITEM_BYTES;
    let mut response = json::answer(item, bytes).await?;
    *response.status_mut() = status;
    response.headers_mut().insert(header::ETAG, tag);
    Ok(response)
}
