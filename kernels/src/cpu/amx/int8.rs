//! int8 with AMX: `tdpbusd` multiplies 16 rows x 64 levels by 64 weights x 16 columns. The same levels, weights and exact
//! sums as every other tier, so the same results.

use super::bf16::operands;
use super::tiles::{self, BLOCK, Configured};
use crate::cpu::avx512;
use crate::cpu::int8::{PackedI8, QuantisedRows};
use crate::cpu::tiled::{Block, Output, Tile, TileKernel};
use std::ops::Range;

/// The product over quantised rows.
pub(crate) struct Kernel<'a> {
    rows: &'a QuantisedRows,
    weights: &'a PackedI8,
    tiles: Configured,
}

impl<'a> Kernel<'a> {
    /// # Panics
    /// If this process may not use AMX.
    pub(crate) fn new(rows: &'a QuantisedRows, weights: &'a PackedI8) -> Self {
        assert!(super::is_available(), "this process may not use AMX");
        // SAFETY: just checked; kernels live for one product and are never nested.
        unsafe { Self::assume_available(rows, weights) }
    }

    /// # Safety
    /// As [`Configured::new`].
    pub(super) unsafe fn assume_available(rows: &'a QuantisedRows, weights: &'a PackedI8) -> Self {
        // SAFETY: the caller's promise.
        Kernel { rows, weights, tiles: unsafe { Configured::new() } }
    }
}

impl TileKernel<BLOCK> for Kernel<'_> {
    const ROWS: usize = BLOCK;

    fn row_stride(&self) -> usize {
        self.rows.lines().stride()
    }

    fn sums(&self, rows: Range<usize>, panels: Range<usize>, tile: &mut Tile<BLOCK>) {
        let operands = operands(self.rows.lines(), self.weights.panels(), rows.start, panels);
        // SAFETY: the tiles are configured, and `operands` only gives what may be read.
        unsafe { tiles::multiply_int8(&self.tiles, operands, tile.0.as_mut_ptr()) }
    }

    fn finish(&self, block: &Block, tile: &mut Tile<BLOCK>, output: &mut Output<'_, '_>) {
        avx512::int8::finish_block(self.rows, self.weights, block, tile, output);
    }
}
