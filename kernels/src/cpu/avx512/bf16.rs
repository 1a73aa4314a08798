//! bf16 with AVX-512 and no fast `vdpbf16ps`: weights are widened to f32 in registers (a shift for one half of a pair, a
//! mask for the other), then multiplied and added as f32. Half the memory of f32 weights, at about its speed.
//!
//! The tile is 8 rows x 3 panels: 24 accumulators, 6 widened weights, one broadcast value: 31 of the 32 registers. The
//! widening costs 6 instructions per 48 multiply-adds.

use super::lanes::Register;
use crate::cpu::bf16;
use crate::cpu::lines::{LANES, Line, Panels, RowLines};
use crate::cpu::tiled::{Block, Output, Tile, TileKernel, Unscaled, write_out};
use std::arch::x86_64::*;
use std::hint::black_box;
use std::ops::Range;

const ROWS: usize = 8;
const PANELS: usize = 3;
const COLUMNS: usize = PANELS * LANES;

/// The product over widened rows. Must only be made where AVX-512 F, BW, DQ and VL are present.
pub(crate) struct Kernel<'a> {
    pub(crate) rows: &'a RowLines,
    pub(crate) panels: &'a Panels,
}

/// Rows, panels, lines of a panel, and where the sums go.
type SumsFn = unsafe fn(&[Line], &[Line], usize, &mut Tile<COLUMNS>);

/// One instance of the micro-kernel for each shape of tile, by rows and panels less one.
const SHAPES: [[SumsFn; PANELS]; ROWS] = [
    [sums::<1, 1>, sums::<1, 2>, sums::<1, 3>],
    [sums::<2, 1>, sums::<2, 2>, sums::<2, 3>],
    [sums::<3, 1>, sums::<3, 2>, sums::<3, 3>],
    [sums::<4, 1>, sums::<4, 2>, sums::<4, 3>],
    [sums::<5, 1>, sums::<5, 2>, sums::<5, 3>],
    [sums::<6, 1>, sums::<6, 2>, sums::<6, 3>],
    [sums::<7, 1>, sums::<7, 2>, sums::<7, 3>],
    [sums::<8, 1>, sums::<8, 2>, sums::<8, 3>],
];

impl TileKernel<COLUMNS> for Kernel<'_> {
    const ROWS: usize = ROWS;

    fn row_stride(&self) -> usize {
        self.rows.stride()
    }

    fn sums(&self, rows: Range<usize>, panels: Range<usize>, tile: &mut Tile<COLUMNS>) {
        let a = self.rows.rows_from(rows.start, rows.len());
        let b = self.panels.panels_from(panels.start, panels.len());
        // SAFETY: a Kernel is only made where AVX-512 is present (see the type), and the shape of the instance is that of
        // the slices.
        unsafe { SHAPES[rows.len() - 1][panels.len() - 1](a, b, self.panels.depth(), tile) }
    }

    fn finish(&self, block: &Block, tile: &mut Tile<COLUMNS>, output: &mut Output<'_, '_>) {
        finish_block(block, tile, output);
    }
}

/// The epilogue in AVX-512. Only for machines with AVX-512 F, BW, DQ, VL.
pub(crate) fn finish_block<const WIDTH: usize>(block: &Block, tile: &mut Tile<WIDTH>, output: &mut Output<'_, '_>) {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn compiled<const WIDTH: usize>(block: &Block, tile: &mut Tile<WIDTH>, output: &mut Output<'_, '_>) {
        // SAFETY: compiled for AVX-512.
        unsafe { write_out::<Register, _>(tile, block, output, &Unscaled) }
    }
    // SAFETY: the caller is a kernel for AVX-512 machines.
    unsafe { compiled(block, tile, output) }
}

/// Sums of `R` rows x `P` panels into the tile, in the order of the values.
///
/// `a` holds `R` rows of f32, each at least `2 * depth` values long; `b` holds `P` panels of `depth` lines of pairs.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn sums<const R: usize, const P: usize>(a: &[Line], b: &[Line], depth: usize, tile: &mut Tile<COLUMNS>) {
    let stride = a.len() / R * LANES;
    assert!(2 * depth <= stride && b.len() == P * depth);
    let (a, b) = (a.as_ptr().cast::<f32>(), b.as_ptr().cast::<__m512i>());
    let upper = _mm512_set1_epi32(0xffff_0000_u32 as i32);
    let mut sums = [[_mm512_setzero_ps(); P]; R];
    let (mut even, mut odd) = ([_mm512_setzero_ps(); P], [_mm512_setzero_ps(); P]);
    for group in 0..depth {
        for p in 0..P {
            // SAFETY: p < P and group < depth lie within `b`, which is aligned like Line.
            let pairs = unsafe { _mm512_load_si512(b.add(p * depth + group)) };
            even[p] = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs));
            odd[p] = _mm512_castsi512_ps(_mm512_and_si512(pairs, upper));
        }
        for r in 0..R {
            // SAFETY: r < R and 2 * group + 1 < stride lie within `a`.
            let [x0, x1] = [0, 1].map(|half| unsafe { a.add(r * stride + 2 * group + half).read() });
            for p in 0..P {
                sums[r][p] = _mm512_fmadd_ps(_mm512_set1_ps(x0), even[p], sums[r][p]);
                sums[r][p] = _mm512_fmadd_ps(_mm512_set1_ps(x1), odd[p], sums[r][p]);
            }
        }
    }
    super::store_sums(&sums, tile);
}

/// [`bf16::round`], compiled for AVX-512. Only for machines that have it.
pub(crate) fn round_row(x: &[f32], rounded: &mut [u16]) {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn compiled(x: &[f32], rounded: &mut [u16]) {
        // SAFETY: compiled for AVX-512.
        unsafe { bf16::round::<Register>(x, rounded) }
    }
    // SAFETY: the caller's promise.
    unsafe { compiled(x, rounded) }
}

/// [`bf16::round_widened`], compiled for AVX-512. Only for machines that have it.
pub(crate) fn round_widened_row(x: &[f32], rounded: &mut [f32]) {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn compiled(x: &[f32], rounded: &mut [f32]) {
        // SAFETY: compiled for AVX-512.
        unsafe { bf16::round_widened::<Register>(x, rounded) }
    }
    // SAFETY: the caller's promise.
    unsafe { compiled(x, rounded) }
}

/// Only f32 multiply-add between registers, for [`crate::cpu::limits`]; gives the number of operations. Only for machines
/// with AVX-512.
pub(crate) fn saturate(rounds: usize) -> usize {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn compiled(rounds: usize) {
        let (x, weights) = black_box((_mm512_setzero_ps(), _mm512_setzero_ps()));
        let mut sums = [_mm512_setzero_ps(); ROWS * PANELS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(x, weights, *sum);
            }
        }
        black_box(sums);
    }
    // SAFETY: the caller's promise.
    unsafe { compiled(rounds) };
    rounds * ROWS * COLUMNS * 2
}
