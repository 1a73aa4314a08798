//! Screening with AVX-512 VNNI: `vpdpbusd` adds four products to each of 16 sums, which one comparison turns into a mask.
//!
//! 8 queries x 2 panels: 16 independent sums hide the latency of the instruction (5 cycles) three times over, and two
//! panels need 10 loads for 16 multiplications. Up to 4 queries take 4 panels, so that one query has 4 sums in flight.

use super::int8::Vnni as Product;
use crate::cpu::lines::{LANES, Line};
use crate::cpu::screen::{RowKernel, ScreenKernel, Starts};
use std::arch::x86_64::*;

const ROWS: usize = 8;
const PANELS: usize = 4;

/// The sums with `vpdpbusd`; exists only where VNNI does.
pub(crate) struct Vnni(());

impl Vnni {
    /// # Panics
    /// If this machine has no VNNI.
    pub(crate) fn new() -> Self {
        Product::new();
        Vnni(())
    }
}

/// Rows, panels, their starts, thresholds, and the lanes that reach them.
type LanesFn = unsafe fn(&[&[Line]], &[Line], &[Starts], &[i32], &mut [u16]);

/// An instance for each shape, by rows and panels less one; more than four rows come with at most two panels.
const SHAPES: [[LanesFn; PANELS]; ROWS] = [
    [lanes::<1, 1>, lanes::<1, 2>, lanes::<1, 3>, lanes::<1, 4>],
    [lanes::<2, 1>, lanes::<2, 2>, lanes::<2, 3>, lanes::<2, 4>],
    [lanes::<3, 1>, lanes::<3, 2>, lanes::<3, 3>, lanes::<3, 4>],
    [lanes::<4, 1>, lanes::<4, 2>, lanes::<4, 3>, lanes::<4, 4>],
    [lanes::<5, 1>, lanes::<5, 2>, lanes::<5, 2>, lanes::<5, 2>],
    [lanes::<6, 1>, lanes::<6, 2>, lanes::<6, 2>, lanes::<6, 2>],
    [lanes::<7, 1>, lanes::<7, 2>, lanes::<7, 2>, lanes::<7, 2>],
    [lanes::<8, 1>, lanes::<8, 2>, lanes::<8, 2>, lanes::<8, 2>],
];

impl ScreenKernel for Vnni {
    const ROWS: usize = ROWS;

    fn panels_at_once(rows: usize) -> usize {
        if rows <= 4 { PANELS } else { 2 }
    }

    fn lanes(&self, rows: &[&[Line]], panels: &[Line], starts: &[Starts], at_least: &[i32], lanes: &mut [u16]) {
        // SAFETY: a Vnni exists only where the instruction does; the instance checks the lengths.
        unsafe { SHAPES[rows.len() - 1][starts.len() - 1](rows, panels, starts, at_least, lanes) }
    }
}

#[expect(clippy::needless_range_loop, reason = "one index runs over several arrays of registers")]
#[target_feature(enable = "avx512f,avx512vnni")]
fn lanes<const R: usize, const P: usize>(
    rows: &[&[Line]],
    panels: &[Line],
    starts: &[Starts],
    at_least: &[i32],
    lanes: &mut [u16],
) {
    let groups = panels.len() / P;
    assert!(rows.len() == R && starts.len() == P && at_least.len() == R && lanes.len() == R * P);
    assert!(panels.len() == P * groups && rows.iter().all(|row| row.len() * LANES == groups));
    let panels = panels.as_ptr().cast::<__m512i>();
    let mut sums = [[_mm512_setzero_si512(); P]; R];
    for p in 0..P {
        // SAFETY: 16 integers are one register.
        let start = unsafe { _mm512_loadu_si512(starts[p].as_ptr().cast()) };
        for r in 0..R {
            sums[r][p] = start;
        }
    }
    let mut items = [_mm512_setzero_si512(); P];
    for group in 0..groups {
        for p in 0..P {
            // SAFETY: p < P and group < groups lie within `panels`, which is aligned like Line.
            items[p] = unsafe { _mm512_load_si512(panels.add(p * groups + group)) };
        }
        for r in 0..R {
            // SAFETY: each row has `groups` groups.
            let levels = _mm512_set1_epi32(unsafe { rows[r].as_ptr().cast::<i32>().add(group).read() });
            for p in 0..P {
                sums[r][p] = _mm512_dpbusd_epi32(sums[r][p], levels, items[p]);
            }
        }
    }
    for r in 0..R {
        let at_least = _mm512_set1_epi32(at_least[r]);
        for p in 0..P {
            lanes[r * P + p] = _mm512_cmpge_epi32_mask(sums[r][p], at_least);
        }
    }
}

impl RowKernel for Vnni {
    fn products(&self, query: &[Line], start: i32, lines: &[Line], items: &[u32], products: &mut [i32]) {
        // SAFETY: a Vnni exists only where the instruction does.
        unsafe { row_products(query, start, lines, items, products) }
    }
}

/// Two sums an item hide the latency together with those of the items beside it.
#[target_feature(enable = "avx512f,avx512vnni")]
fn row_products(query: &[Line], start: i32, lines: &[Line], items: &[u32], products: &mut [i32]) {
    // SAFETY: a line is one register, aligned like it.
    let load = |line: &Line| unsafe { _mm512_load_si512(line.0.as_ptr().cast()) };
    for (&item, product) in items.iter().zip(products) {
        let row = &lines[item as usize * query.len()..][..query.len()];
        let mut sums = [_mm512_setzero_si512(); 2];
        for (place, (row, query)) in row.iter().zip(query).enumerate() {
            sums[place % 2] = _mm512_dpbusd_epi32(sums[place % 2], load(row), load(query));
        }
        *product = start + _mm512_reduce_add_epi32(_mm512_add_epi32(sums[0], sums[1]));
    }
}
