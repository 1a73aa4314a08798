//! f32: the specification of the product. The sums are made in order.

use crate::cpu::lines::{LANES, elements};
use crate::cpu::tier::Tier;
use crate::cpu::tiled::{MicroKernel, Operands, Tile};
use std::ops::Range;

/// The sums as nested loops.
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
        let panel = elements(operands.panels.panels_from(panels.start, 1));
        for (row, sums) in rows.zip(&mut tile.0) {
            *sums = row_sums(elements(operands.rows.row(row)), panel.as_chunks().0);
        }
    }
}

/// One row times the columns of one panel.
fn row_sums(row: &[f32], panel: &[[f32; LANES]]) -> [f32; LANES] {
    let mut sums = [0.0f32; LANES];
    for (x, columns) in row.iter().zip(panel) {
        for (sum, weight) in sums.iter_mut().zip(columns) {
            *sum += x * weight;
        }
    }
    sums
}
