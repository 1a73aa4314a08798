//! The register tile of the products that take 4 bytes of the summed dimension at a time: 4 levels (VNNI) or 2 bf16.
//!
//! 9 rows x 3 panels: 27 accumulators, 3 registers of weights and one broadcast group of a row fill 31 of the 32 registers.
//! Per group that is 12 loads for 27 multiplications, where two multiplications can start per cycle, and 14 bytes of
//! weights per cycle, so weights may stream from the second-level cache. 27 independent sums hide the latency of the
//! instructions (5 cycles) five times over. 48 columns divide every hidden size that is a multiple of 384.
//!
//! A macro and not a generic function: a function compiled without the instruction's own feature would call it instead of
//! containing it, and no feature list fits both instructions.

use crate::cpu::lines::{LANES, Line};
use crate::cpu::tiled::Tile;

pub(super) const ROWS: usize = 9;
pub(super) const PANELS: usize = 3;
pub(super) const COLUMNS: usize = PANELS * LANES;

/// Rows, panels, lines of a row, and where the sums go.
pub(super) type SumsFn = unsafe fn(&[Line], &[Line], usize, &mut Tile<COLUMNS>);

/// Defines, for one instruction, `SHAPES` (an instance of the micro-kernel for each shape of tile, by rows and panels less
/// one) and `saturate` (only the instruction, between registers).
///
/// `$multiply(sums, group, weights)` is a function with the target features `$features`; its sums are the bits of 16 f32
/// or of 16 integers.
macro_rules! group_products {
    ($features:literal, $multiply:path) => {
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

        /// Sums of `R` rows x `P` panels into the tile, in the order of the groups.
        ///
        /// `a` holds `R` rows, whose first `depth` lines are values; `b` holds `P` panels of `16 * depth` lines.
        #[target_feature(enable = $features)]
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
                    let row = _mm512_set1_epi32(unsafe { a.add(r * stride + group).read() });
                    for p in 0..P {
                        sums[r][p] = $multiply(sums[r][p], row, weights[p]);
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

        #[target_feature(enable = $features)]
        fn saturate(rounds: usize) {
            let (row, weights) = black_box((_mm512_setzero_si512(), _mm512_setzero_si512()));
            let mut sums = [_mm512_setzero_ps(); ROWS * PANELS];
            for _ in 0..rounds {
                for sum in &mut sums {
                    *sum = $multiply(*sum, row, weights);
                }
            }
            black_box(sums);
        }
    };
}
pub(super) use group_products;
