//! One request to Elasticsearch, and what went wrong with it.

use std::time::Duration;

use elasticsearch::auth::Credentials;
use elasticsearch::cert::{Certificate, CertificateValidation};
use elasticsearch::http::Method;
use elasticsearch::http::headers::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use elasticsearch::http::transport::{SingleNodeConnectionPool, Transport, TransportBuilder};
use serde_json::Value;
use url::Url;

use crate::{ErrorKind, StoreError, StoreKind};

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

/// Where the server is, and how to speak with it.
#[derive(Clone)]
pub struct ElasticsearchOptions {
    /// `http` or `https`, host and port.
    pub url: Url,
    /// What all names of indices begin with: lower-case letters, digits, `-` and `_`.
    pub prefix: String,
    /// How to sign in.
    pub sign_in: SignIn,
    /// A certificate authority to trust besides the usual ones, in PEM.
    pub authority_pem: Option<Vec<u8>>,
    /// Longest that one request may take; the limit for each call is the guard's.
    pub timeout: Duration,
}

/// How to sign in.
#[derive(Clone)]
pub enum SignIn {
    /// Not at all.
    Nobody,
    /// By name and password.
    Password(String, String),
    /// By an API key as Elasticsearch gives it out, encoded.
    ApiKey(String),
}

impl ElasticsearchOptions {
    /// The defaults for a server.
    pub fn new(url: Url) -> Self {
        let timeout = Duration::from_secs(60);
        Self { url, prefix: "attune".to_owned(), sign_in: SignIn::Nobody, authority_pem: None, timeout }
    }
}

/// What a request carries.
pub(super) enum Body {
    Nothing,
    Json(Value),
    /// Lines of JSON.
    Lines(Vec<u8>),
}

/// The server's answer, whatever it was.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
}

pub(super) struct Client {
    transport: Transport,
    timeout: Duration,
}

impl Client {
    pub(super) fn new(options: &ElasticsearchOptions) -> Result<Self, StoreError> {
        let invalid = |detail: String| StoreError::new(StoreKind::Search, "open", ErrorKind::Invalid, detail);
        let mut builder = TransportBuilder::new(SingleNodeConnectionPool::new(options.url.clone())).disable_proxy();
        match options.sign_in.clone() {
            SignIn::Nobody => {}
            SignIn::Password(name, password) => builder = builder.auth(Credentials::Basic(name, password)),
            SignIn::ApiKey(key) => builder = builder.auth(Credentials::EncodedApiKey(key)),
        }
        if let Some(pem) = &options.authority_pem {
            let authority = Certificate::from_pem(pem).map_err(|error| {
                invalid(format!("the certificate authority is not in PEM: {error}")).caused_by(error)
            })?;
            builder = builder.cert_validation(CertificateValidation::Full(authority));
        }
        let transport = builder
            .build()
            .map_err(|error| invalid("no client can be made of the options".to_owned()).caused_by(error))?;
        Ok(Self { transport, timeout: options.timeout })
    }

    /// Sends a request and reads the whole answer, which is that of the server whatever its status.
    ///
    /// # Errors
    /// There is no answer, or it is no JSON.
    pub(super) async fn ask(
        &self,
        call: &'static str,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Body,
    ) -> Result<Answer, StoreError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(JSON));
        let (kind, bytes) = match body {
            Body::Nothing => (JSON, None),
            Body::Json(value) => (JSON, Some(value.to_string().into_bytes())),
            Body::Lines(lines) => (LINES, Some(lines)),
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        let sent = self.transport.send(method, path, headers, Some(query), bytes, Some(self.timeout)).await;
        let response = sent.map_err(|error| unanswered(call, error))?;
        let status = response.status_code().as_u16();
        let text = response.text().await.map_err(|error| unanswered(call, error))?;
        let body = serde_json::from_str(&text);
        match body {
            Ok(body) => Ok(Answer { status, body }),
            // A proxy in between, which answers in its own words.
            Err(_) if status >= 400 => Ok(Answer { status, body: Value::Null }),
            Err(error) => {
                let detail = "the answer is not that of an Elasticsearch: check the address";
                Err(StoreError::new(StoreKind::Search, call, ErrorKind::Internal, detail).caused_by(error))
            }
        }
    }

    /// The same, where anything but success is an error.
    pub(super) async fn expect(
        &self,
        call: &'static str,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Body,
    ) -> Result<Value, StoreError> {
        let answer = self.ask(call, method, path, query, body).await?;
        if answer.status < 300 { Ok(answer.body) } else { Err(refused(call, answer.status, &answer.body["error"])) }
    }
}

fn unanswered(call: &'static str, error: elasticsearch::Error) -> StoreError {
    let (kind, detail) = if error.is_timeout() {
        (ErrorKind::Timeout, "no answer in time".to_owned())
    } else {
        (ErrorKind::Unavailable, format!("cannot be reached: {}", root(&error)))
    };
    StoreError::new(StoreKind::Search, call, kind, detail).caused_by(error)
}

/// The cause at the bottom, such as "connection refused"; what is above it repeats the address.
fn root(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// An error that the server states, by its status and its own type.
pub(super) fn refused(call: &'static str, status: u16, error: &Value) -> StoreError {
    let field = |name: &str| error[name].as_str().unwrap_or_default();
    let kind = match (status, field("type")) {
        (_, "cluster_block_exception") if field("reason").contains("disk usage") => ErrorKind::Full,
        (_, "resource_already_exists_exception") => ErrorKind::Conflict,
        (401 | 403, _) => ErrorKind::Denied,
        (404, _) => ErrorKind::NotFound,
        (408, _) => ErrorKind::Timeout,
        (409, _) => ErrorKind::Conflict,
        (413, _) => ErrorKind::TooLarge,
        (429 | 502 | 503 | 504, _) => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    };
    let detail = match kind {
        ErrorKind::Denied => "signing in failed: check name and password, or the API key".to_owned(),
        ErrorKind::Full => "the server's disk is full: free some space, and it goes on".to_owned(),
        _ => format!("the server answered {status} {}: {}", field("type"), field("reason")),
    };
    StoreError::new(StoreKind::Search, call, kind, detail)
}
