//! Services in other processes: each has replicas, and every request goes to one that can be expected to answer soon.
//!
//! What is sent on is the request itself, REST or gRPC, with the caller's own key: a replica checks it again, so that
//! nothing has to be believed of who reaches its port. The alternative, to decode here and call typed stubs, would read
//! and write every message twice and would need a stub for every route.
//!
//! ```toml
//! [upstreams]
//! recommendation = ["10.0.0.1:8080", "10.0.0.2:8080"]
//! content = ["dns:content.internal:8080"]     # every address that the name has, asked again every few seconds
//! ```

mod balance;
mod forward;
mod pool;
mod role;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::MissedTickBehavior;

pub(crate) use self::forward::{Forwarded, routes};
use self::pool::Pool;
pub use self::role::{Role, RoleError};

/// How often names are resolved, and those replicas probed that were left out.
const TICK: Duration = Duration::from_secs(1);
/// Names are resolved every so many ticks.
const RESOLVE_TICKS: u32 = 5;
/// How long a name may take to be resolved.
const RESOLVE_MAX: Duration = Duration::from_secs(3);
/// What an entry begins with that is a name with many addresses.
const DNS: &str = "dns:";

/// Replicas by role: `host:port`, or `dns:host:port` for every address that a name has.
pub type Addresses = BTreeMap<Role, Vec<String>>;

/// An entry that names no replica.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{entry:?} names no replica of {role}: give `host:port`, or `dns:host:port`")]
pub struct AddressError {
    role: Role,
    entry: String,
}

/// The services that this process does not have itself. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Upstreams {
    pools: BTreeMap<Role, Arc<Pool>>,
    wanted: Arc<Mutex<Addresses>>,
}

impl Upstreams {
    /// Pools for each role that is named. Nothing is connected yet.
    ///
    /// # Errors
    /// An entry is no address.
    pub fn new(addresses: Addresses) -> Result<Self, AddressError> {
        check(&addresses)?;
        let pools: BTreeMap<Role, Arc<Pool>> =
            addresses.keys().map(|role| (*role, Arc::new(Pool::new(*role)))).collect();
        for (role, pool) in &pools {
            pool.set(&plain(&addresses[role]));
        }
        Ok(Self { pools, wanted: Arc::new(Mutex::new(addresses)) })
    }

    /// Other replicas from here on; requests in work stay where they are. Roles cannot come or go: their routes are made
    /// at the start.
    ///
    /// # Errors
    /// An entry is no address; then nothing has changed.
    pub fn update(&self, addresses: Addresses) -> Result<(), AddressError> {
        check(&addresses)?;
        for (role, pool) in &self.pools {
            pool.set(&plain(addresses.get(role).map_or(&[][..], Vec::as_slice)));
        }
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
        Ok(())
    }

    pub(crate) fn pool(&self, role: Role) -> Option<&Arc<Pool>> {
        self.pools.get(&role)
    }

    /// Resolves names and probes replicas, until it is dropped.
    pub(crate) async fn watch(self) {
        if self.pools.is_empty() {
            return;
        }
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 0_u32.. {
            tick.tick().await;
            if number % RESOLVE_TICKS == 0 {
                self.resolve().await;
            }
            futures::future::join_all(self.pools.values().map(|pool| pool.probe())).await;
        }
    }

    async fn resolve(&self) {
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (role, entries) in wanted.iter().filter(|(_, entries)| entries.iter().any(|entry| entry.starts_with(DNS))) {
            let mut addresses = plain(entries);
            let names = entries.iter().filter_map(|entry| entry.strip_prefix(DNS));
            for name in names {
                match tokio::time::timeout(RESOLVE_MAX, tokio::net::lookup_host(name)).await {
                    Ok(Ok(found)) => addresses.extend(found.map(|address| address.to_string())),
                    Ok(Err(error)) => {
                        tracing::warn!(%role, name, %error, "a name has no addresses: the replicas stay as they are");
                        return;
                    }
                    Err(_) => return tracing::warn!(%role, name, "a name was not resolved in time"),
                }
            }
            addresses.sort_unstable();
            addresses.dedup();
            if let Some(pool) = self.pool(*role) {
                pool.set(&addresses);
            }
        }
    }
}

fn plain(entries: &[String]) -> Vec<String> {
    entries.iter().filter(|entry| !entry.starts_with(DNS)).cloned().collect()
}

fn check(addresses: &Addresses) -> Result<(), AddressError> {
    for (&role, entries) in addresses {
        for entry in entries {
            let address = entry.strip_prefix(DNS).unwrap_or(entry);
            let is_address = address.parse::<http::uri::Authority>().is_ok_and(|authority| {
                authority.port_u16().is_some() && !authority.host().is_empty() && !authority.as_str().contains('@')
            });
            if !is_address {
                return Err(AddressError { role, entry: entry.chars().take(100).collect() });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_host_and_a_port() {
        let of = |entry: &str| Upstreams::new([(Role::Content, vec![entry.to_owned()])].into());
        for entry in ["10.0.0.1:80", "content.internal:8080", "dns:content:80", "[::1]:80"] {
            assert!(of(entry).is_ok(), "{entry}");
        }
        for entry in ["", "content", "http://content:80", "a:b@c:80", "dns:", ":80", "content:80/v1"] {
            let error = of(entry).unwrap_err();
            assert!(error.to_string().contains("content") && error.to_string().contains("host:port"), "{entry}");
        }
    }
}
