//! Two clients as an application would have them, for the demo and for measuring a server from outside: JSON over HTTP,
//! and gRPC.

use anyhow::{Context, Result, bail};
use attune_api::v1::inference_client::InferenceClient;
use bytes::Bytes;
use http::{Request, header};
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
    /// No connection, another status than 200 (with what the server said), or an answer of another shape.
    pub async fn post<B: Serialize, A: DeserializeOwned>(&self, path: &str, body: &B) -> Result<A> {
        let request = Request::post(format!("{}{path}", self.url))
            .header(header::AUTHORIZATION, &self.authorization)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(serde_json::to_vec(body)?.into()))
            .with_context(|| format!("{:?} is no address of a server: give http://HOST:PORT", self.url))?;
        let response = self.client.request(request).await.with_context(|| format!("POST {path}"))?;
        let status = response.status();
        let bytes = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            bail!("POST {path} was answered with {status}: {}", String::from_utf8_lossy(&bytes));
        }
        serde_json::from_slice(&bytes).with_context(|| format!("the answer of POST {path}"))
    }
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
