//! bf16 with AVX512-BF16: `vdpbf16ps` multiplies a pair by a pair of weights in each of 16 lanes and adds both products to
//! an f32 sum. Taken only where it is faster than f32 multiply-add, which today is on AMD.
//!
//! The tile is that of the VNNI kernel, for the same reasons: 9 rows x 3 panels.

use crate::cpu::Isa;
use crate::cpu::lines::{LANES, Line};
use crate::cpu::tier::Tier;
use crate::cpu::tiled::{MicroKernel, Operands, Tile};
use std::arch::x86_64::*;
use std::hint::black_box;
use std::ops::Range;
use std::sync::OnceLock;

const ROWS: usize = 9;
const PANELS: usize = 3;
const COLUMNS: usize = PANELS * LANES;

/// The sums with `vdpbf16ps`, over rows of pairs; exists only where AVX512-BF16 does.
pub(crate) struct PairProducts(());

impl PairProducts {
    /// Whether this machine has `vdpbf16ps` at twice the rate of f32 multiply-add: AMD's do (Zen 4 measured 232 against 115
    /// GFLOP/s a core), Intel's run it at half that rate and have AMX for bf16.
    pub(crate) fn is_fast() -> bool {
        static FAST: OnceLock<bool> = OnceLock::new(); // CPUID is slow in a virtual machine
        *FAST.get_or_init(|| Self::is_supported() && vendor() == *b"AuthenticAMD")
    }

    fn is_supported() -> bool {
        Isa::Avx512.is_supported() && is_x86_feature_detected!("avx512bf16")
    }

    /// # Panics
    /// If this machine has no AVX512-BF16.
    pub(crate) fn new() -> Self {
        assert!(Self::is_supported(), "this machine has no AVX512-BF16");
        PairProducts(())
    }

    /// Only `vdpbf16ps` between registers, for [`crate::cpu::limits`]; gives the number of operations.
    pub(crate) fn saturate(&self, rounds: usize) -> usize {
        // SAFETY: a PairProducts exists only where the instruction does.
        unsafe { saturate(rounds) };
        rounds * ROWS * COLUMNS * 2 * 2
    }
}

/// The vendor's name as CPUID leaf 0 spells it: EBX, EDX, ECX.
fn vendor() -> [u8; 12] {
    let leaf = __cpuid(0);
    let mut name = [0; 12];
    for (bytes, register) in name.as_chunks_mut::<4>().0.iter_mut().zip([leaf.ebx, leaf.edx, leaf.ecx]) {
        *bytes = register.to_le_bytes();
    }
    name
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

impl MicroKernel<COLUMNS> for PairProducts {
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
        // SAFETY: a PairProducts exists only where the instruction does, and the shape of the instance is that of the
        // slices.
        unsafe { SHAPES[rows.len() - 1][panels.len() - 1](a, b, operands.rows.depth(), tile) }
    }
}

/// Sums of `R` rows x `P` panels into the tile, in the order of the pairs.
///
/// `a` holds `R` rows, whose first `depth` lines are values; `b` holds `P` panels of `16 * depth` lines.
#[expect(clippy::needless_range_loop, reason = "one index runs over several arrays of registers")]
#[target_feature(enable = "avx512f,avx512bf16")]
fn sums<const R: usize, const P: usize>(a: &[Line], b: &[Line], depth: usize, tile: &mut Tile<COLUMNS>) {
    let groups = depth * LANES;
    let stride = a.len() / R * LANES;
    assert!(groups <= stride && b.len() == P * groups);
    let (a, b) = (a.as_ptr().cast::<i32>(), b.as_ptr().cast::<__m512i>());
    let mut sums = [[_mm512_setzero_ps(); P]; R];
    let mut weights = [_mm512_setzero_si512(); P];
    for group in 0..groups {
        for p in 0..P {
            // SAFETY: p < P and group < groups lie within `b`, which is aligned like Line.
            weights[p] = unsafe { _mm512_load_si512(b.add(p * groups + group)) };
        }
        for r in 0..R {
            // SAFETY: r < R and group < groups lie within `a`.
            let pair = _mm512_set1_epi32(unsafe { a.add(r * stride + group).read() });
            for p in 0..P {
                sums[r][p] = multiply_pairs(sums[r][p], pair, weights[p]);
            }
        }
    }
    for r in 0..R {
        for p in 0..P {
            let lanes: &mut [f32; LANES] = &mut tile.0[r].as_chunks_mut().0[p];
            // SAFETY: 16 lanes.
            unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), sums[r][p]) };
        }
    }
}

/// `vdpbf16ps` on registers whose lanes hold pairs of bf16.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn multiply_pairs(sums: __m512, pairs: __m512i, weights: __m512i) -> __m512 {
    // SAFETY: both types are 64 bytes in which every bit pattern is a value.
    let [pairs, weights] = unsafe { std::mem::transmute::<[__m512i; 2], [__m512bh; 2]>([pairs, weights]) };
    _mm512_dpbf16_ps(sums, pairs, weights)
}

#[target_feature(enable = "avx512f,avx512bf16")]
fn saturate(rounds: usize) {
    let (pairs, weights) = black_box((_mm512_setzero_si512(), _mm512_setzero_si512()));
    let mut sums = [_mm512_setzero_ps(); ROWS * PANELS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = multiply_pairs(*sum, pairs, weights);
        }
    }
    black_box(sums);
}
