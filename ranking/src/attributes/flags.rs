//! A column of booleans.

use roaring::RoaringBitmap;

/// Two bitmaps; every row in `yes` is also in `present`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Flags {
    present: RoaringBitmap,
    yes: RoaringBitmap,
}

impl Flags {
    /// A column, or `None` if `yes` has a row that `present` has not.
    pub(super) fn new(present: RoaringBitmap, yes: RoaringBitmap) -> Option<Self> {
        yes.is_subset(&present).then_some(Self { present, yes })
    }

    /// Sets the value of a row that has none.
    pub(super) fn push(&mut self, row: u32, value: bool) {
        self.present.insert(row);
        if value {
            self.yes.insert(row);
        }
    }

    pub(crate) fn present(&self) -> &RoaringBitmap {
        &self.present
    }

    pub(crate) fn yes(&self) -> &RoaringBitmap {
        &self.yes
    }

    pub(crate) fn value(&self, row: u32) -> Option<bool> {
        self.present.contains(row).then(|| self.yes.contains(row))
    }
}
