//! `/v1/objects/{token}`: where presigned addresses of files lead that this server keeps itself. The token is the key: it
//! says which file may be read or put, and until when.

use std::sync::Arc;

use attune_api::{ApiError, ErrorCode};
use attune_store::{
    ErrorKind, StoreError,
    objects::{Access, Condition, Grant, Objects},
};
use axum::{
    Router,
    body::Body,
    extract::Path,
    response::{IntoResponse, Response},
    routing::get,
};
use futures::StreamExt;
use http::{HeaderValue, StatusCode, header};

use crate::{app::App, errors::Refusal};

/// The largest file that is put at a presigned address, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// How long nothing may come of a file that is being put.
const IDLE_MAX: std::time::Duration = std::time::Duration::from_secs(30);

/// The routes, where this process has the objects.
pub(crate) fn routes(app: &App) -> Option<Router<App>> {
    let objects = app.services.objects.clone()?;
    Some(Router::new().route("/v1/objects/{token}", get(read).put(put)).layer(axum::Extension(objects)))
}

type Store = axum::Extension<Arc<dyn Objects>>;

/// Reads the file that the token is for.
#[utoipa::path(
    get, path = "/v1/objects/{token}", tag = "Content", security(()),
    params(("token" = String, Path, description = "Of an address that an asset had")),
    responses((status = 200, description = "The file", content_type = "application/octet-stream")),
)]
pub(crate) async fn read(objects: Store, Path(token): Path<String>) -> Result<Response, Refusal> {
    let grant = grant(&objects, &token, Access::Get)?;
    let reading = objects.get(&grant.tenant, &grant.key, None).await.map_err(ApiError::from)?;
    let bytes = reading.range.end - reading.range.start;
    let mut response = Response::new(Body::from_stream(reading.body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, bytes.into());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    // What somebody put here is not to run as a page of this server.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    Ok(response)
}

/// Puts the file that the token is for, in the place of the one that is there.
#[utoipa::path(
    put, path = "/v1/objects/{token}", tag = "Content", security(()),
    params(("token" = String, Path, description = "Of an address that an asset had")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 204, description = "It is kept")),
)]
pub(crate) async fn put(objects: Store, Path(token): Path<String>, body: Body) -> Result<Response, Refusal> {
    let grant = grant(&objects, &token, Access::Put)?;
    let mut upload = objects.upload(&grant.tenant, &grant.key).await.map_err(ApiError::from)?;
    let (mut pieces, mut bytes) = (body.into_data_stream(), 0);
    loop {
        let piece = tokio::time::timeout(IDLE_MAX, pieces.next()).await;
        let piece = piece.map_err(|_| ApiError::new(ErrorCode::RequestTimeout, "no more of the body came for 30 s"))?;
        let Some(piece) = piece else { break };
        let piece = piece.map_err(|_| ApiError::new(ErrorCode::Malformed, "the body ended early"))?;
        bytes += piece.len() as u64;
        if bytes > FILE_BYTES_MAX {
            let detail = format!("a file may have at most {FILE_BYTES_MAX} bytes");
            return Err(ApiError::new(ErrorCode::BodyTooLarge, detail).into());
        }
        upload.write(piece).await.map_err(ApiError::from)?;
    }
    upload.finish(Condition::None).await.map_err(ApiError::from)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn grant(objects: &Arc<dyn Objects>, token: &str, access: Access) -> Result<Grant, ApiError> {
    let forbidden = |detail: &str| ApiError::new(ErrorCode::SignedAddress, detail);
    let grant = objects.grant(token).map_err(|error: StoreError| match error.kind {
        ErrorKind::Denied => forbidden(&error.detail),
        _ => error.into(),
    })?;
    match (grant.access, access) {
        (Access::Get, Access::Put) => Err(forbidden("this address is for reading: ask for one to put a file at")),
        (Access::Put, Access::Get) => Err(forbidden("this address is for putting a file: ask for one to read it")),
        _ => Ok(grant),
    }
}

#[cfg(test)]
mod tests {
    use attune_store::resolve::{Stores, StoresConfig};

    use super::*;

    #[tokio::test]
    async fn a_bad_address_is_no_key_without_a_scope() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Stores::objects(&StoresConfig::default(), folder.path()).await.unwrap();
        let row = grant(&objects, "BAD", Access::Get).unwrap_err().code.row();
        assert_eq!((row.status, row.code), (403, "signed_address"));
        assert!(!row.title.contains("key"), "{}", row.title);
    }
}
