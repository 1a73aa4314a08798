//! AVX-512 F, BW, DQ and VL: thirty-two registers of sixteen floats.

pub(crate) mod bf16;
pub(crate) mod bf16_dot;
pub(crate) mod int8;
pub(crate) mod lanes;

use super::lines::LANES;
use super::tier::{Kernel, Tier};
use super::tiled::Tile;
use std::arch::x86_64::*;

/// The proof that this processor has AVX-512 F, BW, DQ and VL.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// # Safety
    /// The processor must have AVX-512 F, BW, DQ and VL.
    pub(crate) unsafe fn assume() -> Self {
        Avx512(())
    }
}

impl Tier for Avx512 {
    type Lanes = lanes::Register;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
        fn compiled<K: Kernel>(tier: Avx512, kernel: K) -> K::Output {
            kernel.run(tier)
        }
        // SAFETY: `self` exists only where AVX-512 does.
        unsafe { compiled(self, kernel) }
    }
}

/// Stores the accumulators of a micro-kernel as the first rows and panels of a tile.
#[inline]
#[target_feature(enable = "avx512f")]
fn store_sums<const R: usize, const P: usize, const COLUMNS: usize>(sums: &[[__m512; P]; R], tile: &mut Tile<COLUMNS>) {
    for r in 0..R {
        for p in 0..P {
            // SAFETY: 16 lanes at panel p < P of the tile's row r.
            unsafe { _mm512_storeu_ps(tile.0[r].as_chunks_mut::<LANES>().0[p].as_mut_ptr(), sums[r][p]) };
        }
    }
}
