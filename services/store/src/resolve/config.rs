//! Which stores, and the limits of calls to them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::StoreUri;
use crate::StoreKind;
use crate::guard::{BudgetSettings, Settings};

/// Addresses and limits of all stores. A path that is not absolute begins in the data folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoresConfig {
    /// `sqlite:PATH`, or `postgres://user:password@host:port/database`.
    pub relational: StoreUri,
    /// `memory:`, or `redis://user:password@host:port/database` (`rediss://` with TLS).
    pub cache: StoreUri,
    /// `tantivy:PATH`, or `elasticsearch://user:password@host:port` (`elasticsearchs://` with TLS).
    pub search: StoreUri,
    /// `sqlite:PATH`, or `mongodb://user:password@host:port/database`.
    pub documents: StoreUri,
    /// `log:PATH`, or `kafka://host:port,host:port`.
    pub events: StoreUri,
    /// `file:PATH`, or `s3://bucket/prefix`.
    pub objects: StoreUri,
    /// What presigned addresses begin with where the objects are files: where this server is reached.
    pub public_url: String,
    /// How long a start waits for each store, in seconds.
    pub open_s_max: u64,
    /// Connections at once to PostgreSQL, and to MongoDB.
    pub connections_max: u32,
    /// Milliseconds until one try of a call to a store that is a server is given up.
    pub relational_ms_max: u64,
    /// The same of the cache. Callers wait no longer for it, and go on without it.
    pub cache_ms_max: u64,
    /// The same of the search.
    pub search_ms_max: u64,
    /// The same of the documents.
    pub documents_ms_max: u64,
    /// The same of the event log.
    pub events_ms_max: u64,
    /// The same of the objects.
    pub objects_ms_max: u64,
    /// How often a call that may be made twice is tried in all.
    pub attempts_max: u32,
    /// Retries for each call, over time: 0.1 is one for ten calls.
    pub retry_share: f64,
}

impl Default for StoresConfig {
    fn default() -> Self {
        Self {
            relational: StoreUri::new("sqlite:stores/relational.db"),
            cache: StoreUri::new("memory:"),
            search: StoreUri::new("tantivy:stores/search"),
            documents: StoreUri::new("sqlite:stores/documents.db"),
            events: StoreUri::new("log:stores/events"),
            objects: StoreUri::new("file:stores/objects"),
            public_url: "http://127.0.0.1:8080".to_owned(),
            open_s_max: 10,
            connections_max: 10,
            relational_ms_max: 2_000,
            cache_ms_max: 20,
            search_ms_max: 1_000,
            documents_ms_max: 2_000,
            events_ms_max: 10_000,
            objects_ms_max: 30_000,
            attempts_max: 3,
            retry_share: 0.1,
        }
    }
}

impl StoresConfig {
    /// The address of a store.
    pub fn uri(&self, store: StoreKind) -> &StoreUri {
        match store {
            StoreKind::Relational => &self.relational,
            StoreKind::Cache => &self.cache,
            StoreKind::Search => &self.search,
            StoreKind::Documents => &self.documents,
            StoreKind::Events => &self.events,
            StoreKind::Objects => &self.objects,
        }
    }

    /// Holds every address against the schemes of its store, and every limit against its bounds.
    ///
    /// # Errors
    /// A sentence that names the key, what it is, and what it could be.
    pub fn check(&self) -> Result<(), String> {
        for store in StoreKind::ALL {
            let (uri, schemes) = (self.uri(store), schemes(store));
            if !schemes.iter().any(|(scheme, _)| *scheme == uri.scheme()) {
                let known: Vec<&str> = schemes.iter().map(|(_, shown)| *shown).collect();
                return Err(format!("stores.{store} is {uri:?}: it has to begin with {}", known.join(" or ")));
            }
        }
        let hour_ms = 3_600_000;
        let limits = [
            ("open_s_max", self.open_s_max, 1, 3_600),
            ("connections_max", self.connections_max.into(), 1, 1_000),
            ("relational_ms_max", self.relational_ms_max, 1, hour_ms),
            ("cache_ms_max", self.cache_ms_max, 1, hour_ms),
            ("search_ms_max", self.search_ms_max, 1, hour_ms),
            ("documents_ms_max", self.documents_ms_max, 1, hour_ms),
            ("events_ms_max", self.events_ms_max, 1, hour_ms),
            ("objects_ms_max", self.objects_ms_max, 1, hour_ms),
            ("attempts_max", self.attempts_max.into(), 1, 10),
        ];
        for (key, value, min, max) in limits {
            if !(min..=max).contains(&value) {
                return Err(format!("stores.{key} is {value}, it must be {min} to {max}"));
            }
        }
        if !(0.0..=1.0).contains(&self.retry_share) {
            return Err(format!("stores.retry_share is {}, it must be 0 to 1", self.retry_share));
        }
        Ok(())
    }

    /// How long a start waits for each store.
    pub(super) fn open_max(&self) -> Duration {
        Duration::from_secs(self.open_s_max)
    }

    /// How long one try of a call may take.
    pub(super) fn attempt_max(&self, store: StoreKind) -> Duration {
        Duration::from_millis(match store {
            StoreKind::Relational => self.relational_ms_max,
            StoreKind::Cache => self.cache_ms_max,
            StoreKind::Search => self.search_ms_max,
            StoreKind::Documents => self.documents_ms_max,
            StoreKind::Events => self.events_ms_max,
            StoreKind::Objects => self.objects_ms_max,
        })
    }

    /// The limits of the guard before a server. A call has twice the time of a try, so that one that was lost at once is
    /// made again, and one that took all its time is not.
    pub(super) fn guard(&self, store: StoreKind) -> Settings {
        let attempt_max = self.attempt_max(store);
        let defaults = Settings::default();
        Settings {
            attempt_max,
            call_max: attempt_max * 2,
            attempts_max: self.attempts_max,
            pause_min: defaults.pause_min.min(attempt_max / 4),
            budget: BudgetSettings { share: self.retry_share, ..defaults.budget },
            ..defaults
        }
    }
}

/// The schemes of a store, and how each is shown.
pub(super) fn schemes(store: StoreKind) -> &'static [(&'static str, &'static str)] {
    match store {
        StoreKind::Relational => {
            &[("sqlite", "sqlite:PATH"), ("postgres", "postgres://"), ("postgresql", "postgresql://")]
        }
        StoreKind::Cache => &[("memory", "memory:"), ("redis", "redis://"), ("rediss", "rediss://")],
        StoreKind::Search => &[
            ("tantivy", "tantivy:PATH"),
            ("elasticsearch", "elasticsearch://"),
            ("elasticsearchs", "elasticsearchs://"),
        ],
        StoreKind::Documents => {
            &[("sqlite", "sqlite:PATH"), ("mongodb", "mongodb://"), ("mongodb+srv", "mongodb+srv://")]
        }
        StoreKind::Events => &[("log", "log:PATH"), ("kafka", "kafka://")],
        StoreKind::Objects => &[("file", "file:PATH"), ("s3", "s3://")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_make_sense_and_need_nothing() {
        assert_eq!(StoresConfig::default().check(), Ok(()));
    }

    #[test]
    fn an_address_of_the_wrong_kind_is_named_without_its_password() {
        let config = StoresConfig { cache: StoreUri::new("mysql://ann:hush@db"), ..StoresConfig::default() };
        let expected = "stores.cache is mysql://ann:***@db: it has to begin with memory: or redis:// or rediss://";
        assert_eq!(config.check(), Err(expected.to_owned()));
        let config = StoresConfig { events: StoreUri::new("events"), ..StoresConfig::default() };
        assert!(config.check().unwrap_err().starts_with("stores.events is events: it has to begin with log:PATH"));
    }

    #[test]
    fn limits_have_bounds() {
        let config = StoresConfig { cache_ms_max: 0, ..StoresConfig::default() };
        assert_eq!(config.check(), Err("stores.cache_ms_max is 0, it must be 1 to 3600000".to_owned()));
        assert!(StoresConfig { retry_share: f64::NAN, ..StoresConfig::default() }.check().is_err());
    }
}
