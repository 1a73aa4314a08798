//! Search in a folder, by tantivy.
//!
//! Each tenant has an index of its own, and not a term in a common one: how rare a word is, which decides what is a good
//! match, is then a matter of the tenant's own entries, schemas need not agree, and a tenant is erased by removing a
//! folder. What an index costs is a few open files; the costly part, a writer, there is once for all (see [`writer`]).
//!
//! A write is answered when it is on disk, and is then found: there is nothing to refresh.

mod catalogue;
mod collect;
mod error;
mod fields;
mod filter;
mod generation;
mod words;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use attune_ranking::attributes::Schema;
use tokio::sync::oneshot;

use self::catalogue::Catalogue;
use self::writer::{Job, Task};
use crate::search::{Change, Indices, Page, Query, Search, Written, check_changes, check_query};
use crate::{ErrorKind, Health, StoreError, StoreKind, Tenant};

/// How many writes wait at most; the next one is refused.
const QUEUE_JOBS_MAX: usize = 256;

/// Search in a folder of this machine.
pub struct TantivySearch {
    folder: PathBuf,
    catalogue: Arc<Catalogue>,
    /// Taken when the store goes, so that the thread ends.
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl TantivySearch {
    /// Opens the folder, or makes it.
    ///
    /// # Errors
    /// The folder cannot be used, another process has it open (`Unavailable`), or a newer Attune wrote it (`TooNew`). A
    /// damaged index is no error here: its tenant is told.
    pub async fn open(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.to_owned();
        let catalogue = Arc::new(blocking("open", move || Catalogue::open(&path)).await?);
        let (jobs, receiver) = sync_channel(QUEUE_JOBS_MAX);
        let shared = Arc::clone(&catalogue);
        let thread = thread::Builder::new().name("search-writer".to_owned());
        let thread =
            thread.spawn(move || writer::run(&shared, &receiver)).map_err(|error| error::fault("open", error))?;
        Ok(Self { folder: folder.to_owned(), catalogue, jobs: Some(jobs), thread: Some(thread) })
    }

    async fn ask(&self, call: &'static str, tenant: &Tenant, task: Task) -> Result<Written, StoreError> {
        let unavailable = |detail: &str| StoreError::new(StoreKind::Search, call, ErrorKind::Unavailable, detail);
        let (answer, receiver) = oneshot::channel();
        let job = Job { tenant: tenant.clone(), task, answer };
        let jobs = self.jobs.as_ref().ok_or_else(|| unavailable("the store is closed"))?;
        jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => unavailable("too many writes are waiting: try again later"),
            TrySendError::Disconnected(_) => unavailable("the thread that writes has ended: start again"),
        })?;
        receiver.await.map_err(|_| unavailable("the thread that writes has ended: start again"))?
    }
}

/// Runs what reads files, away from the threads that must not wait.
async fn blocking<T: Send + 'static>(
    call: &'static str,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        let detail = format!("a defect: {error}");
        Err(StoreError::new(StoreKind::Search, call, ErrorKind::Internal, detail))
    })
}

#[async_trait]
impl Search for TantivySearch {
    async fn indices(&self, tenant: &Tenant) -> Result<Indices, StoreError> {
        let (catalogue, tenant) = (Arc::clone(&self.catalogue), tenant.clone());
        let generations = blocking("indices", move || catalogue.of(&tenant)).await?;
        let schema = |slot: &catalogue::Slot| slot.ready().map(|generation| generation.schema.clone());
        Ok(Indices { live: schema(&generations.live), building: schema(&generations.building) })
    }

    async fn begin(&self, tenant: &Tenant, schema: &Schema) -> Result<(), StoreError> {
        self.ask("begin", tenant, Task::Begin(schema.clone())).await.map(drop)
    }

    async fn publish(&self, tenant: &Tenant) -> Result<(), StoreError> {
        self.ask("publish", tenant, Task::Publish).await.map(drop)
    }

    async fn abandon(&self, tenant: &Tenant) -> Result<(), StoreError> {
        self.ask("abandon", tenant, Task::Abandon).await.map(drop)
    }

    async fn write(&self, tenant: &Tenant, changes: &[Change]) -> Result<Written, StoreError> {
        check_changes(changes)?;
        self.ask("write", tenant, Task::Write(changes.to_vec())).await
    }

    async fn refresh(&self, _: &Tenant) -> Result<(), StoreError> {
        Ok(())
    }

    async fn search(&self, tenant: &Tenant, query: &Query) -> Result<Page, StoreError> {
        check_query(query)?;
        let (catalogue, tenant, query) = (Arc::clone(&self.catalogue), tenant.clone(), query.clone());
        blocking("search", move || catalogue.of(&tenant)?.live.usable("search", &tenant)?.search(&query)).await
    }

    async fn erase(&self, tenant: &Tenant) -> Result<(), StoreError> {
        self.ask("erase", tenant, Task::Erase).await.map(drop)
    }

    async fn health(&self) -> Result<Health, StoreError> {
        Ok(Health::new("tantivy", tantivy::version_string()))
    }
}

impl fmt::Debug for TantivySearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TantivySearch").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Drop for TantivySearch {
    /// Waits for the writes that were accepted, so that the folder can be opened again at once.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}
