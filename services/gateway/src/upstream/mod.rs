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
        set_plain(&pools, &addresses);
        Ok(Self { pools, wanted: Arc::new(Mutex::new(addresses)) })
    }

    /// Other replicas from here on; requests in work stay where they are. Roles cannot come or go: their routes are made
    /// at the start.
    ///
    /// # Errors
    /// An entry is no address; then nothing has changed.
    pub fn update(&self, addresses: Addresses) -> Result<(), AddressError> {
        check(&addresses)?;
        set_plain(&self.pools, &addresses);
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
        Ok(())
    }

    /// Whether requests of that role have been sent on since the start.
    pub fn has(&self, role: Role) -> bool {
        self.pools.contains_key(&role)
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
        for (role, entries) in wanted.iter().filter(|(_, entries)| has_names(entries)) {
            let (Some(pool), Some(addresses)) = (self.pool(*role), resolved(*role, entries).await) else { continue };
            pool.set(&addresses);
        }
    }
}

/// The addresses of all entries; none where a name cannot be resolved now, and then the replicas stay as they are.
async fn resolved(role: Role, entries: &[String]) -> Option<Vec<String>> {
    let mut addresses = Vec::with_capacity(entries.len());
    for entry in entries {
        let Some(name) = entry.strip_prefix(DNS) else {
            addresses.push(entry.clone());
            continue;
        };
        match tokio::time::timeout(RESOLVE_MAX, tokio::net::lookup_host(name)).await {
            Ok(Ok(found)) => addresses.extend(found.map(|address| address.to_string())),
            Ok(Err(error)) => {
                tracing::warn!(%role, name, %error, "a name has no addresses: the replicas stay as they are");
                return None;
            }
            Err(_) => {
                tracing::warn!(%role, name, "a name was not resolved in time: the replicas stay as they are");
                return None;
            }
        }
    }
    addresses.sort_unstable();
    addresses.dedup();
    Some(addresses)
}

fn has_names(entries: &[String]) -> bool {
    entries.iter().any(|entry| entry.starts_with(DNS))
}

/// Sets the replicas of the roles that need no name resolved. The others keep theirs until they are.
fn set_plain(pools: &BTreeMap<Role, Arc<Pool>>, addresses: &Addresses) {
    for (role, pool) in pools {
        let entries = addresses.get(role).map_or(&[][..], Vec::as_slice);
        if !has_names(entries) {
            pool.set(entries);
        }
    }
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

    #[tokio::test]
    async fn a_name_keeps_its_replicas_while_the_configuration_changes() {
        let addresses = || Addresses::from([(Role::Content, vec!["dns:localhost:80".to_owned()])]);
        let upstreams = Upstreams::new(addresses()).unwrap();
        let has_any = || upstreams.pool(Role::Content).unwrap().begin(&[]).is_some();
        assert!(!has_any(), "nobody has asked for the name yet");
        upstreams.resolve().await;
        assert!(has_any());
        upstreams.update(addresses()).unwrap();
        assert!(has_any());
        upstreams.update(Addresses::new()).unwrap();
        assert!(!has_any());
    }
}
