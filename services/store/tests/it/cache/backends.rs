//! The backends of `Cache`.

use std::sync::Arc;
use std::time::Duration;

use attune_store::cache::Cache;
use attune_store::embedded::cache::{ManualClock, MemoryCache, MemoryOptions};
use attune_store::network::cache::RedisCache;

use crate::servers::server;

pub struct Fixture {
    pub cache: Box<dyn Cache>,
    clock: Option<Arc<ManualClock>>,
}

impl Fixture {
    /// Lets at least that much time pass for the cache.
    pub async fn pass(&self, time: Duration) {
        match &self.clock {
            Some(clock) => clock.advance(time),
            None => tokio::time::sleep(time + Duration::from_millis(5)).await,
        }
    }
}

pub async fn memory() -> Option<Fixture> {
    let clock = Arc::new(ManualClock::default());
    let cache = MemoryCache::new(MemoryOptions::default(), clock.clone());
    Some(Fixture { cache: Box::new(cache), clock: Some(clock) })
}

pub async fn redis() -> Option<Fixture> {
    let url = server("ATTUNE_TEST_REDIS")?.parse().unwrap();
    let cache = RedisCache::open(&url, Duration::from_secs(30), Duration::from_secs(30)).await.unwrap();
    Some(Fixture { cache: Box::new(cache), clock: None })
}
