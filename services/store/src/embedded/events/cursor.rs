//! Reads a log from an event on, over segments and damage, as far as it is durable.

use std::io;
use std::sync::Arc;

use super::frame::{Events, Stored};
use super::journal::Journal;
use super::recover::unreadable;
use super::scan::{Scan, Step};
use super::segment::Segment;

/// A place in a log.
pub(super) struct Cursor {
    journal: Arc<Journal>,
    /// The next event.
    next: u64,
    segment: Option<(Arc<Segment>, Scan)>,
    events: Option<Events>,
}

impl Cursor {
    /// Before an event, or before the first one that is kept, if that is later.
    pub(super) fn new(journal: Arc<Journal>, from: u64) -> Self {
        let next = from.max(journal.bounds().0);
        Self { journal, next, segment: None, events: None }
    }

    /// The sequence number behind everything that was read.
    pub(super) fn place(&self) -> u64 {
        self.next
    }

    /// The next event; `None` where no more are durable. Takes as long as the disk.
    pub(super) fn read(&mut self) -> io::Result<Option<Stored>> {
        loop {
            while let Some(stored) = self.events.as_mut().and_then(Iterator::next) {
                if stored.sequence >= self.next {
                    self.next = stored.sequence + 1;
                    if !stored.subject.is_empty() {
                        return Ok(Some(stored));
                    }
                }
            }
            self.events = None;
            if !self.step()? {
                return Ok(None);
            }
        }
    }

    /// Goes on to the next frame; false at the end.
    fn step(&mut self) -> io::Result<bool> {
        if self.segment.is_none() && !self.open()? {
            return Ok(false);
        }
        let Some((segment, scan)) = &mut self.segment else { return Ok(false) };
        let (end, last) = {
            let extent = segment.extent();
            (extent.bytes, extent.next)
        };
        match scan.step(end, self.next)? {
            Step::Frame(_, head, _) if head.next() <= self.next => {}
            Step::Frame(_, head, body) => self.events = Some(Events::new(&head, body)),
            Step::Damaged(range, lost) => {
                let damage = unreadable(&segment.name, range, lost);
                self.journal.report(damage);
            }
            Step::End => {
                // What its last frames lost is not waited for.
                self.next = self.next.max(last);
                let more = self.journal.segment_of(self.next).filter(|found| found.base != segment.base);
                let has_more = more.is_some();
                if has_more {
                    self.segment = None;
                }
                return Ok(has_more);
            }
        }
        Ok(true)
    }

    /// Opens the segment that holds the next event; false where there is none yet.
    fn open(&mut self) -> io::Result<bool> {
        while let Some(segment) = self.journal.segment_of(self.next) {
            self.next = self.next.max(segment.base);
            let place = segment.extent().before(self.next, segment.base);
            if let Some(file) = self.journal.disk.open(&segment.name)? {
                self.segment = Some((segment, Scan::new(file, place.at, place.sequence)));
                return Ok(true);
            }
            // Removed between the two, because it is old.
            if self.journal.segment_of(self.next).is_some_and(|again| again.base == segment.base) {
                let detail = format!("{} has gone while the log was open", segment.name);
                return Err(io::Error::new(io::ErrorKind::InvalidData, detail));
            }
        }
        Ok(false)
    }
}
