//! Screening: the specification of the sums and of the comparison.

use super::int8::row_sums;
use crate::cpu::lines::{LANES, Line};
use crate::cpu::screen::{ScreenKernel, Starts};

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
