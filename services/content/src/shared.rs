//! What calls and workers share.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use attune_api::{ApiError, Call};
use attune_ranking::attributes::Schema;
use attune_store::documents::Documents;
use attune_store::events::{EventLog, Position};
use attune_store::objects::Objects;
use attune_store::relational::Relational;
use attune_store::search::Search;
use attune_store::{StoreError, Tenant};
use metrics::{describe_gauge, gauge};
use tokio::sync::{OnceCell, watch};

use crate::document::Body;
use crate::engine::Engine;
use crate::follow::Follower;
use crate::live::{Change, Live};
use crate::outbox::Ledger;
use crate::schema::{Attributes, Schemas};

/// Items that wait for an embedding.
const WAITING: &str = "attune_content_waiting_items";

/// The stores of the service.
#[derive(Clone)]
pub struct Stores {
    /// The schema and the outbox.
    pub relational: Arc<dyn Relational>,
    /// Items, embeddings, reviews.
    pub documents: Arc<dyn Documents>,
    /// What is found by words.
    pub search: Arc<dyn Search>,
    /// What rankers read.
    pub events: Arc<dyn EventLog>,
    /// Assets.
    pub objects: Arc<dyn Objects>,
}

/// What can be set.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a write may be under way after its process was last heard of: longer than any call to a store takes.
    pub grace: Duration,
    /// How many items may wait for an embedding before writes are refused. They wait in the outbox, not in memory; the
    /// limit keeps the time until a semantic search finds a new item within an hour or so.
    pub backlog_items_max: usize,
    /// How many tenants' items are held in memory.
    pub tenants_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { grace: Duration::from_secs(30), backlog_items_max: 1_000_000, tenants_max: 10_000 }
    }
}

/// Everything that is not of one call.
pub(crate) struct Shared {
    pub stores: Stores,
    pub engine: Engine,
    pub options: Options,
    pub schemas: Schemas,
    pub ledger: Ledger,
    backlog: AtomicUsize,
    tenants: Mutex<HashMap<Tenant, Arc<OfTenant>>>,
    /// Turns true when the workers stop, so that whoever waits for them does not.
    pub stopping: watch::Sender<bool>,
}

/// What is held in memory for a tenant.
pub(crate) struct OfTenant {
    pub tenant: Tenant,
    /// Embeddings; none where there is no embedding model.
    pub live: Option<Arc<Live>>,
    /// Done when everything that is kept was read.
    pub loaded: OnceCell<()>,
    /// The schema of the index that is searched, as far as it is known; held while an index is made.
    pub indexed: tokio::sync::Mutex<Option<Schema>>,
    /// An index with more attributes is being made beside the one that is searched.
    pub is_growing: AtomicBool,
    /// What others append to the log, from before everything was read.
    pub follower: tokio::sync::Mutex<Option<Follower>>,
    /// Records of this replica that the follower has not passed yet.
    pub own: Mutex<HashSet<Position>>,
    /// The tenant has been seen: when it is not there any more, it was deleted.
    pub was_there: AtomicBool,
    /// When items begin or cease to be shown, in microseconds.
    turns: Mutex<BTreeSet<(i64, String)>>,
}

impl Shared {
    pub fn new(stores: Stores, engine: Engine, options: Options) -> Self {
        describe_gauge!(WAITING, "Items of this process's writes that wait for an embedding");
        gauge!(WAITING).set(0.0);
        Self {
            ledger: Ledger::new(options.grace),
            stores,
            engine,
            options,
            schemas: Schemas::default(),
            backlog: AtomicUsize::new(0),
            tenants: Mutex::default(),
            stopping: watch::Sender::new(false),
        }
    }

    /// Items of this process's writes that wait for an embedding.
    pub fn waiting(&self) -> usize {
        self.backlog.load(Ordering::Relaxed)
    }

    /// So many more of them.
    pub fn wait(&self, more: usize) {
        let before = self.backlog.fetch_add(more, Ordering::Relaxed);
        gauge!(WAITING).set((before + more) as f64);
    }

    /// So many fewer.
    pub fn waited(&self, fewer: usize) {
        let less = |waiting: usize| Some(waiting.saturating_sub(fewer));
        let before = self.backlog.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).unwrap_or_default();
        gauge!(WAITING).set(before.saturating_sub(fewer) as f64);
    }

    /// The attributes of a tenant.
    pub async fn schema(&self, tenant: &Tenant) -> Result<Arc<Attributes>, ApiError> {
        self.schemas.get(self.stores.relational.as_ref(), tenant).await
    }

    /// What is held for a tenant, which may not be read from the stores yet.
    pub fn of(&self, tenant: &Tenant) -> Result<Arc<OfTenant>, ApiError> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = tenants.get(tenant) {
            return Ok(Arc::clone(known));
        }
        if tenants.len() >= self.options.tenants_max {
            let detail = format!("this replica holds the items of {} tenants, which is its limit", tenants.len());
            return Err(ApiError::new(attune_api::ErrorCode::Overloaded, detail));
        }
        let embedder = self.engine.embedder();
        let live = embedder.map(|embedder| Live::new(embedder.width, Attributes::default().schema()));
        let live = live.transpose().map_err(defect)?.map(Arc::new);
        let of = Arc::new(OfTenant {
            tenant: tenant.clone(),
            live,
            loaded: OnceCell::new(),
            indexed: tokio::sync::Mutex::new(None),
            is_growing: AtomicBool::new(false),
            follower: tokio::sync::Mutex::new(None),
            own: Mutex::default(),
            was_there: AtomicBool::new(false),
            turns: Mutex::default(),
        });
        tenants.insert(tenant.clone(), Arc::clone(&of));
        Ok(of)
    }

    /// Lets go of all that is held for a tenant.
    pub fn drop_tenant(&self, tenant: &Tenant) {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
        self.schemas.forget(tenant);
    }

    /// Lets go of those that were deleted, whoever deleted them.
    pub async fn drop_deleted(&self) {
        for of in self.held() {
            match self.stores.relational.tenant(&of.tenant).await {
                Ok(Some(_)) => of.was_there.store(true, Ordering::Relaxed),
                Ok(None) if of.was_there.load(Ordering::Relaxed) => self.drop_tenant(&of.tenant),
                // Not seen yet, or the store does not answer.
                Ok(None) | Err(_) => {}
            }
        }
    }

    /// All tenants that something is held for.
    pub fn held(&self) -> Vec<Arc<OfTenant>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

impl OfTenant {
    /// Takes changes of items into memory.
    pub async fn apply(&self, schema: &Attributes, changes: Vec<Change>) -> Result<(), ApiError> {
        let Some(live) = self.live.clone() else { return Ok(()) };
        let schema = schema.schema();
        off_thread(move || live.apply(&schema, changes)).await?.map_err(defect)
    }

    /// Takes note of the times at which an item begins or ceases to be shown.
    pub fn note_turns(&self, id: &str, body: &Body, now_micros: i64) {
        let ahead = [body.published, body.expires].into_iter().flatten().filter(|at| *at > now_micros);
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.extend(ahead.map(|at| (at, id.to_owned())));
    }

    /// The items whose time has come.
    pub fn due(&self, now_micros: i64) -> Vec<String> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let later = turns.split_off(&(now_micros.saturating_add(1), String::new()));
        std::mem::replace(&mut *turns, later).into_iter().map(|(_, id)| id).collect()
    }
}

/// The tenant of a call.
pub(crate) fn tenant_of(call: &Call) -> Result<Tenant, ApiError> {
    call.tenant.parse().map_err(|error| {
        tracing::error!(%error, "a call has no tenant");
        ApiError::internal()
    })
}

/// Runs what takes processor time where it holds nobody up.
pub(crate) async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(defect)
}

/// A fault of ours: its cause goes to the log.
pub(crate) fn defect(error: impl fmt::Display) -> ApiError {
    tracing::error!(%error, "content: a defect");
    ApiError::internal()
}

/// Whether a store said that somebody else was first.
pub(crate) fn is_conflict(error: &StoreError) -> bool {
    error.kind == attune_store::ErrorKind::Conflict
}
