//! AVX-512 F, BW, DQ and VL: thirty-two registers of sixteen floats.

pub(crate) mod bf16;
mod groups;
pub(crate) mod int8;
pub(crate) mod lanes;
pub(crate) mod screen;

use super::Isa;
use super::tier::{Kernel, Tier};

/// The proof that this processor has AVX-512 F, BW, DQ and VL.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// # Panics
    /// If this machine has no such processor.
    pub(crate) fn new() -> Self {
        Isa::Avx512.require();
        Avx512(())
    }
}

impl Tier for Avx512 {
    type Lanes = lanes::Register;

    const TILE_ROWS: usize = 12;
    const TILE_PANELS: usize = 2;

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
