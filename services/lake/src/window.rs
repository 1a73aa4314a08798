//! Which events of a partition are in the lake already.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

/// A copy of an event that arrives so many days later, or sooner, is left out; days are those of UTC.
pub const KEPT_DAYS: i64 = 2;
/// The most ids that a partition's window holds; beyond it the oldest day goes first.
pub const IDS_MAX: usize = 2_000_000;

/// Ids by the day of their arrival, as hashes of 64 bits: of a million of them, two are taken for one another with a
/// probability of 3 in 100 million.
#[derive(Debug, Default)]
pub struct Window {
    days: BTreeMap<i64, HashSet<u64>>,
}

/// What an event is known by.
pub fn fingerprint(subject: &str, id: &str) -> u64 {
    // Its keys are fixed, and the value is never kept: the window of a start is made by the same program.
    BuildHasherDefault::<DefaultHasher>::default().hash_one((subject, id))
}

impl Window {
    /// Whether an event that arrived on this day is new; it is known from here on.
    pub fn is_new(&mut self, day: i64, id: u64) -> bool {
        if self.days.values().any(|ids| ids.contains(&id)) {
            return false;
        }
        self.days.entry(day).or_default().insert(id);
        self.forget();
        true
    }

    /// Something arrived on this day, whatever it was.
    pub fn see(&mut self, day: i64) {
        self.days.entry(day).or_default();
        self.forget();
    }

    fn forget(&mut self) {
        let Some((&newest, _)) = self.days.last_key_value() else { return };
        while let Some((&oldest, _)) = self.days.first_key_value() {
            let ids: usize = self.days.values().map(HashSet::len).sum();
            let is_full = ids > IDS_MAX && oldest < newest;
            if oldest >= newest - KEPT_DAYS && !is_full {
                break;
            }
            self.days.pop_first();
        }
    }
}

/// The windows of all partitions.
#[derive(Debug, Default)]
pub(crate) struct Windows(HashMap<u32, Window>);

impl Windows {
    pub fn of(&mut self, partition: u32) -> &mut Window {
        self.0.entry(partition).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_known_for_two_days() {
        let mut window = Window::default();
        let id = fingerprint("s", "e");
        assert_ne!(id, fingerprint("t", "e"));
        assert!(window.is_new(10, id) && !window.is_new(10, id) && !window.is_new(12, id));
        assert!(window.is_new(12, 1));
        assert!(window.is_new(13, 2));
        assert!(window.is_new(13, id), "three days later it is another event");
    }
}
