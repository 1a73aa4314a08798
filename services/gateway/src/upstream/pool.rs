//! The replicas of one service: connections to them, and what is known of how they are.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use attune_store::guard::{Budget, BudgetSettings};
use axum::body::Body;
use http::{Request, Response, Uri, uri::Authority};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use metrics::{counter, gauge, histogram};

use super::{
    Role,
    balance::{BalanceSettings, Balancer, Outcome, ReplicaId},
};

/// How long a connection to a replica may take to come about.
const CONNECT_MAX: Duration = Duration::from_millis(500);
/// How often a connection is asked whether its replica is still there, and how long that may take.
const PING: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(5));
/// How long a replica may take to say that it is ready.
const PROBE_MAX: Duration = Duration::from_secs(1);
/// Where it says so.
const PROBE_PATH: &str = "/readyz";

/// The replicas of one service.
#[derive(Debug)]
pub(crate) struct Pool {
    pub role: Role,
    client: Client<HttpConnector, Body>,
    balancer: Mutex<Balancer>,
    retries: Mutex<Budget>,
    /// By address, why a replica could not be asked the last time.
    told: Mutex<BTreeMap<String, String>>,
}

/// An attempt under way. Dropped before it is finished, it was abandoned.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    pool: &'a Pool,
    pub replica: ReplicaId,
    address: String,
    begun: Instant,
    is_finished: bool,
}

impl Pool {
    /// A pool without replicas yet. HTTP/2 without TLS, one connection a replica.
    pub fn new(role: Role) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_MAX));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .http2_only(true)
            .timer(TokioTimer::new())
            .http2_keep_alive_interval(PING.0)
            .http2_keep_alive_timeout(PING.1)
            .http2_adaptive_window(true)
            .build(connector);
        Self {
            role,
            client,
            balancer: Mutex::new(Balancer::new(BalanceSettings::default())),
            retries: Mutex::new(Budget::new(BudgetSettings::default())),
            told: Mutex::default(),
        }
    }

    fn balancer(&self) -> MutexGuard<'_, Balancer> {
        self.balancer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn retries(&self) -> MutexGuard<'_, Budget> {
        self.retries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These are the replicas from here on, each `host:port`.
    pub fn set(&self, addresses: &[String]) {
        self.balancer().set(addresses);
        self.told().retain(|address, _| addresses.contains(address));
        self.show();
    }

    fn show(&self) {
        let (count, out) = self.balancer().count();
        gauge!("attune_upstream_replicas", "role" => self.role.name()).set(count as f64);
        gauge!("attune_upstream_replicas_ejected", "role" => self.role.name()).set(out as f64);
    }

    /// A request has come that will be tried at least once.
    pub fn called(&self) {
        self.retries().called();
    }

    /// Whether another attempt can be afforded.
    pub fn may_retry(&self) -> bool {
        let may = self.retries().retry();
        if may {
            counter!("attune_upstream_retries_total", "role" => self.role.name()).increment(1);
        }
        may
    }

    /// Begins an attempt at a replica that was not tried yet.
    pub fn begin(&self, tried: &[ReplicaId]) -> Option<Attempt<'_>> {
        let begun = Instant::now();
        let (replica, address) = self.balancer().pick(begun, tried, rand::random())?;
        Some(Attempt { pool: self, replica, address, begun, is_finished: false })
    }

    /// Asks those that were left out long enough whether they are well.
    pub async fn probe(&self) {
        let due = self.balancer().due(Instant::now());
        let probes = due.into_iter().map(|(id, address)| async move {
            let is_well = self.is_well(&address).await;
            self.balancer().probed(Instant::now(), id, is_well);
            if is_well {
                tracing::info!(role = self.role.name(), address, "a replica is well again");
            }
        });
        futures::future::join_all(probes).await;
        self.show();
    }

    /// Says that a replica cannot be asked: once, and not for every request, until it answers or the reason is another.
    fn tell(&self, address: &str, error: Option<&Error>) {
        let role = self.role.name();
        match error.map(|error| causes(error)) {
            Some(why) if self.is_news(address, &why) => {
                tracing::warn!(role, address, error = why, "a replica cannot be asked");
            }
            Some(_) => {}
            None if self.told().remove(address).is_some() => {
                tracing::info!(role, address, "a replica can be asked again");
            }
            None => {}
        }
    }

    fn is_news(&self, address: &str, why: &str) -> bool {
        self.told().insert(address.to_owned(), why.to_owned()).is_none_or(|before| before != why)
    }

    async fn is_well(&self, address: &str) -> bool {
        let uri = Uri::builder().scheme("http").authority(address).path_and_query(PROBE_PATH).build();
        let Some(request) = uri.ok().and_then(|uri| Request::get(uri).body(Body::empty()).ok()) else { return false };
        let answer = tokio::time::timeout(PROBE_MAX, self.client.request(request)).await;
        matches!(answer, Ok(Ok(response)) if response.status().is_success())
    }
}

impl Attempt<'_> {
    /// Sends the request, whose URI names a path alone, to this replica.
    ///
    /// # Errors
    /// As the client says.
    pub async fn send(&self, mut request: Request<Body>) -> Result<Response<Incoming>, Error> {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(http::uri::Scheme::HTTP);
        parts.authority = self.address.parse::<Authority>().ok();
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        *request.version_mut() = http::Version::HTTP_2;
        let answer = self.pool.client.request(request).await;
        self.pool.tell(&self.address, answer.as_ref().err());
        answer
    }

    /// Tells how it ended.
    pub fn finish(mut self, outcome: Outcome) {
        self.end(outcome);
    }

    fn end(&mut self, outcome: Outcome) {
        self.is_finished = true;
        let (now, latency) = (Instant::now(), self.begun.elapsed());
        let is_ejected = self.pool.balancer().finish(now, self.replica, outcome, latency);
        let role = self.pool.role.name();
        histogram!("attune_upstream_seconds", "role" => role).record(latency.as_secs_f64());
        if outcome == Outcome::Failed {
            counter!("attune_upstream_failures_total", "role" => role).increment(1);
        }
        if is_ejected {
            tracing::warn!(role, address = self.address, "a replica fails and is left out for a while");
            self.pool.show();
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            self.end(Outcome::Abandoned);
        }
    }
}

/// An error with what caused it: the client's own words are that it could not connect.
fn causes(error: &dyn std::error::Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_replica_that_cannot_be_asked_is_told_of_once_and_with_the_reason() {
        let pool = Pool::new(Role::Content);
        // Nobody listens where a port was given back.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        pool.set(std::slice::from_ref(&address));
        let attempt = pool.begin(&[]).unwrap();
        let why = causes(&attempt.send(Request::get("/readyz").body(Body::empty()).unwrap()).await.unwrap_err());
        assert!(why.contains("refused"), "{why}");
        attempt.finish(Outcome::Failed);
        assert!(!pool.is_news(&address, &why), "it was told when it was sent");
        assert!(pool.is_news(&address, "no answer") && !pool.is_news(&address, "no answer"));
        pool.tell(&address, None);
        assert!(pool.is_news(&address, &why), "it had answered");
        pool.set(&[]);
        assert!(pool.told().is_empty());
    }
}
