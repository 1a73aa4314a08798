//! What goes with what: how often two items were liked by one person within a few steps.

use std::sync::Arc;
use std::{fmt, hint};

use attune_ranking::retrieve::Links;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Neighbours of an item that stay when there are more than [`PAIRS_MAX`].
const NEIGHBOURS: usize = 100;
/// Neighbours of an item: with what stands beside them they fill 1,536 bytes, a size that an allocator gives out whole.
const PAIRS_MAX: usize = 188;
/// Steps after which a pair counts half.
const HALF_LIFE: f32 = 5.0;
/// Added to the count of either side before its root divides: what occurs rarely is believed less.
const SHRINKAGE: f32 = 5.0;

/// Rows that are shared together: a view of a hundred thousand is then a copy of some thousand references, and the first
/// change of a row after it one of so many.
const BLOCK: usize = 64;

/// Rows that something goes with, and how often, in one piece of memory: their number, room for rows, as much for counts,
/// as bits. An event changes twenty of these, each somewhere else, and waits for memory once for each: rows are looked
/// through from the first to the last, which is fetched ahead, where a search by halves would wait with every step.
#[derive(Clone)]
struct Pairs(Arc<[u32]>);

/// Counts of pairs. Blocks and rows are shared with the views that were made, and copied where they change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Visits {
    /// Of [`BLOCK`] rows each.
    blocks: Vec<Arc<[Pairs]>>,
    /// By row, how often it was liked by somebody for the first time.
    totals: Vec<f32>,
}

/// The counts at one moment.
#[derive(Clone, Debug, Default)]
pub struct VisitsView {
    blocks: Vec<Arc<[Pairs]>>,
    /// By row, what its counts are multiplied with: a list reads thousands of them, and a root for each would be most of it.
    scales: Vec<f32>,
}

impl Pairs {
    /// Those of a list, the best of them where they are too many, with room for so many.
    fn of(mut pairs: Vec<(u32, f32)>, room: usize) -> Self {
        if pairs.len() > PAIRS_MAX {
            pairs.select_nth_unstable_by(NEIGHBOURS, |left, right| {
                right.1.total_cmp(&left.1).then(left.0.cmp(&right.0))
            });
            pairs.truncate(NEIGHBOURS);
        }
        let room = room.clamp(pairs.len(), PAIRS_MAX);
        let free = || std::iter::repeat_n(0, room - pairs.len());
        let (rows, counts) = (pairs.iter().map(|(row, _)| *row), pairs.iter().map(|(_, count)| count.to_bits()));
        let words = std::iter::once(pairs.len() as u32).chain(rows).chain(free()).chain(counts).chain(free());
        Self(words.collect::<Vec<u32>>().into())
    }

    fn room(&self) -> usize {
        self.0.len() / 2
    }

    /// The rows, and the bits of their counts.
    fn parts(&self) -> (&[u32], &[u32]) {
        let (len, rest) = (self.0[0] as usize, &self.0[1..]);
        let (rows, counts) = rest.split_at(rest.len() / 2);
        (&rows[..len], &counts[..len])
    }

    fn iter(&self) -> impl Iterator<Item = (u32, f32)> {
        let (rows, counts) = self.parts();
        rows.iter().zip(counts).map(|(row, bits)| (*row, f32::from_bits(*bits)))
    }

    fn add(&mut self, row: u32, count: f32) {
        let (len, room) = (self.0[0] as usize, self.room());
        if let Some(place) = place_of(row, self.parts().0) {
            let bits = &mut Arc::make_mut(&mut self.0)[1 + room + place];
            *bits = (f32::from_bits(*bits) + count).to_bits();
        } else if len < room {
            let words = Arc::make_mut(&mut self.0);
            (words[0], words[1 + len], words[1 + room + len]) = (len as u32 + 1, row, count.to_bits());
        } else {
            let more = if len < PAIRS_MAX { len + len / 4 + 4 } else { PAIRS_MAX };
            *self = Self::of(self.iter().chain([(row, count)]).collect(), more);
        }
    }
}

/// Where a row is among others.
fn place_of(row: u32, rows: &[u32]) -> Option<usize> {
    const LANES: usize = 16;
    let (whole, _) = rows.as_chunks::<LANES>();
    // Without a way out between them: then they are compared at once.
    let is_in = |some: &[u32; LANES]| some.iter().fold(false, |is_in, one| is_in | (*one == row));
    let first = LANES * whole.iter().position(is_in).unwrap_or(whole.len());
    rows[first..].iter().take(LANES).position(|one| *one == row).map(|place| first + place)
}

impl Default for Pairs {
    fn default() -> Self {
        Self::of(Vec::new(), 0)
    }
}

impl PartialEq for Pairs {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl fmt::Debug for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Visits {
    /// Somebody liked an item for the first time, and before it others, the nearest first.
    pub(super) fn visit(&mut self, row: u32, before: &[u32]) {
        let largest = before.iter().copied().fold(row, u32::max) as usize;
        if self.totals.len() <= largest {
            self.totals.resize(largest + 1, 0.0);
            let block = || vec![Pairs::default(); BLOCK].into();
            self.blocks.resize_with(self.totals.len().div_ceil(BLOCK), block);
        }
        self.totals[row as usize] += 1.0;
        let counts = |distance: usize| (-(distance as f32) / HALF_LIFE).exp2();
        // All of them are on their way before the first is changed: otherwise each is waited for alone.
        let lens = before.iter().filter_map(|other| pairs(&self.blocks, *other)).map(|pairs| pairs.0[0]);
        hint::black_box(lens.fold(0, u32::max));
        let own = self.pairs_mut(row);
        before.iter().enumerate().for_each(|(distance, other)| own.add(*other, counts(distance)));
        for (distance, other) in before.iter().enumerate() {
            self.pairs_mut(*other).add(row, counts(distance));
        }
    }

    fn pairs_mut(&mut self, row: u32) -> &mut Pairs {
        &mut Arc::make_mut(&mut self.blocks[row as usize / BLOCK])[row as usize % BLOCK]
    }

    /// How often an item was liked by somebody for the first time, and what it goes with.
    pub(super) fn of(&self, row: u32) -> (f32, impl Iterator<Item = u32>) {
        let links = pairs(&self.blocks, row).into_iter().flat_map(Pairs::iter).map(|(other, _)| other);
        (self.totals.get(row as usize).copied().unwrap_or(0.0), links)
    }

    pub(super) fn view(&self) -> VisitsView {
        let scales = self.totals.iter().map(|total| (total + SHRINKAGE).sqrt().recip()).collect();
        VisitsView { blocks: self.blocks.clone(), scales }
    }
}

/// What goes with a row; nothing with one that is not there.
fn pairs(blocks: &[Arc<[Pairs]>], row: u32) -> Option<&Pairs> {
    Some(&blocks.get(row as usize / BLOCK)?[row as usize % BLOCK])
}

impl Links for VisitsView {
    fn rows(&self) -> usize {
        self.scales.len()
    }

    /// The count over the geometric mean of how often either was liked.
    fn each(&self, row: u32, mut show: impl FnMut(u32, f32)) {
        let own = self.scales[row as usize];
        for (other, count) in pairs(&self.blocks, row).into_iter().flat_map(Pairs::iter) {
            show(other, count * (own * self.scales[other as usize]));
        }
    }
}

impl Serialize for Pairs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::of(Deserialize::deserialize(deserializer)?, 0))
    }
}

impl Serialize for Visits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rows: Vec<&Pairs> = self.blocks.iter().flat_map(|block| &**block).take(self.totals.len()).collect();
        (rows, &self.totals).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Visits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (pairs, totals): (Vec<Pairs>, Vec<f32>) = Deserialize::deserialize(deserializer)?;
        let rows = pairs.len();
        if totals.len() != rows || pairs.iter().flat_map(Pairs::iter).any(|(other, _)| other as usize >= rows) {
            return Err(serde::de::Error::custom("pairs of items that are not there"));
        }
        let mut pairs = pairs.into_iter();
        let block = |_| (0..BLOCK).map(|_| pairs.next().unwrap_or_default()).collect();
        Ok(Self { blocks: (0..rows.div_ceil(BLOCK)).map(block).collect(), totals })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

        /// As a map counts, as long as there is room; and each once, the best of them, beyond.
        #[test]
        fn pairs_count_like_a_map(steps in vec((0_u32..400, 1_u16..9), 0..900)) {
            let (mut pairs, mut map) = (Pairs::default(), BTreeMap::new());
            for (row, count) in steps {
                let before = pairs.clone();
                pairs.add(row, count.into());
                *map.entry(row).or_insert(0.0) += f32::from(count);
                if map.len() > PAIRS_MAX {
                    let mut best: Vec<(u32, f32)> = map.into_iter().collect();
                    best.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
                    map = best.into_iter().take(NEIGHBOURS).collect();
                }
                prop_assert_eq!(pairs.iter().collect::<BTreeMap<u32, f32>>(), map.clone());
                prop_assert_eq!(pairs.iter().count(), map.len());
                prop_assert!(before != pairs, "what is shared does not change");
            }
            let bytes = postcard::to_allocvec(&pairs).unwrap();
            prop_assert_eq!(&bytes, &postcard::to_allocvec(&pairs.iter().collect::<Vec<_>>()).unwrap());
            prop_assert_eq!(postcard::from_bytes::<Pairs>(&bytes).unwrap(), pairs);
        }
    }

    #[test]
    fn a_view_stays_as_it_was() {
        let mut visits = Visits::default();
        visits.visit(70, &[3, 200]);
        let view = visits.view();
        visits.visit(3, &[200]);
        let of = |view: &VisitsView, row| {
            let mut shown = Vec::new();
            view.each(row, |other, _| shown.push(other));
            shown
        };
        assert_eq!((of(&view, 3), of(&view, 200)), (vec![70], vec![70]));
        assert_eq!((of(&visits.view(), 3), of(&visits.view(), 200)), (vec![70, 200], vec![70, 3]));
        assert_eq!((view.rows(), of(&view, 9)), (201, vec![]));
    }
}
