//! int8: the specification of the integer sums, as nested loops.

use crate::cpu::lines::{LANES, Line};
use crate::cpu::tier::Tier;
use crate::cpu::tiled::{MicroKernel, Operands, Tile};
use std::hint::black_box;
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
        let panel = operands.panels.panels_from(panels.start, 1);
        for (row, sums) in rows.zip(&mut tile.0) {
            *sums = row_sums(operands.rows.row(row), panel).map(|sum| f32::from_bits(sum as u32));
        }
    }
}

impl Loops {
    /// The loops on operands in the first-level cache, for [`crate::cpu::limits`]; gives the number of operations.
    pub(crate) fn saturate(&self, rounds: usize) -> usize {
        let (row, panel) = black_box(([Line([1; 64]); 1], [Line([1; 64]); LANES]));
        for _ in 0..rounds {
            black_box(row_sums(black_box(&row), &panel));
        }
        rounds * LANES * 64 * 2
    }
}

/// One row times the columns of one panel, exactly.
pub(super) fn row_sums(row: &[Line], panel: &[Line]) -> [i32; LANES] {
    let mut sums = [0i32; LANES];
    for (line, columns) in row.iter().zip(panel.as_chunks::<LANES>().0) {
        for (group, columns) in line.0.as_chunks::<4>().0.iter().zip(columns) {
            for (sum, weights) in sums.iter_mut().zip(columns.0.as_chunks::<4>().0) {
                for (&level, &weight) in group.iter().zip(weights) {
                    *sum += i32::from(level) * i32::from(weight as i8);
                }
            }
        }
    }
    sums
}
