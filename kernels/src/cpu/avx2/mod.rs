//! AVX2 with FMA: sixteen registers of eight floats, two multiply-adds a cycle.

pub(crate) mod int8;
pub(crate) mod lanes;
pub(crate) mod screen;

use super::Isa;
use super::tier::{Kernel, Tier};

/// The proof that this processor has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// # Panics
    /// If this machine has no such processor.
    pub(crate) fn new() -> Self {
        Isa::Avx2.require();
        Avx2(())
    }
}

impl Tier for Avx2 {
    type Lanes = lanes::Registers;

    const TILE_ROWS: usize = 6;
    const TILE_PANELS: usize = 1;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma")]
        fn compiled<K: Kernel>(tier: Avx2, kernel: K) -> K::Output {
            kernel.run(tier)
        }
        // SAFETY: `self` exists only where AVX2 and FMA do.
        unsafe { compiled(self, kernel) }
    }
}
