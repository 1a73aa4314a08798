//! The replicas of one service: connections to them, and what is known of how they are.

use std::{
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
        }
    }

    fn balancer(&self) -> MutexGuard<'_, Balancer> {
        self.balancer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn retries(&self) -> MutexGuard<'_, Budget> {
        self.retries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These are the replicas from here on, each `host:port`.
    pub fn set(&self, addresses: &[String]) {
        self.balancer().set(addresses);
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
        self.pool.client.request(request).await
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
