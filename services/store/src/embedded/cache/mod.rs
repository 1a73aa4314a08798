//! A cache in this process.
//!
//! Values, lists and rates are in caches of moka, bounded in bytes or rows; what was used longest ago goes first. (By how
//! often something is used, what is new would go: the rate of a caller who has just come, an event of a moment ago.)
//! Where they are so small that even a new list goes, [`Cache::lost_ago`] tells. Counters and
//! locks are in [`Ledger`]s, which refuse instead. When something expires is decided by our own [`Clock`] at the time it
//! is read; moka's clock, which nobody can move, only frees the memory.

mod clock;
mod ledger;

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use moka::Expiry;
use moka::notification::RemovalCause;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync::Cache as Moka;

use crate::cache::{
    Cache, Decision, Held, RateLimit, Step, check_entries, check_key, check_keys, check_limit, check_ttl, check_value,
    lost,
};
use crate::{ErrorKind, Health, StoreError, StoreKind, Tenant, Version};
pub use clock::{Clock, ManualClock, MonotonicClock};
use ledger::Ledger;

const STORE: StoreKind = StoreKind::Cache;

/// A list that goes so soon after it has changed is missed.
const NEW: Duration = Duration::from_secs(10);

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct MemoryOptions {
    /// Values, with their keys, in bytes.
    pub values_bytes_max: u64,
    /// Lists, with their keys, in bytes.
    pub lists_bytes_max: u64,
    /// Rates, counters, and locks, of each that many.
    pub rows_max: usize,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self { values_bytes_max: 64 << 20, lists_bytes_max: 64 << 20, rows_max: 200_000 }
    }
}

/// Something that lives for some time.
#[derive(Clone)]
struct Entry<V> {
    value: V,
    until: Duration,
    ttl: Duration,
}

/// When moka may free an entry.
struct Lives;

impl<V> Entry<V> {
    fn changed(&self) -> Duration {
        self.until.saturating_sub(self.ttl)
    }
}

impl<V> Expiry<Arc<str>, Entry<V>> for Lives {
    fn expire_after_create(&self, _: &Arc<str>, entry: &Entry<V>, _: Instant) -> Option<Duration> {
        Some(entry.ttl)
    }

    fn expire_after_update(&self, _: &Arc<str>, entry: &Entry<V>, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(entry.ttl)
    }
}

type List = Arc<VecDeque<Bytes>>;

#[derive(Debug)]
struct Counting {
    counters: Ledger<i64>,
    /// The last step of each stream.
    steps: Ledger<u64>,
}

/// A cache in this process.
pub struct MemoryCache {
    clock: Arc<dyn Clock>,
    values: Moka<Arc<str>, Entry<Bytes>>,
    lists: Moka<Arc<str>, Entry<List>>,
    rates: Moka<Arc<str>, Entry<u64>>,
    counting: Mutex<Counting>,
    locks: Mutex<Ledger<u64>>,
    token_last: AtomicU64,
    /// When a new list had to make room last, in milliseconds of the clock; 0 if none ever had.
    lost_ms: Arc<AtomicU64>,
}

impl MemoryCache {
    /// An empty cache.
    pub fn new(options: MemoryOptions, clock: Arc<dyn Clock>) -> Self {
        let rows_max = options.rows_max;
        let weigh = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let (lost_ms, lost_at) = (Arc::new(AtomicU64::new(0)), Arc::clone(&clock));
        let lost = Arc::clone(&lost_ms);
        let on_gone = move |_: Arc<Arc<str>>, entry: Entry<List>, cause: RemovalCause| {
            let now = lost_at.now();
            if cause == RemovalCause::Size && now.saturating_sub(entry.changed()) < NEW {
                lost.store((now.as_millis() as u64).max(1), Ordering::Relaxed);
            }
        };
        let values = Moka::builder()
            .eviction_policy(EvictionPolicy::lru())
            .max_capacity(options.values_bytes_max)
            .weigher(move |key: &Arc<str>, entry: &Entry<Bytes>| weigh(key.len() + entry.value.len()));
        let lists = Moka::builder()
            .eviction_policy(EvictionPolicy::lru())
            .eviction_listener(on_gone)
            .max_capacity(options.lists_bytes_max)
            .weigher(move |key: &Arc<str>, entry: &Entry<List>| {
                weigh(key.len() + entry.value.iter().map(|one| one.len() + size_of::<Bytes>()).sum::<usize>())
            });
        let rates = Moka::builder().eviction_policy(EvictionPolicy::lru()).max_capacity(rows_max as u64);
        Self {
            clock,
            values: values.expire_after(Lives).build(),
            lists: lists.expire_after(Lives).build(),
            rates: rates.expire_after(Lives).build(),
            counting: Mutex::new(Counting { counters: Ledger::new(rows_max), steps: Ledger::new(rows_max) }),
            locks: Mutex::new(Ledger::new(rows_max)),
            token_last: AtomicU64::new(Version::first().0),
            lost_ms,
        }
    }

    fn entry<V>(&self, value: V, ttl: Duration) -> Entry<V> {
        Entry { value, until: self.clock.now().saturating_add(ttl), ttl }
    }

    fn is_live<V>(&self, entry: &Entry<V>) -> bool {
        entry.until > self.clock.now()
    }

    fn full(call: &'static str) -> StoreError {
        let detail = "the cache is full of what must not be evicted: let it keep more, or use a server";
        StoreError::new(STORE, call, ErrorKind::Full, detail)
    }
}

/// The key of a tenant. A tenant's name has no NUL, so that no two of them meet.
fn joint(tenant: &Tenant, key: &str) -> Arc<str> {
    [tenant.as_str(), "\0", key].concat().into()
}

/// Removes all entries whose keys begin with `prefix`; how many there were.
fn remove_all<V: Clone + Send + Sync + 'static>(from: &Moka<Arc<str>, V>, prefix: &str) -> usize {
    let keys: Vec<Arc<str>> =
        from.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(key, _)| (*key).clone()).collect();
    keys.iter().for_each(|key| from.invalidate(key));
    keys.len()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Cache for MemoryCache {
    async fn get(&self, tenant: &Tenant, keys: &[&str]) -> Result<Vec<Option<Bytes>>, StoreError> {
        check_keys("get", keys)?;
        let value = |key: &&str| {
            self.values.get(&joint(tenant, key)).filter(|entry| self.is_live(entry)).map(|entry| entry.value)
        };
        Ok(keys.iter().map(value).collect())
    }

    async fn set(&self, tenant: &Tenant, key: &str, value: Bytes, ttl: Duration) -> Result<(), StoreError> {
        check_key("set", key)?;
        check_value("set", &value)?;
        check_ttl("set", ttl)?;
        self.values.insert(joint(tenant, key), self.entry(value, ttl));
        Ok(())
    }

    async fn delete(&self, tenant: &Tenant, keys: &[&str]) -> Result<(), StoreError> {
        check_keys("delete", keys)?;
        keys.iter().for_each(|key| self.values.invalidate(&joint(tenant, key)));
        Ok(())
    }

    async fn take(&self, tenant: &Tenant, key: &str, limit: RateLimit, cost: u32) -> Result<Decision, StoreError> {
        check_key("take", key)?;
        check_limit("take", &limit)?;
        let now_us = self.clock.now().as_micros() as u64;
        let mut answer = None;
        self.rates.entry(joint(tenant, key)).and_compute_with(|entry| {
            let (decision, changed) = limit.take(entry.map_or(0, |entry| entry.into_value().value), now_us, cost);
            answer = Some(decision);
            changed.map_or(Op::Nop, |empty_us| Op::Put(self.entry(empty_us, decision.reset_after)))
        });
        Ok(answer.expect("it was computed"))
    }

    async fn add(
        &self,
        tenant: &Tenant,
        step: Step<'_>,
        amounts: &[(&str, i64)],
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        check_key("add", step.stream)?;
        check_entries("add", amounts.len())?;
        amounts.iter().try_for_each(|(key, _)| check_key("add", key))?;
        check_ttl("add", ttl)?;
        let stream = joint(tenant, step.stream);
        let amounts: Vec<(Arc<str>, i64)> = amounts.iter().map(|(key, amount)| (joint(tenant, key), *amount)).collect();
        let now = self.clock.now();
        let until = now.saturating_add(ttl);
        let mut counting = locked(&self.counting);
        let Counting { counters, steps } = &mut *counting;
        if steps.get(&stream, now).is_some_and(|last| *last >= step.offset) {
            return Ok(false);
        }
        let has_room = steps.has_room([&*stream].into_iter(), now)
            && counters.has_room(amounts.iter().map(|(key, _)| &**key), now);
        if !has_room {
            return Err(Self::full("add"));
        }
        steps.set(&stream, step.offset, until);
        for (key, amount) in amounts {
            let sum = counters.get(&key, now).copied().unwrap_or(0).saturating_add(amount);
            counters.set(&key, sum, until);
        }
        Ok(true)
    }

    async fn counters(&self, tenant: &Tenant, keys: &[&str]) -> Result<Vec<i64>, StoreError> {
        check_keys("counters", keys)?;
        let (now, counting) = (self.clock.now(), locked(&self.counting));
        let counter = |key: &&str| counting.counters.get(&joint(tenant, key), now).copied().unwrap_or(0);
        Ok(keys.iter().map(counter).collect())
    }

    async fn push(
        &self,
        tenant: &Tenant,
        list: &str,
        entries: &[Bytes],
        keep: usize,
        ttl: Duration,
    ) -> Result<(), StoreError> {
        check_key("push", list)?;
        check_entries("push", entries.len().max(keep))?;
        entries.iter().try_for_each(|entry| check_value("push", entry))?;
        check_ttl("push", ttl)?;
        self.lists.entry(joint(tenant, list)).and_upsert_with(|found| {
            let found = found.map(|entry| entry.into_value()).filter(|entry| self.is_live(entry));
            let mut list = found.map(|entry| Arc::unwrap_or_clone(entry.value)).unwrap_or_default();
            entries.iter().for_each(|entry| list.push_front(entry.clone()));
            list.truncate(keep);
            self.entry(Arc::new(list), ttl)
        });
        Ok(())
    }

    async fn recent(&self, tenant: &Tenant, list: &str, entries: usize) -> Result<Vec<Bytes>, StoreError> {
        check_key("recent", list)?;
        let found = self.lists.get(&joint(tenant, list)).filter(|entry| self.is_live(entry));
        Ok(found.map(|entry| entry.value.iter().take(entries).cloned().collect()).unwrap_or_default())
    }

    async fn clear(&self, tenant: &Tenant, list: &str) -> Result<(), StoreError> {
        check_key("clear", list)?;
        self.lists.invalidate(&joint(tenant, list));
        Ok(())
    }

    async fn lock(&self, tenant: &Tenant, name: &str, ttl: Duration) -> Result<Option<Held>, StoreError> {
        check_key("lock", name)?;
        check_ttl("lock", ttl)?;
        let key = joint(tenant, name);
        let (now, mut locks) = (self.clock.now(), locked(&self.locks));
        if locks.get(&key, now).is_some() {
            return Ok(None);
        }
        if !locks.has_room([&*key].into_iter(), now) {
            return Err(Self::full("lock"));
        }
        let token = self.token_last.fetch_add(1, Ordering::Relaxed) + 1;
        locks.set(&key, token, now.saturating_add(ttl));
        Ok(Some(Held { name: name.to_owned(), token }))
    }

    async fn renew(&self, tenant: &Tenant, held: &Held, ttl: Duration) -> Result<(), StoreError> {
        check_ttl("renew", ttl)?;
        let key = joint(tenant, &held.name);
        let (now, mut locks) = (self.clock.now(), locked(&self.locks));
        if locks.get(&key, now) != Some(&held.token) {
            return Err(lost("renew", held));
        }
        locks.set(&key, held.token, now.saturating_add(ttl));
        Ok(())
    }

    async fn unlock(&self, tenant: &Tenant, held: Held) -> Result<(), StoreError> {
        let key = joint(tenant, &held.name);
        let (now, mut locks) = (self.clock.now(), locked(&self.locks));
        if locks.get(&key, now) == Some(&held.token) {
            locks.remove(&key);
        }
        Ok(())
    }

    async fn erase(&self, tenant: &Tenant) -> Result<u64, StoreError> {
        let prefix = joint(tenant, "");
        let kept =
            remove_all(&self.values, &prefix) + remove_all(&self.lists, &prefix) + remove_all(&self.rates, &prefix);
        let counted = {
            let mut counting = locked(&self.counting);
            counting.counters.remove_all(&prefix) + counting.steps.remove_all(&prefix)
        };
        let held = locked(&self.locks).remove_all(&prefix);
        Ok((kept + counted + held) as u64)
    }

    fn lost_ago(&self) -> Option<Duration> {
        let lost = self.lost_ms.load(Ordering::Relaxed);
        (lost > 0).then(|| self.clock.now().saturating_sub(Duration::from_millis(lost)))
    }

    async fn health(&self) -> Result<Health, StoreError> {
        Ok(Health::new("memory", env!("CARGO_PKG_VERSION")))
    }
}

impl fmt::Debug for MemoryCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryCache").field("clock", &self.clock).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_used_longest_ago_makes_room_and_it_is_told_when_that_was_new() {
        let (clock, hour) = (Arc::new(ManualClock::default()), Duration::from_secs(3_600));
        let options = MemoryOptions { lists_bytes_max: 10_000, ..MemoryOptions::default() };
        let (cache, tenant): (_, Tenant) = (MemoryCache::new(options, clock.clone()), "shop".parse().unwrap());
        let push = async |from: usize, to: usize| {
            for list in from..to {
                let entry = Bytes::from(vec![b'x'; 1_000]);
                cache.push(&tenant, &format!("list-{list}"), &[entry], 1, 9 * hour).await.unwrap();
                cache.lists.run_pending_tasks();
            }
        };
        let has = async |list: usize| !cache.recent(&tenant, &format!("list-{list}"), 1).await.unwrap().is_empty();
        push(0, 5).await;
        clock.advance(hour);
        push(5, 11).await;
        assert!(has(10).await && !has(0).await, "the newest is there and the oldest is not");
        assert_eq!(cache.lost_ago(), None, "it was from an hour ago");
        push(11, 20).await;
        assert!(has(19).await && !has(6).await);
        assert_eq!(cache.lost_ago(), Some(Duration::ZERO), "that was new");
        clock.advance(hour);
        assert_eq!(cache.lost_ago(), Some(hour));
    }
}
