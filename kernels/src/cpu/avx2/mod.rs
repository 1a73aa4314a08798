//! AVX2 with FMA: sixteen registers of eight floats, two multiply-adds a cycle.

pub(crate) mod int8;
pub(crate) mod lanes;

use super::tier::{Kernel, Tier};

/// The proof that this processor has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The processor must have AVX2 and FMA.
    pub(crate) unsafe fn assume() -> Self {
        Avx2(())
    }
}

impl Tier for Avx2 {
    type Lanes = lanes::Registers;

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
