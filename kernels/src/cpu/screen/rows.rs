//! Items one by one: the second look, at the few of many that a coarser screen left.
//!
//! A panel has sixteen items side by side, so that reading one of them reads them all. Here an item is a row of its own, and
//! a row is all that is read for it. The price is a sum across a register for every item, which panels do without.
//!
//! Levels of items are stored unsigned here and those of queries are not, the other way round than in panels: so what the
//! offset adds depends on the query alone, and no second place in memory is read for an item.

use super::packed::check_items;
use super::{Path, scalar};
use crate::cpu::Isa;
use crate::cpu::lines::{Line, RowLines, elements_mut, huge_vec, prefetch};

/// Added to an item's level.
const OFFSET: u8 = 128;

/// Items as int8 rows, one after the other.
#[derive(Clone, Debug)]
pub struct ScreenRows {
    path: Path,
    lines: Vec<Line>,
    /// Lines a row.
    depth: usize,
    width: usize,
}

/// Integer products of one query with some rows.
pub(crate) trait RowKernel {
    /// Writes for each of `items` the sum over its row of lines, `start` included. Items are numbers of rows in `lines`,
    /// each as long as `query`; those of items are unsigned, those of the query are not.
    fn products(&self, query: &[Line], start: i32, lines: &[Line], items: &[u32], products: &mut [i32]);
}

impl ScreenRows {
    /// Packs `levels` (items x `width`, row-major).
    ///
    /// # Panics
    /// If `levels` is not whole rows, `width` is zero or over [`SCREEN_WIDTH_MAX`](super::SCREEN_WIDTH_MAX), a level is
    /// -128, or this machine does not support `isa`.
    pub fn pack(isa: Isa, levels: &[i8], width: usize) -> Self {
        check_items(levels, width);
        let depth = width.div_ceil(size_of::<Line>());
        let mut lines = huge_vec(levels.len() / width * depth);
        lines.resize(levels.len() / width * depth, Line::ZERO);
        for (row, levels) in lines.chunks_exact_mut(depth).zip(levels.chunks_exact(width)) {
            let row: &mut [u8] = elements_mut(row);
            row.iter_mut().zip(levels).for_each(|(to, &level)| *to = OFFSET.wrapping_add_signed(level));
        }
        Self { path: Path::of(isa), lines, depth, width }
    }

    /// How many items.
    pub fn items(&self) -> usize {
        self.lines.len() / self.depth
    }

    /// Values a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The largest magnitude of a query's level that this tier multiplies exactly.
    pub fn query_level_max(&self) -> i8 {
        (self.path.offset() - 1) as i8
    }

    /// Asks for a row that will be read soon.
    ///
    /// # Panics
    /// If there is no such item.
    pub fn prefetch(&self, item: usize) {
        self.lines[item * self.depth..][..self.depth].iter().for_each(prefetch);
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.lines[..])
    }

    /// Writes the inner products of a query with some items.
    ///
    /// # Panics
    /// If there is no such query or item, there is not one product an item, or the queries were set for other items' tier.
    pub fn products(&self, queries: &RowQueries, query: usize, items: &[u32], products: &mut [i32]) {
        assert_eq!((queries.path, queries.width), (self.path, self.width), "queries were set for other items");
        assert_eq!(items.len(), products.len(), "products: one an item");
        assert!(items.iter().all(|&item| (item as usize) < self.items()), "an item beyond {}", self.items());
        let (row, start) = (queries.rows.row(query), queries.starts[query]);
        match self.path {
            Path::Scalar => scalar::screen::Loops.products(row, start, &self.lines, items, products),
            #[cfg(target_arch = "x86_64")]
            Path::Maddubs => {
                crate::cpu::avx2::screen::Maddubs::new().products(row, start, &self.lines, items, products);
            }
            #[cfg(target_arch = "x86_64")]
            Path::Vnni => crate::cpu::avx512::screen::Vnni::new().products(row, start, &self.lines, items, products),
        }
    }
}

/// Queries for items one by one, reusable without allocation once they have grown to need.
#[derive(Clone, Debug)]
pub struct RowQueries {
    rows: RowLines,
    /// What takes the offset of the items' levels back.
    starts: Vec<i32>,
    path: Path,
    width: usize,
}

impl Default for RowQueries {
    fn default() -> Self {
        Self { rows: RowLines::default(), starts: Vec::new(), path: Path::Scalar, width: 0 }
    }
}

impl RowQueries {
    /// Replaces the queries by `levels` (queries x the width of `items`, row-major).
    ///
    /// # Panics
    /// If `levels` is not whole rows, or the magnitude of a level exceeds [`ScreenRows::query_level_max`].
    pub fn set(&mut self, items: &ScreenRows, levels: &[i8]) {
        let (width, largest) = (items.width, items.query_level_max());
        assert!(levels.len().is_multiple_of(width), "{} levels are no whole rows of {width}", levels.len());
        assert!(levels.iter().all(|level| level.unsigned_abs() <= largest as u8), "a level beyond +-{largest}");
        (self.path, self.width) = (items.path, width);
        self.rows.resize(levels.len() / width, width);
        self.starts.clear();
        for (query, levels) in levels.chunks_exact(width).enumerate() {
            let row: &mut [u8] = self.rows.row_mut(query, width);
            row.iter_mut().zip(levels).for_each(|(to, &level)| *to = level as u8);
            let sum: i32 = levels.iter().map(|&level| i32::from(level)).sum();
            self.starts.push(-i32::from(OFFSET) * sum);
        }
    }
}
