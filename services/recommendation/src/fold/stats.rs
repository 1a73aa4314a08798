//! What became of what was shown: how often each item was on a list, seen, clicked and bought, by surface.
//!
//! A click that says on which list it happened and not on which surface counts where the list was shown. A rate is pulled
//! towards that of all items until there is enough to go by: an item that was shown twice and clicked once is not the best
//! of all.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

/// Lists that are remembered: a copy of an older one counts again, and clicks on it have no surface.
const LISTS_MAX: usize = 100_000;
/// So many showings of the usual rate are added to those of an item.
const PRIOR: f64 = 20.0;
/// No surface was said.
pub(super) const NOWHERE: u16 = u16::MAX;

/// Counts of one item, or of all, on one surface or on all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Places on lists that were made.
    pub exposures: u64,
    /// Times that somebody was seen to have it on his screen, where the application says so.
    pub impressions: u64,
    /// Clicks.
    pub clicks: u64,
    /// Events of the types that are conversions.
    pub conversions: u64,
}

impl Counts {
    /// How often it was shown: as the application says, or else as often as it was on a list.
    pub fn shown(&self) -> u64 {
        if self.impressions > 0 { self.impressions } else { self.exposures }
    }

    fn add(&mut self, other: Self) {
        self.exposures += other.exposures;
        self.impressions += other.impressions;
        self.clicks += other.clicks;
        self.conversions += other.conversions;
    }
}

/// Clicks and conversions for each time that an item was shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Clicks.
    pub click: f64,
    /// Conversions.
    pub conversion: f64,
}

/// Counts of all items; plain data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// By row: surfaces, rising.
    items: Vec<Vec<(u16, Counts)>>,
    /// By surface, over all items.
    surfaces: Vec<(u16, Counts)>,
    /// Where each of the last lists was shown, by the hash of its name.
    lists: HashMap<u64, u16>,
    /// The same, oldest first.
    order: VecDeque<u64>,
}

impl Stats {
    /// A list was shown; false, and nothing counts, if it was counted before.
    pub(super) fn show(&mut self, list: u64, surface: u16, rows: impl Iterator<Item = u32>) -> bool {
        if self.lists.contains_key(&list) {
            return false;
        }
        if self.order.len() >= LISTS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.lists.remove(&oldest);
        }
        self.lists.insert(list, surface);
        self.order.push_back(list);
        rows.for_each(|row| self.count(row, surface, Counts { exposures: 1, ..Counts::default() }));
        true
    }

    /// Where a list was shown.
    pub(super) fn surface_of(&self, list: u64) -> Option<u16> {
        self.lists.get(&list).copied()
    }

    pub(super) fn count(&mut self, row: u32, surface: u16, counts: Counts) {
        let place = row as usize;
        if self.items.len() <= place {
            self.items.resize(place + 1, Vec::new());
        }
        for list in [&mut self.items[place], &mut self.surfaces] {
            match list.binary_search_by_key(&surface, |(surface, _)| *surface) {
                Ok(place) => list[place].1.add(counts),
                Err(place) => {
                    // Most items are shown on one surface.
                    list.reserve_exact(1);
                    list.insert(place, (surface, counts));
                }
            }
        }
    }

    /// What is known of an item, by surface.
    pub fn of(&self, row: u32) -> &[(u16, Counts)] {
        self.items.get(row as usize).map_or(&[], Vec::as_slice)
    }

    /// What is known of an item on one surface, or on all.
    pub fn counts(&self, row: u32, surface: Option<u16>) -> Counts {
        total(self.of(row), surface)
    }

    /// What an item's showings lead to, and how many there are, on one surface or on all; no rates where it was never
    /// shown there.
    pub fn shown(&self, row: u32, surface: Option<u16>) -> (Option<Rates>, u64) {
        let own = self.counts(row, surface);
        if own.shown() == 0 {
            return (None, 0);
        }
        let all = total(&self.surfaces, surface);
        let rate = |own_count: u64, all_count: u64| {
            let usual = all_count as f64 / all.shown() as f64;
            (own_count as f64 + PRIOR * usual) / (own.shown() as f64 + PRIOR)
        };
        let rates = Rates { click: rate(own.clicks, all.clicks), conversion: rate(own.conversions, all.conversions) };
        (Some(rates), own.shown())
    }
}

fn total(list: &[(u16, Counts)], surface: Option<u16>) -> Counts {
    let mut total = Counts::default();
    let those = list.iter().filter(|(one, _)| surface.is_none_or(|surface| surface == *one));
    those.for_each(|(_, counts)| total.add(*counts));
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLICK: Counts = Counts { exposures: 0, impressions: 0, clicks: 1, conversions: 0 };

    #[test]
    fn rates_begin_at_the_usual_one_and_follow_what_happens() {
        let mut stats = Stats::default();
        for list in 0..100 {
            assert!(stats.show(list, 0, [1, 2].into_iter()));
            assert!(!stats.show(list, 0, [1, 2].into_iter()), "once");
        }
        (0..60).for_each(|_| stats.count(1, 0, CLICK));
        let click = |stats: &Stats, row| stats.shown(row, Some(0)).0.unwrap().click;
        assert!((click(&stats, 1) - (60.0 + 20.0 * 0.3) / 120.0).abs() < 1e-12);
        assert!((click(&stats, 2) - 20.0 * 0.3 / 120.0).abs() < 1e-12);
        assert!(stats.show(1_000, 0, [3].into_iter()));
        assert!((click(&stats, 3) - 0.285).abs() < 0.01, "nearly the usual one: {}", click(&stats, 3));
        assert_eq!((stats.shown(4, None), stats.shown(1, Some(7))), ((None, 0), (None, 0)));
        assert_eq!(stats.counts(1, None), Counts { exposures: 100, clicks: 60, ..Counts::default() });
        // Where the application says what was on a screen, that counts.
        stats.count(2, 0, Counts { impressions: 10, ..Counts::default() });
        assert_eq!(stats.counts(2, None).shown(), 10);
    }

    #[test]
    fn the_lists_that_are_remembered_have_a_bound() {
        let mut stats = Stats::default();
        (0..LISTS_MAX as u64 + 5).for_each(|list| _ = stats.show(list, 3, std::iter::empty()));
        assert_eq!((stats.lists.len(), stats.order.len()), (LISTS_MAX, LISTS_MAX));
        assert_eq!((stats.surface_of(4), stats.surface_of(5)), (None, Some(3)));
    }
}
