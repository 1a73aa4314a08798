//! Single calls to a cache, as services make them: behind its guard, one after the other.
//!
//! `cargo bench --package attune-benches --bench store_cache [-- REDIS]`: the one in this process and, where a URI such as
//! `redis://127.0.0.1:16379` names it, Redis, each under a tenant of its own.

mod times;

use std::sync::Arc;
use std::time::Duration;

use attune_store::cache::{Cache, RateLimit};
use attune_store::embedded::cache::{MemoryCache, MemoryOptions, MonotonicClock};
use attune_store::guard::{Guard, Guarded, Settings};
use attune_store::network::cache::RedisCache;
use attune_store::{StoreKind, Tenant};
use bytes::Bytes;

const CALLS: usize = 20_000;
const KEYS: usize = 10_000;
const VALUE_BYTES: usize = 200;
/// Recent events of a user: so many are kept, and read with a request.
const RECENT: usize = 200;
const TTL: Duration = Duration::from_secs(600);

#[tokio::main]
async fn main() {
    let memory: Arc<dyn Cache> =
        Arc::new(MemoryCache::new(MemoryOptions::default(), Arc::new(MonotonicClock::default())));
    run(&Guarded::new(memory, Guard::new(StoreKind::Cache, "memory", Settings::embedded()))).await;
    // Cargo adds a flag of its own.
    let Some(uri) = std::env::args().skip(1).find(|one| !one.starts_with('-')) else { return };
    times::say(&format!("\n{uri}"));
    let wait = Duration::from_secs(5);
    let redis: Arc<dyn Cache> =
        Arc::new(RedisCache::open(&uri.parse().expect("a URI"), wait, wait).await.expect("Redis answers"));
    run(&Guarded::new(redis, Guard::new(StoreKind::Cache, "redis", Settings::default()))).await;
}

async fn run(cache: &dyn Cache) {
    let tenant: Tenant = format!("bench-{:08x}", rand::random::<u32>()).parse().expect("letters and digits");
    let value = Bytes::from(vec![b'x'; VALUE_BYTES]);
    let key = |number: usize| format!("key-{}", number * 7_919 % KEYS);
    times::time("set", CALLS, async |number| {
        cache.set(&tenant, &key(number), value.clone(), TTL).await.expect("set");
    })
    .await;
    times::time("get, there", CALLS, async |number| {
        assert!(cache.get(&tenant, &[&key(number)]).await.expect("get")[0].is_some());
    })
    .await;
    times::time("get, not there", CALLS, async |number| {
        assert!(cache.get(&tenant, &[&format!("other-{number}")]).await.expect("get")[0].is_none());
    })
    .await;
    let limit = RateLimit { burst: 1_000_000, rate: 1_000_000, period: Duration::from_secs(1) };
    times::time("take of a rate", CALLS, async |number| {
        assert!(cache.take(&tenant, &key(number % 100), limit, 1).await.expect("take").is_allowed);
    })
    .await;
    times::time("push one to a list", CALLS, async |number| {
        let list = format!("list-{}", number % 50);
        cache.push(&tenant, &list, std::slice::from_ref(&value), RECENT, TTL).await.expect("push");
    })
    .await;
    times::time("read a list of 200", CALLS, async |number| {
        let read = cache.recent(&tenant, &format!("list-{}", number % 50), RECENT).await.expect("recent");
        assert_eq!(read.len(), RECENT);
    })
    .await;
    cache.erase(&tenant).await.expect("erase");
}
