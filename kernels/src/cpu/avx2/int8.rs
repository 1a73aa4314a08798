//! int8 with AVX2: `vpmaddubsw` multiplies levels by weights and adds neighbours in 16 bits, `vpmaddwd` by ones adds those
//! neighbours in 32 bits, `vpaddd` collects. 7-bit levels keep the first step from saturating (2 x 127 x 127 < 32,768).
//!
//! Three instructions per 32 multiplications, where VNNI needs one per 64. The tile is 4 rows x 1 panel, which is two
//! registers wide: 8 accumulators, 2 registers of weights, a broadcast group, the ones and two products in flight fill 14
//! of the 16 registers. Also what an AVX-512 machine without VNNI runs.

use crate::cpu::Isa;
use crate::cpu::lines::{LANES, Line};
use crate::cpu::tier::Tier;
use crate::cpu::tiled::{MicroKernel, Operands, Tile};
use std::arch::asm;
use std::arch::x86_64::*;
use std::hint::black_box;
use std::ops::Range;

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

    /// Only the three instructions between registers, for [`crate::cpu::limits`]; gives the number of operations.
    pub(crate) fn saturate(&self, rounds: usize) -> usize {
        // SAFETY: a Maddubs exists only where AVX2 does.
        unsafe { saturate(rounds) };
        rounds * ROWS * LANES * 2 * 4
    }
}

/// Rows, a panel, lines of a row, and where the sums go.
type SumsFn = unsafe fn(&[Line], &[Line], usize, &mut Tile<LANES>);

/// One instance of the micro-kernel for each number of rows, less one.
const SHAPES: [SumsFn; ROWS] = [sums::<1>, sums::<2>, sums::<3>, sums::<4>];

impl MicroKernel<LANES> for Maddubs {
    const ROWS: usize = ROWS;

    fn sums<T: Tier>(
        &self,
        _: T,
        operands: Operands<'_>,
        rows: Range<usize>,
        panels: Range<usize>,
        tile: &mut Tile<LANES>,
    ) {
        let (a, b) = operands.lines(&rows, &panels);
        // SAFETY: a Maddubs exists only where AVX2 does, and the instance has as many rows as `a`.
        unsafe { SHAPES[rows.len() - 1](a, b, operands.rows.depth(), tile) }
    }
}

/// Integer sums of `R` rows x 1 panel into the tile.
///
/// `a` holds `R` rows, whose first `depth` lines are values; `b` is a panel of `16 * depth` lines.
#[expect(clippy::needless_range_loop, reason = "one index runs over several arrays of registers")]
#[target_feature(enable = "avx2")]
fn sums<const R: usize>(a: &[Line], b: &[Line], depth: usize, tile: &mut Tile<LANES>) {
    let groups = depth * LANES;
    let stride = a.len() / R * LANES;
    assert!(groups <= stride && b.len() == groups);
    let (a, b) = (a.as_ptr().cast::<i32>(), b.as_ptr().cast::<__m256i>());
    let ones = _mm256_set1_epi16(1);
    let mut sums = [[_mm256_setzero_si256(); HALVES]; R];
    let mut weights = [_mm256_setzero_si256(); HALVES];
    for group in 0..groups {
        for h in 0..HALVES {
            // SAFETY: group < groups lies within the panel, which is aligned like Line.
            weights[h] = unsafe { _mm256_load_si256(b.add(group * HALVES + h)) };
        }
        for r in 0..R {
            // SAFETY: r < R and group < groups lie within `a`.
            let levels = _mm256_set1_epi32(unsafe { a.add(r * stride + group).read() });
            for h in 0..HALVES {
                let pairs = _mm256_maddubs_epi16(levels, weights[h]);
                sums[r][h] = _mm256_add_epi32(sums[r][h], _mm256_madd_epi16(pairs, ones));
            }
        }
    }
    for r in 0..R {
        for h in 0..HALVES {
            let lanes: &mut [f32; 8] = &mut tile.0[r].as_chunks_mut().0[h];
            // SAFETY: 8 lanes; the bits of the integers go there, as `Tile` says.
            unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sums[r][h]) };
        }
    }
}

#[target_feature(enable = "avx2")]
fn saturate(rounds: usize) {
    let (mut levels, weights) = black_box((_mm256_set1_epi8(1), _mm256_set1_epi8(1)));
    let ones = _mm256_set1_epi16(1);
    let mut sums = [_mm256_setzero_si256(); ROWS * HALVES];
    for _ in 0..rounds {
        for sum in &mut sums {
            // SAFETY: no instruction at all; it keeps the compiler from multiplying once for all rounds.
            unsafe { asm!("/* {0} */", inout(ymm_reg) levels, options(pure, nomem, nostack, preserves_flags)) };
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(_mm256_maddubs_epi16(levels, weights), ones));
        }
    }
    black_box(sums);
}
