//! Screening with AVX2: the sums of [`super::int8`], started from the items' own offsets and compared in registers.
//!
//! 4 queries x 1 panel, two registers wide, for the same reason as there.

use crate::cpu::Isa;
use crate::cpu::lines::{LANES, Line};
use crate::cpu::screen::{RowKernel, ScreenKernel, Starts};
use std::arch::x86_64::*;

const ROWS: usize = 4;

/// Registers across a panel.
const HALVES: usize = 2;

/// The sums with `vpmaddubsw`; exists only where AVX2 does.
pub(crate) struct Maddubs(());

impl Maddubs {
    /// # Panics
    /// If this machine has no AVX2.
    pub(crate) fn new() -> Self {
        Isa::Avx2.require();
        Maddubs(())
    }
}

/// Rows, a panel, its starts, thresholds, and the lanes that reach them.
type LanesFn = unsafe fn(&[&[Line]], &[Line], &Starts, &[i32], &mut [u16]);

/// One instance for each number of rows, less one.
const SHAPES: [LanesFn; ROWS] = [lanes::<1>, lanes::<2>, lanes::<3>, lanes::<4>];

impl ScreenKernel for Maddubs {
    const ROWS: usize = ROWS;

    fn panels_at_once(_: usize) -> usize {
        1
    }

    fn lanes(&self, rows: &[&[Line]], panels: &[Line], starts: &[Starts], at_least: &[i32], lanes: &mut [u16]) {
        // SAFETY: a Maddubs exists only where AVX2 does; the instance checks the lengths.
        unsafe { SHAPES[rows.len() - 1](rows, panels, &starts[0], at_least, lanes) }
    }
}

#[expect(clippy::needless_range_loop, reason = "one index runs over several arrays of registers")]
#[target_feature(enable = "avx2")]
fn lanes<const R: usize>(rows: &[&[Line]], panel: &[Line], starts: &Starts, at_least: &[i32], lanes: &mut [u16]) {
    let groups = panel.len();
    assert!(rows.len() == R && at_least.len() == R && lanes.len() == R);
    assert!(rows.iter().all(|row| row.len() * LANES == groups));
    let starts = starts.as_ptr().cast::<__m256i>();
    // SAFETY: 16 integers are two registers.
    let starts = unsafe { [_mm256_loadu_si256(starts), _mm256_loadu_si256(starts.add(1))] };
    let panel = panel.as_ptr().cast::<__m256i>();
    let ones = _mm256_set1_epi16(1);
    let mut sums = [starts; R];
    let mut items = [_mm256_setzero_si256(); HALVES];
    for group in 0..groups {
        for h in 0..HALVES {
            // SAFETY: group < groups lies within the panel, which is aligned like Line.
            items[h] = unsafe { _mm256_load_si256(panel.add(group * HALVES + h)) };
        }
        for r in 0..R {
            // SAFETY: each row has `groups` groups.
            let levels = _mm256_set1_epi32(unsafe { rows[r].as_ptr().cast::<i32>().add(group).read() });
            for h in 0..HALVES {
                let pairs = _mm256_maddubs_epi16(levels, items[h]);
                sums[r][h] = _mm256_add_epi32(sums[r][h], _mm256_madd_epi16(pairs, ones));
            }
        }
    }
    for r in 0..R {
        // Greater than one less: AVX2 has no "at least". No sum is as low as the smallest integer.
        let below = _mm256_set1_epi32(at_least[r].saturating_sub(1));
        let reaches = |sum| _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(sum, below))) as u16;
        lanes[r] = reaches(sums[r][0]) | reaches(sums[r][1]) << 8;
    }
}

impl RowKernel for Maddubs {
    fn products(&self, query: &[Line], start: i32, lines: &[Line], items: &[u32], products: &mut [i32]) {
        // SAFETY: a Maddubs exists only where AVX2 does.
        unsafe { row_products(query, start, lines, items, products) }
    }
}

/// Pairs do not saturate: 255 x 63 x 2 fits 16 bits.
#[target_feature(enable = "avx2")]
fn row_products(query: &[Line], start: i32, lines: &[Line], items: &[u32], products: &mut [i32]) {
    let ones = _mm256_set1_epi16(1);
    // SAFETY: a line is two registers, aligned like them.
    let load = |line: &Line, half: usize| unsafe { _mm256_load_si256(line.0.as_ptr().cast::<__m256i>().add(half)) };
    for (&item, product) in items.iter().zip(products) {
        let row = &lines[item as usize * query.len()..][..query.len()];
        let mut sums = [_mm256_setzero_si256(); HALVES];
        for (row, query) in row.iter().zip(query) {
            for (half, sum) in sums.iter_mut().enumerate() {
                let pairs = _mm256_maddubs_epi16(load(row, half), load(query, half));
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
            }
        }
        let sum = _mm256_add_epi32(sums[0], sums[1]);
        let sum = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
        let sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0b01_00_11_10));
        let sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0b10_11_00_01));
        *product = start + _mm_cvtsi128_si32(sum);
    }
}
