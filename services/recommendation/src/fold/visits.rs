//! What goes with what: how often two items were liked by one person within a few steps.

use std::sync::Arc;

use attune_ranking::retrieve::Links;
use serde::{Deserialize, Serialize};

use super::user::grown;

/// Neighbours of an item that stay when there are twice as many.
const NEIGHBOURS: usize = 100;
/// Steps after which a pair counts half.
const HALF_LIFE: f32 = 5.0;
/// Added to the count of either side before its root divides: what occurs rarely is believed less.
const SHRINKAGE: f32 = 5.0;

/// Rows that are shared together: a view of a hundred thousand is then a copy of some thousand references, and the first
/// change of a row after it one of so many.
const BLOCK: usize = 64;

/// Rows that something goes with, rising, and the counts.
type Pairs = Arc<Vec<(u32, f32)>>;

/// Counts of pairs. Blocks and rows are shared with the views that were made, and copied where they change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Visits {
    /// Of [`BLOCK`] rows each.
    blocks: Vec<Arc<Vec<Pairs>>>,
    /// By row, how often it was liked by somebody for the first time.
    totals: Vec<f32>,
}

/// The counts at one moment.
#[derive(Clone, Debug, Default)]
pub struct VisitsView {
    blocks: Vec<Arc<Vec<Pairs>>>,
    /// By row, what its counts are multiplied with: a list reads thousands of them, and a root for each would be most of it.
    scales: Vec<f32>,
}

impl Visits {
    /// Somebody liked an item for the first time, and before it others, the nearest first.
    pub(super) fn visit(&mut self, row: u32, before: Vec<u32>) {
        let largest = before.iter().copied().fold(row, u32::max) as usize;
        if self.totals.len() <= largest {
            self.totals.resize(largest + 1, 0.0);
            self.blocks.resize(self.totals.len().div_ceil(BLOCK), Arc::new(vec![Pairs::default(); BLOCK]));
        }
        self.totals[row as usize] += 1.0;
        for (distance, other) in before.into_iter().enumerate() {
            let count = (-(distance as f32) / HALF_LIFE).exp2();
            self.add(row, other, count);
            self.add(other, row, count);
        }
    }

    fn add(&mut self, row: u32, other: u32, count: f32) {
        let block = Arc::make_mut(&mut self.blocks[row as usize / BLOCK]);
        let pairs = Arc::make_mut(&mut block[row as usize % BLOCK]);
        match pairs.binary_search_by_key(&other, |(other, _)| *other) {
            Ok(place) => pairs[place].1 += count,
            Err(place) => {
                pairs.reserve_exact(grown(pairs.len(), pairs.capacity()));
                pairs.insert(place, (other, count));
            }
        }
        if pairs.len() > 2 * NEIGHBOURS {
            pairs.sort_unstable_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
            pairs.truncate(NEIGHBOURS);
            pairs.sort_unstable_by_key(|(other, _)| *other);
        }
    }

    /// How often an item was liked by somebody for the first time, and what it goes with.
    pub(super) fn of(&self, row: u32) -> (f32, impl Iterator<Item = u32>) {
        let links = pairs(&self.blocks, row).iter().map(|(other, _)| *other);
        (self.totals.get(row as usize).copied().unwrap_or(0.0), links)
    }

    pub(super) fn view(&self) -> VisitsView {
        let scales = self.totals.iter().map(|total| (total + SHRINKAGE).sqrt().recip()).collect();
        VisitsView { blocks: self.blocks.clone(), scales }
    }
}

/// What goes with a row; nothing with one that is not there.
fn pairs(blocks: &[Arc<Vec<Pairs>>], row: u32) -> &[(u32, f32)] {
    blocks.get(row as usize / BLOCK).map_or(&[], |block| &block[row as usize % BLOCK])
}

impl Links for VisitsView {
    fn rows(&self) -> usize {
        self.scales.len()
    }

    /// The count over the geometric mean of how often either was liked.
    fn each(&self, row: u32, mut show: impl FnMut(u32, f32)) {
        let own = self.scales[row as usize];
        for (other, count) in pairs(&self.blocks, row) {
            show(*other, count * (own * self.scales[*other as usize]));
        }
    }
}

impl Serialize for Visits {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pairs: Vec<&[(u32, f32)]> = (0..self.totals.len() as u32).map(|row| pairs(&self.blocks, row)).collect();
        (pairs, &self.totals).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Visits {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (pairs, totals): (Vec<Vec<(u32, f32)>>, Vec<f32>) = Deserialize::deserialize(deserializer)?;
        let rows = pairs.len();
        if totals.len() != rows || pairs.iter().flatten().any(|(other, _)| *other as usize >= rows) {
            return Err(serde::de::Error::custom("pairs of items that are not there"));
        }
        let mut rows = pairs.into_iter().map(Arc::new);
        let block = |_| Arc::new((0..BLOCK).map(|_| rows.next().unwrap_or_default()).collect());
        Ok(Self { blocks: (0..totals.len().div_ceil(BLOCK)).map(block).collect(), totals })
    }
}
