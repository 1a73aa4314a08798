//! int8 with AVX-512 VNNI: `vpdpbusd` multiplies 4 levels by 4 weights in each of 16 lanes and adds them to 32-bit sums.
//!
//! The tile is 9 rows x 3 panels: 27 accumulators, 3 registers of weights and one broadcast group of levels fill 31 of
//! the 32 registers. Per group that is 12 loads for 27 multiplications, where two multiplications can start per cycle, and
//! 14 bytes of weights per cycle, so weights may stream from the second-level cache. 27 independent sums hide the latency
//! of the instruction (5 cycles) five times over. 48 columns divide every hidden size that is a multiple of 384.

use crate::cpu::Isa;
use crate::cpu::lines::{LANES, Line};
use crate::cpu::tier::Tier;
use crate::cpu::tiled::{MicroKernel, Operands, Tile};
use std::arch::x86_64::*;
use std::hint::black_box;
use std::ops::Range;

const ROWS: usize = 9;
const PANELS: usize = 3;
const COLUMNS: usize = PANELS * LANES;

/// The sums with `vpdpbusd`; exists only where VNNI does.
pub(crate) struct Vnni(());

impl Vnni {
    /// Whether this machine has AVX-512 with VNNI.
    pub(crate) fn is_supported() -> bool {
        Isa::Avx512.is_supported() && is_x86_feature_detected!("avx512vnni")
    }

    /// # Panics
    /// If this machine has no VNNI.
    pub(crate) fn new() -> Self {
        assert!(Self::is_supported(), "this machine has no VNNI");
        Vnni(())
    }

    /// Only `vpdpbusd` between registers, for [`crate::cpu::limits`]; gives the number of operations.
    pub(crate) fn saturate(&self, rounds: usize) -> usize {
        // SAFETY: a Vnni exists only where the instruction does.
        unsafe { saturate(rounds) };
        rounds * ROWS * COLUMNS * 2 * 4
    }
}

/// Rows, panels, lines of a row, and where the sums go.
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

impl MicroKernel<COLUMNS> for Vnni {
    const ROWS: usize = ROWS;

    fn sums<T: Tier>(
        &self,
        _: T,
        operands: Operands<'_>,
        rows: Range<usize>,
        panels: Range<usize>,
        tile: &mut Tile<COLUMNS>,
    ) {
        let (a, b) = operands.lines(&rows, &panels);
        // SAFETY: a Vnni exists only where the instruction does, and the shape of the instance is that of the slices.
        unsafe { SHAPES[rows.len() - 1][panels.len() - 1](a, b, operands.rows.depth(), tile) }
    }
}

/// Integer sums of `R` rows x `P` panels into the tile.
///
/// `a` holds `R` rows, whose first `depth` lines are values; `b` holds `P` panels of `16 * depth` lines.
#[expect(clippy::needless_range_loop, reason = "one index runs over several arrays of registers")]
#[target_feature(enable = "avx512f,avx512vnni")]
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
            let lanes: &mut [f32; LANES] = &mut tile.0[r].as_chunks_mut().0[p];
            // SAFETY: 16 lanes; the bits of the integers go there, as `Tile` says.
            unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), sums[r][p]) };
        }
    }
}

#[target_feature(enable = "avx512f,avx512vnni")]
fn saturate(rounds: usize) {
    let (levels, weights) = black_box((_mm512_set1_epi8(1), _mm512_set1_epi8(1)));
    let mut sums = [_mm512_setzero_si512(); ROWS * PANELS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_dpbusd_epi32(*sum, levels, weights);
        }
    }
    black_box(sums);
}
