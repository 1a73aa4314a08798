//! A reader of some partitions of an embedded log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use super::cursor::Cursor;
use super::frame::Stored;
use super::group::{Member, Offsets};
use super::journal::Journal;
use crate::embedded::disk_failure;
use crate::events::check::{self, failure};
use crate::events::{Consumer, Event, Position, partition_of};
use crate::{ErrorKind, StoreError, StoreKind, Tenant};

/// Events that one turn on a thread looks at, its own and others', so that it ends soon.
const LOOKED_AT_MAX: usize = 100_000;

/// A reader. Its positions are the truth; the cursor is only a shorter way to them.
pub(super) struct LogConsumer {
    pub(super) tenant: Tenant,
    pub(super) journal: Arc<Journal>,
    /// Of the whole log.
    pub(super) partitions: u32,
    /// `None` outside a group.
    pub(super) member: Option<Member>,
    /// By partition that is its own, the next offset.
    pub(super) positions: Offsets,
    pub(super) cursor: Option<Cursor>,
}

/// What a turn brought.
struct Turn {
    cursor: Cursor,
    events: Vec<Event>,
    positions: Offsets,
}

impl LogConsumer {
    /// Takes partitions over, and gives others up, if the group says so.
    fn follow_group(&mut self) {
        let Some(member) = self.member.as_mut().filter(|member| member.has_changed()) else { return };
        let mut positions = member.owned();
        for (partition, offset) in &mut positions {
            *offset = self.positions.get(partition).copied().unwrap_or(*offset);
        }
        if positions != self.positions {
            (self.positions, self.cursor) = (positions, None);
        }
    }

    /// Reads what is there, on a thread that may wait for the disk.
    async fn turn(&mut self, max: usize) -> Result<Vec<Event>, StoreError> {
        let Some(from) = self.positions.values().min().copied() else { return Ok(Vec::new()) };
        let journal = self.journal.clone();
        let cursor = self.cursor.take().unwrap_or_else(|| Cursor::new(journal, from));
        let (tenant, partitions, positions) = (self.tenant.clone(), self.partitions, self.positions.clone());
        let read = spawn_blocking(move || read_some(cursor, positions, &tenant, partitions, max));
        let turn =
            read.await.map_err(|error| failure("poll", ErrorKind::Internal, "a reader ended").caused_by(error))??;
        (self.positions, self.cursor) = (turn.positions, Some(turn.cursor));
        Ok(turn.events)
    }

    async fn more(&mut self) {
        let mut durable = self.journal.watch();
        let reached = self.cursor.as_ref().map_or(u64::MAX, Cursor::place);
        let grown = async {
            let _ = durable.wait_for(|&next| next > reached).await;
        };
        match &mut self.member {
            Some(member) => tokio::select! { () = grown => {}, () = member.changed() => {} },
            None => grown.await,
        }
    }
}

fn read_some(
    mut cursor: Cursor,
    mut positions: Offsets,
    tenant: &Tenant,
    partitions: u32,
    max: usize,
) -> Result<Turn, StoreError> {
    let mut events = Vec::new();
    let mut looked_at = 0;
    let failed = |error| disk_failure(StoreKind::Events, "poll", "the log cannot be read", &error);
    while events.len() < max && looked_at < LOOKED_AT_MAX {
        let Some(stored) = cursor.read().map_err(failed)? else { break };
        looked_at += 1;
        let Some(event) = event_of(stored, tenant, partitions) else { continue };
        let position = event.position;
        if positions.get(&position.partition).is_some_and(|&next| next <= position.offset) {
            events.push(event);
        }
    }
    let place = cursor.place();
    positions.values_mut().for_each(|next| *next = place.max(*next));
    Ok(Turn { cursor, events, positions })
}

fn event_of(stored: Stored, tenant: &Tenant, partitions: u32) -> Option<Event> {
    let subject = String::from_utf8(stored.subject.into()).ok()?;
    let position = Position { partition: partition_of(tenant, &subject, partitions), offset: stored.sequence };
    Some(Event { position, appended_ms: stored.appended_ms, subject, payload: stored.payload })
}

#[async_trait]
impl Consumer for LogConsumer {
    async fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Event>, StoreError> {
        check::page("poll", max)?;
        let deadline = Instant::now() + wait;
        loop {
            self.follow_group();
            let events = self.turn(max).await?;
            if !events.is_empty() {
                return Ok(events);
            }
            if timeout_at(deadline, self.more()).await.is_err() {
                return Ok(Vec::new());
            }
        }
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        let Some(member) = &self.member else {
            return Err(failure(
                "commit",
                ErrorKind::Invalid,
                "this consumer is in no group: keep its positions yourself",
            ));
        };
        let (committer, offsets) = (member.committer(), self.positions.clone());
        let done = spawn_blocking(move || committer.commit(&offsets)).await;
        let done = done.map_err(|error| failure("commit", ErrorKind::Internal, "a commit ended").caused_by(error))?;
        match done.map_err(|error| disk_failure(StoreKind::Events, "commit", "offsets cannot be written", &error))? {
            None => Ok(()),
            Some(lost) => {
                let detail = format!("partition {lost} is another member's now; poll, and go on with what comes");
                Err(failure("commit", ErrorKind::Conflict, detail))
            }
        }
    }

    async fn seek(&mut self, to: Position) -> Result<(), StoreError> {
        self.follow_group();
        let Some(position) = self.positions.get_mut(&to.partition) else {
            let detail = format!("partition {} is not one of this consumer's", to.partition);
            return Err(failure("seek", ErrorKind::Invalid, detail));
        };
        *position = to.offset;
        self.cursor = None;
        Ok(())
    }

    fn partitions(&self) -> Vec<u32> {
        self.positions.keys().copied().collect()
    }

    fn positions(&self) -> Vec<Position> {
        self.positions.iter().map(|(&partition, &offset)| Position { partition, offset }).collect()
    }
}

/// Where a reader outside any group begins.
pub(super) fn from_positions(from: &[Position], partitions: u32) -> Result<BTreeMap<u32, u64>, StoreError> {
    if let Some(wrong) = from.iter().find(|position| position.partition >= partitions) {
        let detail = format!("there is no partition {}: they are 0 to {}", wrong.partition, partitions - 1);
        return Err(failure("read", ErrorKind::Invalid, detail));
    }
    Ok(from.iter().map(|position| (position.partition, position.offset)).collect())
}
