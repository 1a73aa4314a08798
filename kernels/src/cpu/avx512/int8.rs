//! int8 with AVX-512 VNNI: `vpdpbusd` multiplies 4 levels by 4 weights in each of 16 lanes and adds them to 32-bit sums.
//!
//! The tile is 9 rows x 3 panels: 27 accumulators, 3 registers of weights and one broadcast group of levels fill 31 of
//! the 32 registers. Per group that is 12 loads for 27 multiplications, where two multiplications can start per cycle, and
//! 14 bytes of weights per cycle, so weights may stream from the second-level cache. 27 independent sums hide the latency
//! of the instruction (5 cycles) five times over. 48 columns divide every hidden size that is a multiple of 384.

use super::lanes::Register;
use crate::cpu::int8::{self, PackedI8, QuantisedRows, RowScale};
use crate::cpu::lines::{LANES, Line};
use crate::cpu::tiled::{Block, Output, Tile, TileKernel};
use std::arch::x86_64::*;
use std::hint::black_box;
use std::ops::Range;

const ROWS: usize = 9;
const PANELS: usize = 3;
const COLUMNS: usize = PANELS * LANES;

/// The product with VNNI. Must only be made where AVX-512 F, BW, DQ, VL and VNNI are present.
pub(crate) struct Kernel<'a> {
    pub(crate) rows: &'a QuantisedRows,
    pub(crate) weights: &'a PackedI8,
}

/// Rows first, then panels, then where the sums go.
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
    [sums::<9, 1>, sums::<9, 2>, sums::<9, 3>],
];

impl TileKernel<COLUMNS> for Kernel<'_> {
    const ROWS: usize = ROWS;

    fn row_stride(&self) -> usize {
        self.rows.lines().stride()
    }

    fn sums(&self, rows: Range<usize>, panels: Range<usize>, tile: &mut Tile<COLUMNS>) {
        let a = self.rows.lines().rows_from(rows.start, rows.len());
        let b = self.weights.panels().panels_from(panels.start, panels.len());
        // SAFETY: a Kernel is only made where VNNI is present (see the type), and the shape of the instance is that of the
        // slices.
        unsafe { SHAPES[rows.len() - 1][panels.len() - 1](a, b, self.rows.lines().depth(), tile) }
    }

    fn finish(&self, block: &Block, tile: &mut Tile<COLUMNS>, output: &mut Output<'_, '_>) {
        finish_block(self.rows, self.weights, block, tile, output);
    }
}

/// The epilogue in AVX-512, for any kernel whose exact sums lie in the tile. Only for machines with AVX-512 F, BW, DQ, VL.
pub(crate) fn finish_block<const WIDTH: usize>(
    rows: &QuantisedRows,
    weights: &PackedI8,
    block: &Block,
    tile: &mut Tile<WIDTH>,
    output: &mut Output<'_, '_>,
) {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn compiled<const WIDTH: usize>(
        rows: &QuantisedRows,
        weights: &PackedI8,
        block: &Block,
        tile: &mut Tile<WIDTH>,
        output: &mut Output<'_, '_>,
    ) {
        // SAFETY: compiled for AVX-512.
        unsafe { int8::finish::<Register, WIDTH>(rows, weights, block, tile, output) }
    }
    // SAFETY: the caller is a kernel for AVX-512 machines.
    unsafe { compiled(rows, weights, block, tile, output) }
}

/// Integer sums of `R` rows x `P` panels into the tile.
///
/// `a` holds `R` rows, whose first `depth` lines are values; `b` holds `P` panels of `16 * depth` lines.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn sums<const R: usize, const P: usize>(a: &[Line], b: &[Line], depth: usize, tile: &mut Tile<COLUMNS>) {
    let groups = depth * LANES;
    let stride = a.len() / R * LANES;
    assert!(groups <= stride && b.len() == P * groups);
    let (a, b) = (a.as_ptr().cast::<i32>(), b.as_ptr().cast::<__m512i>());
    let mut sums = [[_mm512_setzero_si512(); P]; R];
    let mut weights = [_mm512_setzero_si512(); P];
    for group in 0..groups {
        for p in 0..P {
            // SAFETY: p < P and group < groups lie within `b`, which is aligned like Line.
            weights[p] = unsafe { _mm512_load_si512(b.add(p * groups + group)) };
        }
        for r in 0..R {
            // SAFETY: r < R and group < groups lie within `a`.
            let levels = _mm512_set1_epi32(unsafe { a.add(r * stride + group).read() });
            for p in 0..P {
                sums[r][p] = _mm512_dpbusd_epi32(sums[r][p], levels, weights[p]);
            }
        }
    }
    for r in 0..R {
        for p in 0..P {
            // SAFETY: 16 lanes at panel p < P of the tile's row r; the bits of the integers go there, as `Tile` says.
            unsafe { _mm512_storeu_si512(tile.0[r].as_chunks_mut::<LANES>().0[p].as_mut_ptr().cast(), sums[r][p]) };
        }
    }
}

/// [`int8::quantise_row`], compiled for AVX-512.
pub(crate) fn quantise_row(x: &[f32], levels: &mut [u8]) -> RowScale {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn compiled(x: &[f32], levels: &mut [u8]) -> RowScale {
        // SAFETY: compiled for AVX-512.
        unsafe { int8::quantise_row::<Register>(x, levels) }
    }
    // SAFETY: only reached through an Isa that this machine supports.
    unsafe { compiled(x, levels) }
}

/// Only `vpdpbusd` between registers, for [`crate::cpu::limits`]; gives the number of operations. Only for machines with VNNI.
pub(crate) fn saturate(rounds: usize) -> usize {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn compiled(rounds: usize) {
        let (levels, weights) = black_box((_mm512_set1_epi8(1), _mm512_set1_epi8(1)));
        let mut sums = [_mm512_setzero_si512(); ROWS * PANELS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, levels, weights);
            }
        }
        black_box(sums);
    }
    // SAFETY: the caller's promise.
    unsafe { compiled(rounds) };
    rounds * ROWS * COLUMNS * 2 * 4
}
