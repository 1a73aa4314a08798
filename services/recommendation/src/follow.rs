//! Keeps a replica up to date: the log from where it ended, the items that the log names, the world made of both.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use attune_api::catalogue::{ITEMS_MAX, SharedCatalogue};
use attune_api::progress::Sign;
use attune_api::{ApiError, Call};
use attune_store::StoreError;
use attune_store::events::{Bounds, Consumer, EventLog, Position, places, resume};
use attune_store::relational::Relational;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::RecommendationConfig;
use crate::definitions::InForce;
use crate::departed;
use crate::fold::State;
use crate::model::{self, Change, Trained, TrainedModels};
use crate::replay;
use crate::replica::{Entered, Replica};
use crate::shelf::{STOCKED_AT_ONCE, ShelfError, Stocking};
use crate::snapshot::{self, SnapshotError};
use crate::stage;
use crate::world::MoreSources;

/// Records that are applied at once.
const BATCH: usize = 2_000;
/// After a failure.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How often the schema, and what is defined, are looked at again.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Changes of items are shown this long after the last time at the soonest.
const ITEMS_SHOWN_EVERY: Duration = Duration::from_millis(100);
/// While the log brings more than is applied, what it brings is shown no more often: what changes after a world was made is
/// copied once more.
const BEHIND_SHOWN_EVERY: Duration = Duration::from_secs(5);
/// Items that wait to be read again; with more of them the whole catalogue is.
const PENDING_MAX: usize = 50_000;
/// How often the catalogue may turn out to have vectors of another length while it is read.
const LAYOUTS_MAX: usize = 3;
/// Counted events after which a snapshot is worth its while.
const SNAPSHOT_EVENTS: usize = 1_000;
/// After so many it does not wait for its time: they are what a start after a kill has to read again.
const SNAPSHOT_EVENTS_MAX: usize = 500_000;

/// Follows the log for one replica.
pub struct Follower {
    pub replica: Arc<Replica>,
    pub config: Arc<RecommendationConfig>,
    pub log: Arc<dyn EventLog>,
    pub catalogue: SharedCatalogue,
    pub relational: Arc<dyn Relational>,
    /// Where snapshots are kept.
    pub folder: PathBuf,
    pub pending: BTreeSet<String>,
    pub in_force: InForce,
    pub more: MoreSources,
    pub models: Option<Arc<dyn TrainedModels>>,
    /// The tenant has been seen: when it is not there any more, it was deleted.
    pub was_there: bool,
    /// Reads the snapshot, until it is read.
    pub restoring: Option<JoinHandle<()>>,
}

/// How following ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// The tenant was deleted, and so is what was written down of it.
    Gone,
}

/// Why following has to begin again.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Service(#[from] ApiError),
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    #[error("a thread ended: {0}")]
    Thread(#[from] tokio::task::JoinError),
    #[error("the tenant was deleted")]
    Gone,
}

/// What has happened since it was last dealt with.
struct Since {
    shown: Instant,
    looked: Instant,
    kept: Instant,
    events: usize,
    events_unkept: usize,
    items: bool,
    /// The last look at the log brought all that one may bring.
    is_behind: bool,
}

/// What a look at the log brought, and where it goes on.
struct Batch {
    records: Vec<Entered>,
    /// By record, when the log took it.
    appended_ms: Vec<i64>,
    positions: Vec<Position>,
}

impl Batch {
    async fn poll(consumer: &mut dyn Consumer, wait: Duration) -> Result<Self, Fault> {
        let events = consumer.poll(BATCH, wait).await?;
        let positions = consumer.positions();
        let appended_ms = events.iter().map(|event| event.appended_ms).collect();
        let read = move || events.into_iter().map(Entered::from).collect();
        Ok(Self { records: spawn_blocking(read).await?, appended_ms, positions })
    }

    fn is_full(&self) -> bool {
        self.records.len() == BATCH
    }
}

impl Follower {
    /// Runs until it is told to stop, whatever fails meanwhile, and writes down what it has then; or until its tenant is
    /// deleted.
    pub async fn run(mut self, sign: Sign, mut stop: watch::Receiver<bool>) -> Ended {
        self.restoring = Some(self.restore());
        let stopped = async move { _ = stop.wait_for(|stop| *stop).await };
        let mut stopped = std::pin::pin!(stopped);
        loop {
            let fault = tokio::select! {
                () = &mut stopped => break,
                fault = self.follow(&sign) => fault,
            };
            if let Err(Fault::Gone) = fault {
                departed::forget(&self.folder, &self.replica.tenant, self.models.clone()).await;
                sign.leave();
                return Ended::Gone;
            }
            if let Err(fault) = fault {
                tracing::warn!(tenant = %self.replica.tenant, error = %fault, "the log is not followed: trying again");
            }
            tokio::select! {
                () = &mut stopped => break,
                () = tokio::time::sleep(RETRY_AFTER) => {}
            }
        }
        // What was not read yet is not written over.
        self.restored().await;
        if let Err(fault) = self.keep().await {
            tracing::warn!(tenant = %self.replica.tenant, error = %fault, "the state could not be written down");
        }
        sign.leave();
        Ended::Stopped
    }

    /// Whether the tenant was deleted since.
    async fn is_gone(&mut self) -> Result<bool, Fault> {
        let is_there = self.relational.tenant(&self.replica.tenant).await?.is_some();
        self.was_there |= is_there;
        Ok(self.was_there && !is_there)
    }

    /// The snapshot.
    fn path(&self) -> PathBuf {
        replay::path(&self.folder, &self.replica.tenant)
    }

    async fn follow(&mut self, sign: &Sign) -> Result<(), Fault> {
        let begun = Instant::now();
        let tenant = self.replica.tenant.clone();
        if self.is_gone().await? {
            return Err(Fault::Gone);
        }
        // What changes from here on is in the log, and read again by what that says.
        self.scan().await?;
        self.restored().await;
        self.look().await?;
        self.follow_model().await?;
        let bounds = self.bounds().await?;
        let mut consumer = self.log.read(&tenant, &self.from(&bounds)).await?;
        let now = Instant::now();
        let catalogue_s = (now - begun).as_secs_f64();
        let (events, events_unkept, items, is_behind) = (0, 0, true, false);
        let mut since = Since { shown: now, looked: now, kept: now, events, events_unkept, items, is_behind };
        let (mut is_ready, mut ahead) = (false, None);
        loop {
            let caught_up = self.caught_up(&bounds);
            if !is_ready && caught_up {
                self.refresh().await?;
                self.show(&mut since).await?;
                self.replica.set_ready();
                sign.started();
                is_ready = true;
                let log_s = now.elapsed().as_secs_f64();
                tracing::info!(%tenant, catalogue_s, log_s, "lists are made from here on");
            }
            let batch = match ahead.take() {
                Some(batch) => batch,
                // While the past is read nobody waits for new items.
                None => {
                    let wait_ms = if is_ready { self.config.publish_ms.min(1_000) } else { 10 };
                    Batch::poll(&mut *consumer, Duration::from_millis(wait_ms)).await?
                }
            };
            since.is_behind = batch.is_full();
            let appended_ms = if since.is_behind {
                // Reading goes on beside applying.
                let more = Batch::poll(&mut *consumer, Duration::ZERO);
                let (applied, more) = tokio::join!(self.apply(batch, &mut since), more);
                ahead = Some(more?).filter(|more| !more.records.is_empty());
                applied?
            } else {
                self.apply(batch, &mut since).await?
            };
            sign.done_with(appended_ms.into_iter());
            self.deal_with(&mut since, is_ready).await?;
        }
    }

    /// Where the log begins and ends. Where it has lost what the state still knows, no new event has its numbers; a log that
    /// cannot see to that is the truth, and the state is made of it anew.
    async fn bounds(&self) -> Result<Vec<Bounds>, Fault> {
        let tenant = &self.replica.tenant;
        let reached = self.replica.state().next().clone();
        let (bounds, lost) = resume(&*self.log, tenant, &reached).await?;
        if let Some(lost) = lost {
            tracing::error!(%tenant, %lost, "the log has lost its end: lists are made of what is left");
            let items = self.replica.state().items().clone();
            self.replica.restore(State::of(items, &self.replica.rules));
        }
        Ok(bounds)
    }

    /// Where to go on: after what the state has.
    fn from(&self, bounds: &[Bounds]) -> Vec<Position> {
        let state = self.replica.state();
        places(bounds, |bound| state.next().get(&bound.partition).copied().unwrap_or(0))
    }

    fn caught_up(&self, bounds: &[Bounds]) -> bool {
        let state = self.replica.state();
        let reached = |bound: &Bounds| bound.next <= state.next().get(&bound.partition).copied().unwrap_or(bound.first);
        bounds.iter().all(reached)
    }

    /// Applies a batch; when the log took its records.
    async fn apply(&mut self, batch: Batch, since: &mut Since) -> Result<Vec<i64>, Fault> {
        let (replica, Batch { records, appended_ms, positions }) = (self.replica.clone(), batch);
        let consumed = spawn_blocking(move || replica.consume(records, &positions)).await?;
        since.events += consumed.counted;
        // A snapshot that still has him does not stay for want of other events.
        since.events_unkept += if consumed.forgot { SNAPSHOT_EVENTS } else { consumed.counted + consumed.shown };
        self.pending.extend(consumed.items);
        Ok(appended_ms)
    }

    async fn deal_with(&mut self, since: &mut Since, is_ready: bool) -> Result<(), Fault> {
        if is_ready && (self.replica.take_look() || since.looked.elapsed() >= LOOK_EVERY) {
            since.looked = Instant::now();
            if self.is_gone().await? {
                return Err(Fault::Gone);
            }
            since.items |= self.look().await?;
            since.items |= self.follow_schema().await?;
            since.items |= self.follow_model().await?;
        }
        self.pending.extend(self.replica.due(stage::now()));
        if is_ready && !self.pending.is_empty() {
            self.refresh().await?;
            since.items = true;
        }
        let elapsed = since.shown.elapsed();
        let publish = Duration::from_millis(self.config.publish_ms);
        let publish = if since.is_behind { publish.max(BEHIND_SHOWN_EVERY) } else { publish };
        if is_ready && (since.items && elapsed >= ITEMS_SHOWN_EVERY || since.events > 0 && elapsed >= publish) {
            self.show(since).await?;
        }
        let is_time = since.kept.elapsed() >= Duration::from_secs(self.config.snapshot_s);
        if since.events_unkept >= if is_time { SNAPSHOT_EVENTS } else { SNAPSHOT_EVENTS_MAX } {
            self.keep().await?;
            (since.kept, since.events_unkept) = (Instant::now(), 0);
        }
        Ok(())
    }

    /// Makes the world that requests see.
    async fn show(&self, since: &mut Since) -> Result<(), Fault> {
        let (replica, config) = (self.replica.clone(), self.config.clone());
        let (in_force, more) = (self.in_force.clone(), self.more.clone());
        spawn_blocking(move || replica.publish(&config, &in_force, &more)).await??;
        (since.shown, since.events, since.items) = (Instant::now(), 0, false);
        Ok(())
    }

    /// Reads what the tenant has defined; whether any of it has changed.
    async fn look(&mut self) -> Result<bool, Fault> {
        let in_force = InForce::read(&*self.relational, &self.replica.tenant).await?;
        let changed = in_force != self.in_force;
        self.in_force = in_force;
        Ok(changed)
    }

    /// Reads the whole catalogue, some of it at a time: vectors are most of it, and are not to be in memory twice. Before
    /// the first list all processors lay them out, later one.
    async fn scan(&mut self) -> Result<(), Fault> {
        let call = self.call();
        let threads =
            if *self.replica.ready().borrow() { 1 } else { thread::available_parallelism().map_or(1, Into::into) };
        let mut stocking = Stocking::new(self.catalogue.schema(&call).await?).by(threads);
        let (mut entries, mut from) = (Vec::new(), None);
        loop {
            let page = self.catalogue.scan(&call, from.as_deref(), ITEMS_MAX).await?;
            entries.extend(page.entries);
            from = page.next;
            if from.is_none() || entries.len() >= STOCKED_AT_ONCE {
                // Rows are those of the snapshot.
                self.restored().await;
                let (replica, entries) = (self.replica.clone(), std::mem::take(&mut entries));
                let put = spawn_blocking(move || stocking.put(replica.with_rows(entries)).map(|()| stocking));
                stocking = put.await??;
            }
            if from.is_none() {
                break;
            }
        }
        let replica = self.replica.clone();
        spawn_blocking(move || replica.stock(stocking)).await??;
        self.pending.clear();
        Ok(())
    }

    /// Lays everything out anew where there are other attributes; whether there were.
    async fn follow_schema(&mut self) -> Result<bool, Fault> {
        let changed = self.catalogue.schema(&self.call()).await? != self.replica.kinds();
        if changed {
            self.scan().await?;
        }
        Ok(changed)
    }

    /// Takes over the model that is in service now, if it is another; whether it was. Requests go on with the old one
    /// meanwhile.
    async fn follow_model(&mut self) -> Result<bool, Fault> {
        let Some(models) = self.models.clone() else { return Ok(false) };
        let (replica, known) = (self.replica.clone(), self.more.model.clone());
        let load = move || {
            let change = models.changed(replica.tenant.as_str(), known.as_deref())?;
            let served = |model: Arc<dyn Trained>| {
                let rows = replica.rows_of(&*model);
                let (version, blend) = (model.version().to_owned(), model.blend().to_vec());
                model::source(model, rows).map(|source| (version, blend, source)).map_err(|error| error.to_string())
            };
            match change {
                None => Ok(None),
                Some(Change::Gone) => Ok(Some(None)),
                Some(Change::Served(model)) => Ok::<_, String>(Some(Some(served(model)?))),
            }
        };
        match spawn_blocking(load).await? {
            Ok(None) => return Ok(false),
            Ok(Some(None)) => {
                self.more.sources.remove(model::MODEL);
                (self.more.model, self.more.blend) = (None, Vec::new());
            }
            Ok(Some(Some((version, blend, source)))) => {
                tracing::info!(tenant = %self.replica.tenant, version, "a model is in service");
                self.more.sources.insert(model::MODEL.to_owned(), (source, model::MODEL_WEIGHT));
                (self.more.model, self.more.blend) = (Some(version), blend);
            }
            Err(error) => {
                tracing::warn!(tenant = %self.replica.tenant, error, "the model in service cannot be loaded");
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads the items again that the log has named.
    async fn refresh(&mut self) -> Result<(), Fault> {
        if !self.pending.is_empty() && self.follow_schema().await? {
            return Ok(());
        }
        if self.pending.len() > PENDING_MAX {
            return self.scan().await;
        }
        let mut layouts = 0;
        while !self.pending.is_empty() {
            let ids: Vec<String> = self.pending.iter().take(ITEMS_MAX).cloned().collect();
            let found = self.catalogue.entries(&self.call(), &ids).await?;
            let gone = ids.iter().zip(&found).filter(|(_, entry)| entry.is_none()).map(|(id, _)| id.clone()).collect();
            let (found, gone): (Vec<_>, Vec<String>) = (found.into_iter().flatten().collect(), gone);
            let replica = self.replica.clone();
            match spawn_blocking(move || replica.restock(found, &gone)).await? {
                Ok(()) => ids.iter().for_each(|id| _ = self.pending.remove(id)),
                Err(ShelfError::Width { width }) if layouts < LAYOUTS_MAX => {
                    tracing::info!(tenant = %self.replica.tenant, width, "vectors of another length: all is laid out anew");
                    layouts += 1;
                    self.scan().await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Begins to read the snapshot.
    fn restore(&self) -> JoinHandle<()> {
        let (replica, path, begun) = (self.replica.clone(), self.path(), Instant::now());
        spawn_blocking(move || match snapshot::read(&path, &replica.rules) {
            Ok(state) => {
                let (events, seconds) = (state.events(), begun.elapsed().as_secs_f64());
                tracing::info!(tenant = %replica.tenant, events, seconds, "the snapshot was read");
                replica.restore(state);
            }
            Err(SnapshotError::Absent) => {}
            Err(error) => {
                tracing::warn!(tenant = %replica.tenant, %error, "the snapshot is of no use: replaying the log");
            }
        })
    }

    /// The snapshot is read.
    async fn restored(&mut self) {
        if let Some(restoring) = &mut self.restoring {
            if let Err(error) = restoring.await {
                tracing::error!(%error, "reading the snapshot failed: replaying the log");
            }
            self.restoring = None;
        }
    }

    /// Writes the state down.
    fn keep(&self) -> impl Future<Output = Result<(), Fault>> + use<> {
        let (replica, path) = (self.replica.clone(), self.path());
        async move {
            let written = spawn_blocking(move || snapshot::write(&path, &replica.still(), &replica.rules));
            if let Err(error) = written.await? {
                tracing::warn!(%error, "the snapshot could not be written: a start would replay more of the log");
            }
            Ok(())
        }
    }

    fn call(&self) -> Call {
        Call {
            tenant: self.replica.tenant.as_str().into(),
            caller: "recommendation".into(),
            request_id: "recommendation".into(),
            deadline: None,
            is_bulk: true,
        }
    }
}
