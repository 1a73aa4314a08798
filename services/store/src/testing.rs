//! Stores for the tests of services: embedded ones in a folder, with faults between a service and each of them.

use std::path::Path;
use std::sync::Arc;

use crate::cache::Cache;
use crate::documents::Documents;
use crate::embedded::cache::{MemoryCache, MemoryOptions, MonotonicClock};
use crate::embedded::documents::SqliteDocuments;
use crate::embedded::events::Log;
use crate::embedded::objects::LocalObjects;
use crate::embedded::search::TantivySearch;
use crate::events::{self, EventLog};
use crate::guard::{Faults, Guard, Guarded, Settings};
use crate::objects::Objects;
use crate::relational::Relational;
use crate::resolve::Stores;
use crate::search::Search;
use crate::{StoreError, StoreKind, embedded};

/// Where presigned addresses lead: nobody listens there.
const PUBLIC_URL: &str = "http://127.0.0.1:1";

/// How stores are opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Limits of each guard.
    pub guard: Settings,
    /// What a new log is like.
    pub events: events::Settings,
}

impl Default for Options {
    fn default() -> Self {
        Self { guard: Settings::embedded(), events: events::Settings::default() }
    }
}

/// Opens stores in a folder, as a process would. `faults` gives those of each: one may plan the same ones for several.
///
/// # Errors
/// Of the first that cannot be opened; [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) where somebody else still
/// has the log.
pub async fn open(
    folder: &Path,
    options: Options,
    mut faults: impl FnMut(StoreKind) -> Arc<Faults>,
) -> Result<Stores, StoreError> {
    let path = |name: &str| folder.join(name);
    let mut guard = |store| Guard::new(store, "test", options.guard).with_faults(faults(store));
    let events: Arc<dyn EventLog> = Arc::new(Log::open(&path("events"), options.events).await?);
    let relational: Arc<dyn Relational> = Arc::new(embedded::relational::open(&path("relational.db")).await?);
    let cache: Arc<dyn Cache> =
        Arc::new(MemoryCache::new(MemoryOptions::default(), Arc::new(MonotonicClock::default())));
    let search: Arc<dyn Search> = Arc::new(TantivySearch::open(&path("search")).await?);
    let documents: Arc<dyn Documents> = Arc::new(SqliteDocuments::open(&path("documents.db")).await?);
    let objects: Arc<dyn Objects> = Arc::new(LocalObjects::open(&path("objects"), PUBLIC_URL).await?);
    Ok(Stores {
        events: Arc::new(Guarded::new(events, guard(StoreKind::Events))),
        relational: Arc::new(Guarded::new(relational, guard(StoreKind::Relational))),
        cache: Arc::new(Guarded::new(cache, guard(StoreKind::Cache))),
        search: Arc::new(Guarded::new(search, guard(StoreKind::Search))),
        documents: Arc::new(Guarded::new(documents, guard(StoreKind::Documents))),
        objects: Arc::new(Guarded::new(objects, guard(StoreKind::Objects))),
    })
}

/// The same, with faults for one of them.
///
/// # Errors
/// As [`open`].
pub async fn open_with(folder: &Path, store: StoreKind, faults: &Arc<Faults>) -> Result<Stores, StoreError> {
    let of = |one| if one == store { Arc::clone(faults) } else { Arc::default() };
    open(folder, Options::default(), of).await
}
