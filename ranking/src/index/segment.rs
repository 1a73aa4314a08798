//! Items that do not change any more, and what searches them.

use std::borrow::Cow;
use std::sync::Arc;

use attune_kernels::Isa;

use super::error::{IndexError, check};
use super::layout::{HOLE, ITEMS_MAX, Layout};
use super::scan::{Scan, ScanItems, Scanner, offer};
use super::subset::Subsets;

/// Items that do not change any more. An item has a *place* here, and a *row* that the caller numbers it by. Clones share
/// all of it.
#[derive(Clone, Debug)]
pub struct Segment {
    pub(super) layout: Arc<Layout>,
    /// The same items elsewhere, if they are.
    pub(super) scan: Option<Arc<dyn Scan>>,
    pub(super) subsets: Arc<Subsets>,
}

impl Segment {
    /// Lays out `rows.len()` items, `vectors` row-major; `rows` are the caller's numbers, below `u32::MAX`.
    ///
    /// Takes as long as some thousand scans: about 8 s for a million items of 64 values on two threads.
    ///
    /// # Errors
    /// [`IndexError`] names the vector at fault.
    ///
    /// # Panics
    /// If the instruction set that the environment forces is none that this machine can run; a start checks that.
    pub fn build(vectors: &[f32], width: usize, rows: &[u32], threads: usize) -> Result<Self, IndexError> {
        Self::build_of(Cow::Borrowed(vectors), width, rows, threads)
    }

    /// The same of vectors that are let go of, where they are owned, as soon as all of them are in their places.
    pub(super) fn build_of(
        vectors: Cow<'_, [f32]>,
        width: usize,
        rows: &[u32],
        threads: usize,
    ) -> Result<Self, IndexError> {
        check(&vectors, rows.len(), width)?;
        if rows.len() > ITEMS_MAX {
            return Err(IndexError::TooMany { items: rows.len(), max: ITEMS_MAX });
        }
        let isa = Isa::active().expect("checked at start");
        Ok(Self::of(Layout::build(isa, vectors, width, rows, threads)))
    }

    /// Of what is laid out, which is offered to the process's scanner.
    pub(super) fn of(layout: Layout) -> Self {
        let scan = offer(layout.items, || handed(&layout));
        Self { layout: Arc::new(layout), scan, subsets: Arc::default() }
    }

    /// How many items.
    pub fn items(&self) -> usize {
        self.layout.items
    }

    /// Values a vector.
    pub fn width(&self) -> usize {
        self.layout.width
    }

    /// The caller's row at each place; `None` at a place that holds no item.
    pub fn places(&self) -> impl ExactSizeIterator<Item = Option<u32>> {
        self.layout.rows.iter().map(|&row| (row != HOLE).then_some(row))
    }

    /// Bytes held, those of subsets among them.
    pub fn bytes(&self) -> usize {
        self.layout.bytes() + self.subsets.bytes()
    }

    /// Lets a scanner have the items: from then on a search asks it first.
    #[must_use]
    pub fn with_scanner(self, scanner: &dyn Scanner) -> Self {
        let scan = scanner.take(handed(&self.layout));
        Self { scan, ..self }
    }
}

fn handed(layout: &Layout) -> ScanItems {
    ScanItems { vectors: Arc::clone(&layout.vectors), width: layout.width, rows: Arc::clone(&layout.rows) }
}
