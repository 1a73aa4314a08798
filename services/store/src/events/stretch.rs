//! What a log has now, read once from some place to where it ends: for replays and other work that comes to an end.

use std::time::{Duration, Instant};

use super::{Bounds, Consumer, Event, EventLog, Position, places};
use crate::{ErrorKind, StoreError, StoreKind, Tenant};

/// How long one look waits.
const LOOK: Duration = Duration::from_millis(20);
/// How long a log may say nothing though it is not at its end.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// A part of a tenant's log.
pub struct Stretch {
    reader: Box<dyn Consumer>,
    /// Partitions that are not read to their end, and where that is.
    left: Vec<(u32, u64)>,
}

impl Stretch {
    /// From the offset that `from` says for each partition, but not before what is kept, to where the log ends now.
    ///
    /// # Errors
    /// The log cannot be reached.
    pub async fn open(log: &dyn EventLog, tenant: &Tenant, from: impl Fn(&Bounds) -> u64) -> Result<Self, StoreError> {
        let bounds = log.bounds(tenant).await?;
        let from = places(&bounds, from);
        let is_left = |(at, bound): &(&Position, &Bounds)| at.offset < bound.next;
        let left = from.iter().zip(&bounds).filter(is_left).map(|(_, bound)| (bound.partition, bound.next)).collect();
        Ok(Self { reader: log.read(tenant, &from).await?, left })
    }

    /// The next events, up to `max` of them; `None` at the end. What was appended meanwhile may be among the last.
    ///
    /// # Errors
    /// As [`Consumer::poll`]; `Timeout` where the log says nothing for long.
    pub async fn next(&mut self, max: usize) -> Result<Option<Vec<Event>>, StoreError> {
        let begun = Instant::now();
        while !self.left.is_empty() {
            let events = self.reader.poll(max, LOOK).await?;
            for at in self.reader.positions() {
                self.left.retain(|(partition, next)| *partition != at.partition || at.offset < *next);
            }
            if !events.is_empty() {
                return Ok(Some(events));
            }
            if begun.elapsed() > SILENCE_MAX {
                let detail = "the log says nothing, though it is not at its end";
                return Err(StoreError::new(StoreKind::Events, "poll", ErrorKind::Timeout, detail));
            }
        }
        Ok(None)
    }

    /// Where each partition goes on.
    pub fn positions(&self) -> Vec<Position> {
        self.reader.positions()
    }
}
