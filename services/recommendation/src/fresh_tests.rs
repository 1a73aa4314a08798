//! Events, consumption, lists and a cache that comes and goes, interleaved at random: whatever was acknowledged is in the
//! user's next list, or the list says that it may not be; and nothing is in it twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use attune_api::log::{Event, Record};
use attune_ranking::data::Worth;
use attune_store::cache::{Decision, Held, RateLimit, Step};
use attune_store::embedded::cache::{MemoryCache, MemoryOptions, MonotonicClock};
use attune_store::embedded::events::Log;
use attune_store::events::{Consumer, NewEvent, Position, Settings};
use attune_store::{ErrorKind, Health, StoreError, StoreKind, Tenant};
use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::RecommendationConfig;
use crate::asked::up_to_date;
use crate::fold::{Rules, hash_of, key_of};

const USERS: u32 = 3;
/// Time stands still enough for a test: nobody consumes while a list waits.
const WAIT: Duration = Duration::from_millis(1);

/// A cache that can be away, and remembers that it was.
#[derive(Debug)]
struct Flaky {
    inner: MemoryCache,
    is_away: AtomicBool,
    was_away: AtomicBool,
}

impl Flaky {
    fn ask(&self) -> Result<&MemoryCache, StoreError> {
        match self.is_away.load(Ordering::Relaxed) {
            false => Ok(&self.inner),
            true => {
                self.was_away.store(true, Ordering::Relaxed);
                Err(StoreError::new(StoreKind::Cache, "any", ErrorKind::Unavailable, "it is away"))
            }
        }
    }
}

#[async_trait::async_trait]
impl Cache for Flaky {
    async fn get(&self, tenant: &Tenant, keys: &[&str]) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.ask()?.get(tenant, keys).await
    }

    async fn set(&self, tenant: &Tenant, key: &str, value: Bytes, ttl: Duration) -> Result<(), StoreError> {
        self.ask()?.set(tenant, key, value, ttl).await
    }

    async fn delete(&self, tenant: &Tenant, keys: &[&str]) -> Result<(), StoreError> {
        self.ask()?.delete(tenant, keys).await
    }

    async fn take(&self, tenant: &Tenant, key: &str, limit: RateLimit, cost: u32) -> Result<Decision, StoreError> {
        self.ask()?.take(tenant, key, limit, cost).await
    }

    async fn add(
        &self,
        tenant: &Tenant,
        step: Step<'_>,
        amounts: &[(&str, i64)],
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        self.ask()?.add(tenant, step, amounts, ttl).await
    }

    async fn counters(&self, tenant: &Tenant, keys: &[&str]) -> Result<Vec<i64>, StoreError> {
        self.ask()?.counters(tenant, keys).await
    }

    async fn push(
        &self,
        tenant: &Tenant,
        list: &str,
        entries: &[Bytes],
        keep: usize,
        ttl: Duration,
    ) -> Result<(), StoreError> {
        self.ask()?.push(tenant, list, entries, keep, ttl).await
    }

    async fn recent(&self, tenant: &Tenant, list: &str, entries: usize) -> Result<Vec<Bytes>, StoreError> {
        self.ask()?.recent(tenant, list, entries).await
    }

    async fn clear(&self, tenant: &Tenant, list: &str) -> Result<(), StoreError> {
        self.ask()?.clear(tenant, list).await
    }

    async fn lock(&self, tenant: &Tenant, name: &str, ttl: Duration) -> Result<Option<Held>, StoreError> {
        self.ask()?.lock(tenant, name, ttl).await
    }

    async fn renew(&self, tenant: &Tenant, held: &Held, ttl: Duration) -> Result<(), StoreError> {
        self.ask()?.renew(tenant, held, ttl).await
    }

    async fn unlock(&self, tenant: &Tenant, held: Held) -> Result<(), StoreError> {
        self.ask()?.unlock(tenant, held).await
    }

    async fn erase(&self, tenant: &Tenant) -> Result<u64, StoreError> {
        self.ask()?.erase(tenant).await
    }

    fn lost_ago(&self) -> Option<Duration> {
        self.was_away.load(Ordering::Relaxed).then_some(Duration::ZERO)
    }

    async fn health(&self) -> Result<Health, StoreError> {
        self.ask()?.health().await
    }
}

/// What may happen next.
#[derive(Clone, Copy, Debug)]
enum Move {
    /// A user does something, and is told that it is kept.
    Acknowledge(u32),
    /// The user repeats what he sent last.
    Repeat(u32),
    /// A replica reads so many records.
    Consume(usize, usize),
    /// The cache goes or comes back.
    Toggle,
    /// A user asks a replica for a list.
    Ask(usize, u32),
}

fn steps() -> impl Strategy<Value = Vec<Move>> {
    let step = prop_oneof![
        4 => (0..USERS).prop_map(Move::Acknowledge),
        1 => (0..USERS).prop_map(Move::Repeat),
        3 => (0..2_usize, 1..4_usize).prop_map(|(replica, records)| Move::Consume(replica, records)),
        1 => Just(Move::Toggle),
        4 => (0..2_usize, 0..USERS).prop_map(|(replica, user)| Move::Ask(replica, user)),
    ];
    prop::collection::vec(step, 1..40)
}

/// Two replicas over one log and one cache.
struct Bench {
    log: Log,
    cache: Arc<Flaky>,
    rules: Arc<Rules>,
    replicas: Vec<(Replica, Box<dyn Consumer>)>,
    /// By user, the ids of what was acknowledged.
    acknowledged: BTreeMap<u32, Vec<u64>>,
    tenant: Tenant,
    _folder: tempfile::TempDir,
}

fn subject(user: u32) -> String {
    format!("{:032x}", user + 1)
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::open(folder.path(), Settings { partitions: 2, ..Settings::default() }).await.unwrap();
        let tenant: Tenant = "shop".parse().unwrap();
        let config = RecommendationConfig::default();
        let rules = Arc::new(Rules::new(&config, Worth::default()));
        let start: Vec<Position> = (0..2).map(|partition| Position { partition, offset: 0 }).collect();
        let mut replicas = Vec::new();
        for _ in 0..2 {
            let consumer = log.read(&tenant, &start).await.unwrap();
            replicas.push((Replica::new(tenant.clone(), rules.clone(), &config), consumer));
        }
        let inner = MemoryCache::new(MemoryOptions::default(), Arc::new(MonotonicClock::default()));
        let cache = Arc::new(Flaky { inner, is_away: AtomicBool::new(false), was_away: AtomicBool::new(false) });
        Self { log, cache, rules, replicas, acknowledged: BTreeMap::new(), tenant, _folder: folder }
    }

    /// As tracking does: into the log, then into the cache, then 202 whether the cache was there or not.
    async fn acknowledge(&mut self, user: u32, number: u64) {
        let event = Event {
            event_id: format!("{user}-{number}"),
            r#type: "click".into(),
            item_id: Some(format!("i{}", number % 7)),
            time_ms: 1_000 * number as i64,
            ..Event::default()
        };
        let payload = serde_json::to_vec(&Record::Event(event.clone())).unwrap();
        let new = NewEvent { subject: subject(user), payload: payload.into() };
        let at = self.log.append(&self.tenant, vec![new]).await.unwrap()[0];
        let recent = Recent { partition: at.partition, offset: at.offset, event: event.clone() };
        let entry = Bytes::from(serde_json::to_vec(&recent).unwrap());
        let list = recent_list(&subject(user));
        let _away = self.cache.push(&self.tenant, &list, &[entry], 200, Duration::from_secs(60)).await;
        let known = self.acknowledged.entry(user).or_default();
        let id = hash_of(&event.event_id);
        if !known.contains(&id) {
            known.push(id);
        }
    }

    async fn consume(&mut self, replica: usize, records: usize) {
        let (replica, consumer) = &mut self.replicas[replica];
        let events = consumer.poll(records, Duration::ZERO).await.unwrap();
        replica.consume(events, &consumer.positions());
    }

    async fn check(&self, replica: usize, user: u32) -> Result<(), TestCaseError> {
        let (replica, _) = &self.replicas[replica];
        let found = fresh(replica, &self.log, &*self.cache, &subject(user), WAIT).await;
        let state = replica.state();
        let key = key_of(&subject(user)).unwrap();
        let seen = up_to_date(&state, &self.rules, key, &found);
        let mut ids: Vec<u32> = seen.iter().flat_map(|user| user.deeds()).map(|deed| deed.id).collect();
        ids.sort_unstable();
        let once = ids.windows(2).all(|pair| pair[0] != pair[1]);
        prop_assert!(once, "an event is there twice");
        let acknowledged = self.acknowledged.get(&user).into_iter().flatten();
        let mut all: Vec<u32> = acknowledged.map(|id| *id as u32).collect();
        all.sort_unstable();
        if !found.is_behind {
            prop_assert_eq!(ids, all);
        }
        // Whoever can know says so: a cache that never failed, or a replica that has read everything.
        let is_there = !self.cache.was_away.load(Ordering::Relaxed);
        prop_assert!(!(is_there && found.is_behind));
        Ok(())
    }
}

async fn play(steps: Vec<Move>) -> Result<(), TestCaseError> {
    let mut bench = Bench::new().await;
    let mut numbers = [0_u64; USERS as usize];
    // Items have to be known somewhere for a list to have them; here by what others did before.
    for number in 0..7 {
        bench.acknowledge(USERS, number).await;
    }
    bench.consume(0, 7).await;
    bench.consume(1, 7).await;
    for step in steps {
        match step {
            Move::Acknowledge(user) => {
                numbers[user as usize] += 1;
                bench.acknowledge(user, numbers[user as usize]).await;
            }
            Move::Repeat(user) if numbers[user as usize] > 0 => {
                bench.acknowledge(user, numbers[user as usize]).await;
            }
            Move::Repeat(_) => {}
            Move::Consume(replica, records) => bench.consume(replica, records).await,
            Move::Toggle => _ = bench.cache.is_away.fetch_not(Ordering::Relaxed),
            Move::Ask(replica, user) => bench.check(replica, user).await?,
        }
    }
    for replica in 0..2 {
        bench.consume(replica, 1_000).await;
        for user in 0..USERS {
            bench.check(replica, user).await?;
        }
    }
    Ok(())
}

#[test]
fn a_list_reflects_what_was_acknowledged_before_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = ProptestConfig { cases: 200, max_shrink_iters: 200, ..ProptestConfig::default() };
    proptest!(config, |(steps in steps())| runtime.block_on(play(steps))?);
}

#[tokio::test]
async fn a_replica_that_reads_on_is_waited_for() {
    let mut bench = Bench::new().await;
    bench.cache.is_away.store(true, Ordering::Relaxed);
    bench.acknowledge(0, 1).await;
    let (replica, mut consumer) = bench.replicas.remove(0);
    let read_later = async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let events = consumer.poll(10, Duration::ZERO).await.unwrap();
        replica.consume(events, &consumer.positions());
    };
    let (cache, subject) = (bench.cache.clone(), subject(0));
    let asked = fresh(&replica, &bench.log, &*cache, &subject, Duration::from_secs(60));
    let (found, ()) = tokio::join!(asked, read_later);
    assert!(!found.is_behind);
    assert_eq!(replica.state().user(key_of(&subject).unwrap()).unwrap().deeds().len(), 1);
}
