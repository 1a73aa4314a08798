//! The ids of somebody's last events: whether one is among them costs the same however many there are.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::user::grown;

/// Ids that are kept: one that comes again after so many others counts again.
pub const IDS_MAX: usize = 2_000;
/// Fewer are looked through one by one: most people have no more, and are not to pay for an index.
const INDEXED_FROM: usize = 128;
/// A slot of the index that has no place.
const EMPTY: u16 = u16::MAX;

const _: () = assert!(IDS_MAX < EMPTY as usize);

/// Hashes of ids, the last [`IDS_MAX`] that came.
#[derive(Clone, Default)]
pub struct Ids {
    /// In the order in which they came, up to the bound; from there on round and round.
    ids: Vec<u64>,
    /// Where the oldest is, once they go round.
    oldest: usize,
    /// Places of the ids, open addressing with linear probing; a power of two of slots, half of them empty at least.
    index: Box<[u16]>,
}

impl Ids {
    /// Whether an id is among them.
    pub fn contains(&self, id: u64) -> bool {
        match self.index.is_empty() {
            true => self.ids.contains(&id),
            false => self.index[self.slot(id)] != EMPTY,
        }
    }

    /// Adds one that is not among them; beyond the bound the oldest goes.
    pub fn push(&mut self, id: u64) {
        if self.ids.len() == IDS_MAX {
            self.unlink(self.ids[self.oldest]);
            self.ids[self.oldest] = id;
            self.link(self.oldest);
            self.oldest = (self.oldest + 1) % IDS_MAX;
            return;
        }
        self.ids.reserve_exact(grown(self.ids.len(), self.ids.capacity()));
        self.ids.push(id);
        if self.ids.len() >= INDEXED_FROM && 2 * self.ids.len() > self.index.len() {
            self.index = vec![EMPTY; (2 * self.ids.len()).next_power_of_two()].into();
            (0..self.ids.len()).for_each(|place| self.link(place));
        } else if !self.index.is_empty() {
            self.link(self.ids.len() - 1);
        }
    }

    /// Oldest first.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        let (newer, older) = self.ids.split_at(self.oldest);
        older.iter().chain(newer).copied()
    }

    /// Where a search for an id begins. What ids are is chosen by clients, and hashed weakly.
    fn home(&self, id: u64) -> usize {
        (id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & (self.index.len() - 1)
    }

    /// The slot of an id, or the empty one where it would be.
    fn slot(&self, id: u64) -> usize {
        let mut slot = self.home(id);
        while self.index[slot] != EMPTY && self.ids[self.index[slot] as usize] != id {
            slot = (slot + 1) & (self.index.len() - 1);
        }
        slot
    }

    fn link(&mut self, place: usize) {
        let slot = self.slot(self.ids[place]);
        self.index[slot] = place as u16;
    }

    /// Empties an id's slot, and moves up what stood behind it only because it was taken (Knuth, vol. 3, algorithm R).
    fn unlink(&mut self, id: u64) {
        let mask = self.index.len() - 1;
        let mut hole = self.slot(id);
        let mut slot = hole;
        loop {
            self.index[hole] = EMPTY;
            loop {
                slot = (slot + 1) & mask;
                if self.index[slot] == EMPTY {
                    return;
                }
                let home = self.home(self.ids[self.index[slot] as usize]);
                if (slot.wrapping_sub(home) & mask) >= (slot.wrapping_sub(hole) & mask) {
                    break;
                }
            }
            self.index[hole] = self.index[slot];
            hole = slot;
        }
    }
}

impl PartialEq for Ids {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Serialize for Ids {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeSeq;
        let mut list = serializer.serialize_seq(Some(self.ids.len()))?;
        self.iter().try_for_each(|id| list.serialize_element(&id))?;
        list.end()
    }
}

impl<'de> Deserialize<'de> for Ids {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut ids = Self::default();
        for id in Vec::<u64>::deserialize(deserializer)? {
            if !ids.contains(id) {
                ids.push(id);
            }
        }
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 16, ..ProptestConfig::default() })]

        /// Whatever comes, it says what a list says that is looked through. Few different ids, so that they come again; and
        /// some that differ in high bits alone.
        #[test]
        fn it_is_a_list_of_the_last_ones(
            steps in vec((0_u64..6_000, any::<bool>()), 0..6_000),
        ) {
            let (mut ids, mut list) = (Ids::default(), VecDeque::new());
            for (id, is_high) in steps {
                let id = if is_high { id << 48 } else { id };
                prop_assert_eq!(ids.contains(id), list.contains(&id));
                if !list.contains(&id) {
                    ids.push(id);
                    list.push_back(id);
                    if list.len() > IDS_MAX {
                        list.pop_front();
                    }
                }
            }
            prop_assert!(ids.iter().eq(list.iter().copied()));
            prop_assert!(list.iter().all(|id| ids.contains(*id)));
            let linked = ids.index.iter().filter(|place| **place != EMPTY).count();
            prop_assert!(ids.index.is_empty() || linked == list.len());
            prop_assert_eq!(format!("{ids:x?}"), format!("{list:x?}"));
            let bytes = postcard::to_allocvec(&ids).unwrap();
            prop_assert_eq!(&bytes, &postcard::to_allocvec(&list).unwrap());
            prop_assert_eq!(postcard::from_bytes::<Ids>(&bytes).unwrap(), ids);
        }
    }

    #[test]
    fn ids_that_begin_in_the_same_place_are_told_apart() {
        let mut ids = Ids::default();
        // All of one home, whatever the length of the index: the bits of the product that count are zeros.
        let inverse = 0xf1de_83e1_9937_733d_u64;
        assert_eq!(inverse.wrapping_mul(0x9e37_79b9_7f4a_7c15), 1);
        let same: Vec<u64> = (0..2_500_u64).map(|number| inverse.wrapping_mul(number)).collect();
        for id in &same {
            assert!(!ids.contains(*id));
            ids.push(*id);
        }
        assert!(same[..500].iter().all(|id| !ids.contains(*id)) && same[500..].iter().all(|id| ids.contains(*id)));
    }
}
