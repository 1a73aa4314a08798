//! bf16 with AMX: `tdpbf16ps` multiplies 16 rows x 32 values by 32 values x 16 columns in 16 cycles, eight times what f32
//! multiply-add does. What remains, rounding and epilogues, runs on AVX-512.

use super::tiles::{self, BLOCK, Configured};
use crate::cpu::tier::Tier;
use crate::cpu::tiled::{MicroKernel, Operands, Tile};
use std::ops::Range;

/// The sums with `tdpbf16ps`, over rows of pairs; exists only while tiles are configured.
pub(crate) struct TileProducts(Configured);

impl TileProducts {
    /// # Panics
    /// If this process may not use AMX.
    pub(crate) fn new() -> Self {
        TileProducts(Configured::new())
    }

    /// # Safety
    /// Tile instructions must work, or be emulated.
    #[cfg(test)]
    pub(super) unsafe fn assume() -> Self {
        // SAFETY: the caller's promise.
        TileProducts(unsafe { Configured::assume() })
    }

    /// Only tile products on operands in the first-level cache, for [`crate::cpu::limits`]; gives the number of operations.
    pub(crate) fn saturate(&self, rounds: usize) -> usize {
        tiles::saturate(rounds, &self.0, tiles::multiply_bf16) * 32 * 2
    }
}

impl MicroKernel<BLOCK> for TileProducts {
    const ROWS: usize = BLOCK;
    const FULL_TILES: bool = true;

    fn sums<T: Tier>(
        &self,
        _: T,
        operands: Operands<'_>,
        rows: Range<usize>,
        panels: Range<usize>,
        tile: &mut Tile<BLOCK>,
    ) {
        tiles::multiply_block(&self.0, operands, rows, panels, tile, tiles::multiply_bf16);
    }
}
