//! The operands of a screen, laid out for one instruction set.

use super::{Path, SCREEN_WIDTH_MAX, Starts};
use crate::cpu::Isa;
use crate::cpu::lines::{LANES, Line, Panels, RowLines, prefetch};
use std::ops::Range;

/// Items as int8 rows, sixteen to a panel.
#[derive(Clone, Debug)]
pub struct ScreenItems {
    path: Path,
    panels: Panels,
    starts: Vec<Starts>,
    items: usize,
    width: usize,
}

impl ScreenItems {
    /// Packs `levels` (items x `width`, row-major).
    ///
    /// # Panics
    /// If `levels` is not whole rows, `width` is zero or over [`SCREEN_WIDTH_MAX`], a level is -128, or this machine does
    /// not support `isa`.
    pub fn pack(isa: Isa, levels: &[i8], width: usize) -> Self {
        check_items(levels, width);
        let (path, items) = (Path::of(isa), levels.len() / width);
        let mut starts = vec![[0; LANES]; items.div_ceil(LANES)];
        for (item, row) in levels.chunks_exact(width).enumerate() {
            let sum: i32 = row.iter().map(|&level| i32::from(level)).sum();
            starts[item / LANES][item % LANES] = -path.offset() * sum;
        }
        let panels = Panels::pack(items, width, |item, k| levels[item * width + k].to_ne_bytes());
        Self { path, panels, starts, items, width }
    }

    /// None of the items, in the same layout: to [gather](Self::gather) some in.
    pub fn none(&self) -> Self {
        Self { path: self.path, panels: Panels::default(), starts: Vec::new(), items: 0, width: self.width }
    }

    /// Replaces what is here by some items of `from`, in the order of `items`: few of many are sooner screened where they are
    /// neighbours.
    ///
    /// # Panics
    /// If there are no such items, or the layouts differ.
    pub fn gather(&mut self, from: &ScreenItems, items: &[u32]) {
        assert_eq!((self.path, self.width), (from.path, from.width), "items of another layout");
        assert!(items.iter().all(|&item| (item as usize) < from.items), "an item beyond {}", from.items);
        self.items = items.len();
        self.panels.gather(&from.panels, items);
        self.starts.resize(items.len().div_ceil(LANES), [0; LANES]);
        for (place, item) in items.iter().map(|&item| item as usize).enumerate() {
            self.starts[place / LANES][place % LANES] = from.starts[item / LANES][item % LANES];
        }
    }

    /// How many items.
    pub fn items(&self) -> usize {
        self.items
    }

    /// Panels of sixteen items; the last may hold fewer.
    pub fn panels(&self) -> usize {
        self.panels.count()
    }

    /// Values a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Asks for panels that will be screened soon.
    ///
    /// # Panics
    /// If there are no such panels.
    pub fn prefetch(&self, panels: Range<usize>) {
        self.panels.panels_from(panels.start, panels.len()).iter().for_each(prefetch);
        self.starts[panels].iter().for_each(prefetch);
    }

    /// The largest magnitude of a query's level that this tier multiplies exactly.
    pub fn query_level_max(&self) -> i8 {
        (self.path.offset() - 1) as i8
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.panels.bytes() + size_of_val(&self.starts[..])
    }

    pub(super) fn path(&self) -> Path {
        self.path
    }

    pub(super) fn lines(&self, panel: usize, count: usize) -> &[Line] {
        self.panels.panels_from(panel, count)
    }

    pub(super) fn starts(&self, panel: usize, count: usize) -> &[Starts] {
        &self.starts[panel..panel + count]
    }

    /// The lanes of a panel that hold an item.
    pub(super) fn present(&self, panel: usize) -> u16 {
        let lanes = (self.items - panel * LANES).min(LANES);
        (u32::from(u16::MAX) >> (LANES - lanes)) as u16
    }
}

/// Panics unless `levels` are whole rows of a width that can be screened, and symmetric.
#[track_caller]
pub(super) fn check_items(levels: &[i8], width: usize) {
    assert!((1..=SCREEN_WIDTH_MAX).contains(&width), "{width} values a row: 1 to {SCREEN_WIDTH_MAX} can be screened");
    assert!(levels.len().is_multiple_of(width), "{} levels are no whole rows of {width}", levels.len());
    assert!(!levels.contains(&i8::MIN), "levels are symmetric: -127 to 127");
}

/// Queries as rows of levels, reusable without allocation once they have grown to need.
#[derive(Clone, Debug)]
pub struct ScreenQueries {
    rows: RowLines,
    path: Path,
    width: usize,
}

impl Default for ScreenQueries {
    fn default() -> Self {
        Self { rows: RowLines::default(), path: Path::Scalar, width: 0 }
    }
}

impl ScreenQueries {
    /// Replaces the queries by `levels` (queries x the width of `items`, row-major).
    ///
    /// # Panics
    /// If `levels` is not whole rows, or the magnitude of a level exceeds [`ScreenItems::query_level_max`].
    pub fn set(&mut self, items: &ScreenItems, levels: &[i8]) {
        let (width, largest) = (items.width, items.query_level_max());
        assert!(levels.len().is_multiple_of(width), "{} levels are no whole rows of {width}", levels.len());
        assert!(levels.iter().all(|level| level.unsigned_abs() <= largest as u8), "a level beyond +-{largest}");
        (self.path, self.width) = (items.path, width);
        self.rows.resize(levels.len() / width, width);
        let offset = self.path.offset() as u8;
        for (query, levels) in levels.chunks_exact(width).enumerate() {
            let row: &mut [u8] = self.rows.row_mut(query, width);
            for (to, &level) in row.iter_mut().zip(levels) {
                *to = offset.wrapping_add_signed(level);
            }
        }
    }

    /// How many queries.
    pub fn len(&self) -> usize {
        self.rows.rows()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn path(&self) -> Path {
        self.path
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn row(&self, query: usize) -> &[Line] {
        self.rows.row(query)
    }
}
