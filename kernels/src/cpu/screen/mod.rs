//! Screening: which of many items may have a large inner product with which of many queries.
//!
//! Items and queries are int8 rows. [`screen`] computes every inner product exactly, in integers, and compares it with the
//! threshold of its query while it is still in a register: no score is ever written to memory. What remains are
//! [`Hit`]s, sixteen items at a time, which the caller scores in f32. The alternative, a matrix of scores and a selection
//! afterwards, writes and reads four bytes for every byte of an item, and is what bounds everybody who does it.
//!
//! ```text
//! let items = ScreenItems::pack(isa, &levels, width);
//! queries.set(&items, &query_levels);                    // |level| <= items.query_level_max()
//! screen(&items, 0..items.panels(), &queries, &[Wanted { query: 0, at_least: 10_000 }], &mut hits);
//! ```
//!
//! Hits are the same on every instruction set, since integers are. [`ScreenRows`] is for a second look at a few of the items.

mod packed;
mod rows;

pub use packed::{ScreenItems, ScreenQueries};
pub(crate) use rows::RowKernel;
pub use rows::{RowQueries, ScreenRows};

use std::ops::Range;

use super::lines::{LANES, Line};
use super::{Isa, scalar};

/// Longest row: 255 x 127 x 65,536 still fits an i32.
pub const SCREEN_WIDTH_MAX: usize = 1 << 16;

/// A query, and the smallest inner product that it wants to know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Row of the query.
    pub query: u32,
    /// In the units of the integer product.
    pub at_least: i32,
}

/// Items that reach the threshold of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hit {
    /// Items `16 * panel` and on.
    pub panel: u32,
    /// Row of the query.
    pub query: u32,
    /// Bit `i` is item `16 * panel + i`; at least one is set.
    pub lanes: u16,
}

/// What each item of a panel starts its sum from: it takes the offset of the query's levels back.
pub(crate) type Starts = [i32; LANES];

/// Integer products of a few queries with a few panels, compared with thresholds.
pub(crate) trait ScreenKernel {
    /// Queries at once.
    const ROWS: usize;
    /// Panels at once, for so many queries: few queries need many panels to have enough independent sums.
    fn panels_at_once(rows: usize) -> usize;

    /// Writes for each query, panel by panel, the lanes whose sum is at least `at_least` of that query. `rows` holds 1 to
    /// `ROWS` rows of levels, `panels` 1 to `panels_at_once` panels, one after the other, as many as `starts`.
    fn lanes(&self, rows: &[&[Line]], panels: &[Line], starts: &[Starts], at_least: &[i32], lanes: &mut [u16]);
}

/// Which kernel a tier runs, and what it asks of a query's levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Maddubs,
    #[cfg(target_arch = "x86_64")]
    Vnni,
}

impl Path {
    fn of(isa: Isa) -> Self {
        isa.require();
        match isa {
            Isa::Scalar => Path::Scalar,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Amx if super::avx512::int8::Vnni::is_supported() => Path::Vnni,
            #[cfg(target_arch = "x86_64")]
            _ => Path::Maddubs,
            #[cfg(not(target_arch = "x86_64"))]
            _ => Path::Scalar,
        }
    }

    /// Added to a query's level, since the instructions want it unsigned. `vpmaddubsw` saturates with the 8th bit.
    fn offset(self) -> i32 {
        match self {
            Path::Scalar => 128,
            #[cfg(target_arch = "x86_64")]
            Path::Maddubs => 64,
            #[cfg(target_arch = "x86_64")]
            Path::Vnni => 128,
        }
    }
}

/// Appends to `hits` all items of `panels` whose inner product reaches what a query wants, by tiles of panels and then in
/// the order of `wanted`.
///
/// # Panics
/// If there are no such panels or queries, or the widths of both differ, or the queries were set for other items' tier.
pub fn screen(
    items: &ScreenItems,
    panels: Range<usize>,
    queries: &ScreenQueries,
    wanted: &[Wanted],
    hits: &mut Vec<Hit>,
) {
    assert!(panels.end <= items.panels(), "panels {panels:?} of {}", items.panels());
    assert_eq!((queries.path(), queries.width()), (items.path(), items.width()), "queries were set for other items");
    match items.path() {
        Path::Scalar => run(&scalar::screen::Loops, items, panels, queries, wanted, hits),
        #[cfg(target_arch = "x86_64")]
        Path::Maddubs => run(&super::avx2::screen::Maddubs::new(), items, panels, queries, wanted, hits),
        #[cfg(target_arch = "x86_64")]
        Path::Vnni => run(&super::avx512::screen::Vnni::new(), items, panels, queries, wanted, hits),
    }
}

/// The most that any kernel takes at once.
const TILE_MAX: usize = 16;

fn run<K: ScreenKernel>(
    kernel: &K,
    items: &ScreenItems,
    panels: Range<usize>,
    queries: &ScreenQueries,
    wanted: &[Wanted],
    hits: &mut Vec<Hit>,
) {
    let at_once = K::panels_at_once(wanted.len().clamp(1, K::ROWS));
    let mut rows: [&[Line]; TILE_MAX] = [&[]; TILE_MAX];
    let (mut at_least, mut lanes) = ([0; TILE_MAX], [0; TILE_MAX]);
    for first in panels.clone().step_by(at_once) {
        let count = at_once.min(panels.end - first);
        let (lines, starts) = (items.lines(first, count), items.starts(first, count));
        for wanted in wanted.chunks(K::ROWS) {
            for (place, one) in wanted.iter().enumerate() {
                rows[place] = queries.row(one.query as usize);
                at_least[place] = one.at_least;
            }
            let (rows, lanes) = (&rows[..wanted.len()], &mut lanes[..wanted.len() * count]);
            kernel.lanes(rows, lines, starts, &at_least[..wanted.len()], lanes);
            for (one, lanes) in wanted.iter().zip(lanes.chunks_exact(count)) {
                for (panel, &lanes) in (first..).zip(lanes) {
                    let lanes = lanes & items.present(panel);
                    if lanes != 0 {
                        hits.push(Hit { panel: panel as u32, query: one.query, lanes });
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
