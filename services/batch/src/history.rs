//! A file of events as a log that models are trained on: names become rows, and are kept.

use std::fs;
use std::path::{Path, PathBuf};

use attune_ranking::data::{Event, EventError, EventLog};
use thiserror::Error;

use crate::names::Names;
use crate::read::{self, BatchLimits, ColumnMap, ReadError, Reader, Rejected};

/// Rows that are read at once.
const LIMITS: BatchLimits = BatchLimits { rows_max: 10_000, bytes_max: 8 << 20 };
/// Rejected rows that are kept with the reason; the others are counted.
pub const REJECTED_KEPT: usize = 10_000;
/// The end of the name of RecBole's files of interactions.
const RECBOLE_END: &str = "inter";

/// Events, and the names behind their rows.
#[derive(Clone, Debug)]
pub struct History {
    /// The events, in the order of the file.
    pub log: EventLog,
    /// Names of the users, by row.
    pub users: Names,
    /// Names of the items, by row.
    pub items: Names,
    /// The rows that were left out, the first [`REJECTED_KEPT`] of them.
    pub rejected: Vec<Rejected>,
    /// How many were left out.
    pub rejected_count: usize,
}

/// Why a file gives no history.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The events contradict each other.
    #[error("{path}: {source}", path = path.display())]
    Events {
        /// The file.
        path: PathBuf,
        /// Why.
        source: EventError,
    },
    /// No event is left.
    #[error("{path} has no event that could be read ({rejected} rows left out{first})", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// Rows that were left out.
        rejected: usize,
        /// What is wrong with the first of them.
        first: String,
    },
    /// More kinds than a log numbers.
    #[error("{path} has more than {max} types of events: is the column `type` the right one? --map type=COLUMN", max = u16::MAX, path = path.display())]
    Kinds {
        /// The file.
        path: PathBuf,
    },
}

impl History {
    /// Reads CSV, JSON lines or Parquet with the columns of events, or RecBole's `.inter`; bad rows are left out and
    /// counted.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn read(path: &Path, map: &ColumnMap) -> Result<Self, HistoryError> {
        if path.extension().is_some_and(|end| end == RECBOLE_END) {
            return Self::movielens(path);
        }
        let mut building = HistoryBuilder::default();
        let mut reader = Reader::<read::Event>::open(path, map, 0)?;
        while let Some(batch) = reader.next_batch(LIMITS)? {
            batch.rejected.into_iter().for_each(|rejected| building.reject(rejected));
            for numbered in batch.rows {
                let event = numbered.row;
                let time = event.timestamp_ms.div_euclid(1_000);
                if !building.push(&event.user_id, &event.item_id, &event.kind, event.value, time) {
                    return Err(HistoryError::Kinds { path: path.to_owned() });
                }
            }
        }
        building.finish(path)
    }

    /// Reads the file of interactions of MovieLens-100K as RecBole packs it: `user item rating time`, by tabs, below a
    /// line of names.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn movielens(path: &Path) -> Result<Self, HistoryError> {
        let text = fs::read_to_string(path).map_err(|source| ReadError::File { path: path.to_owned(), source })?;
        let mut building = HistoryBuilder::default();
        for (number, line) in (1..).zip(text.lines().skip(1)) {
            match rating(line) {
                Some((user, item, value, time)) => {
                    building.push(user, item, "rating", Some(value), time);
                }
                None => building.reject(Rejected { row: number, reason: format!("not four columns: {line:?}") }),
            }
        }
        building.finish(path)
    }
}

fn rating(line: &str) -> Option<(&str, &str, f64, i64)> {
    let mut columns = line.split('\t');
    let row = (columns.next()?, columns.next()?, columns.next()?.parse().ok()?, columns.next()?.parse().ok()?);
    columns.next().is_none().then_some(row)
}

/// A history in the making, from wherever its events come.
#[derive(Default)]
pub struct HistoryBuilder {
    events: Vec<Event>,
    users: Names,
    items: Names,
    kinds: Names,
    rejected: Vec<Rejected>,
    rejected_count: usize,
}

impl HistoryBuilder {
    /// With room for so many events: a list that grows is there twice each time.
    pub fn with_capacity(events: usize) -> Self {
        Self { events: Vec::with_capacity(events), ..Self::default() }
    }

    /// Adds an event of a time in Unix seconds; false, and nothing is added, where there are more kinds than a log numbers.
    pub fn push(&mut self, user: &str, item: &str, kind: &str, value: Option<f64>, time: i64) -> bool {
        if self.kinds.len() >= usize::from(u16::MAX) && self.kinds.row(kind).is_none() {
            return false;
        }
        let kind = self.kinds.row_or_new(kind) as u16;
        let (user, item) = (self.users.row_or_new(user), self.items.row_or_new(item));
        self.events.push(Event { user, item, kind, value: value.map(|value| value as f32), time });
        true
    }

    /// Counts an event that could not be read.
    pub fn reject(&mut self, rejected: Rejected) {
        self.rejected_count += 1;
        if self.rejected.len() < REJECTED_KEPT {
            self.rejected.push(rejected);
        }
    }

    /// The history; `path` says in errors where it comes from.
    ///
    /// # Errors
    /// [`HistoryError`] where there is no event, or one that cannot be.
    pub fn finish(self, path: &Path) -> Result<History, HistoryError> {
        let Self { mut events, users, items, kinds, rejected, rejected_count } = self;
        events.shrink_to_fit();
        let path = path.to_owned();
        if events.is_empty() {
            let first = rejected.first().map(|one| format!(", the first because: {}", one.reason)).unwrap_or_default();
            return Err(HistoryError::Empty { path, rejected: rejected_count, first });
        }
        let log = EventLog::new(events, users.len(), items.len(), kinds.iter().map(str::to_owned).collect());
        let log = log.map_err(|source| HistoryError::Events { path, source })?;
        Ok(History { log, users, items, rejected, rejected_count })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(suffix: &str, text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::Builder::new().suffix(suffix).tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn names_become_rows_in_the_order_in_which_they_come() {
        let csv = file(
            ".csv",
            "user_id,item_id,type,value,timestamp\nb,x,view,,10\na,y,rating,4.5,2026-01-01T00:00:00Z\nb,y,view,,oops\nb,y,view,,12\n",
        );
        let history = History::read(csv.path(), &ColumnMap::default()).unwrap();
        assert_eq!((history.users.to_lines().as_str(), history.items.to_lines().as_str()), ("b\na\n", "x\ny\n"));
        assert_eq!(history.log.kinds(), ["view", "rating"]);
        let event = Event { user: 1, item: 1, kind: 1, value: Some(4.5), time: 1_767_225_600 };
        assert_eq!(history.log.events()[1], event);
        assert_eq!((history.log.events().len(), history.rejected_count, history.rejected[0].row), (3, 1, 3));
    }

    #[test]
    fn movielens_has_its_own_form() {
        let inter =
            file(".inter", "user_id:token\titem_id:token\trating:float\ttimestamp:float\n7\t9\t3\t881250949\nbad\n");
        let history = History::movielens(inter.path()).unwrap();
        assert_eq!(history.log.events(), [Event { user: 0, item: 0, kind: 0, value: Some(3.0), time: 881_250_949 }]);
        assert_eq!((history.users.name(0), history.items.name(0), history.rejected_count), ("7", "9", 1));
    }

    #[test]
    fn a_file_without_events_says_why() {
        let csv = file(".csv", "user_id,item_id,type,value,timestamp\n,x,view,,10\n");
        let error = History::read(csv.path(), &ColumnMap::default()).unwrap_err().to_string();
        assert!(error.contains("no event") && error.contains("user_id"), "{error}");
    }
}
