//! What has to follow a write, noted before it, so that no crash between two steps leaves stores apart.
//!
//! A write of an item has a row in the relational outbox for each kind of work that derives something from it. The rows
//! are committed first, the document is written second, and a worker removes a row when everything that it stands for is
//! done. Work is idempotent and looks only at what is there now, so a row may be handled any number of times, also when
//! its write never happened.
//!
//! One thing must not happen: that a row is handled and removed before its write took place. So a row says who entered
//! it. Of its own rows a process knows which are written; the rows of others, and those of which it does not know because
//! a store did not answer, are handled at once and kept until no write can be under way any more.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use attune_store::relational::{OutboxRow, Write};
use attune_store::{ErrorKind, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Notify;

use crate::time::now_micros;

/// A kind of work that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Topic {
    /// Counts of reviews, the search index, attributes in memory, the record in the log.
    Index,
    /// Embeddings. Apart, since an engine takes thousands of times longer than an index, which must not wait for it.
    Embed,
}

impl Topic {
    pub fn name(self) -> &'static str {
        match self {
            Self::Index => "content.index",
            Self::Embed => "content.embed",
        }
    }
}

/// What a row says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Task {
    /// Which items.
    pub ids: Vec<String>,
    /// For a deletion: the version of the document that goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletes: Option<u64>,
    /// Whether reviews changed.
    #[serde(default)]
    pub recount: bool,
    /// Which process entered it.
    by: u64,
    /// By which number the process knows it.
    nonce: u64,
    at_micros: i64,
}

/// What is to be done with a row now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// Nothing: its write is under way.
    Wait,
    /// Do it, and leave the row.
    Keep,
    /// Do it and remove the row.
    Remove,
}

/// What this process knows of its rows.
#[derive(Debug)]
pub(crate) struct Ledger {
    by: u64,
    /// How long a write may be under way that this process does not know the end of.
    grace: Duration,
    state: Mutex<State>,
    /// Something was written.
    pub written: [Notify; 2],
}

#[derive(Debug, Default)]
struct State {
    nonce_last: u64,
    open: HashSet<u64>,
    /// Nobody knows whether these were written; since when.
    uncertain: HashMap<u64, Instant>,
    /// Rows that were handled and kept.
    kept: HashSet<u64>,
}

/// One write, from before its rows are entered to its end.
#[derive(Debug)]
pub(crate) struct Entry<'l> {
    ledger: &'l Ledger,
    nonce: u64,
    is_ended: bool,
}

impl Ledger {
    pub fn new(grace: Duration) -> Self {
        Self { by: rand::random(), grace, state: Mutex::default(), written: [Notify::new(), Notify::new()] }
    }

    /// Begins a write.
    pub fn begin(&self) -> Entry<'_> {
        let mut state = self.lock();
        state.nonce_last += 1;
        let nonce = state.nonce_last;
        state.open.insert(nonce);
        Entry { ledger: self, nonce, is_ended: false }
    }

    /// What is to be done with a row.
    pub fn readiness(&self, row: &OutboxRow, task: &Task) -> Readiness {
        let mut state = self.lock();
        let is_old = if task.by == self.by {
            if state.open.contains(&task.nonce) {
                return Readiness::Wait;
            }
            state.uncertain.get(&task.nonce).is_none_or(|since| since.elapsed() >= self.grace)
        } else {
            now_micros().saturating_sub(task.at_micros) >= self.grace.as_micros() as i64
        };
        if is_old {
            state.kept.remove(&row.number);
            Readiness::Remove
        } else if state.kept.contains(&row.number) {
            Readiness::Wait
        } else {
            Readiness::Keep
        }
    }

    /// Takes note that a row was handled and is kept.
    pub fn keep(&self, row: &OutboxRow) {
        self.lock().kept.insert(row.number);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry<'_> {
    /// The row of a topic.
    pub fn row(&self, topic: Topic, ids: Vec<String>, deletes: Option<u64>, recount: bool) -> Write {
        let key = ids.first().cloned().unwrap_or_default();
        let task = Task { ids, deletes, recount, by: self.ledger.by, nonce: self.nonce, at_micros: now_micros() };
        Write::Outbox { topic: topic.name().to_owned(), key, payload: json!(task) }
    }

    /// Ends the write with what came of it.
    pub fn end<T>(mut self, outcome: &Result<T, StoreError>) {
        let is_known =
            !matches!(outcome, Err(error) if matches!(error.kind, ErrorKind::Timeout | ErrorKind::Unavailable));
        if is_known {
            self.is_ended = true;
            self.ledger.lock().open.remove(&self.nonce);
        }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if !self.is_ended {
            let mut state = self.ledger.lock();
            state.open.remove(&self.nonce);
            let (now, grace) = (Instant::now(), self.ledger.grace);
            // Twice as long as it matters, so that the list does not grow for ever.
            state.uncertain.retain(|_, since| since.elapsed() < grace * 2);
            state.uncertain.insert(self.nonce, now);
        }
        self.ledger.written.iter().for_each(Notify::notify_one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(entry: &Entry<'_>, number: u64) -> (OutboxRow, Task) {
        let Write::Outbox { key, payload, .. } = entry.row(Topic::Index, vec!["a".into()], None, false) else {
            unreachable!("it is a row")
        };
        let task = serde_json::from_value(payload.clone()).unwrap();
        (OutboxRow { number, tenant: "acme".parse().unwrap(), key, payload }, task)
    }

    #[test]
    fn a_row_is_removed_only_when_its_write_has_ended() {
        let ledger = Ledger::new(Duration::from_secs(60));
        let entry = ledger.begin();
        let (row, task) = row(&entry, 1);
        assert_eq!(ledger.readiness(&row, &task), Readiness::Wait);
        entry.end(&Ok::<(), StoreError>(()));
        assert_eq!(ledger.readiness(&row, &task), Readiness::Remove);
    }

    #[test]
    fn a_row_of_an_unknown_end_is_handled_once_and_removed_later() {
        for (grace, then) in [(60, Readiness::Wait), (0, Readiness::Remove)] {
            let ledger = Ledger::new(Duration::from_secs(grace));
            let entry = ledger.begin();
            let (row, task) = row(&entry, 7);
            drop(entry);
            if grace > 0 {
                assert_eq!(ledger.readiness(&row, &task), Readiness::Keep);
                ledger.keep(&row);
            }
            assert_eq!(ledger.readiness(&row, &task), then);
        }
    }

    #[test]
    fn rows_of_another_process_are_kept_until_it_cannot_be_writing() {
        let (other, ours) = (Ledger::new(Duration::ZERO), Ledger::new(Duration::from_secs(60)));
        let entry = other.begin();
        let (row, mut task) = row(&entry, 3);
        assert_eq!(ours.readiness(&row, &task), Readiness::Keep);
        task.at_micros -= 60_000_000;
        assert_eq!(ours.readiness(&row, &task), Readiness::Remove);
    }
}
