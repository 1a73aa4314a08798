//! bf16: the specification of the sums. Each product of two bf16 values is exact in f32; the sums are made in order.

use crate::cpu::lines::{LANES, Line, elements};
use crate::cpu::tier::Tier;
use crate::cpu::tiled::{MicroKernel, Operands, Tile};
use std::hint::black_box;
use std::ops::Range;

/// The sums as nested loops, over rows of pairs.
pub(crate) struct Loops;

impl MicroKernel<LANES> for Loops {
    const ROWS: usize = 4;

    fn sums<T: Tier>(
        &self,
        _: T,
        operands: Operands<'_>,
        rows: Range<usize>,
        panels: Range<usize>,
        tile: &mut Tile<LANES>,
    ) {
        let panel = operands.panels.panels_from(panels.start, 1);
        for (row, sums) in rows.zip(&mut tile.0) {
            *sums = row_sums(operands.rows.row(row), panel);
        }
    }
}

impl Loops {
    /// The loops on operands in the first-level cache, for [`crate::cpu::limits`]; gives the number of operations.
    pub(crate) fn saturate(&self, rounds: usize) -> usize {
        let (row, panel) = black_box(([Line::ZERO; 1], [Line::ZERO; LANES]));
        for _ in 0..rounds {
            black_box(row_sums(black_box(&row), &panel));
        }
        rounds * LANES * 32 * 2
    }
}

/// One row times the columns of one panel.
fn row_sums(row: &[Line], panel: &[Line]) -> [f32; LANES] {
    let mut sums = [0.0f32; LANES];
    for (&[x0, x1], columns) in elements::<u16>(row).as_chunks().0.iter().zip(panel) {
        for (sum, &[w0, w1]) in sums.iter_mut().zip(elements::<u16>(&[*columns]).as_chunks().0) {
            *sum += widen(x0) * widen(w0);
            *sum += widen(x1) * widen(w1);
        }
    }
    sums
}

/// What a bf16 stands for, exactly.
fn widen(x: u16) -> f32 {
    f32::from_bits(u32::from(x) << 16)
}
