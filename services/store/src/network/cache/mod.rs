//! A cache in Redis.
//!
//! What several callers change at once is one script, which Redis carries out as a whole: `take.lua`, `add.lua`,
//! `push.lua`, `lock.lua`, `renew.lua`, `unlock.lua`. The time is the server's. A key is `attune:KIND:TENANT:KEY`; the name
//! of a tenant has no colon.

mod error;

use std::fmt;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, FromRedisValue, Script, ScriptInvocation};
use url::Url;

use crate::cache::{
    Cache, Decision, Held, RateLimit, Step, check_entries, check_key, check_keys, check_limit, check_ttl, check_value,
    lost,
};
use crate::{ErrorKind, Health, StoreError, Tenant};
use error::fail;

/// A cache in Redis, over one connection that all callers share and that comes back by itself.
#[derive(Clone)]
pub struct RedisCache {
    connection: ConnectionManager,
    scripts: &'static Scripts,
}

struct Scripts {
    take: Script,
    add: Script,
    push: Script,
    lock: Script,
    renew: Script,
    unlock: Script,
}

/// Read once, since each is hashed.
static SCRIPTS: std::sync::LazyLock<Scripts> = std::sync::LazyLock::new(|| Scripts {
    take: Script::new(include_str!("take.lua")),
    add: Script::new(include_str!("add.lua")),
    push: Script::new(include_str!("push.lua")),
    lock: Script::new(include_str!("lock.lua")),
    renew: Script::new(include_str!("renew.lua")),
    unlock: Script::new(include_str!("unlock.lua")),
});

/// What is under a key.
#[derive(Clone, Copy)]
enum Kind {
    Value,
    Rate,
    Counter,
    Step,
    List,
    Lock,
    Token,
}

impl Kind {
    const ALL: [Self; 7] = [Self::Value, Self::Rate, Self::Counter, Self::Step, Self::List, Self::Lock, Self::Token];
}

/// Keys that the server looks at for one answer of a scan: few enough that nobody waits behind it.
const SCAN_KEYS: usize = 1_000;

impl RedisCache {
    /// Connects to `redis://user:password@host:port/database`, or `rediss://` for TLS. Connecting takes at most
    /// `connect_max`, a call at most `answer_max`.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`], [`ErrorKind::Timeout`] where nothing comes within `connect_max`,
    /// [`ErrorKind::Denied`], [`ErrorKind::Invalid`] for a URI or a
    /// database that cannot be.
    pub async fn open(url: &Url, connect_max: Duration, answer_max: Duration) -> Result<Self, StoreError> {
        let client = Client::open(url.clone()).map_err(|error| fail("open", error))?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(connect_max))
            .set_response_timeout(Some(answer_max))
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(10));
        let connection =
            ConnectionManager::new_lazy_with_config(client, config).map_err(|error| fail("open", error))?;
        let cache = Self { connection, scripts: &SCRIPTS };
        let begun = Instant::now();
        loop {
            match cache.ask::<()>("open", &redis::cmd("PING")).await {
                Ok(()) => return Ok(cache),
                // One that is late is busy, or this machine is: that is no reason not to start.
                Err(error) if error.kind == ErrorKind::Timeout && begun.elapsed() < connect_max => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn ask<T: FromRedisValue>(&self, call: &'static str, command: &Cmd) -> Result<T, StoreError> {
        command.query_async(&mut self.connection.clone()).await.map_err(|error| fail(call, error))
    }

    async fn run<T: FromRedisValue>(&self, call: &'static str, script: &ScriptInvocation<'_>) -> Result<T, StoreError> {
        script.invoke_async(&mut self.connection.clone()).await.map_err(|error| fail(call, error))
    }
}

fn joint(kind: Kind, tenant: &Tenant, key: &str) -> String {
    let kind = match kind {
        Kind::Value => "value",
        Kind::Rate => "rate",
        Kind::Counter => "counter",
        Kind::Step => "step",
        Kind::List => "list",
        Kind::Lock => "lock",
        Kind::Token => "token",
    };
    format!("attune:{kind}:{tenant}:{key}")
}

fn milliseconds(ttl: Duration) -> u64 {
    ttl.as_millis() as u64
}

/// A command about keys, none of which the server refuses.
fn about(command: &str, kind: Kind, tenant: &Tenant, keys: &[&str]) -> Option<Cmd> {
    let mut command = redis::cmd(command);
    for key in keys {
        command.arg(joint(kind, tenant, key));
    }
    (!keys.is_empty()).then_some(command)
}

#[async_trait]
impl Cache for RedisCache {
    async fn get(&self, tenant: &Tenant, keys: &[&str]) -> Result<Vec<Option<Bytes>>, StoreError> {
        check_keys("get", keys)?;
        let Some(command) = about("MGET", Kind::Value, tenant, keys) else { return Ok(Vec::new()) };
        let values: Vec<Option<Vec<u8>>> = self.ask("get", &command).await?;
        Ok(values.into_iter().map(|value| value.map(Bytes::from)).collect())
    }

    async fn set(&self, tenant: &Tenant, key: &str, value: Bytes, ttl: Duration) -> Result<(), StoreError> {
        check_key("set", key)?;
        check_value("set", &value)?;
        check_ttl("set", ttl)?;
        let mut command = redis::cmd("SET");
        command.arg(joint(Kind::Value, tenant, key)).arg(&value[..]).arg("PX").arg(milliseconds(ttl));
        self.ask("set", &command).await
    }

    async fn delete(&self, tenant: &Tenant, keys: &[&str]) -> Result<(), StoreError> {
        check_keys("delete", keys)?;
        let Some(command) = about("UNLINK", Kind::Value, tenant, keys) else { return Ok(()) };
        self.ask("delete", &command).await
    }

    async fn take(&self, tenant: &Tenant, key: &str, limit: RateLimit, cost: u32) -> Result<Decision, StoreError> {
        check_key("take", key)?;
        check_limit("take", &limit)?;
        let mut script = self.scripts.take.key(joint(Kind::Rate, tenant, key));
        script.arg(limit.cost_us()).arg(limit.burst_us()).arg(cost);
        let (over_us, full_us): (u64, u64) = self.run("take", &script).await?;
        let is_possible = over_us == 0 || cost <= limit.burst;
        Ok(limit.decision(is_possible.then_some(over_us), full_us))
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
        let mut script = self.scripts.add.key(joint(Kind::Step, tenant, step.stream));
        // As text of one length, which compares as the number does: a number of Lua holds 53 bits.
        script.arg(format!("{:020}", step.offset)).arg(milliseconds(ttl));
        for (key, amount) in amounts {
            script.key(joint(Kind::Counter, tenant, key)).arg(*amount);
        }
        self.run("add", &script).await
    }

    async fn counters(&self, tenant: &Tenant, keys: &[&str]) -> Result<Vec<i64>, StoreError> {
        check_keys("counters", keys)?;
        let Some(command) = about("MGET", Kind::Counter, tenant, keys) else { return Ok(Vec::new()) };
        let counters: Vec<Option<i64>> = self.ask("counters", &command).await?;
        Ok(counters.into_iter().map(Option::unwrap_or_default).collect())
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
        let mut script = self.scripts.push.key(joint(Kind::List, tenant, list));
        script.arg(keep).arg(milliseconds(ttl));
        for entry in entries {
            script.arg(&entry[..]);
        }
        self.run("push", &script).await
    }

    async fn recent(&self, tenant: &Tenant, list: &str, entries: usize) -> Result<Vec<Bytes>, StoreError> {
        check_key("recent", list)?;
        let Some(last) = entries.checked_sub(1) else { return Ok(Vec::new()) };
        let mut command = redis::cmd("LRANGE");
        command.arg(joint(Kind::List, tenant, list)).arg(0).arg(last);
        let found: Vec<Vec<u8>> = self.ask("recent", &command).await?;
        Ok(found.into_iter().map(Bytes::from).collect())
    }

    async fn clear(&self, tenant: &Tenant, list: &str) -> Result<(), StoreError> {
        check_key("clear", list)?;
        let mut command = redis::cmd("UNLINK");
        command.arg(joint(Kind::List, tenant, list));
        self.ask("clear", &command).await
    }

    async fn lock(&self, tenant: &Tenant, name: &str, ttl: Duration) -> Result<Option<Held>, StoreError> {
        check_key("lock", name)?;
        check_ttl("lock", ttl)?;
        let mut script = self.scripts.lock.key(joint(Kind::Lock, tenant, name));
        script.key(joint(Kind::Token, tenant, name)).arg(milliseconds(ttl));
        let token: Option<u64> = self.run("lock", &script).await?;
        Ok(token.map(|token| Held { name: name.to_owned(), token }))
    }

    async fn renew(&self, tenant: &Tenant, held: &Held, ttl: Duration) -> Result<(), StoreError> {
        check_ttl("renew", ttl)?;
        let mut script = self.scripts.renew.key(joint(Kind::Lock, tenant, &held.name));
        script.arg(held.token).arg(milliseconds(ttl));
        let is_held: bool = self.run("renew", &script).await?;
        if is_held { Ok(()) } else { Err(lost("renew", held)) }
    }

    async fn unlock(&self, tenant: &Tenant, held: Held) -> Result<(), StoreError> {
        let mut script = self.scripts.unlock.key(joint(Kind::Lock, tenant, &held.name));
        self.run("unlock", script.arg(held.token)).await
    }

    async fn erase(&self, tenant: &Tenant) -> Result<u64, StoreError> {
        let mut erased = 0;
        for kind in Kind::ALL {
            let pattern = joint(kind, tenant, "*");
            let mut cursor = 0_u64;
            loop {
                let mut scan = redis::cmd("SCAN");
                scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(SCAN_KEYS);
                let (next, keys): (u64, Vec<Vec<u8>>) = self.ask("erase", &scan).await?;
                if !keys.is_empty() {
                    let mut unlink = redis::cmd("UNLINK");
                    for key in &keys {
                        unlink.arg(&key[..]);
                    }
                    erased += self.ask::<u64>("erase", &unlink).await?;
                }
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
        }
        Ok(erased)
    }

    async fn health(&self) -> Result<Health, StoreError> {
        let info: String = self.ask("health", &redis::cmd("INFO")).await?;
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
        let health = Health::new("Redis", field("redis_version:"));
        let policy = field("maxmemory_policy:");
        let warning =
            format!("maxmemory-policy is {policy}: locks and counters may be evicted; use volatile-ttl or noeviction");
        Ok(if matches!(policy, "" | "noeviction" | "volatile-ttl") { health } else { health.warn(warning) })
    }
}

impl fmt::Debug for RedisCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCache").finish_non_exhaustive()
    }
}
