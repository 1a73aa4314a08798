//! Which events were here just now, so that most duplicates are noticed before they cost anything.
//!
//! This is for the answer and for the disk, not for correctness: the window is bounded and a process's own, and every
//! consumer of the log counts an event once by itself.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most events that are remembered, of all tenants. At 40 bytes each.
pub const WINDOW_EVENTS_MAX: usize = 500_000;

/// Two generations of keys: when the younger one is full it becomes the elder, and the elder is forgotten. So between
/// half and all of the capacity is remembered, and nothing is ever moved.
pub(crate) struct Window {
    generations: Mutex<Generations>,
    generation_max: usize,
}

#[derive(Default)]
struct Generations {
    young: HashMap<u128, u64>,
    old: HashMap<u128, u64>,
}

/// What the window knows of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Nothing.
    New,
    /// The same event.
    Duplicate,
    /// Another event under the same id.
    Conflict,
}

impl Window {
    pub fn new(events_max: usize) -> Self {
        Self { generations: Mutex::default(), generation_max: (events_max / 2).max(1) }
    }

    /// What is known of the event of this key, if it says this.
    pub fn look(&self, key: u128, body: u64) -> Seen {
        let generations = self.lock();
        match generations.young.get(&key).or_else(|| generations.old.get(&key)) {
            None => Seen::New,
            Some(known) if *known == body => Seen::Duplicate,
            Some(_) => Seen::Conflict,
        }
    }

    /// Remembers events that are kept. Never before they are: an event that could not be kept is sent again.
    pub fn remember(&self, events: impl IntoIterator<Item = (u128, u64)>) {
        let mut generations = self.lock();
        for (key, body) in events {
            if generations.young.len() >= self.generation_max {
                generations.old = std::mem::take(&mut generations.young);
            }
            generations.young.insert(key, body);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_same_id_with_another_body_is_a_conflict() {
        let window = Window::new(10);
        assert_eq!(window.look(1, 7), Seen::New);
        window.remember([(1, 7)]);
        assert_eq!(
            (window.look(1, 7), window.look(1, 8), window.look(2, 7)),
            (Seen::Duplicate, Seen::Conflict, Seen::New)
        );
    }

    proptest! {
        #[test]
        fn the_last_half_is_always_known_and_no_more_than_all(max in 2..50_usize, events in 0..300_u128) {
            let window = Window::new(max);
            for key in 0..events {
                window.remember([(key, 0)]);
            }
            let known = (0..events).filter(|key| window.look(*key, 0) == Seen::Duplicate).count();
            prop_assert!(known <= max);
            for key in events.saturating_sub((max / 2) as u128)..events {
                prop_assert_eq!(window.look(key, 0), Seen::Duplicate);
            }
        }
    }
}
