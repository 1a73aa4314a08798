//! What the log says beyond the lake: read, each event once, without those who are forgotten.

use std::collections::BTreeMap;
use std::time::Instant;

use attune_api::log::{Event, Exposure, Record};
use attune_store::events::Event as Logged;

use crate::rows::Row;
use crate::window::{Windows, fingerprint};

const DAY_MS: i64 = 24 * 3_600 * 1_000;
const UNREADABLE: &str = "attune_lake_records_unreadable_total";

/// A record of the log, read.
pub(crate) struct Said {
    pub partition: u32,
    pub offset: u64,
    /// The day on which it arrived, in days since 1970.
    pub day: i64,
    pub subject: String,
    pub record: Record,
}

impl Said {
    /// Nothing where the record cannot be read, which is counted and told.
    pub fn read(logged: Logged) -> Option<Self> {
        let Logged { position, appended_ms, subject, payload } = logged;
        let (partition, offset, day) = (position.partition, position.offset, appended_ms.div_euclid(DAY_MS));
        match Record::read(&payload) {
            Ok(record) => Some(Self { partition, offset, day, subject, record }),
            Err(error) => {
                metrics::counter!(UNREADABLE).increment(1);
                tracing::warn!(partition, offset, %error, "a record of the log cannot be read: it is not in the lake");
                None
            }
        }
    }

    /// What it is known by, where a copy of it would be one too many.
    pub fn fingerprint(&self) -> Option<u64> {
        match &self.record {
            Record::Event(event) => Some(fingerprint(&self.subject, &event.event_id)),
            Record::Exposure(list) => Some(fingerprint(&self.subject, &list_id(&list.request_id))),
            Record::Join { .. } | Record::Tombstone | Record::Item { .. } => None,
        }
    }
}

/// By what a list is known among the events of its subject.
pub(crate) fn list_id(request_id: &str) -> String {
    format!("list/{request_id}")
}

/// What comes into the lake with the next commit.
#[derive(Default)]
pub(crate) struct Pending {
    pub since: Option<Instant>,
    pub rows: usize,
    pub events: BTreeMap<(i64, u32), Vec<Row<Event>>>,
    pub exposures: BTreeMap<(i64, u32), Vec<Row<Exposure>>>,
    pub next: BTreeMap<u32, u64>,
    /// Subjects that are forgotten by this commit, and the partition that they are in.
    pub forgotten: BTreeMap<String, u32>,
    pub duplicates: u64,
}

impl Pending {
    /// Takes the next record of the log, unless it is a copy or about somebody who `was_forgotten` before.
    pub fn take(&mut self, said: Said, windows: &mut Windows, was_forgotten: impl Fn(&str) -> bool) {
        if was_forgotten(&said.subject) || self.forgotten.contains_key(&said.subject) {
            return;
        }
        if let Some(id) = said.fingerprint()
            && !windows.of(said.partition).is_new(said.day, id)
        {
            self.duplicates += 1;
            return;
        }
        let Said { partition, offset, day, subject, record } = said;
        match record {
            Record::Event(record) => {
                self.rows += 1;
                self.events.entry((day, partition)).or_default().push(Row { subject, offset, record });
            }
            Record::Exposure(record) => {
                self.rows += record.items.len();
                self.exposures.entry((day, partition)).or_default().push(Row { subject, offset, record });
            }
            Record::Tombstone => {
                self.events.values_mut().for_each(|rows| rows.retain(|row| row.subject != subject));
                self.exposures.values_mut().for_each(|rows| rows.retain(|row| row.subject != subject));
                self.forgotten.insert(subject, partition);
            }
            Record::Join { .. } | Record::Item { .. } => {}
        }
    }
}
