//! The stores of an installation whose server is stopped, to plant faults in.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use attune_api::Call;
use attune_api::log::{Exposure, Record, Shown};
use attune_api::tracking::{EVENTS_MAX, Given, Tracking};
use attune_lake::{LakeSettings, LakeWriter, load_manifest};
use attune_store::documents::Collection;
use attune_store::events::NewEvent;
use attune_store::relational::{DefinitionKind, Write};
use attune_store::resolve::{Stores, StoresConfig};
use attune_store::{Expect, PageRequest, Tenant};
use attune_tracking::TrackingService;
use attune_trainer::MODEL;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

pub const ITEMS: usize = 40;
pub const PEOPLE: usize = 60;

const DAY_MS: i64 = 24 * 3_600 * 1_000;
const ITEMS_KEPT: Collection = Collection { name: "items", lookups: &[] };
const VECTORS_KEPT: Collection = Collection { name: "item_vectors", lookups: &[] };

pub fn now_ms() -> i64 {
    attune_api::moment::now_ms()
}

pub fn item(number: usize) -> String {
    format!("item-{}", number % ITEMS)
}

/// What everybody looked at, on some day of the last weeks and at no hour in particular.
pub fn views(each: usize) -> Vec<Value> {
    let view = |person: usize, number: usize| {
        let ago_ms = DAY_MS + ((person * 7_919 + number * 104_729) as i64 * 7_717_003) % (20 * DAY_MS);
        json!({
            "event_id": format!("view-{person}-{number}"), "type": "view", "user_id": format!("user-{person}"),
            "item_id": item(person * 3 + number * 5), "timestamp": (now_ms() - ago_ms) / 1_000,
        })
    };
    (0..PEOPLE).flat_map(|person| (0..each).map(move |number| view(person, number))).collect()
}

/// An event with another field, or another value of one.
pub fn with(mut event: Value, field: &str, value: Value) -> Value {
    event[field] = value;
    event
}

pub fn at(event: Value, time_ms: i64) -> Value {
    with(event, "timestamp", json!(time_ms as f64 / 1e3))
}

/// An installation.
pub struct Planted {
    stores: Stores,
    data: PathBuf,
    tenant: Tenant,
    runtime: Runtime,
}

impl Planted {
    pub fn open(data: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let stores = runtime.block_on(Stores::open(&StoresConfig::default(), data)).unwrap();
        Self { stores, data: data.to_owned(), tenant: "default".parse().unwrap(), runtime }
    }

    /// Somebody's event of some day of the last weeks.
    pub fn event(&self, number: usize, kind: &str, item_id: &str) -> Value {
        let ago_ms = DAY_MS + (number as i64 * 7_717_003) % (20 * DAY_MS);
        json!({
            "event_id": format!("planted-{number}"), "type": kind, "user_id": format!("user-{}", number % PEOPLE),
            "item_id": item_id, "timestamp": (now_ms() - ago_ms) / 1_000,
        })
    }

    /// Sends events in, as the service takes them; those that it refuses become dead letters.
    pub fn track(&self, events: impl IntoIterator<Item = Value>) {
        let Stores { relational, cache, events: log, .. } = self.stores.clone();
        let service = TrackingService::new(attune_tracking::Stores { relational, cache, events: log });
        let call = Call {
            tenant: "default".into(),
            caller: "test".into(),
            request_id: "test".into(),
            deadline: None,
            is_bulk: false,
        };
        let events: Vec<Value> = events.into_iter().collect();
        for some in events.chunks(EVENTS_MAX) {
            let given = some.iter().cloned().map(Given::read).collect();
            self.runtime.block_on(service.track(&call, given)).unwrap();
        }
    }

    /// Puts everything that the log says into the lake.
    pub fn flush(&self) {
        let Stores { relational, events, objects, .. } = self.stores.clone();
        let settings = LakeSettings { flush_every: Duration::from_millis(5), ..LakeSettings::default() };
        self.runtime.block_on(async {
            let last = events.bounds(&self.tenant).await.unwrap().iter().map(|one| one.next).max();
            let writer =
                LakeWriter::start(relational, events, Arc::clone(&objects), Some(self.tenant.clone()), settings);
            while load_manifest(&*objects, &self.tenant).await.unwrap().next.values().max() != last.as_ref() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            writer.stop().await;
        });
    }

    /// Lists that were served to people who did nothing.
    pub fn expose(&self, lists: usize) {
        let record = |number: usize| {
            let shown = Shown { item_id: item(number), propensity: 1.0, ..Shown::default() };
            let (request_id, pipeline) = (format!("planted-{number}"), "default".to_owned());
            let exposure =
                Exposure { request_id, pipeline, time_ms: now_ms(), items: vec![shown], ..Exposure::default() };
            let payload = serde_json::to_vec(&Record::Exposure(exposure)).unwrap().into();
            NewEvent { subject: format!("list/planted-{number}"), payload }
        };
        self.runtime.block_on(self.stores.events.append(&self.tenant, (0..lists).map(record).collect())).unwrap();
    }

    /// Takes away all that anybody did and was shown.
    pub fn without_history(&self) {
        self.runtime.block_on(async {
            self.stores.events.erase(&self.tenant).await.unwrap();
            self.stores.objects.delete(&self.tenant, attune_lake::MANIFEST_KEY).await.unwrap();
        });
        assert!(self.data.exists());
    }

    pub fn define(&self, kind: &str, name: &str, spec: Value) {
        let kind = if kind == "rule" { DefinitionKind::Rule } else { DefinitionKind::Pipeline };
        let (name, is_enabled, expect) = (name.to_owned(), true, Expect::Absent);
        self.commit(vec![Write::PutDefinition { kind, name, spec, is_enabled, expect }]);
    }

    /// A version in service that has learned from so many events.
    pub fn serve_model(&self, lake_events: u64) {
        let (model, label) = (MODEL.to_owned(), "trained-default/planted".to_owned());
        let put = Write::PutModelVersion {
            model: model.clone(),
            label: label.clone(),
            uri: label.clone(),
            metrics: json!({ "lake_events": lake_events }),
            expect: Expect::Absent,
        };
        self.commit(vec![put, Write::Promote { model, label }]);
    }

    fn commit(&self, writes: Vec<Write>) {
        self.runtime.block_on(self.stores.relational.commit(&self.tenant, writes)).unwrap();
    }

    /// Takes away all documents of a collection.
    pub fn clear(&self, name: &str) {
        let collection = if name == ITEMS_KEPT.name { ITEMS_KEPT } else { VECTORS_KEPT };
        let cleared = self.runtime.block_on(self.stores.documents.clear(&self.tenant, collection)).unwrap();
        assert!(cleared > 0, "there is no {name}");
    }

    /// Hides items.
    pub fn hide(&self, count: usize) {
        self.runtime.block_on(async {
            let documents = &self.stores.documents;
            let page = PageRequest::first(count);
            for one in documents.scan(&self.tenant, ITEMS_KEPT, page).await.unwrap().rows {
                let hidden = json!({"hidden": true});
                documents.patch(&self.tenant, ITEMS_KEPT, &one.id, &hidden, Expect::Any).await.unwrap();
            }
        });
    }
}
