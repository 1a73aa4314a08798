//! Which places a search may find, block by block: a set of rows is looked up only for blocks that a bound does not exclude.

use crate::index::Allowed;
use crate::index::layout::{Block, Layout, PANEL};

/// Fewer allowed items than one in so many are scored one by one: bounds would exclude few of them.
pub(in crate::index) const FEW: usize = 256;

/// Which places of a layout may be found.
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
    /// Those of a subset that are at these places among all: few are not, so each is looked up when it is to be scored.
    Living(&'a Allowed),
}

impl Mask<'_> {
    /// The places of a block, the first lowest.
    pub(super) fn of(self, layout: &Layout, block: &Block) -> u64 {
        let (first, places) = (block.panels().start * PANEL, block.places());
        match self {
            Mask::All | Mask::Living(_) => u64::MAX >> (u64::BITS - places),
            Mask::Places(allowed) => allowed.bits(first, places),
            Mask::Rows { rows, live } => {
                let live = live.bits(first, places);
                let here = &layout.rows[first..first + places as usize];
                here.iter().enumerate().fold(0, |found, (bit, &row)| found | u64::from(rows.contains(row)) << bit)
                    & live
            }
        }
    }

    /// Whether a place may be found, of those that the mask of its block has.
    pub(super) fn admits(self, layout: &Layout, place: usize) -> bool {
        let Mask::Living(live) = self else { return true };
        live.contains(layout.home(place) as u32)
    }

    /// The places, if they are few for a layout.
    pub(super) fn few(self, layout: &Layout) -> Option<Vec<u32>> {
        let Mask::Places(allowed) = self else { return None };
        (allowed.count() <= layout.items / FEW).then(|| allowed.iter().collect())
    }
}
