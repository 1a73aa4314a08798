//! A file of what was shown, and one of what a policy would show, as tables that an off-policy estimate is made of.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use attune_ranking::experiment::off_policy::{Logged, OffPolicyError, Policy};
use thiserror::Error;

use crate::names::Names;
use crate::read::{BatchLimits, ColumnMap, Field, ReadError, Reader, Row, Value, present};

/// Rows that are read at once.
const LIMITS: BatchLimits = BatchLimits { rows_max: 10_000, bytes_max: 8 << 20 };
/// The last position that there may be.
const POSITION_MAX: u32 = 1_000;

/// Rows that were shown, and the names behind their actions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShownLog {
    /// The rows, in the order of the file.
    pub rows: Vec<Logged>,
    /// Names of the items, by action.
    pub items: Names,
    /// How many positions there are.
    pub positions: usize,
}

/// Why a file says nothing of what was shown, or would be.
#[derive(Debug, Error)]
pub enum LoggedError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A row makes no sense. None is left out: what is missing would be missing in the estimate.
    #[error("{path}, row {row}: {reason}", path = path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// From 1.
        row: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The rows do not belong together.
    #[error("{path}: {source}", path = path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// Why.
        source: OffPolicyError,
    },
}

struct Shown {
    item_id: String,
    position: u32,
    propensity: f64,
    reward: f64,
    list_id: Option<String>,
}

struct Chance {
    item_id: String,
    position: u32,
    chance: f64,
}

impl Row for Shown {
    const FIELDS: &'static [Field<'static>] = &[
        Field::required("item_id"),
        Field::optional("position"),
        Field::required("propensity"),
        Field::required("reward"),
        Field::optional("list_id"),
    ];

    fn from_values(values: &[Value<'_>]) -> Result<Self, String> {
        let [item_id, position, propensity, reward, list_id] = values else { unreachable!("one value for each field") };
        let propensity = present("propensity", propensity.number("propensity")?)?;
        if !(propensity > 0.0 && propensity <= 1.0) {
            return Err(format!("propensity {propensity} is not above 0 and up to 1"));
        }
        Ok(Self {
            item_id: present("item_id", item_id.id("item_id")?)?,
            position: place(*position)?,
            propensity,
            reward: present("reward", reward.number("reward")?)?,
            list_id: list_id.id("list_id")?,
        })
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.item_id.len() + self.list_id.as_ref().map_or(0, String::len)
    }
}

impl Row for Chance {
    const FIELDS: &'static [Field<'static>] =
        &[Field::required("item_id"), Field::optional("position"), Field::required("chance")];

    fn from_values(values: &[Value<'_>]) -> Result<Self, String> {
        let [item_id, position, chance] = values else { unreachable!("one value for each field") };
        let chance = present("chance", chance.number("chance")?)?;
        if !(0.0..=1.0).contains(&chance) {
            return Err(format!("chance {chance} is not from 0 to 1"));
        }
        Ok(Self { item_id: present("item_id", item_id.id("item_id")?)?, position: place(*position)?, chance })
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.item_id.len()
    }
}

/// A position, in files from 1; the first, where there is none.
fn place(value: Value<'_>) -> Result<u32, String> {
    let position = value.number("position")?.unwrap_or(1.0);
    if position.fract() == 0.0 && (1.0..=f64::from(POSITION_MAX)).contains(&position) {
        return Ok(position as u32 - 1);
    }
    Err(format!("position {position} is not a whole number from 1 to {POSITION_MAX}"))
}

impl ShownLog {
    /// Reads CSV, JSON lines or Parquet with the columns `item_id`, `propensity`, `reward` and perhaps `position` and
    /// `list_id`.
    ///
    /// # Errors
    /// [`LoggedError`], for the first row that makes no sense.
    pub fn read(path: &Path, map: &ColumnMap) -> Result<Self, LoggedError> {
        let (mut log, mut lists) = (Self::default(), HashMap::new());
        each::<Shown>(path, map, |shown| {
            let (rows, known) = (log.rows.len() as u64, lists.len() as u64);
            // A row without a list is a list of its own; numbers of lists with names count down from the end.
            let list = shown.list_id.map_or(rows, |id| *lists.entry(id).or_insert(u64::MAX - known));
            let Shown { position, propensity, reward, .. } = shown;
            let action = log.items.row_or_new(&shown.item_id);
            log.positions = log.positions.max(position as usize + 1);
            log.rows.push(Logged { action, position, propensity, reward, list });
        })?;
        Ok(log)
    }

    /// The policy that shows everything as often, everywhere.
    ///
    /// # Errors
    /// [`OffPolicyError::Empty`] for a log without rows.
    pub fn uniform(&self) -> Result<Policy, OffPolicyError> {
        if self.rows.is_empty() {
            return Err(OffPolicyError::Empty);
        }
        Ok(Policy::uniform(self.items.len(), self.positions))
    }

    /// Reads how likely a policy shows each item at each position, from a file with the columns `item_id`, `chance` and
    /// perhaps `position`. What it does not name it never shows.
    ///
    /// # Errors
    /// [`LoggedError`].
    pub fn policy(&mut self, path: &Path, map: &ColumnMap) -> Result<Policy, LoggedError> {
        let (mut chances, mut twice, mut row) = (HashMap::new(), None, 0);
        let (items, positions) = (&mut self.items, &mut self.positions);
        each::<Chance>(path, map, |Chance { item_id, position, chance }| {
            *positions = (*positions).max(position as usize + 1);
            row += 1;
            let action = items.row_or_new(&item_id);
            if chances.insert((position, action), chance).is_some() {
                twice.get_or_insert((row, action, position));
            }
        })?;
        if let Some((row, action, position)) = twice {
            let reason = format!("item {:?} has two chances at position {}", items.name(action), position + 1);
            return Err(LoggedError::Row { path: path.to_owned(), row, reason });
        }
        let actions = items.len();
        let mut table = vec![0.0; actions * *positions];
        for ((position, action), chance) in chances {
            table[position as usize * actions + action as usize] = chance;
        }
        Policy::new(actions, table).map_err(|source| LoggedError::Policy { path: path.to_owned(), source })
    }
}

fn each<R: Row>(path: &Path, map: &ColumnMap, mut take: impl FnMut(R)) -> Result<(), LoggedError> {
    let mut reader = Reader::<R>::open(path, map, 0)?;
    while let Some(batch) = reader.next_batch(LIMITS)? {
        if let Some(rejected) = batch.rejected.into_iter().next() {
            return Err(LoggedError::Row { path: path.to_owned(), row: rejected.row, reason: rejected.reason });
        }
        batch.rows.into_iter().for_each(|numbered| take(numbered.row));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    const LOG: &str = "item_id,position,propensity,reward,list_id\na,1,.5,1,x\nb,2,.25,0,x\na,1,.5,0,y\n";

    #[test]
    fn names_become_actions_and_lists_stay_together() {
        let log = ShownLog::read(file(LOG).path(), &ColumnMap::default()).unwrap();
        let told: Vec<_> = log.rows.iter().map(|row| (row.action, row.position, row.reward)).collect();
        assert_eq!((told, log.positions), (vec![(0, 0, 1.0), (1, 1, 0.0), (0, 0, 0.0)], 2));
        assert!(log.rows[0].list == log.rows[1].list && log.rows[0].list != log.rows[2].list);
        assert_eq!(log.uniform().unwrap().chance(1, 1), Some(0.5));
        let plain = ShownLog::read(file("item_id,propensity,reward\na,1,2.5\nb,1,0\n").path(), &ColumnMap::default());
        let plain = plain.unwrap();
        assert!(plain.rows[0].list != plain.rows[1].list && plain.positions == 1);
    }

    #[test]
    fn a_policy_shows_what_its_file_names() {
        let mut log = ShownLog::read(file(LOG).path(), &ColumnMap::default()).unwrap();
        let chances = file("item_id,position,chance\nb,1,1\nb,2,.4\nc,2,.6\n");
        let policy = log.policy(chances.path(), &ColumnMap::default()).unwrap();
        assert_eq!([(0, 0), (1, 0), (1, 1), (2, 1)].map(|(a, p)| policy.chance(a, p).unwrap()), [0.0, 1.0, 0.4, 0.6]);
        for (text, why) in [
            ("item_id,chance\na,.5\na,.5\n", "two chances"),
            ("item_id,chance\na,.5\nb,.4\n", "add up to"),
            ("item_id,chance\na,2\n", "not from 0 to 1"),
            ("item_id,position,chance\na,0,1\n", "position 0"),
        ] {
            let error = log.clone().policy(file(text).path(), &ColumnMap::default()).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_row_that_makes_no_sense_ends_it() {
        let text = LOG.replace(".25", "0");
        let error = ShownLog::read(file(&text).path(), &ColumnMap::default()).unwrap_err().to_string();
        assert!(error.contains("row 2: propensity 0 is not above 0"), "{error}");
        let none = ShownLog::read(file("item_id,propensity,reward\n").path(), &ColumnMap::default()).unwrap();
        assert_eq!(none.uniform(), Err(OffPolicyError::Empty));
    }
}
