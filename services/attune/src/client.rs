//! Two clients as an application would have them, for the demo and for measuring a server from outside: JSON over HTTP,
//! and gRPC.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use attune_api::v1::inference_client::InferenceClient;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

/// JSON in, JSON out.
pub struct Rest {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    authorization: String,
}

impl Rest {
    /// A client of the server at `url`.
    pub fn new(url: &str, key: &str) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, url: url.to_owned(), authorization: format!("Bearer {key}") }
    }

    /// Posts `body` and reads the answer.
    ///
    /// # Errors
    /// No connection, another status than one of success (with what the server said), or an answer of another shape.
    pub async fn post<B: Serialize, A: DeserializeOwned>(&self, path: &str, body: &B) -> Result<A> {
        self.send(Method::POST, path, Some(serde_json::to_vec(body)?)).await?.read()
    }

    /// Puts `body` there and reads the answer.
    ///
    /// # Errors
    /// As [`post`](Self::post).
    pub async fn put<B: Serialize, A: DeserializeOwned>(&self, path: &str, body: &B) -> Result<A> {
        self.send(Method::PUT, path, Some(serde_json::to_vec(body)?)).await?.read()
    }

    /// Reads what is at a path.
    ///
    /// # Errors
    /// As [`post`](Self::post).
    pub async fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A> {
        self.send(Method::GET, path, None).await?.read()
    }

    /// Sends a request and takes whatever comes back.
    ///
    /// # Errors
    /// No connection.
    pub async fn send(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Answer> {
        let what = format!("{method} {path}");
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(header::AUTHORIZATION, &self.authorization)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body.unwrap_or_default().into()))
            .with_context(|| format!("{:?} is no address of a server: give http://HOST:PORT", self.url))?;
        let response = self.client.request(request).await.with_context(|| what.clone())?;
        let (status, retry_after) = (response.status(), retry_after(response.headers()));
        let body = response.into_body().collect().await?.to_bytes();
        Ok(Answer { what, status, retry_after, body })
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    what: String,
    /// Whether it went well.
    pub status: StatusCode,
    /// When to try again, as the server says.
    pub retry_after: Option<Duration>,
    body: Bytes,
}

impl Answer {
    /// The answer of a request that went well.
    ///
    /// # Errors
    /// It did not, or the answer is of another shape.
    pub fn read<A: DeserializeOwned>(&self) -> Result<A> {
        if !self.status.is_success() {
            bail!("{} was answered with {}: {}", self.what, self.status, self.text());
        }
        serde_json::from_slice(&self.body).with_context(|| format!("the answer of {}", self.what))
    }

    /// As text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

/// Adds the key to every call.
#[derive(Clone)]
pub struct WithKey(MetadataValue<Ascii>);

impl Interceptor for WithKey {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A connection that shows a key with every call; any generated client speaks over it.
pub type Keyed = InterceptedService<Channel, WithKey>;

/// The generated client, with a key.
pub type Grpc = InferenceClient<Keyed>;

/// Connects to the server at `url`.
///
/// # Errors
/// No connection.
pub async fn grpc(url: &str, key: &str) -> Result<Grpc> {
    Ok(InferenceClient::new(keyed(url, key).await?))
}

/// Connects to the server at `url`, for whichever of its services.
///
/// # Errors
/// No connection.
pub async fn keyed(url: &str, key: &str) -> Result<Keyed> {
    let channel = Channel::from_shared(url.to_owned())?.connect().await.with_context(|| format!("gRPC to {url}"))?;
    let bearer = format!("Bearer {key}").parse().context("the key cannot be sent in a header")?;
    Ok(InterceptedService::new(channel, WithKey(bearer)))
}
