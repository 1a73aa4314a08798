//! What must not be evicted while it lives: counters, the steps of streams, locks.
//!
//! A bounded map with expiry. Where a cache drops something to make room, this refuses: a forgotten step would count
//! twice, a forgotten lock would have two holders.

use std::collections::HashMap;
use std::time::Duration;

/// Rows that live for some time.
#[derive(Debug)]
pub(super) struct Ledger<V> {
    rows: HashMap<Box<str>, (V, Duration)>,
    rows_max: usize,
    swept: Duration,
}

/// How often expired rows are looked for at most, when there is no room: looking takes as long as there are rows.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

impl<V> Ledger<V> {
    pub(super) fn new(rows_max: usize) -> Self {
        Self { rows: HashMap::new(), rows_max, swept: Duration::ZERO }
    }

    pub(super) fn get(&self, key: &str, now: Duration) -> Option<&V> {
        self.rows.get(key).filter(|(_, until)| *until > now).map(|(value, _)| value)
    }

    pub(super) fn set(&mut self, key: &str, value: V, until: Duration) {
        match self.rows.get_mut(key) {
            Some(row) => *row = (value, until),
            None => drop(self.rows.insert(key.into(), (value, until))),
        }
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.rows.remove(key);
    }

    /// Removes all rows whose keys begin with `prefix`; how many there were.
    pub(super) fn remove_all(&mut self, prefix: &str) -> usize {
        let before = self.rows.len();
        self.rows.retain(|key, _| !key.starts_with(prefix));
        before - self.rows.len()
    }

    /// Whether all of `keys` may be set.
    pub(super) fn has_room<'k>(&mut self, keys: impl Iterator<Item = &'k str> + Clone, now: Duration) -> bool {
        let fits = |ledger: &Self| {
            let new = keys.clone().filter(|key| !ledger.rows.contains_key(*key)).count();
            ledger.rows.len() + new <= ledger.rows_max
        };
        if !fits(self) && now >= self.swept + SWEEP_PAUSE {
            self.swept = now;
            self.rows.retain(|_, (_, until)| *until > now);
        }
        fits(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_refuses_when_full_of_what_lives_and_makes_room_of_what_does_not() {
        let second = Duration::from_secs(1);
        let mut ledger = Ledger::new(2);
        ledger.set("a", 1, 10 * second);
        ledger.set("b", 2, 20 * second);
        assert!(!ledger.has_room(["c"].into_iter(), 5 * second));
        assert!(ledger.has_room(["a", "b"].into_iter(), 5 * second), "what is there needs no room");
        assert_eq!(ledger.get("a", 10 * second), None);
        assert!(ledger.has_room(["c"].into_iter(), 10 * second));
        assert_eq!(ledger.get("b", 10 * second), Some(&2));
    }
}
