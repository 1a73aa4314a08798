//! The service over stores in a folder of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use attune_api::Call;
use attune_api::log::{Event, Recent, Record, recent_list};
use attune_api::rest::tracking::Tracked;
use attune_api::tracking::{Given, Tracking};
use attune_store::events::Position;
use attune_store::guard::Faults;
use attune_store::relational::PersonId;
use attune_store::testing::{self, Options};
use attune_store::{StoreKind, Tenant};
use attune_tracking::{Stores, TrackingService};
use serde_json::Value;
use tempfile::TempDir;

pub struct World {
    pub stores: Stores,
    pub service: TrackingService,
    /// What goes wrong with the cache.
    pub cache_faults: Arc<Faults>,
    /// What goes wrong with the log.
    pub log_faults: Arc<Faults>,
    pub folder: TempDir,
}

impl World {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (cache_faults, log_faults) = (Arc::default(), Arc::default());
        let faults = |store| match store {
            StoreKind::Cache => Arc::clone(&cache_faults),
            StoreKind::Events => Arc::clone(&log_faults),
            _ => Arc::default(),
        };
        let all = testing::open(folder.path(), Options::default(), faults).await.unwrap();
        let stores = Stores { relational: all.relational, cache: all.cache, events: all.events };
        Self { service: TrackingService::new(stores.clone()), stores, cache_faults, log_faults, folder }
    }

    /// The same stores, and a process that remembers nothing.
    pub fn restart(&mut self) {
        self.service = TrackingService::new(self.stores.clone());
    }

    pub async fn track(&self, events: Vec<Value>) -> Tracked {
        self.service.track(&call(), given(events)).await.unwrap()
    }

    /// Everything in the log: subject, place, record; in the order of places.
    pub async fn log(&self) -> Vec<(String, Position, Record)> {
        let bounds = self.stores.events.bounds(&tenant()).await.unwrap();
        let from: Vec<Position> = bounds.iter().map(|one| Position { partition: one.partition, offset: 0 }).collect();
        let mut reader = self.stores.events.read(&tenant(), &from).await.unwrap();
        let mut found = Vec::new();
        loop {
            let some = reader.poll(1_000, Duration::ZERO).await.unwrap();
            if some.is_empty() {
                found.sort_by_key(|(_, position, _): &(String, Position, Record)| position.offset);
                return found;
            }
            let record = |payload: &[u8]| serde_json::from_slice(payload).unwrap();
            found.extend(some.into_iter().map(|one| (one.subject, one.position, record(&one.payload))));
        }
    }

    /// The events of the log.
    pub async fn events(&self) -> Vec<Event> {
        let event = |(_, _, record)| match record {
            Record::Event(event) => Some(event),
            _ => None,
        };
        self.log().await.into_iter().filter_map(event).collect()
    }

    pub async fn subject(&self, id: PersonId) -> String {
        self.stores.relational.person(&tenant(), &id).await.unwrap().expect("the person is known").subject.to_string()
    }

    /// The recent list of a user, the newest first.
    pub async fn recent(&self, user: &str) -> Vec<Recent> {
        let subject = self.subject(PersonId::User(user.to_owned())).await;
        let entries = self.stores.cache.recent(&tenant(), &recent_list(&subject), 1_000).await.unwrap();
        entries.iter().map(|entry| serde_json::from_slice(entry).unwrap()).collect()
    }
}

pub fn tenant() -> Tenant {
    "acme".parse().unwrap()
}

pub fn call() -> Call {
    Call {
        tenant: "acme".into(),
        caller: "test".into(),
        request_id: "r-1".into(),
        deadline: Some(Instant::now() + Duration::from_secs(60)),
        is_bulk: false,
    }
}

pub fn given(events: Vec<Value>) -> Vec<Given> {
    events.into_iter().map(Given::read).collect()
}
