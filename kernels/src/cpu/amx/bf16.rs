//! bf16 with AMX: `tdpbf16ps` multiplies 16 rows x 32 values by 32 values x 16 columns in 16 cycles, eight times what f32
//! multiply-add does. What remains, rounding and epilogues, runs on AVX-512.

use super::tiles::{self, BLOCK, Configured, Operands};
use crate::cpu::avx512;
use crate::cpu::lines::{LANES, Panels, RowLines};
use crate::cpu::tiled::{Block, Output, Tile, TileKernel};
use std::ops::Range;

/// The product over rows of pairs.
pub(crate) struct Kernel<'a> {
    rows: &'a RowLines,
    panels: &'a Panels,
    tiles: Configured,
}

impl<'a> Kernel<'a> {
    /// # Panics
    /// If this process may not use AMX.
    pub(crate) fn new(rows: &'a RowLines, panels: &'a Panels) -> Self {
        assert!(super::is_available(), "this process may not use AMX");
        // SAFETY: just checked; kernels live for one product and are never nested.
        unsafe { Self::assume_available(rows, panels) }
    }

    /// # Safety
    /// As [`Configured::new`].
    pub(super) unsafe fn assume_available(rows: &'a RowLines, panels: &'a Panels) -> Self {
        // SAFETY: the caller's promise.
        Kernel { rows, panels, tiles: unsafe { Configured::new() } }
    }
}

impl TileKernel<BLOCK> for Kernel<'_> {
    const ROWS: usize = BLOCK;

    fn row_stride(&self) -> usize {
        self.rows.stride()
    }

    fn sums(&self, rows: Range<usize>, panels: Range<usize>, tile: &mut Tile<BLOCK>) {
        let operands = operands(self.rows, self.panels, rows.start, panels);
        // SAFETY: the tiles are configured, and `operands` only gives what may be read.
        unsafe { tiles::multiply_bf16(&self.tiles, operands, tile.0.as_mut_ptr()) }
    }

    fn finish(&self, block: &Block, tile: &mut Tile<BLOCK>, output: &mut Output<'_, '_>) {
        avx512::bf16::finish_block(block, tile, output);
    }
}

/// What a block product reads: always 32 rows, for which [`RowLines`] keeps space even where there are fewer, and two
/// panels, the second being the first again at the right edge. What is computed too much is not looked at.
pub(super) fn operands(rows: &RowLines, weights: &Panels, row: usize, panels: Range<usize>) -> Operands {
    let a = rows.rows_from(row, BLOCK);
    let b = weights.panels_from(panels.start, panels.len());
    assert!(rows.depth() * LANES == weights.depth() && rows.depth() > 0);
    Operands {
        rows: [a.as_ptr(), a[LANES * rows.stride()..].as_ptr()],
        row_stride: rows.stride(),
        panels: [b.as_ptr(), b[(panels.len() - 1) * weights.depth()..].as_ptr()],
        depth: rows.depth(),
    }
}
