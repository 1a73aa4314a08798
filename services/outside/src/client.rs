//! Asks, within bounds.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use attune_api::outside::{Outside, OutsideError, Wait};
use attune_api::rest::outside::{OutsideItem, OutsideRequest};
use attune_store::guard::{BreakerSettings, Gate};
use moka::sync::Cache;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::answer::{self, ANSWER_BYTES_MAX};
use crate::figures::Figures;
use crate::{ConfigError, OutsideConfig};

/// The longest address, in bytes.
const URL_BYTES_MAX: usize = 2_048;
/// Addresses whose breakers are remembered.
const ADDRESSES_MAX: u64 = 4_096;
/// For so long after they were asked last: much longer than a breaker's longest pause.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);
/// Connections that nobody uses are kept for so long.
const IDLE_MAX: Duration = Duration::from_secs(30);
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Asks over HTTP whom the configuration names, and nobody else.
pub struct HttpOutside {
    client: Client,
    hosts: Vec<Arc<Asked>>,
    addresses: Cache<String, Arc<Address>>,
    breaker: BreakerSettings,
}

/// A host that may be asked.
struct Asked {
    origin: String,
    tenants: Vec<String>,
    authorization: Option<HeaderValue>,
    /// Places for calls.
    calls: Semaphore,
    figures: Figures,
}

/// What is known of one address.
struct Address {
    gate: Gate,
    host: Arc<Asked>,
}

impl Drop for Address {
    fn drop(&mut self) {
        if self.gate.is_open() {
            self.host.figures.open.decrement(1.0);
        }
    }
}

impl HttpOutside {
    /// Reads the tokens; nobody is asked yet.
    ///
    /// # Errors
    /// A setting makes no sense, a token cannot be read, or the system refuses.
    pub fn new(config: &OutsideConfig) -> Result<Self, ConfigError> {
        config.check()?;
        let host = |host: &crate::Host| {
            let origin = host.url()?.origin().ascii_serialization();
            let (authorization, figures) = (host.authorization()?, Figures::new(&origin));
            let (tenants, calls) = (host.tenants.clone(), Semaphore::new(config.calls_max));
            Ok(Arc::new(Asked { origin, tenants, authorization, calls, figures }))
        };
        // Whoever could redirect could choose who is asked; a proxy would be somebody that no list names.
        let client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .user_agent(concat!("attune/", env!("CARGO_PKG_VERSION")))
            .pool_max_idle_per_host(config.calls_max)
            .pool_idle_timeout(IDLE_MAX);
        Ok(Self {
            client: client.build().map_err(|error| ConfigError::Client(error.to_string()))?,
            hosts: config.hosts.iter().map(host).collect::<Result<_, ConfigError>>()?,
            addresses: Cache::builder().max_capacity(ADDRESSES_MAX).time_to_idle(REMEMBERED_FOR).build(),
            breaker: BreakerSettings::default(),
        })
    }

    /// The same with other breakers, for tests.
    pub fn with_breaker(mut self, breaker: BreakerSettings) -> Self {
        self.breaker = breaker;
        self
    }

    /// The host of an address, where it may be asked for a tenant.
    fn allowed(&self, tenant: &str, url: &str) -> Result<(&Arc<Asked>, Url), String> {
        if url.len() > URL_BYTES_MAX {
            return Err(format!("the address has {} bytes, {URL_BYTES_MAX} are the most", url.len()));
        }
        let url = Url::parse(url).map_err(|error| format!("this is no address: {error}"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("an address has no name and password here: give the host a token in [outside]".to_owned());
        }
        if url.fragment().is_some() {
            return Err("nothing is asked for a part of an answer: leave out what is behind #".to_owned());
        }
        let origin = url.origin().ascii_serialization();
        let is_theirs = |host: &&Arc<Asked>| {
            host.origin == origin && (host.tenants.is_empty() || host.tenants.iter().any(|name| name == tenant))
        };
        match self.hosts.iter().find(is_theirs) {
            Some(host) => Ok((host, url)),
            None => {
                Err("this host may not be asked from here: whoever runs the server names those that may, in [outside]"
                    .to_owned())
            }
        }
    }

    /// The breaker of an address.
    fn address(&self, host: &Arc<Asked>, url: &Url) -> Arc<Address> {
        self.addresses.get_with(url.as_str().to_owned(), || {
            let (host, asked, path) = (host.clone(), host.clone(), url.path().to_owned());
            let gate = Gate::new(self.breaker, move |is_open| {
                asked.figures.open.increment(if is_open { 1.0 } else { -1.0 });
                let origin = &asked.origin;
                match is_open {
                    true => tracing::warn!(origin, path, "this service fails: lists are made without it for a while"),
                    false => tracing::info!(origin, path, "this service answers again"),
                }
            });
            Arc::new(Address { gate, host })
        })
    }

    async fn ask_host(
        &self,
        host: &Arc<Asked>,
        url: Url,
        request: &OutsideRequest,
        Wait { at_most, until }: Wait,
    ) -> Result<Vec<OutsideItem>, OutsideError> {
        let begun = Instant::now();
        let deadline = (begun + at_most).min(Instant::from_std(until));
        let address = self.address(host, &url);
        let admission = address.gate.admit().map_err(|refusal| OutsideError::NotAsked(refusal.to_string()))?;
        let Ok(place) = timeout_at(deadline, host.calls.acquire()).await else {
            let detail = "is not asked: all places for calls to its host were taken".to_owned();
            return Err(OutsideError::NotAsked(detail));
        };
        let asked = Instant::now();
        match timeout_at(deadline, self.fetch(host, url, request)).await {
            Ok(result) => {
                drop(place);
                let result = result.map_err(OutsideError::Failed);
                admission.end(result.is_ok());
                result
            }
            // Who had less than half of his time has not shown that he needs more than all of it.
            Err(_) if asked.elapsed() * 2 < at_most => Err(OutsideError::Late(asked.elapsed())),
            Err(_) => {
                admission.end(false);
                Err(OutsideError::Late(asked.elapsed()))
            }
        }
    }

    /// One call. What is wrong follows "it", and repeats nothing of what came.
    async fn fetch(&self, host: &Asked, url: Url, request: &OutsideRequest) -> Result<Vec<OutsideItem>, String> {
        let body = serde_json::to_vec(request).map_err(|_| "could not be told what is wanted".to_owned())?;
        let mut call = self.client.post(url).header(CONTENT_TYPE, JSON).header(ACCEPT, JSON).body(body);
        if let Some(authorization) = &host.authorization {
            call = call.header(AUTHORIZATION, authorization.clone());
        }
        let mut answer = call.send().await.map_err(|error| told(error, "closed the connection without an answer"))?;
        match answer.status() {
            StatusCode::OK => {}
            status if status.is_redirection() => {
                return Err(format!("answered {status}, and redirections are not followed: name the address itself"));
            }
            status => return Err(format!("answered {status}")),
        }
        let too_long = || format!("answered more than {ANSWER_BYTES_MAX} bytes");
        if answer.content_length().is_some_and(|length| length > ANSWER_BYTES_MAX as u64) {
            return Err(too_long());
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| told(error, "broke off in its answer"))? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(too_long());
            }
            bytes.extend_from_slice(&chunk);
        }
        answer::read(&bytes)
    }
}

/// What a failed call is told as; the log has the cause.
fn told(error: reqwest::Error, otherwise: &str) -> String {
    let what = if error.is_connect() { "cannot be reached" } else { otherwise };
    let error = error.without_url();
    tracing::debug!(error = &error as &dyn std::error::Error, "a service of the user's own {what}");
    what.to_owned()
}

#[async_trait]
impl Outside for HttpOutside {
    fn check(&self, tenant: &str, url: &str) -> Result<(), String> {
        self.allowed(tenant, url).map(drop)
    }

    async fn ask(&self, url: &str, request: &OutsideRequest, wait: Wait) -> Result<Vec<OutsideItem>, OutsideError> {
        let begun = Instant::now();
        // Once more: what was written down may be older than the configuration.
        let allowed = self.allowed(&request.tenant, url);
        let (host, url) = allowed.map_err(|why| OutsideError::NotAsked(format!("is not asked: {why}")))?;
        let result = self.ask_host(host, url, request, wait).await;
        host.figures.ended(begun.elapsed(), result.as_ref().err());
        result
    }
}
