//! From the log to the lake, for as long as the process lives.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use attune_api::progress::{self, Sign};
use attune_store::Tenant;
use attune_store::events::{Event, EventLog, places, resume};
use attune_store::objects::Objects;
use attune_store::relational::{Relational, all_tenants};
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinHandle, JoinSet};

use crate::codec::LakeError;
use crate::tail::Tail;

/// Records of one look at the log.
const POLL_MAX: usize = 2_000;
/// How long a look waits for the next record.
const POLL_WAIT: Duration = Duration::from_millis(500);
/// How often it is looked for new tenants.
const TENANTS_EVERY: Duration = Duration::from_secs(5);
/// How long a tenant's lake rests after a fault.
const REST: Duration = Duration::from_secs(2);
/// Lists that start go first, for so long at most: nobody waits for the lake, and it reads days again when it starts.
const GIVE_WAY_MAX: Duration = Duration::from_secs(10);

/// When files are written, and when they are joined.
#[derive(Clone, Copy, Debug)]
pub struct LakeSettings {
    /// Rows wait so long for others.
    pub flush_every: Duration,
    /// So many rows wait for nothing.
    pub flush_rows: usize,
    /// So many small files of one day and partition become one.
    pub compact_files: usize,
    /// No file that is made of others has more rows.
    pub compact_rows: u64,
}

impl Default for LakeSettings {
    fn default() -> Self {
        Self { flush_every: Duration::from_secs(30), flush_rows: 100_000, compact_files: 8, compact_rows: 1_000_000 }
    }
}

/// What the writer reads and writes.
#[derive(Clone)]
pub(crate) struct Stores {
    pub events: Arc<dyn EventLog>,
    pub objects: Arc<dyn Objects>,
}

/// Writes the lakes of all tenants. Dropped without a stop, it ends as in a crash.
#[derive(Debug)]
pub struct LakeWriter {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl LakeWriter {
    /// Starts. `first` is a tenant that has no row of its own, if there is one.
    pub fn start(
        relational: Arc<dyn Relational>,
        events: Arc<dyn EventLog>,
        objects: Arc<dyn Objects>,
        first: Option<Tenant>,
        settings: LakeSettings,
    ) -> Self {
        let (stop, stopping) = watch::channel(false);
        let stores = Stores { events, objects };
        Self { stop, task: tokio::spawn(all(relational, stores, first, settings, stopping)) }
    }

    /// Writes what waits, and ends.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the writer of the lake ended");
        }
    }
}

impl Drop for LakeWriter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts a writer for each tenant as tenants come.
async fn all(
    relational: Arc<dyn Relational>,
    stores: Stores,
    first: Option<Tenant>,
    settings: LakeSettings,
    mut stopping: watch::Receiver<bool>,
) {
    let mut known: BTreeMap<String, AbortHandle> = BTreeMap::new();
    let mut writers = JoinSet::new();
    let mut whose: HashMap<Id, String> = HashMap::new();
    // One a tenant for good: a writer that is started again goes on with the sign of the one that ended.
    let mut signs: HashMap<String, Arc<Sign>> = HashMap::new();
    while !*stopping.borrow() {
        let tenants = match all_tenants(&*relational, first.clone()).await {
            Ok(tenants) => {
                // What is left of a tenant that is gone must not be written any more.
                known.retain(|name, writer| {
                    let is_there = tenants.iter().any(|tenant| tenant.as_str() == name);
                    if !is_there {
                        writer.abort();
                        if let Some(sign) = signs.remove(name) {
                            sign.leave();
                        }
                    }
                    is_there
                });
                tenants
            }
            Err(error) => {
                tracing::warn!(%error, "the tenants cannot be listed");
                Vec::from_iter(first.clone())
            }
        };
        for tenant in tenants {
            let name = tenant.to_string();
            let Entry::Vacant(place) = known.entry(name.clone()) else { continue };
            let sign = signs.entry(name.clone()).or_insert_with(|| Arc::new(progress::enter(progress::LAKE))).clone();
            let writer = writers.spawn(follow(stores.clone(), tenant, settings, stopping.clone(), sign));
            whose.insert(writer.id(), name);
            place.insert(writer);
        }
        tokio::select! {
            () = tokio::time::sleep(TENANTS_EVERY) => {}
            _ = stopping.changed() => {}
        }
        // A defect ends one tenant's writer, and it is started again: a lake that stands still says nothing by itself.
        while let Some(Err(error)) = writers.try_join_next() {
            if error.is_cancelled() {
                whose.remove(&error.id());
                continue;
            }
            tracing::error!(%error, "a writer of the lake ended and is started again");
            if let Some(name) = whose.remove(&error.id()) {
                known.remove(&name);
            }
        }
    }
    while writers.join_next().await.is_some() {}
    signs.values().for_each(|sign| sign.leave());
}

/// Writes one tenant's lake, again and again after faults: what was not committed is read once more.
async fn follow(
    stores: Stores,
    tenant: Tenant,
    settings: LakeSettings,
    mut stopping: watch::Receiver<bool>,
    sign: Arc<Sign>,
) {
    let mut commits = Commits { sign, failed: None };
    tokio::select! {
        () = progress::give_way(progress::LISTS, Duration::MAX, GIVE_WAY_MAX, tokio::time::sleep) => {}
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    loop {
        let Err(error) = write(&stores, &tenant, settings, &mut stopping, &mut commits).await else { return };
        if commits.is_news(&error) {
            tracing::warn!(%tenant, %error, "the lake cannot be written now{}", error.remedy());
        }
        if *stopping.borrow() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(REST) => {}
            _ = stopping.changed() => {}
        }
    }
}

/// What is read and waits for the next commit counts as done, as long as commits succeed.
struct Commits {
    sign: Arc<Sign>,
    /// What the last try failed with.
    failed: Option<String>,
}

impl Commits {
    /// Whether the try before failed with something else, or not at all: the same is not said every two seconds.
    fn is_news(&mut self, error: &LakeError) -> bool {
        let before = self.failed.replace(error.to_string());
        before != self.failed
    }

    fn read(&self, tail: &Tail, events: &[Event]) {
        if self.failed.is_none() || !tail.has_any() {
            self.sign.done_with(events.iter().map(|event| event.appended_ms));
        }
    }
}

/// Until it is stopped, or another writer was quicker or something fails: then it is begun again from the manifest.
async fn write(
    stores: &Stores,
    tenant: &Tenant,
    settings: LakeSettings,
    stopping: &mut watch::Receiver<bool>,
    commits: &mut Commits,
) -> Result<(), LakeError> {
    'open: loop {
        let mut tail = Tail::open(stores.objects.clone(), tenant.clone(), settings).await?;
        let (bounds, lost) = resume(&*stores.events, tenant, tail.reached()).await?;
        if let Some(lost) = lost {
            return Err(lost.into());
        }
        let from = places(&bounds, |bound| tail.next(bound.partition));
        let mut reader = stores.events.read(tenant, &from).await?;
        loop {
            let events = tokio::select! {
                polled = reader.poll(POLL_MAX, POLL_WAIT) => polled?,
                _ = stopping.changed() => Vec::new(),
            };
            let is_last = *stopping.borrow();
            commits.read(&tail, &events);
            events.into_iter().for_each(|event| tail.take(event));
            if tail.is_due() || (is_last && tail.has_any()) {
                if !tail.flush().await? {
                    continue 'open;
                }
                commits.failed = None;
                if !is_last && !tail.compact().await? {
                    continue 'open;
                }
            }
            if is_last {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use attune_store::{ErrorKind, StoreError, StoreKind};

    use super::*;

    #[test]
    fn a_fault_that_lasts_is_said_once_and_with_what_to_do() {
        let mut commits = Commits { sign: Arc::new(progress::enter(progress::LAKE)), failed: None };
        let error = |kind, detail: &str| LakeError::from(StoreError::new(StoreKind::Objects, "get", kind, detail));
        let (gone, silent) = (error(ErrorKind::NotFound, "no file"), error(ErrorKind::Unavailable, "no answer"));
        assert!(gone.remedy().contains("attune replay --only lake") && silent.remedy().is_empty());
        let news = [&gone, &gone, &silent, &gone, &gone].map(|error| commits.is_news(error));
        assert_eq!(news, [true, false, true, true, false]);
        commits.failed = None;
        assert!(commits.is_news(&gone), "it was well in between");
        commits.sign.leave();
    }
}
