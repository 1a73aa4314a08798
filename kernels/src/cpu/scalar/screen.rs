//! Screening: the specification of the sums and of the comparison.

use super::int8::row_sums;
use crate::cpu::lines::{LANES, Line};
use crate::cpu::screen::{RowKernel, ScreenKernel, Starts};

/// Sums as nested loops.
pub(crate) struct Loops;

impl ScreenKernel for Loops {
    const ROWS: usize = 4;

    fn panels_at_once(_: usize) -> usize {
        1
    }

    fn lanes(&self, rows: &[&[Line]], panels: &[Line], starts: &[Starts], at_least: &[i32], lanes: &mut [u16]) {
        for ((row, &at_least), lanes) in rows.iter().zip(at_least).zip(lanes) {
            let sums = row_sums(row, panels);
            let reaches = |lane: &usize| sums[*lane].wrapping_add(starts[0][*lane]) >= at_least;
            *lanes = (0..LANES).filter(reaches).map(|lane| 1 << lane).sum();
        }
    }
}

impl RowKernel for Loops {
    fn products(&self, query: &[Line], start: i32, lines: &[Line], items: &[u32], products: &mut [i32]) {
        for (&item, product) in items.iter().zip(products) {
            let row = &lines[item as usize * query.len()..][..query.len()];
            let levels = |lines: &[Line]| lines.iter().flat_map(|line| line.0).collect::<Vec<u8>>();
            let pairs = levels(row).into_iter().zip(levels(query));
            let sum: i32 = pairs.map(|(item, query)| i32::from(item) * i32::from(query as i8)).sum();
            *product = start + sum;
        }
    }
}
