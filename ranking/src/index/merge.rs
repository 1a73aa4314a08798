//! Segments are merged so that there are few, and so that the dead do not stay.
//!
//! Sizes fall into tiers, each four times as large as the one before; four segments of one tier become one of a higher
//! tier. So an item is laid out again once a tier, about ten times on its way to a million, and a search looks at no more
//! than a few segments of each tier. (Bentley and Saxe 1980: decomposable searching problems.)

use super::live::{Index, bury};
use super::sealed::Sealed;
use super::{IndexError, Item};

/// Segments of a tier that become one; and how many times larger the next tier's are.
const FAN: usize = 4;
/// Items of the lowest tier.
const LOWEST: usize = 256;

impl Index {
    /// Merges some segments, if there are too many or too many dead in them, and says whether it did. Call it until it
    /// does not: on a thread of its own, since it takes as long as laying out what it merges. Readers and writers go on
    /// meanwhile.
    ///
    /// # Errors
    /// None that the items could cause: they were checked when they came.
    pub fn merge(&self, threads: usize) -> Result<bool, IndexError> {
        let view = self.view();
        let Some(chosen) = choose(&view.sealed) else { return Ok(false) };
        let chosen: Vec<&Sealed> = chosen.iter().map(|&number| &view.sealed[number]).collect();
        let mut items: Vec<Item> = Vec::with_capacity(chosen.iter().map(|segment| segment.items).sum());
        for segment in &chosen {
            items.extend(segment.living().map(|(place, row)| segment.item(place, row)));
        }
        let id = self.lock().next_id();
        let merged = Sealed::build(id, items, self.width, &self.schema, threads)?;
        self.replace(&chosen.iter().map(|segment| segment.id).collect::<Vec<_>>(), merged);
        Ok(true)
    }

    /// Puts a merged segment in the place of those it was made of. What was changed or deleted while it was made is dead
    /// in it.
    fn replace(&self, ids: &[u32], merged: Sealed) {
        let mut writer = self.lock();
        let mut sealed = self.view().sealed.to_vec();
        sealed.retain(|segment| !ids.contains(&segment.id));
        let (id, living) = (merged.id, merged.living().collect::<Vec<_>>());
        sealed.push(merged);
        for (place, row) in living {
            match writer.places.get_mut(&row) {
                Some(at) if ids.contains(&at.0) => *at = (id, place),
                _ => bury(&mut sealed, Some((id, place))),
            }
        }
        self.install(sealed);
    }
}

/// Which segments shall become one: those of the lowest tier that is full, or one that is more than a third dead.
fn choose(sealed: &[Sealed]) -> Option<Vec<usize>> {
    let mut tiers: Vec<Vec<usize>> = Vec::new();
    for (number, segment) in sealed.iter().enumerate() {
        let tier = tier(segment.items);
        tiers.resize(tiers.len().max(tier + 1), Vec::new());
        tiers[tier].push(number);
    }
    let dead = |segment: &Sealed| 3 * segment.items < 2 * segment.items_built();
    let full = tiers.into_iter().find(|tier| tier.len() >= FAN);
    full.or_else(|| sealed.iter().position(dead).map(|number| vec![number]))
}

fn tier(items: usize) -> usize {
    (items / LOWEST).checked_ilog(FAN).map_or(0, |tier| tier as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_is_four_times_the_one_below() {
        assert_eq!([0, 255, 256, 1_023, 1_024, 4_096, 1 << 20].map(tier), [0, 0, 1, 1, 2, 3, 7]);
    }
}
