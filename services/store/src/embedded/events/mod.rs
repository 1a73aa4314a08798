//! The embedded log: files of this machine, one process.
//!
//! ```text
//! ROOT/format.json                      format and number of partitions
//! ROOT/TENANT/events/00…0.log, .index   segments
//! ROOT/TENANT/events/torn/              what starts cut off
//! ROOT/TENANT/dead/                     dead letters, likewise
//! ROOT/TENANT/groups/NAME               committed offsets
//! ```
//!
//! **A folder a tenant**, not one log for all: retention, erasure and the end of a tenant touch no other's files, and
//! no reader passes over events that are not its own. The price is a sync per tenant and commit where one would do for
//! all; they run side by side, and a file system joins what its journal has to write for them.
//!
//! **One sequence a tenant, not one a partition.** A batch is one frame with one checksum however many partitions it
//! touches; an event's offset is its number in the tenant's sequence, so the offsets of a partition have gaps. A reader
//! of some partitions passes over the others' events, which costs less than as many files and syncs would: members of
//! a group share this process anyway.

mod consumer;
mod cursor;
mod frame;
mod group;
mod journal;
mod recover;
mod scan;
mod segment;
mod tenant;

use std::any::Any;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use self::consumer::{LogConsumer, from_positions};
use self::cursor::Cursor;
use self::frame::Body;
use self::tenant::TenantLog;
use super::disk::{Disk, Folder};
use super::{disk_failure, format};
use crate::clock::wall_ms;
use crate::events::check::{self, failure};
use crate::events::letter::{self, Ended, Pager};
use crate::events::{
    Bounds, Consumer, Damage, DeadLetterPage, EventLog, NewDeadLetter, NewEvent, Position, Retention, Settings,
    partition_of,
};
use crate::{ErrorKind, Health, StoreError, StoreKind, Tenant};

/// A segment that has so many bytes is full. Small enough that a start reads the last one in a blink, and that
/// retention is not coarse; large enough that an index pays.
const SEGMENT_BYTES: u64 = 64 << 20;
/// How often it is looked for events that are too old.
const RETAIN_EVERY: Duration = Duration::from_secs(60);
/// The most damage of which the log's health tells; [`EventLog::damage`] has all.
const WARNINGS_MAX: usize = 10;
const LOCK: &str = "lock";

/// The embedded log.
pub struct Log {
    shared: Arc<Shared>,
}

struct Shared {
    disk: Arc<dyn Disk>,
    settings: Settings,
    segment_bytes: u64,
    tenants: Mutex<HashMap<Tenant, Arc<TenantLog>>>,
    /// Held while a tenant is opened; the map is not, since callers look into it on threads that must not wait.
    opening: Mutex<()>,
    /// Two processes would give out the same numbers.
    _lock: Box<dyn Any + Send + Sync>,
}

#[derive(Serialize, Deserialize)]
struct Facts {
    partitions: u32,
}

impl Log {
    /// Opens the log of a folder, which is made if it is not there. What is torn or damaged in it is set aside;
    /// [`EventLog::damage`] tells.
    ///
    /// # Errors
    /// `TooNew`, `Denied`, `Full`; `Unavailable` where another process has it open.
    pub async fn open(folder: &Path, settings: Settings) -> Result<Self, StoreError> {
        let disk = Folder::new(folder)
            .map_err(|error| disk_failure(StoreKind::Events, "open", folder.display().to_string(), &error))?;
        Self::open_on(Arc::new(disk), settings, SEGMENT_BYTES).await
    }

    /// The same on any disk, with segments of so many bytes.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub async fn open_on(disk: Arc<dyn Disk>, settings: Settings, segment_bytes: u64) -> Result<Self, StoreError> {
        check::partitions(settings.partitions)?;
        let shared = blocking("open", move || Shared::open(disk, settings, segment_bytes)).await?;
        let shared = Arc::new(shared);
        tokio::spawn(retain_for_ever(Arc::downgrade(&shared)));
        Ok(Self { shared })
    }

    /// Removes the segments whose events are all older than the settings keep them, as seen at a time in milliseconds
    /// since 1970, and returns how many. It happens by itself once a minute.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub async fn retain(&self, now_ms: i64) -> Result<usize, StoreError> {
        let shared = self.shared.clone();
        blocking("retain", move || shared.retain(now_ms)).await
    }

    async fn tenant(&self, call: &'static str, tenant: &Tenant) -> Result<Arc<TenantLog>, StoreError> {
        if let Some(found) = self.shared.known(tenant) {
            return Ok(found);
        }
        let (shared, tenant) = (self.shared.clone(), tenant.clone());
        blocking(call, move || shared.tenant(call, &tenant)).await
    }

    async fn append_letters(&self, call: &'static str, tenant: &Tenant, body: Body) -> Result<(), StoreError> {
        let log = self.tenant(call, tenant).await?;
        log.dead.append(call, body).await.map(|_| ())
    }
}

impl Shared {
    fn open(disk: Arc<dyn Disk>, settings: Settings, segment_bytes: u64) -> Result<Self, StoreError> {
        let failed = |error| disk_failure(StoreKind::Events, "open", "the log's folder", &error);
        let _lock = disk.lock(LOCK, false).map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => {
                failure("open", ErrorKind::Unavailable, "another process has this log open: stop it first")
            }
            _ => failed(error),
        })?;
        let facts = Facts { partitions: settings.partitions };
        let Facts { partitions } = format::open(&*disk, StoreKind::Events, segment::FORMAT, facts)?;
        let names = disk.list("").map_err(failed)?.into_iter().filter(|entry| entry.is_folder).map(|entry| entry.name);
        let tenants: Vec<Tenant> = names.filter_map(|name| name.parse().ok()).collect();
        let segment_bytes = segment_bytes.max(journal::SEGMENT_BYTES_MIN);
        let settings = Settings { partitions, ..settings };
        let shared =
            Self { disk, settings, segment_bytes, tenants: Mutex::default(), opening: Mutex::default(), _lock };
        for tenant in &tenants {
            shared.tenant("open", tenant)?;
        }
        Ok(shared)
    }

    fn known(&self, tenant: &Tenant) -> Option<Arc<TenantLog>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned()
    }

    fn all(&self) -> Vec<Arc<TenantLog>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Takes as long as the disk. Nobody else opens a tenant meanwhile.
    fn tenant(&self, call: &'static str, tenant: &Tenant) -> Result<Arc<TenantLog>, StoreError> {
        let _turn = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = self.known(tenant) {
            return Ok(found);
        }
        let opened = TenantLog::open(&self.disk, tenant, self.settings.partitions, self.segment_bytes);
        let sorry = |error| disk_failure(StoreKind::Events, call, format!("the log of {tenant}"), &error);
        let opened = opened.map_err(sorry)?;
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.insert(tenant.clone(), opened.clone());
        Ok(opened)
    }

    fn retain(&self, now_ms: i64) -> Result<usize, StoreError> {
        let tenants = self.all();
        let removed = tenants.iter().map(|one| {
            let events = one.events.retain(self.settings.retention, now_ms)?;
            Ok(events + one.dead.retain(self.settings.dead_letters, now_ms)?)
        });
        let removed: std::io::Result<usize> = removed.sum();
        removed.map_err(|error| disk_failure(StoreKind::Events, "retain", "old segments cannot be removed", &error))
    }
}

/// Ends with the log. What fails is tried again a minute later; appends and readers do not depend on it.
async fn retain_for_ever(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(RETAIN_EVERY).await;
        let Some(shared) = shared.upgrade() else { return };
        let _ = blocking("retain", move || shared.retain(wall_ms())).await;
    }
}

/// Runs what waits for the disk away from the async threads.
async fn blocking<T: Send + 'static>(
    call: &'static str,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let ended = |error| failure(call, ErrorKind::Internal, "the log stopped at this").caused_by(Box::new(error));
    spawn_blocking(work).await.map_err(ended)?
}

#[async_trait]
impl EventLog for Log {
    async fn append(&self, tenant: &Tenant, events: Vec<NewEvent>) -> Result<Vec<Position>, StoreError> {
        check::batch(&events)?;
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let log = self.tenant("append", tenant).await?;
        let mut body = Body::default();
        let mut positions = Vec::with_capacity(events.len());
        for (offset, NewEvent { subject, payload }) in (0..).zip(&events) {
            body.push(subject, payload);
            let partition = partition_of(tenant, subject, self.shared.settings.partitions);
            positions.push(Position { partition, offset });
        }
        let first = log.events.append("append", body).await?;
        positions.iter_mut().for_each(|position| position.offset += first);
        Ok(positions)
    }

    async fn join(&self, tenant: &Tenant, group: &str) -> Result<Box<dyn Consumer>, StoreError> {
        check::group("join", group)?;
        let log = self.tenant("join", tenant).await?;
        let (journal, name) = (log.events.clone(), group.to_owned());
        let group = blocking("join", move || log.group("join", &name)).await?;
        let mut member = group.join();
        let positions = member.owned();
        let partitions = self.shared.settings.partitions;
        let member = Some(member);
        Ok(Box::new(LogConsumer { tenant: tenant.clone(), journal, partitions, member, positions, cursor: None }))
    }

    async fn read(&self, tenant: &Tenant, from: &[Position]) -> Result<Box<dyn Consumer>, StoreError> {
        let partitions = self.shared.settings.partitions;
        let positions = from_positions(from, partitions)?;
        let journal = self.tenant("read", tenant).await?.events.clone();
        Ok(Box::new(LogConsumer { tenant: tenant.clone(), journal, partitions, member: None, positions, cursor: None }))
    }

    async fn bounds(&self, tenant: &Tenant) -> Result<Vec<Bounds>, StoreError> {
        let (first, next) = self.tenant("bounds", tenant).await?.events.bounds();
        Ok((0..self.shared.settings.partitions).map(|partition| Bounds { partition, first, next }).collect())
    }

    async fn committed(&self, tenant: &Tenant, group: &str) -> Result<Vec<Position>, StoreError> {
        check::group("committed", group)?;
        let (log, name) = (self.tenant("committed", tenant).await?, group.to_owned());
        let group = blocking("committed", move || log.group("committed", &name)).await?;
        let committed = group.committed().into_iter();
        Ok(committed.map(|(partition, offset)| Position { partition, offset }).collect())
    }

    async fn bury(&self, tenant: &Tenant, letters: Vec<NewDeadLetter>) -> Result<Vec<String>, StoreError> {
        check::letters(&letters)?;
        if letters.is_empty() {
            return Ok(Vec::new());
        }
        let now_ms = wall_ms();
        let ids: Vec<String> = letters.iter().map(|_| letter::new_id(now_ms)).collect();
        let mut body = Body::default();
        for (id, letter) in ids.iter().zip(&letters) {
            body.push(id, &letter::encode(letter, now_ms));
        }
        self.append_letters("bury", tenant, body).await?;
        Ok(ids)
    }

    async fn dead_letters(&self, tenant: &Tenant, from: u64, limit: usize) -> Result<DeadLetterPage, StoreError> {
        check::page("dead_letters", limit)?;
        let journal = self.tenant("dead_letters", tenant).await?.dead.clone();
        blocking("dead_letters", move || {
            let failed = |error| disk_failure(StoreKind::Events, "dead_letters", "dead letters cannot be read", &error);
            let mut ended = Ended::default();
            let mut cursor = Cursor::new(journal.clone(), from);
            while let Some(stored) = cursor.read().map_err(failed)? {
                ended.see(&String::from_utf8_lossy(&stored.subject), &stored.payload);
            }
            let mut pager = Pager::new(ended, limit);
            let mut cursor = Cursor::new(journal, from);
            while let Some(stored) = cursor.read().map_err(failed)? {
                if !pager.take(stored.sequence, &String::from_utf8_lossy(&stored.subject), &stored.payload) {
                    break;
                }
            }
            Ok(pager.finish())
        })
        .await
    }

    async fn forget(&self, tenant: &Tenant, ids: &[String]) -> Result<(), StoreError> {
        let mut body = Body::default();
        ids.iter().filter(|id| !id.is_empty()).for_each(|id| body.push(id, &[]));
        if body.count == 0 {
            return Ok(());
        }
        self.append_letters("forget", tenant, body).await
    }

    async fn reserve(&self, tenant: &Tenant, reached: &[Position]) -> Result<(), StoreError> {
        let log = self.tenant("reserve", tenant).await?;
        // Partitions share one sequence.
        let next = reached.iter().map(|position| position.offset).max().unwrap_or(0);
        if next <= log.events.bounds().1 {
            return Ok(());
        }
        blocking("reserve", move || {
            let sorry = |error| disk_failure(StoreKind::Events, "reserve", "a segment cannot be begun", &error);
            log.events.reserve(next).map_err(sorry)
        })
        .await
    }

    async fn damage(&self, tenant: &Tenant) -> Result<Vec<Damage>, StoreError> {
        Ok(self.tenant("damage", tenant).await?.damage())
    }

    async fn erase(&self, tenant: &Tenant) -> Result<u64, StoreError> {
        let log = self.tenant("erase", tenant).await?;
        blocking("erase", move || {
            // As if everything were too old to be kept: numbers go on, and so does whoever reads.
            let none = Retention { age: Some(Duration::ZERO), bytes: None };
            let mut erased = 0;
            for journal in [&log.events, &log.dead] {
                let (first, next) = journal.bounds();
                let removed = journal.retain(none, i64::MAX);
                removed
                    .map_err(|error| disk_failure(StoreKind::Events, "erase", "segments cannot be removed", &error))?;
                erased += next - first;
            }
            Ok(erased)
        })
        .await
    }

    async fn health(&self) -> Result<Health, StoreError> {
        let shared = self.shared.clone();
        blocking("health", move || {
            let sorry = |error| disk_failure(StoreKind::Events, "health", "the log's folder", &error);
            shared.disk.list("").map_err(sorry)?;
            let health = Health::new("append log", format!("format {}", segment::FORMAT));
            let damaged = shared.all().into_iter().flat_map(|tenant| tenant.damage()).map(|damage| damage.detail);
            Ok(damaged.take(WARNINGS_MAX).fold(health, Health::warn))
        })
        .await
    }
}
