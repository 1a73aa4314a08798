//! A log of one tenant: appended to by many, synced for all of them at once.
//!
//! **Group commit without a timer.** Whoever appends puts a batch into the queue. If nobody is committing, a thread of
//! the blocking pool begins: it takes all that waits, writes it with one call, syncs once, answers everybody, and looks
//! again. What comes while it syncs is the next group. So a lone batch waits for nothing, and the more callers there
//! are, the more of them share a sync.
//!
//! **After an error nothing is built on the file.** What a failed write left is cut off. After a failed sync the system
//! may have dropped the pages and call them clean, so that a second sync would succeed and mean nothing: the file ends
//! at its last good sync, and the next append begins a new one.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::{oneshot, watch};
use tokio::task::spawn_blocking;

use super::frame::{Body, HEAD_BYTES, Head};
use super::recover::{missing, recover};
use super::segment::{self, Extent, SEGMENT_HEAD_BYTES, Segment};
use crate::clock::wall_ms;
use crate::embedded::disk::{Disk, WriteFile, make_folders};
use crate::embedded::disk_failure;
use crate::events::check::failure;
use crate::events::{Damage, Retention};
use crate::{ErrorKind, StoreError, StoreKind};

/// The most bytes of one tenant that wait for a commit.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// The most damage that is remembered; a disk that is worse than this is not read for its reports.
const DAMAGE_MAX: usize = 1_000;

/// A log of one tenant.
pub(super) struct Journal {
    pub(super) disk: Arc<dyn Disk>,
    folder: String,
    segment_bytes: u64,
    queue: Mutex<Queue>,
    /// Held while a group is committed, or segments are removed.
    writer: Mutex<Option<Active>>,
    segments: RwLock<Vec<Arc<Segment>>>,
    /// The sequence number behind the last durable event.
    durable: watch::Sender<u64>,
    damage: Mutex<Vec<Damage>>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    bytes: usize,
    is_committing: bool,
}

struct Waiting {
    body: Body,
    crc: u32,
    call: &'static str,
    answer: oneshot::Sender<Result<u64, StoreError>>,
}

/// The segment that is written to.
struct Active {
    file: Box<dyn WriteFile>,
    segment: Arc<Segment>,
}

impl Journal {
    /// Opens the log of a folder; what is damaged is set aside and remembered.
    pub(super) fn open(disk: Arc<dyn Disk>, folder: String, segment_bytes: u64) -> io::Result<Arc<Self>> {
        make_folders(&*disk, &folder)?;
        let found = recover(&*disk, &folder)?;
        found.damage.iter().for_each(tell);
        let mut active = None;
        if let Some((last, full)) = found.segments.split_last() {
            for segment in full.iter().filter(|one| !matches!(segment::read_index(&*disk, &one.name), Ok(Some(_)))) {
                segment.write_index(&*disk)?;
            }
            let Extent { bytes, next, .. } = *last.extent();
            // One without an event is made anew, and one with an index is full.
            if next > last.base && segment::read_index(&*disk, &last.name)?.is_none() {
                let mut file = disk.append(&last.name, bytes)?;
                // What readers see must be on the disk.
                file.sync()?;
                active = Some(Active { file, segment: last.clone() });
            }
        }
        Ok(Arc::new(Self {
            disk,
            folder,
            segment_bytes,
            queue: Mutex::default(),
            writer: Mutex::new(active),
            segments: RwLock::new(found.segments),
            durable: watch::Sender::new(found.next),
            damage: Mutex::new(found.damage),
        }))
    }

    /// Appends a batch, and returns the sequence number of its first event when all of it is durable.
    pub(super) async fn append(self: &Arc<Self>, call: &'static str, body: Body) -> Result<u64, StoreError> {
        let (answer, answered) = oneshot::channel();
        let crc = crc32fast::hash(&body.bytes);
        if self.enqueue(Waiting { body, crc, call, answer })? {
            let journal = self.clone();
            spawn_blocking(move || journal.commit_all());
        }
        let ended =
            |_| failure(call, ErrorKind::Internal, "the log stopped while it wrote; see the log of the process");
        answered.await.map_err(ended)?
    }

    /// Whether whoever calls has to see to it that somebody commits.
    fn enqueue(&self, waiting: Waiting) -> Result<bool, StoreError> {
        let mut queue = locked(&self.queue);
        let bytes = queue.bytes + waiting.body.bytes.len();
        if bytes > WAITING_BYTES_MAX && !queue.waiting.is_empty() {
            let detail = format!("{} bytes wait for the disk of {} already", queue.bytes, self.folder);
            return Err(failure(waiting.call, ErrorKind::Unavailable, detail));
        }
        queue.bytes = bytes;
        queue.waiting.push(waiting);
        Ok(!std::mem::replace(&mut queue.is_committing, true))
    }

    fn commit_all(&self) {
        let _stop = Stop(self);
        while let Some(group) = self.next_group() {
            match self.commit(&group) {
                Ok(mut first) => {
                    for waiting in group {
                        let count = u64::from(waiting.body.count);
                        // Whoever has gone does not need the answer.
                        let _ = waiting.answer.send(Ok(first));
                        first += count;
                    }
                }
                Err(error) => {
                    for waiting in group {
                        let what = format!("{} cannot be written to, nothing was acknowledged", self.folder);
                        let _ = waiting.answer.send(Err(disk_failure(StoreKind::Events, waiting.call, what, &error)));
                    }
                }
            }
        }
    }

    fn next_group(&self) -> Option<Vec<Waiting>> {
        let mut queue = locked(&self.queue);
        queue.bytes = 0;
        let group = std::mem::take(&mut queue.waiting);
        queue.is_committing = !group.is_empty();
        queue.is_committing.then_some(group)
    }

    /// Writes and syncs a group; returns the sequence number of its first event.
    fn commit(&self, group: &[Waiting]) -> io::Result<u64> {
        let mut writer = locked(&self.writer);
        let first = *self.durable.borrow();
        let mut active = match writer.take() {
            Some(active) => active,
            None => self.begin_segment(first)?,
        };
        let heads = heads(group, first);
        let written = active.file.write_all(&joined(group, &heads)).and_then(|()| active.file.sync());
        if let Err(error) = written {
            self.shorten(active);
            return Err(error);
        }
        let next = heads.last().map_or(first, Head::next);
        let bytes = {
            let mut extent = active.segment.extent();
            for head in &heads {
                let at = extent.bytes;
                let end = at + HEAD_BYTES as u64 + u64::from(head.body_bytes);
                extent.add(head.first, head.next(), at, end, head.appended_ms);
            }
            extent.bytes
        };
        if bytes < self.segment_bytes {
            *writer = Some(active);
        } else {
            // Where this fails, the next start reads the segment instead.
            let _ = active.segment.write_index(&*self.disk);
        }
        self.durable.send_replace(next);
        Ok(first)
    }

    /// Cuts off what was not synced. Where even that fails, the next start knows those events by their numbers.
    fn shorten(&self, active: Active) {
        drop(active.file);
        let bytes = active.segment.extent().bytes;
        drop(self.disk.append(&active.segment.name, bytes));
    }

    fn begin_segment(&self, base: u64) -> io::Result<Active> {
        let segment = Arc::new(Segment::new(&self.folder, base, Extent::new(base)));
        let file = self.made(&segment).inspect_err(|_| {
            // A start would take it for an empty one.
            let _ = self.disk.remove(&segment.name);
        })?;
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        segments.retain(|one| one.base != base);
        segments.push(segment.clone());
        Ok(Active { file, segment })
    }

    fn made(&self, segment: &Segment) -> io::Result<Box<dyn WriteFile>> {
        let mut file = self.disk.create(&segment.name)?;
        file.write_all(&segment::head(segment.base))?;
        file.sync()?;
        self.disk.sync_folder(&self.folder)?;
        Ok(file)
    }

    /// Goes on at a number, where it is ahead: those before it were given out, and what they stood for is lost.
    pub(super) fn reserve(&self, next: u64) -> io::Result<()> {
        let mut writer = locked(&self.writer);
        let end = *self.durable.borrow();
        if next > end {
            *writer = Some(self.begin_segment(next)?);
            self.report(missing(&self.folder, end..next));
            self.durable.send_replace(next);
        }
        Ok(())
    }

    /// Removes what need not be kept any longer at this time; returns the number of segments removed.
    pub(super) fn retain(&self, retention: Retention, now_ms: i64) -> io::Result<usize> {
        let oldest_ms = retention.age.map_or(i64::MIN, |age| now_ms.saturating_sub(age.as_millis() as i64));
        let mut writer = locked(&self.writer);
        let next = *self.durable.borrow();
        let last = self.segments().last().map(|last| (last.base, last.extent().newest_ms));
        if last.is_some_and(|(base, newest_ms)| base < next && newest_ms < oldest_ms) {
            // The last one has only old events too. Its successor is there first: numbers never start again.
            // On a full disk there is no room for it, and the others still go.
            *writer = self.begin_segment(next).ok();
        }
        let mut removed = 0;
        while let Some(oldest) = self.expired(retention.bytes, oldest_ms) {
            self.disk.remove(&oldest.name)?;
            self.disk.remove(&segment::index_name(&oldest.name))?;
            // One by one and in order, so that no loss of power leaves a hole.
            self.disk.sync_folder(&self.folder)?;
            self.segments.write().unwrap_or_else(PoisonError::into_inner).remove(0);
            removed += 1;
        }
        Ok(removed)
    }

    /// The oldest segment, if it need not be kept. The last one always is.
    fn expired(&self, bytes_max: Option<u64>, oldest_ms: i64) -> Option<Arc<Segment>> {
        let segments = self.segments();
        let [oldest, _, ..] = &segments[..] else { return None };
        let bytes: u64 = segments.iter().map(|one| one.extent().bytes).sum();
        let is_expired = oldest.extent().newest_ms < oldest_ms || bytes_max.is_some_and(|max| bytes > max);
        is_expired.then(|| oldest.clone())
    }

    /// All segments, in order.
    pub(super) fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The segment that holds an event, or the first one behind it.
    pub(super) fn segment_of(&self, sequence: u64) -> Option<Arc<Segment>> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let behind = segments.partition_point(|segment| segment.base <= sequence);
        let place = behind.saturating_sub(1);
        let is_past = segments.get(place).is_some_and(|segment| segment.extent().next <= sequence);
        segments.get(if is_past { place + 1 } else { place }).cloned()
    }

    /// The sequence number of the first event that is kept, and the one behind the last.
    pub(super) fn bounds(&self) -> (u64, u64) {
        let next = *self.durable.borrow();
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        (segments.first().map_or(next, |first| first.base), next)
    }

    /// Tells when there are more durable events.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.durable.subscribe()
    }

    /// Remembers damage and says so, once.
    pub(super) fn report(&self, damage: Damage) {
        let mut known = locked(&self.damage);
        if known.len() < DAMAGE_MAX && !known.contains(&damage) {
            tell(&damage);
            known.push(damage);
        }
    }

    /// All damage that was found.
    pub(super) fn damage(&self) -> Vec<Damage> {
        locked(&self.damage).clone()
    }
}

/// Into the log of the process, since nobody asks for damage that he has not heard of.
fn tell(Damage { detail, lost, set_aside }: &Damage) {
    let lost = lost.as_ref().map(|lost| lost.end - lost.start);
    tracing::warn!(lost_events = lost, set_aside, "the event log is damaged: {detail}");
    metrics::counter!("attune_event_log_damage_total").increment(1);
}

/// Lets the next caller commit, and answers those who wait, if a commit ends with a panic.
struct Stop<'a>(&'a Journal);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut queue = locked(&self.0.queue);
            *queue = Queue::default();
        }
    }
}

fn heads(group: &[Waiting], mut first: u64) -> Vec<Head> {
    let appended_ms = wall_ms();
    let head = |waiting: &Waiting| {
        let (body_bytes, count) = (waiting.body.bytes.len() as u32, waiting.body.count);
        let head = Head { body_bytes, first, count, appended_ms, body_crc: waiting.crc };
        first = head.next();
        head
    };
    group.iter().map(head).collect()
}

fn joined(group: &[Waiting], heads: &[Head]) -> Vec<u8> {
    let bytes: usize = group.iter().map(|waiting| HEAD_BYTES + waiting.body.bytes.len()).sum();
    let mut joined = Vec::with_capacity(bytes);
    for (waiting, head) in group.iter().zip(heads) {
        joined.extend_from_slice(&head.encode());
        joined.extend_from_slice(&waiting.body.bytes);
    }
    joined
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The least that a segment holds: one that is smaller is all head.
pub(super) const SEGMENT_BYTES_MIN: u64 = 4 * SEGMENT_HEAD_BYTES;
