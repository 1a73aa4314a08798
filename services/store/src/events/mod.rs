//! What happened, in order: a log that is appended to, and read by groups of consumers that remember how far they came.
//!
//! A tenant's events are spread over partitions by their subject, so that one subject's events keep their order while
//! different members of a group read different partitions. Every event is delivered at least once; who needs one effect
//! per event stores the effect and the [`Position`] together, and looks at it again after a restart.
//!
//! ```no_run
//! # async fn example(log: &dyn attune_store::events::EventLog, tenant: attune_store::Tenant) -> Result<(), attune_store::StoreError> {
//! use std::time::Duration;
//! use attune_store::events::NewEvent;
//!
//! log.append(&tenant, vec![NewEvent { subject: "s-1".into(), payload: "{}".into() }]).await?;
//! let mut trends = log.join(&tenant, "trends").await?;
//! for event in trends.poll(1_000, Duration::from_secs(1)).await? {
//!     println!("{:?} {}", event.position, event.subject);
//! }
//! trends.commit().await?;
//! # Ok(()) }
//! ```

pub(crate) mod check;
mod guarded;
pub(crate) mod letter;
mod partition;
mod resume;
mod stretch;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Health, StoreError, Tenant};

pub use partition::partition_of;
pub use resume::{LostEnd, Offsets, places, resume};
pub use stretch::Stretch;

/// The longest subject, in bytes: the longest id of the wire contract, with room for what a service puts before it. The
/// shortest has one.
pub const SUBJECT_BYTES_MAX: usize = 320;
/// The largest payload of one event: the wire contract's 32 KiB, with room for what services add to it.
pub const PAYLOAD_BYTES_MAX: usize = 256 << 10;
/// The most events in one batch.
pub const BATCH_EVENTS_MAX: usize = 10_000;
/// The most bytes of subjects and payloads in one batch.
pub const BATCH_BYTES_MAX: usize = 16 << 20;
/// The most events that one poll, or dead letters that one page, may ask for.
pub const PAGE_MAX: usize = 10_000;
/// The most partitions of a tenant's events.
pub const PARTITIONS_MAX: u32 = 1_024;
/// The longest name of a group, in bytes.
pub const GROUP_BYTES_MAX: usize = 63;
/// The longest reason of a dead letter, in bytes; what is beyond it is cut off.
pub const REASON_BYTES_MAX: usize = 1_000;

/// An event to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Whom it is about: 1 to [`SUBJECT_BYTES_MAX`] bytes. It decides the partition.
    pub subject: String,
    /// Up to [`PAYLOAD_BYTES_MAX`] bytes, which the log does not look into.
    pub payload: Bytes,
}

/// Where an event stands. Offsets of a partition rise in the order of its events; they may have gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// From 0.
    pub partition: u32,
    /// From 0.
    pub offset: u64,
}

/// An event of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where it stands.
    pub position: Position,
    /// When the log took it, in milliseconds since 1970.
    pub appended_ms: i64,
    /// Whom it is about.
    pub subject: String,
    /// As it was appended.
    pub payload: Bytes,
}

/// What a partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Which one.
    pub partition: u32,
    /// No event that is kept has a smaller offset.
    pub first: u64,
    /// The next event gets this offset or a larger one.
    pub next: u64,
}

/// How long events are kept. Both limits count, the nearer one first; without any, events are kept for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Events older than this go.
    pub age: Option<Duration>,
    /// The oldest events go while a tenant has more bytes than this.
    pub bytes: Option<u64>,
}

/// How a log is laid out, and what it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Partitions of a tenant's events, 1 to [`PARTITIONS_MAX`]. A log that exists keeps its number.
    pub partitions: u32,
    /// What is kept of the events.
    pub retention: Retention,
    /// What is kept of the dead letters.
    pub dead_letters: Retention,
}

impl Default for Settings {
    /// Eight partitions; events are kept for ever, dead letters for 30 days.
    fn default() -> Self {
        let dead_letters = Retention { age: Some(Duration::from_secs(30 * 24 * 3600)), bytes: None };
        Self { partitions: 8, retention: Retention::default(), dead_letters }
    }
}

/// An event that somebody could not use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDeadLetter {
    /// Whom it was about; empty where even that could not be read.
    pub subject: String,
    /// As it came.
    pub payload: Bytes,
    /// Why nobody could use it, in a sentence.
    pub reason: String,
    /// Where it stands in the log; nowhere, if it was refused before.
    pub origin: Option<Position>,
}

/// A dead letter that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// What it is called.
    pub id: String,
    /// Since when, in milliseconds since 1970.
    pub buried_ms: i64,
    /// What it says.
    pub letter: NewDeadLetter,
}

/// Dead letters in the order in which they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterPage {
    /// Up to as many as were asked for.
    pub letters: Vec<DeadLetter>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<u64>,
}

/// Bytes of a log that could not be read, and what became of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where, and what is wrong, in a sentence.
    pub detail: String,
    /// The offsets that are lost for certain, as far as they are known.
    pub lost: Option<std::ops::Range<u64>>,
    /// The file to which the bytes were moved, if they were.
    pub set_aside: Option<String>,
}

/// The log.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Appends a batch, and returns where each event of it stands when all of them would survive a loss of power.
    ///
    /// # Errors
    /// `Invalid` or `TooLarge` where the batch breaks a limit: then nothing of it was kept. `Full`, `Unavailable` or
    /// `Timeout` otherwise: nothing was acknowledged, and any part of it may have been kept.
    async fn append(&self, tenant: &Tenant, events: Vec<NewEvent>) -> Result<Vec<Position>, StoreError>;

    /// Becomes a member of a group. The group's members share the partitions; each starts where the group committed
    /// last, or at the first event.
    ///
    /// # Errors
    /// `Invalid` for a name that is no name of a group; otherwise the log cannot be reached.
    async fn join(&self, tenant: &Tenant, group: &str) -> Result<Box<dyn Consumer>, StoreError>;

    /// Reads whole partitions outside any group, each from its own offset. Partitions that are not named are not read.
    ///
    /// # Errors
    /// `Invalid` where there is no such partition.
    async fn read(&self, tenant: &Tenant, from: &[Position]) -> Result<Box<dyn Consumer>, StoreError>;

    /// What each partition holds, by partition.
    ///
    /// # Errors
    /// The log cannot be reached.
    async fn bounds(&self, tenant: &Tenant) -> Result<Vec<Bounds>, StoreError>;

    /// What a group committed: the offset from which it goes on, by partition. Those without one are left out.
    ///
    /// # Errors
    /// `Invalid` for a name that is no name of a group; otherwise the log cannot be reached.
    async fn committed(&self, tenant: &Tenant, group: &str) -> Result<Vec<Position>, StoreError>;

    /// Keeps events that nobody could use, and returns what they are called. They are as durable as events.
    ///
    /// # Errors
    /// As [`EventLog::append`].
    async fn bury(&self, tenant: &Tenant, letters: Vec<NewDeadLetter>) -> Result<Vec<String>, StoreError>;

    /// Up to `limit` dead letters from a place on; the first is 0, the others are [`DeadLetterPage::next`].
    ///
    /// # Errors
    /// `Invalid` where `limit` is 0 or above [`PAGE_MAX`]; otherwise the log cannot be reached.
    async fn dead_letters(&self, tenant: &Tenant, from: u64, limit: usize) -> Result<DeadLetterPage, StoreError>;

    /// Forgets dead letters. One that is not there is none to forget.
    ///
    /// # Errors
    /// As [`EventLog::append`].
    async fn forget(&self, tenant: &Tenant, ids: &[String]) -> Result<(), StoreError>;

    /// Appends dead letters as events once more, then forgets them. What fails in between is appended twice.
    ///
    /// # Errors
    /// `Invalid` where a letter has no subject; otherwise as [`EventLog::append`].
    async fn replay(&self, tenant: &Tenant, letters: Vec<DeadLetter>) -> Result<Vec<Position>, StoreError> {
        let ids: Vec<String> = letters.iter().map(|letter| letter.id.clone()).collect();
        let event = |NewDeadLetter { subject, payload, .. }| NewEvent { subject, payload };
        let events = letters.into_iter().map(|one| event(one.letter)).collect();
        let positions = self.append(tenant, events).await?;
        self.forget(tenant, &ids).await?;
        Ok(positions)
    }

    /// Gives out no offset below these any more. Who reads the log names how far he had come before he reads on: a log that
    /// has lost its end (files that were deleted, a backup that is older than what was made of it) would else give the
    /// numbers of lost events to new ones, which he takes for known. A log that cannot lose its end by itself does nothing;
    /// [`resume`] tells whether it has.
    ///
    /// # Errors
    /// As [`EventLog::append`].
    async fn reserve(&self, _tenant: &Tenant, _reached: &[Position]) -> Result<(), StoreError> {
        Ok(())
    }

    /// What was found damaged in this tenant's events since the log was opened.
    ///
    /// # Errors
    /// The log cannot be reached.
    async fn damage(&self, tenant: &Tenant) -> Result<Vec<Damage>, StoreError>;

    /// Removes all events and dead letters of a tenant that is no more; how many there were, about. Who reads goes on
    /// behind them.
    ///
    /// # Errors
    /// The store cannot be reached, or some could not be removed: it may be called again.
    async fn erase(&self, tenant: &Tenant) -> Result<u64, StoreError>;

    /// Whether the log is there, and what will go wrong with it.
    ///
    /// # Errors
    /// It cannot be reached.
    async fn health(&self) -> Result<Health, StoreError>;
}

/// A reader of some partitions.
#[async_trait]
pub trait Consumer: Send {
    /// The next events, each partition's in order: up to `max` of them, and none where none came within `wait`. Given
    /// up while it waits, it has moved nothing.
    ///
    /// # Errors
    /// `Invalid` where `max` is 0 or above [`PAGE_MAX`]; otherwise the log cannot be reached or read.
    async fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Event>, StoreError>;

    /// Remembers for the group that everything polled so far is dealt with.
    ///
    /// # Errors
    /// `Conflict` where another member has taken over one of the partitions: what was polled since the last commit
    /// comes again, to that member. `Invalid` for a consumer without a group.
    async fn commit(&mut self) -> Result<(), StoreError>;

    /// Goes on from another place of one of its partitions, as far as that is kept.
    ///
    /// # Errors
    /// `Invalid` where the partition is not one of its own now.
    async fn seek(&mut self, to: Position) -> Result<(), StoreError>;

    /// Its partitions now; a member of a group may have others after each poll.
    fn partitions(&self) -> Vec<u32>;

    /// Where each of its partitions goes on, by partition: all events before that place were polled. A member of a group
    /// knows no more than what it polled since its last commit.
    fn positions(&self) -> Vec<Position>;
}
