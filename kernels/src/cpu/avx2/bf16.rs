//! bf16 with AVX2: weights are widened to f32 in registers (a shift for one half of a pair, a mask for the other), then
//! multiplied and added as f32. Half the memory of f32 weights, at about its speed.
//!
//! The tile is 6 rows x 1 panel (two registers wide): 12 accumulators, two widened weights, one broadcast value, one spare.

use super::lanes::Registers;
use crate::cpu::bf16;
use crate::cpu::lines::{LANES, Line, Panels, RowLines};
use crate::cpu::tiled::{Block, Output, Tile, TileKernel, Unscaled, write_out};
use std::arch::x86_64::*;
use std::hint::black_box;
use std::ops::Range;

const ROWS: usize = 6;

/// Registers across a panel.
const HALVES: usize = 2;

/// The product over widened rows. Must only be made where AVX2 and FMA are present.
pub(crate) struct Kernel<'a> {
    pub(crate) rows: &'a RowLines,
    pub(crate) panels: &'a Panels,
}

/// One instance of the micro-kernel for each number of rows, less one.
const SHAPES: [unsafe fn(&[Line], &[Line], &mut Tile<LANES>); ROWS] =
    [sums::<1>, sums::<2>, sums::<3>, sums::<4>, sums::<5>, sums::<6>];

impl TileKernel<LANES> for Kernel<'_> {
    const ROWS: usize = ROWS;

    fn row_stride(&self) -> usize {
        self.rows.stride()
    }

    fn sums(&self, rows: Range<usize>, panels: Range<usize>, tile: &mut Tile<LANES>) {
        let a = self.rows.rows_from(rows.start, rows.len());
        let b = self.panels.panels_from(panels.start, 1);
        // SAFETY: a Kernel is only made where AVX2 and FMA are present (see the type), and the instance has as many rows
        // as `a`.
        unsafe { SHAPES[rows.len() - 1](a, b, tile) }
    }

    fn finish(&self, block: &Block, tile: &mut Tile<LANES>, output: &mut Output<'_, '_>) {
        // SAFETY: as above.
        unsafe { finish(block, tile, output) }
    }
}

#[target_feature(enable = "avx2,fma")]
fn finish(block: &Block, tile: &mut Tile<LANES>, output: &mut Output<'_, '_>) {
    // SAFETY: compiled for AVX2.
    unsafe { write_out::<Registers, _>(tile, block, output, &Unscaled) }
}

/// Sums of `R` rows x 1 panel into the tile, in the order of the values.
///
/// `a` holds `R` rows of f32, each at least `2 * b.len()` values long; `b` is a panel of pairs.
#[target_feature(enable = "avx2,fma")]
fn sums<const R: usize>(a: &[Line], b: &[Line], tile: &mut Tile<LANES>) {
    let stride = a.len() / R * LANES;
    assert!(2 * b.len() <= stride);
    let (a, groups, b) = (a.as_ptr().cast::<f32>(), b.len(), b.as_ptr().cast::<__m256i>());
    let upper = _mm256_set1_epi32(0xffff_0000_u32 as i32);
    let mut sums = [[_mm256_setzero_ps(); HALVES]; R];
    let mut weights = [_mm256_setzero_ps(); HALVES];
    for group in 0..groups {
        for odd in 0..2 {
            for h in 0..HALVES {
                // SAFETY: group < groups lies within the panel, which is aligned like Line.
                let pairs = unsafe { _mm256_load_si256(b.add(group * HALVES + h)) };
                let widened = if odd == 0 { _mm256_slli_epi32::<16>(pairs) } else { _mm256_and_si256(pairs, upper) };
                weights[h] = _mm256_castsi256_ps(widened);
            }
            for r in 0..R {
                // SAFETY: r < R and 2 * group + odd < stride lie within `a`.
                let x = unsafe { _mm256_broadcast_ss(&*a.add(r * stride + 2 * group + odd)) };
                for h in 0..HALVES {
                    sums[r][h] = _mm256_fmadd_ps(x, weights[h], sums[r][h]);
                }
            }
        }
    }
    for (row, sums) in tile.0.iter_mut().zip(sums) {
        for (lanes, sum) in row.as_chunks_mut::<8>().0.iter_mut().zip(sums) {
            // SAFETY: `lanes` is 8 floats.
            unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), sum) };
        }
    }
}

/// [`bf16::round_widened`], compiled for AVX2. Only for machines that have it.
pub(crate) fn round_widened_row(x: &[f32], rounded: &mut [f32]) {
    #[target_feature(enable = "avx2,fma")]
    fn compiled(x: &[f32], rounded: &mut [f32]) {
        // SAFETY: compiled for AVX2.
        unsafe { bf16::round_widened::<Registers>(x, rounded) }
    }
    // SAFETY: the caller's promise.
    unsafe { compiled(x, rounded) }
}

/// Only f32 multiply-add between registers, for [`crate::cpu::limits`]; gives the number of operations. Only for machines
/// with AVX2 and FMA.
pub(crate) fn saturate(rounds: usize) -> usize {
    #[target_feature(enable = "avx2,fma")]
    fn compiled(rounds: usize) {
        let (x, weights) = black_box((_mm256_setzero_ps(), _mm256_setzero_ps()));
        let mut sums = [_mm256_setzero_ps(); ROWS * HALVES];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(x, weights, *sum);
            }
        }
        black_box(sums);
    }
    // SAFETY: the caller's promise.
    unsafe { compiled(rounds) };
    rounds * ROWS * LANES * 2
}
