//! Writes that may be sent again: a request with an `Idempotency-Key` is carried out once, and its answer given again.
//!
//! What is remembered is the answer to a success, for a day, by tenant, route and key, together with a digest of what was
//! asked: the same key with something else is a conflict, and so is a request whose first one is still in work. A refusal
//! is not remembered, since it changed nothing. Between a write and the note of it a crash is possible; then the write is
//! made again, which the services survive, as every write of theirs can be repeated.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use attune_api::{ApiError, ErrorCode};
use attune_store::{
    ErrorKind, Tenant,
    cache::Held,
    relational::{Answer, Write},
};
use axum::{
    body::{Body, Bytes},
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, LOCATION},
};
use http_body_util::{BodyExt, Limited};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    admission,
    app::App,
    auth::Caller,
    errors::{self, Refusal},
    json,
};

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 255;
/// The longest answer that is remembered, in bytes. No answer to a write is near it.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// How long an answer is remembered.
const REMEMBERED_FOR: Duration = Duration::from_secs(24 * 3_600);
/// How long a gateway that died while it had a request keeps others from making it again.
const IN_WORK_MAX: Duration = Duration::from_secs(120);
/// Requests with a key in work at once, each with its body in memory.
const PLACES: usize = 128;
/// What of an answer's head is remembered.
const HEADERS: [HeaderName; 4] = [CACHE_CONTROL, CONTENT_TYPE, ETAG, LOCATION];

/// What a request is answered whose answer may not be kept.
pub(crate) fn refused() -> Response {
    let detail = "the header `idempotency-key` is not taken here: to give the answer again it would have to be kept, and it \
                  lets somebody in; leave the header out";
    Refusal(ApiError::new(ErrorCode::Malformed, detail)).into_response()
}

/// The requests with a key that are in work here.
#[derive(Default)]
pub(crate) struct InWork(Mutex<HashSet<(Arc<str>, String)>>);

/// A request's place among them, until it is dropped.
struct Turn<'a> {
    all: &'a InWork,
    name: (Arc<str>, String),
}

impl InWork {
    fn enter(&self, tenant: &Arc<str>, name: &str) -> Result<Turn<'_>, ApiError> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= PLACES {
            return Err(admission::full("requests with an idempotency key in work", PLACES));
        }
        let name = (Arc::clone(tenant), name.to_owned());
        if all.insert(name.clone()) { Ok(Turn { all: self, name }) } else { Err(in_work()) }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

/// Runs a write once, if its caller has given it a key.
pub(crate) async fn once(app: &App, caller: &Caller, request: Request, next: Next) -> Response {
    let key = match key_of(request.headers()) {
        Ok(None) => return next.run(request).await,
        Ok(Some(key)) => key,
        Err(error) => return Refusal(error).into_response(),
    };
    let outcome = run(app, caller, &key, request, next).await;
    outcome.unwrap_or_else(|error| Refusal(error).into_response())
}

async fn run(app: &App, caller: &Caller, key: &str, request: Request, next: Next) -> Result<Response, ApiError> {
    let tenant: Tenant = caller.tenant.parse().map_err(|_| ApiError::internal())?;
    let name = format!("once:{}", hex([request.method().as_str(), request.uri().path(), key]));
    let _turn = app.in_work.enter(&caller.tenant, &name)?;
    let (parts, body) = request.into_parts();
    let limits = &app.config.requests;
    let body = json::read(body, limits.body_bytes_max, limits.body_read_max).await?;
    let query = parts.uri.query().unwrap_or_default();
    let digest = hex([query.as_bytes(), &body]);

    let held = lock(app, &tenant, &name).await?;
    let outcome = match app.keys.rows().answer(&tenant, &name).await? {
        Some(kept) => replay(kept, &digest),
        None => {
            let response = next.run(Request::from_parts(parts, Body::from(body))).await;
            keep(app, &tenant, name, digest, response).await
        }
    };
    if let (Some(held), Some(shared)) = (held, &app.shared) {
        // One that cannot be given back ends by itself.
        let _late = shared.unlock(&tenant, held).await;
    }
    outcome
}

/// Keeps other gateways from the same request meanwhile. Without the cache, the store alone decides: two gateways that
/// get the same request in the same moment would both make it.
async fn lock(app: &App, tenant: &Tenant, name: &str) -> Result<Option<Held>, ApiError> {
    let Some(shared) = &app.shared else { return Ok(None) };
    match shared.lock(tenant, name, IN_WORK_MAX).await {
        Ok(Some(held)) => Ok(Some(held)),
        Ok(None) => Err(in_work()),
        Err(error) => {
            tracing::debug!(%error, "a request with an idempotency key is not locked");
            Ok(None)
        }
    }
}

fn key_of(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=KEY_BYTES_MAX).contains(&key.len()));
    let wrong = || {
        let given = String::from_utf8_lossy(value.as_bytes());
        errors::bad_header(IDEMPOTENCY_KEY.as_str(), &given, "1 to 255 printable ASCII characters")
    };
    key.map(|key| Some(key.to_owned())).ok_or_else(wrong)
}

/// The answer that was given before.
fn replay(kept: Answer, digest: &str) -> Result<Response, ApiError> {
    if kept.digest != digest {
        let detail = "this `idempotency-key` was used for another request: use a new one for what is new";
        return Err(ApiError::new(ErrorCode::Conflict, detail));
    }
    let status = kept.answer["status"].as_u64().and_then(|status| StatusCode::from_u16(status as u16).ok());
    let body = kept.answer["body"].as_str().unwrap_or_default().to_owned();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status.unwrap_or(StatusCode::OK);
    for name in HEADERS {
        let value = kept.answer["headers"][name.as_str()].as_str();
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

/// Remembers the answer to a success.
async fn keep(
    app: &App,
    tenant: &Tenant,
    key: String,
    digest: String,
    response: Response,
) -> Result<Response, ApiError> {
    if !response.status().is_success() {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| {
        tracing::error!(%error, "an answer is too long to be remembered, or could not be written");
        ApiError::internal()
    })?;
    let body: Bytes = body.to_bytes();
    let text = |name: &HeaderName| Some((name.to_string(), parts.headers.get(name)?.to_str().ok()?.into()));
    let headers: serde_json::Map<String, Value> = HEADERS.iter().filter_map(text).collect();
    let answer = json!({"status": parts.status.as_u16(), "headers": headers, "body": String::from_utf8_lossy(&body)});
    let remember = Write::Remember { key, digest, answer, ttl: REMEMBERED_FOR };
    match app.keys.rows().commit(tenant, vec![remember]).await {
        // Behind this gateway another one keeps the same answer.
        Err(error) if error.kind != ErrorKind::Conflict => {
            tracing::warn!(%error, "the answer to a write is not remembered: sent again, it will be made again");
        }
        _ => {}
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn in_work() -> ApiError {
    let detail = "a request with this `idempotency-key` is in work: wait for its answer, or ask again later";
    ApiError::new(ErrorCode::Conflict, detail).retry_after(errors::RETRY_AFTER)
}

/// SHA-256 over parts, each with its length, so that none runs into the next.
fn hex<const N: usize>(parts: [impl AsRef<[u8]>; N]) -> String {
    let mut hash = Sha256::new();
    for part in &parts {
        hash.update((part.as_ref().len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_together() {
        assert_eq!(hex(["a", "b"]), hex(["a", "b"]));
        assert_ne!(hex(["ab", ""]), hex(["a", "b"]));
    }

    #[test]
    fn a_key_is_printable_and_not_endless() {
        let key = |value: &[u8]| {
            let value = HeaderValue::from_bytes(value).unwrap();
            key_of(&HeaderMap::from_iter([(IDEMPOTENCY_KEY, value)]))
        };
        assert_eq!(key(b"8e03978e-40d5-43dd-bc93-6894a57f9324").unwrap().unwrap().len(), 36);
        for wrong in [&b""[..], b"\xff", &[b'x'; KEY_BYTES_MAX + 1]] {
            assert_eq!(key(wrong).unwrap_err().code, ErrorCode::Malformed);
        }
        assert_eq!(key_of(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn one_at_a_time_has_its_turn() {
        let (all, tenant) = (InWork::default(), Arc::from("acme"));
        let turn = all.enter(&tenant, "a").unwrap();
        assert_eq!(all.enter(&tenant, "a").err().unwrap().code, ErrorCode::Conflict);
        assert!(all.enter(&tenant, "b").is_ok() && all.enter(&Arc::from("other"), "a").is_ok());
        drop(turn);
        assert!(all.enter(&tenant, "a").is_ok());
    }
}
