//! How much whom: rates by client address, key and tenant.
//!
//! An address is limited before anybody looks at a key, so that guessing costs the guesser; a refused key costs it more.
//! Keys and tenants are limited where all gateways see it, in the shared cache, and where that does not answer in time
//! each gateway goes by what it has seen itself. Without a shared cache, that is the whole truth.

mod buckets;

use std::{net::IpAddr, sync::Arc, time::Duration};

use attune_api::{ApiError, ErrorCode};
use attune_store::{
    StoreError, Tenant,
    cache::{Cache, Decision, RateLimit},
};
use http::{HeaderMap, HeaderName, HeaderValue};

use self::buckets::{Buckets, Subject};
use crate::{address::ClientAddress, auth::Caller, metrics};

/// Of the HTTP working group's draft "RateLimit header fields for HTTP".
pub(crate) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(crate) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The rates. One that is absent is no limit.
#[derive(Clone, Debug)]
pub struct RateLimits {
    /// Of all requests from one client address (of IPv6, from one network of 64 bits).
    pub address: Option<RateLimit>,
    /// Of all requests with one key, or of one subject of tokens.
    pub key: Option<RateLimit>,
    /// Of all requests of one tenant.
    pub tenant: Option<RateLimit>,
    /// What a request costs its address whose key or token is refused, in requests.
    pub failure_cost: u32,
}

impl RateLimits {
    /// The longest time in which a limit may fill up again.
    pub const FILL_MAX: Duration = buckets::IDLE;

    /// So many a second in the long run, and so many at once.
    pub fn per_second(rate: u32, burst: u32) -> RateLimit {
        RateLimit { burst, rate, period: Duration::from_secs(1) }
    }
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            address: Some(Self::per_second(20_000, 40_000)),
            key: Some(Self::per_second(10_000, 20_000)),
            tenant: Some(Self::per_second(20_000, 40_000)),
            failure_cost: 200,
        }
    }
}

/// Whoever has an IPv6 address has 2^64 of them.
fn subject(address: ClientAddress) -> Subject {
    Subject::Address(match address.0.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
        address => address,
    })
}

/// What is left to a caller, for the headers of his answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left {
    name: &'static str,
    decision: Decision,
}

/// Decides.
pub(crate) struct Limiter {
    limits: RateLimits,
    local: Buckets,
    shared: Option<Arc<dyn Cache>>,
    policy: Option<HeaderValue>,
}

impl Limiter {
    pub fn new(limits: RateLimits, shared: Option<Arc<dyn Cache>>) -> Self {
        let policy = policy(&limits);
        Self { limits, local: Buckets::default(), shared, policy }
    }

    /// Lets an address ask.
    pub fn address(&self, address: Option<ClientAddress>) -> Result<(), ApiError> {
        let (Some(limit), Some(address)) = (self.limits.address, address) else { return Ok(()) };
        let decision = self.local.take(&subject(address), limit, 1);
        if decision.is_allowed { Ok(()) } else { Err(refusal("address", decision)) }
    }

    /// Whoever asked there was refused.
    pub fn failed(&self, address: Option<ClientAddress>) {
        if let (Some(limit), Some(address)) = (self.limits.address, address) {
            self.local.charge(&subject(address), limit, self.limits.failure_cost);
        }
    }

    /// Lets a caller ask, or not, and says how much is left to him.
    pub async fn caller(&self, caller: &Caller) -> Result<Option<Left>, (ApiError, Left)> {
        let (key, tenant) = match &self.shared {
            None => (self.local_key(caller), self.local_tenant(caller)),
            // The guard before the cache has a time limit, and a breaker that spares the next ones the wait.
            Some(shared) => match self.take_shared(&**shared, caller).await {
                Ok(decisions) => decisions,
                Err(error) => {
                    tracing::debug!(%error, "rates are those of this process");
                    metrics::limited_locally();
                    (self.local_key(caller), self.local_tenant(caller))
                }
            },
        };
        let left = |name, decision: Option<Decision>| decision.map(|decision| Left { name, decision });
        let (key, tenant) = (left("key", key), left("tenant", tenant));
        let refused = [key, tenant].into_iter().flatten().find(|left| !left.decision.is_allowed);
        match refused {
            Some(left) => Err((refusal(left.name, left.decision), left)),
            None => Ok([key, tenant].into_iter().flatten().min_by_key(|left| left.decision.remaining)),
        }
    }

    fn local_key(&self, caller: &Caller) -> Option<Decision> {
        let limit = self.limits.key?;
        let subject = Subject::Key { tenant: Arc::clone(&caller.tenant), id: Arc::clone(&caller.id) };
        Some(self.local.take(&subject, limit, 1))
    }

    fn local_tenant(&self, caller: &Caller) -> Option<Decision> {
        let limit = self.limits.tenant?;
        Some(self.local.take(&Subject::Tenant(Arc::clone(&caller.tenant)), limit, 1))
    }

    async fn take_shared(
        &self,
        shared: &dyn Cache,
        caller: &Caller,
    ) -> Result<(Option<Decision>, Option<Decision>), StoreError> {
        let Ok(tenant) = caller.tenant.parse::<Tenant>() else { return Ok((None, None)) };
        let key = format!("rate:key:{}", caller.id);
        let take = async |key: &str, limit: Option<RateLimit>| match limit {
            Some(limit) => shared.take(&tenant, key, limit, 1).await.map(Some),
            None => Ok(None),
        };
        tokio::try_join!(take(&key, self.limits.key), take("rate:tenant", self.limits.tenant))
    }

    /// Says on an answer what the limits are, and what is left.
    pub fn show(&self, left: Option<Left>, headers: &mut HeaderMap) {
        if let Some(policy) = &self.policy {
            headers.insert(RATE_LIMIT_POLICY, policy.clone());
        }
        if let Some(Left { name, decision }) = left {
            headers.insert(RATE_LIMIT, rate_limit(name, decision.remaining, decision.reset_after));
        }
    }
}

/// Nobody is told which address is limited in which way; keys and tenants are told theirs.
fn policy(limits: &RateLimits) -> Option<HeaderValue> {
    let parts = [("key", limits.key), ("tenant", limits.tenant)];
    let parts = parts.into_iter().filter_map(|(name, limit)| {
        let limit = limit?;
        let fill = limit.period.mul_f64(f64::from(limit.burst) / f64::from(limit.rate.max(1)));
        Some(format!("\"{name}\";q={};w={}", limit.burst, seconds(fill).max(1)))
    });
    let policy = parts.collect::<Vec<_>>().join(", ");
    (!policy.is_empty()).then(|| policy.parse().expect("names and numbers"))
}

pub(crate) fn rate_limit(name: &str, remaining: u32, reset: Duration) -> HeaderValue {
    format!("\"{name}\";r={remaining};t={}", seconds(reset)).parse().expect("names and numbers")
}

fn refusal(name: &'static str, decision: Decision) -> ApiError {
    metrics::refused(name);
    let whose = match name {
        "address" => "requests from this address",
        "key" => "requests with this key",
        _ => "requests of this tenant",
    };
    let wait = decision.retry_after.unwrap_or(decision.reset_after);
    let detail = format!("too many {whose}: the rate is used up; try again in {:.3} s", wait.as_secs_f64());
    ApiError::new(ErrorCode::RateLimited, detail).retry_after(wait)
}

/// Whole seconds, no less.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests;
