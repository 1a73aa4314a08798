//! What is kept of one person.

use serde::{Deserialize, Serialize};

use super::ids::Ids;

/// Last events that are kept; older ones are forgotten, what was seen in them is not. As many as a request may bring: a
/// trained recommender that is told less of the busiest users than it learned from serves them worse.
pub const EVENTS_MAX: usize = 1_000;
/// Items that are kept as seen; the longest seen may be shown again.
pub const SEEN_MAX: usize = 8_000;
/// Items before one that it is counted with.
const TOGETHER: usize = 20;

/// An event on an item. A state has millions of them: hence a time of 32 bits, which lasts until 2106, and half an id.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Deed {
    /// Row of the item.
    pub row: u32,
    /// Its type, by number.
    pub kind: u16,
    /// Where, by number; `u16::MAX` where that was not said.
    pub surface: u16,
    /// NaN where there is none.
    pub value: f32,
    /// What it was worth when it was counted.
    pub weight: f32,
    time: u32,
    /// Half of the hash of its id: events of one moment are ordered by it.
    pub id: u32,
}

/// A time in Unix seconds as it is kept: what lies beyond either end is at that end.
fn kept(time: i64) -> u32 {
    time.clamp(0, u32::MAX.into()) as u32
}

/// Room for one more, and a quarter: twice as much, as vectors grow by themselves, would be a third of all memory.
pub(super) fn grown(len: usize, capacity: usize) -> usize {
    if len < capacity { 0 } else { len / 4 + 4 }
}

impl PartialEq for Deed {
    /// By bits, since a value may be NaN.
    fn eq(&self, other: &Self) -> bool {
        let bits = |deed: &Self| (deed.row, deed.kind, deed.surface, deed.value.to_bits(), deed.weight.to_bits());
        bits(self) == bits(other) && (self.time, self.id) == (other.time, other.id)
    }
}

impl Deed {
    /// An event that is worth nothing yet, at a time in Unix seconds.
    pub(super) fn new(row: u32, kind: u16, surface: u16, value: Option<f32>, time: i64, id: u64) -> Self {
        let value = value.unwrap_or(f32::NAN);
        Self { row, kind, surface, value, weight: 0.0, time: kept(time), id: id as u32 }
    }

    /// The same, worth so much.
    pub(super) fn worth(self, weight: f32) -> Self {
        Self { weight, ..self }
    }

    /// In Unix seconds.
    pub fn time(&self) -> i64 {
        self.time.into()
    }

    /// The value, if there is one.
    pub fn value(&self) -> Option<f32> {
        Some(self.value).filter(|value| value.is_finite())
    }
}

/// One person.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// Oldest first.
    deeds: Vec<Deed>,
    /// Rows, rising, and when each was last seen in Unix seconds.
    seen: Vec<(u32, u32)>,
    pub(super) ids: Ids,
    last: i64,
}

impl User {
    /// The last events, oldest first.
    pub fn deeds(&self) -> &[Deed] {
        &self.deeds
    }

    /// Rows of items that were seen after a time in Unix seconds, rising.
    pub fn seen_since(&self, time: i64) -> impl Iterator<Item = u32> {
        self.seen.iter().filter(move |(_, at)| i64::from(*at) >= time).map(|(row, _)| *row)
    }

    /// Rows of items that were seen, rising, and when each was last, in Unix seconds.
    pub(super) fn seen_at(&self) -> impl Iterator<Item = (u32, i64)> {
        self.seen.iter().map(|(row, at)| (*row, (*at).into()))
    }

    /// The time of the last event, in Unix seconds.
    pub fn last(&self) -> i64 {
        self.last
    }

    /// Whether an id is new; it is not from here on.
    pub(super) fn remember(&mut self, id: u64) -> bool {
        let is_new = !self.ids.contains(id);
        if is_new {
            self.ids.push(id);
        }
        is_new
    }

    /// Keeps an event, in the order of times.
    pub(super) fn did(&mut self, deed: Deed, is_seen: bool) {
        self.last = self.last.max(deed.time());
        if is_seen {
            self.see(deed.row, deed.time);
        }
        let place = self.deeds.partition_point(|other| (other.time, other.id) <= (deed.time, deed.id));
        self.deeds.reserve_exact(grown(self.deeds.len(), self.deeds.capacity()));
        self.deeds.insert(place, deed);
        if self.deeds.len() > EVENTS_MAX {
            self.deeds.remove(0);
        }
    }

    fn see(&mut self, row: u32, time: u32) {
        match self.seen.binary_search_by_key(&row, |(row, _)| *row) {
            Ok(place) => self.seen[place].1 = self.seen[place].1.max(time),
            Err(place) => {
                self.seen.reserve_exact(grown(self.seen.len(), self.seen.capacity()));
                self.seen.insert(place, (row, time));
            }
        }
        if self.seen.len() > SEEN_MAX {
            let oldest = (0..self.seen.len()).min_by_key(|place| self.seen[*place].1);
            oldest.map(|place| self.seen.remove(place));
        }
    }

    /// The items that were liked last, the nearest first, each once; none where `row` is among them: what comes again says
    /// nothing new.
    pub(super) fn liked_before(&self, row: u32) -> Vec<u32> {
        let mut rows = Vec::with_capacity(TOGETHER);
        for deed in self.deeds.iter().rev().filter(|deed| deed.weight > 0.0) {
            if deed.row == row {
                return Vec::new();
            }
            if rows.len() < TOGETHER && !rows.contains(&deed.row) {
                rows.push(deed.row);
            }
        }
        rows
    }

    /// Takes over what another was known by.
    pub(super) fn merge(&mut self, other: Self) {
        for id in other.ids.iter() {
            self.remember(id);
        }
        for (row, time) in other.seen {
            self.see(row, time);
        }
        self.last = self.last.max(other.last);
        self.deeds.extend(other.deeds);
        self.deeds.sort_by_key(|deed| (deed.time, deed.id));
        let over = self.deeds.len().saturating_sub(EVENTS_MAX);
        self.deeds.drain(..over);
    }
}
