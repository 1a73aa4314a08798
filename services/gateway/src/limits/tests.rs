use std::time::Instant;

use attune_store::{
    ErrorKind, StoreKind,
    embedded::cache::{MemoryCache, MemoryOptions, MonotonicClock},
    guard::{Fault, Faults, Guard, Guarded, Settings},
};

use super::*;
use crate::auth::{Scope, Scopes};

const SLOW: Duration = Duration::from_secs(100_000);
/// How long the cache is waited for.
const ATTEMPT_MAX: Duration = Duration::from_millis(20);

fn limits() -> RateLimits {
    let limit = |burst| Some(RateLimit { burst, rate: 1, period: SLOW });
    RateLimits { address: limit(10), key: limit(2), tenant: limit(3), failure_cost: 4 }
}

fn caller(id: &str, tenant: &str) -> Caller {
    Caller { id: id.into(), tenant: tenant.into(), scopes: Scopes::of(&[Scope::Read]) }
}

/// A cache that several gateways share, and what goes wrong with it.
fn shared() -> (Arc<dyn Cache>, Arc<Faults>) {
    let faults = Arc::<Faults>::default();
    let inner: Arc<dyn Cache> = Arc::new(MemoryCache::new(MemoryOptions::default(), Arc::<MonotonicClock>::default()));
    let settings = Settings { attempt_max: ATTEMPT_MAX, ..Settings::default() };
    let guard = Guard::new(StoreKind::Cache, "memory", settings).with_faults(Arc::clone(&faults));
    (Arc::new(Guarded::new(inner, guard)), faults)
}

#[tokio::test]
async fn a_key_has_its_rate_and_its_tenant_has_one_for_all_its_keys() {
    let limiter = Limiter::new(limits(), None);
    let [a, b, other] = [caller("a", "acme"), caller("b", "acme"), caller("c", "else")];
    assert_eq!(limiter.caller(&a).await.unwrap().unwrap().decision.remaining, 1);
    assert!(limiter.caller(&a).await.is_ok());
    let refused = limiter.caller(&a).await.unwrap_err().0;
    assert_eq!(refused.code, ErrorCode::RateLimited);
    assert!(refused.detail.contains("this key") && refused.retry_after > Some(Duration::ZERO), "{refused}");
    let refused = limiter.caller(&b).await.unwrap_err().0;
    assert!(refused.detail.contains("this tenant"), "what a refused request took of its tenant is gone: {refused}");
    assert!(limiter.caller(&other).await.is_ok());
}

#[test]
fn a_refused_key_costs_its_address_more() {
    let limiter = Limiter::new(limits(), None);
    let address = |text: &str| Some(ClientAddress(text.parse().unwrap()));
    for _ in 0..2 {
        assert!(limiter.address(address("10.0.0.1")).is_ok());
        limiter.failed(address("10.0.0.1"));
    }
    assert_eq!(limiter.address(address("10.0.0.1")).unwrap_err().code, ErrorCode::RateLimited);
    assert_eq!(limiter.address(address("::ffff:10.0.0.1")).unwrap_err().code, ErrorCode::RateLimited);
    assert!(limiter.address(address("10.0.0.2")).is_ok());
    for last in 0..10 {
        assert!(limiter.address(address(&format!("2001:db8::{last}"))).is_ok());
    }
    assert!(limiter.address(address("2001:db8::ffff")).is_err(), "one network");
    assert!(limiter.address(address("2001:db8:0:1::1")).is_ok());
}

#[tokio::test]
async fn gateways_that_share_a_cache_share_the_rate() {
    let (cache, _) = shared();
    let [here, there] = [(); 2].map(|()| Limiter::new(limits(), Some(Arc::clone(&cache))));
    let a = caller("a", "acme");
    assert!(here.caller(&a).await.is_ok() && there.caller(&a).await.is_ok());
    assert!(here.caller(&a).await.is_err() && there.caller(&a).await.is_err());
}

#[tokio::test]
async fn without_the_cache_each_gateway_goes_by_what_it_has_seen() {
    let (cache, faults) = shared();
    for fault in [Fault::Fail(ErrorKind::Unavailable), Fault::Silent, Fault::Late(Duration::from_secs(2))] {
        faults.from_now_on(fault);
        let limiter = Limiter::new(limits(), Some(Arc::clone(&cache)));
        let a = caller("a", "acme");
        assert!(limiter.caller(&a).await.is_ok() && limiter.caller(&a).await.is_ok(), "{fault:?}");
        assert!(limiter.caller(&a).await.is_err(), "{fault:?}: a limit is left");
        faults.clear();
    }
}

#[tokio::test]
async fn a_cache_that_answers_late_costs_a_few_requests_a_little_and_the_others_nothing() {
    let (cache, faults) = shared();
    faults.from_now_on(Fault::Late(Duration::from_secs(2)));
    let generous = RateLimits { key: Some(RateLimits::per_second(1_000_000, 1_000_000)), tenant: None, ..limits() };
    let limiter = Limiter::new(generous, Some(cache));
    let a = caller("a", "acme");
    let mut waited = Vec::new();
    for _ in 0..200 {
        let begun = Instant::now();
        limiter.caller(&a).await.unwrap();
        waited.push(begun.elapsed());
    }
    // Once the breaker is open nobody waits: counted, not timed, since this machine may be slow.
    let slow = waited.iter().filter(|time| **time >= ATTEMPT_MAX).count();
    assert!(slow < 100, "{slow} of 200 requests waited for the cache: {waited:?}");
}

#[test]
fn headers_say_what_the_limits_are() {
    let limiter = Limiter::new(RateLimits::default(), None);
    let mut headers = HeaderMap::new();
    let decision = limiter.local.take(&Subject::Tenant("a".into()), limiter.limits.key.unwrap(), 1);
    limiter.show(Some(Left { name: "key", decision }), &mut headers);
    assert_eq!(headers[RATE_LIMIT_POLICY], "\"key\";q=20000;w=2, \"tenant\";q=40000;w=2");
    assert_eq!(headers[RATE_LIMIT], "\"key\";r=19999;t=1");
    let off = Limiter::new(RateLimits { address: None, key: None, tenant: None, failure_cost: 1 }, None);
    assert!(off.policy.is_none() && off.address(Some(ClientAddress([0; 4].into()))).is_ok());
}
