//! Which places a search may find, block by block: a set of rows is looked up only for blocks that a bound does not exclude.

use crate::index::segment::{Block, PANEL};
use crate::index::{Allowed, Segment};

/// Fewer allowed items than one in so many are scored one by one: bounds would exclude few of them.
const FEW: usize = 256;

/// Which places of a segment may be found.
#[derive(Clone, Copy, Debug)]
pub(in crate::index) enum Mask<'a> {
    /// All that hold items.
    All,
    /// These.
    Places(&'a Allowed),
    /// Those whose row is in a set, of the `live` places.
    Rows {
        /// The rows.
        rows: &'a Allowed,
        /// The places that they may be at.
        live: &'a Allowed,
    },
}

impl Mask<'_> {
    /// The places of a block, the first lowest.
    pub(super) fn of(self, segment: &Segment, block: &Block) -> u64 {
        let (first, places) = (block.panels().start * PANEL, block.places());
        match self {
            Mask::All => u64::MAX >> (u64::BITS - places),
            Mask::Places(allowed) => allowed.bits(first, places),
            Mask::Rows { rows, live } => {
                let live = live.bits(first, places);
                let here = &segment.rows[first..first + places as usize];
                here.iter().enumerate().fold(0, |found, (bit, &row)| found | u64::from(rows.contains(row)) << bit)
                    & live
            }
        }
    }

    /// The places, if they are few for a segment.
    pub(super) fn few(self, segment: &Segment) -> Option<Vec<u32>> {
        let Mask::Places(allowed) = self else { return None };
        (allowed.count() <= segment.items / FEW).then(|| allowed.iter().collect())
    }
}
