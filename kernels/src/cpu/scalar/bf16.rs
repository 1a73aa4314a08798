//! bf16: the specification of the product. Each product of two bf16 values is exact in f32; the sums are made in order.

use super::lanes::Array;
use crate::cpu::bf16::widen;
use crate::cpu::lines::{LANES, Line, Panels, RowLines};
use crate::cpu::tiled::{Block, Output, Tile, TileKernel, Unscaled, write_out};
use std::hint::black_box;
use std::ops::Range;

/// The product as nested loops, over rows of pairs.
pub(crate) struct Kernel<'a> {
    pub(crate) rows: &'a RowLines,
    pub(crate) panels: &'a Panels,
}

impl TileKernel<LANES> for Kernel<'_> {
    const ROWS: usize = 4;

    fn row_stride(&self) -> usize {
        self.rows.stride()
    }

    fn sums(&self, rows: Range<usize>, panels: Range<usize>, tile: &mut Tile<LANES>) {
        let panel = self.panels.panels_from(panels.start, 1);
        for (row, sums) in rows.zip(&mut tile.0) {
            *sums = row_sums(self.rows.row(row), panel);
        }
    }

    fn finish(&self, block: &Block, tile: &mut Tile<LANES>, output: &mut Output<'_, '_>) {
        // SAFETY: arrays need no instruction set.
        unsafe { write_out::<Array, _>(tile, block, output, &Unscaled) }
    }
}

/// One row times the columns of one panel.
fn row_sums(row: &[Line], panel: &[Line]) -> [f32; LANES] {
    let mut sums = [0.0f32; LANES];
    for (line, columns) in row.iter().zip(panel.as_chunks::<LANES>().0) {
        for (pair, columns) in pairs(line).zip(columns) {
            for (sum, weights) in sums.iter_mut().zip(pairs(columns)) {
                *sum += pair[0] * weights[0];
                *sum += pair[1] * weights[1];
            }
        }
    }
    sums
}

/// The 16 pairs of a line, widened.
fn pairs(line: &Line) -> impl Iterator<Item = [f32; 2]> {
    line.0.as_chunks::<4>().0.iter().map(|&[a, b, c, d]| [[a, b], [c, d]].map(|half| widen(u16::from_ne_bytes(half))))
}

/// The loops on operands in the first-level cache, for [`crate::cpu::limits`]; gives the number of operations.
pub(crate) fn saturate(rounds: usize) -> usize {
    let (row, panel) = black_box(([Line([0; 64]); 1], [Line([0; 64]); LANES]));
    for _ in 0..rounds {
        black_box(row_sums(black_box(&row), &panel));
    }
    rounds * LANES * 32 * 2
}
