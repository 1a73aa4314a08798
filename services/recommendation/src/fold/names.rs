//! Names, and the rows that stand for them.

use std::{collections::HashMap, hash::Hasher};

use fnv::FnvHasher;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names numbered in the order in which they came. They are found by a hash that is the same in every process, so that a
/// cursor can name an item by it; where two names share one, the later has the next that is free.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Names {
    names: Vec<Box<str>>,
    rows: HashMap<u64, u32>,
}

/// The same in every process and every version of this program: cursors hold it.
pub fn hash_of(name: &str) -> u64 {
    let mut hasher = FnvHasher::default();
    hasher.write(name.as_bytes());
    hasher.finish()
}

impl Names {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The row of a name that is known.
    pub fn row(&self, name: &str) -> Option<u32> {
        self.find(name).ok()
    }

    /// The name of a row.
    pub fn get(&self, row: u32) -> Option<&str> {
        self.names.get(row as usize).map(|name| &**name)
    }

    /// The row of a name by the name's hash.
    pub fn row_of_hash(&self, hash: u64) -> Option<u32> {
        self.rows.get(&hash).copied()
    }

    /// The row of a name, a new one where it has none; `None` where there are `names_max` others.
    pub fn row_or_new(&mut self, name: &str, names_max: usize) -> Option<u32> {
        match self.find(name) {
            Ok(row) => Some(row),
            Err(_) if self.names.len() >= names_max => None,
            Err(free) => {
                let row = self.names.len() as u32;
                self.names.push(name.into());
                self.rows.insert(free, row);
                Some(row)
            }
        }
    }

    /// The row of a name, or the hash that is free for it.
    fn find(&self, name: &str) -> Result<u32, u64> {
        let mut hash = hash_of(name);
        loop {
            match self.rows.get(&hash) {
                Some(&row) if *self.names[row as usize] == *name => return Ok(row),
                Some(_) => hash = hash.wrapping_add(1),
                None => return Err(hash),
            }
        }
    }
}

impl Serialize for Names {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.names.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let list = Vec::<Box<str>>::deserialize(deserializer)?;
        let mut names = Self::default();
        for (number, name) in list.iter().enumerate() {
            if names.row_or_new(name, usize::MAX) != Some(number as u32) {
                return Err(serde::de::Error::custom("a name is there twice"));
            }
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_rows_and_a_bound() {
        let mut names = Names::default();
        assert_eq!(["b", "a", "b", "c"].map(|name| names.row_or_new(name, 2)), [Some(0), Some(1), Some(0), None]);
        assert_eq!((names.row("a"), names.row("c"), names.get(0), names.len()), (Some(1), None, Some("b"), 2));
        assert_eq!(names.row_of_hash(hash_of("a")), Some(1));
        assert_eq!(hash_of("a"), 0xaf63_dc4c_8601_ec8c, "published test vector");
    }

    #[test]
    fn a_shared_hash_is_found_beside_it() {
        let mut names = Names::default();
        names.row_or_new("x", 9);
        names.rows.insert(hash_of("y"), 0);
        assert_eq!(names.row_or_new("y", 9), Some(1));
        assert_eq!((names.row("y"), names.row_of_hash(hash_of("y").wrapping_add(1))), (Some(1), Some(1)));
    }
}
