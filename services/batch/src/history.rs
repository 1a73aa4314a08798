//! A file of events as a log that models are trained on: names become rows, and are kept.

use std::path::{Path, PathBuf};

use attune_ranking::data::{Amount, Event, EventError, EventLog};
use thiserror::Error;

use crate::names::Names;
use crate::read::{self, BatchLimits, ColumnMap, Field, ReadError, Reader, Rejected, Row, Value, present};

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
    /// Reads CSV, JSON lines or Parquet with the columns of events, or RecBole's `.inter` with `user_id`, `item_id`,
    /// `timestamp` and perhaps `rating`; bad rows are left out and counted.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn read(path: &Path, map: &ColumnMap) -> Result<Self, HistoryError> {
        if path.extension().is_some_and(|end| end == RECBOLE_END) {
            return Self::of_rows(path, Reader::<Interaction>::recbole(path, map)?);
        }
        Self::of_rows(path, Reader::<Plain>::open(path, map, 0)?)
    }

    fn of_rows<R: Row + Into<read::Event>>(path: &Path, mut reader: Reader<R>) -> Result<Self, HistoryError> {
        let mut building = HistoryBuilder::default();
        while let Some(batch) = reader.next_batch(LIMITS)? {
            batch.rejected.into_iter().for_each(|rejected| building.reject(rejected));
            for numbered in batch.rows {
                let event: read::Event = numbered.row.into();
                let time = event.timestamp_ms.div_euclid(1_000);
                if !building.push(&event.user_id, &event.item_id, &event.kind, event.value, time) {
                    return Err(HistoryError::Kinds { path: path.to_owned() });
                }
            }
        }
        building.finish(path)
    }
}

/// An event that a model can be trained on.
struct Plain(read::Event);

/// The same in a file of RecBole's, which has no types: what has a rating is one.
struct Interaction(read::Event);

impl From<Plain> for read::Event {
    fn from(Plain(event): Plain) -> Self {
        event
    }
}

impl From<Interaction> for read::Event {
    fn from(Interaction(event): Interaction) -> Self {
        event
    }
}

impl Row for Plain {
    const FIELDS: &'static [Field<'static>] = read::Event::FIELDS;

    fn from_values(values: &[Value<'_>]) -> Result<Self, String> {
        let event = read::Event::from_values(values)?;
        Ok(Self(read::Event { value: kept("value", event.value)?, ..event }))
    }

    fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

impl Row for Interaction {
    const FIELDS: &'static [Field<'static>] = &[
        Field::required("user_id"),
        Field::required("item_id"),
        Field::optional("rating"),
        Field::required("timestamp"),
    ];

    fn from_values(values: &[Value<'_>]) -> Result<Self, String> {
        let [user_id, item_id, rating, timestamp] = values else { unreachable!("one value for each field") };
        let value = kept("rating", rating.number("rating")?)?;
        Ok(Self(read::Event {
            user_id: present("user_id", user_id.id("user_id")?)?,
            item_id: present("item_id", item_id.id("item_id")?)?,
            kind: if value.is_some() { "rating" } else { "interaction" }.to_owned(),
            value,
            timestamp_ms: present("timestamp", timestamp.time_ms("timestamp")?)?,
            event_id: None,
        }))
    }

    fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

/// A value, unless models cannot keep it.
fn kept(name: &str, value: Option<f64>) -> Result<Option<f64>, String> {
    match value {
        Some(value) if !(value as f32).is_finite() => {
            Err(format!("{name} {value:e} is too large: models keep values up to {:e}", f32::MAX))
        }
        _ => Ok(value),
    }
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
        self.events.push(Event { user, item, kind, value: value.map(|value| Amount::from(value as f32)), time });
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
        let event = Event { user: 1, item: 1, kind: 1, value: Some(Amount::from(4.5_f32)), time: 1_767_225_600 };
        assert_eq!(history.log.events()[1], event);
        assert_eq!((history.log.events().len(), history.rejected_count, history.rejected[0].row), (3, 1, 3));
    }

    #[test]
    fn the_header_of_a_file_of_recbole_says_what_stands_where() {
        let read =
            |text: &str, map: &[&str]| History::read(file(".inter", text).path(), &ColumnMap::parse(map).unwrap());
        let plain = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n7\t9\t3\t881250949.0\nbad\n";
        let turned = "item_id:token\tuser_id:token\ttimestamp:float\trating:float\n9\t7\t881250949\t3\n\t7\t1\t3\n";
        for text in [plain, turned] {
            let history = read(text, &[]).unwrap();
            let event = Event { user: 0, item: 0, kind: 0, value: Some(Amount::from(3.0_f32)), time: 881_250_949 };
            assert_eq!((history.log.events(), history.log.kinds()), (&[event][..], &["rating".to_owned()][..]));
            assert_eq!((history.users.name(0), history.items.name(0), history.rejected_count), ("7", "9", 1));
        }
        let history = read(turned, &["user_id=item_id", "item_id=user_id"]).unwrap();
        assert_eq!((history.users.name(0), history.items.name(0)), ("9", "7"));
        assert_eq!(history.rejected[0].reason, "user_id is missing or empty");
        let bare = read("user_id:token\titem_id:token\ttimestamp:float\n\"a\tx\t5\n", &[]).unwrap();
        assert_eq!(
            (bare.users.name(0), &bare.log.kinds()[0][..], bare.log.events()[0].value),
            ("\"a", "interaction", None)
        );
        let error = read("user_id:token\titem_id:token\n1\t2\n", &[]).unwrap_err().to_string();
        assert!(error.contains("no column \"timestamp\"; it has \"user_id\", \"item_id\""), "{error}");
    }

    #[test]
    fn a_value_that_no_model_keeps_costs_its_row_alone() {
        let head = "user_id,item_id,type,value,timestamp\n";
        let csv = file(".csv", &format!("{head}a,x,rating,1e300,1\na,x,rating,nan,1\na,x,rating,3e38,1\n"));
        let history = History::read(csv.path(), &ColumnMap::default()).unwrap();
        assert_eq!((history.log.events().len(), history.rejected_count), (1, 2));
        let first = &history.rejected[0];
        assert_eq!(
            (first.row, first.reason.as_str()),
            (1, "value 1e300 is too large: models keep values up to 3.4028235e38")
        );
        let inter = file(".inter", "user_id\titem_id\trating\ttimestamp\n1\t2\tnan\t1\n1\t2\t-1e39\t1\n1\t2\t3\t1\n");
        assert_eq!(History::read(inter.path(), &ColumnMap::default()).unwrap().rejected_count, 2);
    }

    #[test]
    fn a_file_without_events_says_why() {
        let csv = file(".csv", "user_id,item_id,type,value,timestamp\n,x,view,,10\n");
        let error = History::read(csv.path(), &ColumnMap::default()).unwrap_err().to_string();
        assert!(error.contains("no event") && error.contains("user_id"), "{error}");
    }
}
