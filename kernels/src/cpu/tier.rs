//! One text per kernel, compiled once per instruction set.
//!
//! A kernel is a struct of its arguments with a generic [`Kernel::run`]; a [`Tier`] is a value of no size that exists only
//! where its instructions do. `isa.run(kernel)` enters the one function of each tier that is compiled with its instruction
//! set enabled, and everything that is inlined into it uses those instructions. So the loops are written once, in safe
//! code, and the only promise to check is the one made where a tier is created.
//!
//! The alternative, a copy of each function per instruction set, triples the text; plain loops left to the compiler's
//! vectoriser are at its mercy for exactly the loops that matter (reductions, tails).

use super::Isa;
use super::lanes::Lanes;
use super::lines::LANES;

/// The proof that this machine has an instruction set.
pub(crate) trait Tier: Copy {
    /// Sixteen floats in its registers.
    type Lanes: Lanes;

    /// Rows of the largest tile of an f32 product, see [`super::microkernel`].
    const TILE_ROWS: usize;
    /// Panels of the largest tile of an f32 product, 1 or 2.
    const TILE_PANELS: usize;

    /// Runs a kernel in a function of its own that is compiled for this tier. Within a kernel this keeps a large inner
    /// piece out of line, so that its registers are allocated for it alone.
    fn run<K: Kernel>(self, kernel: K) -> K::Output;

    /// The same value in every lane.
    #[inline(always)]
    fn splat(self, value: f32) -> Self::Lanes {
        // SAFETY: `self` exists only where the instruction set does.
        unsafe { Self::Lanes::splat(value) }
    }

    /// Sixteen values.
    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Self::Lanes {
        // SAFETY: as for `splat`.
        unsafe { Self::Lanes::load(from) }
    }

    /// Up to sixteen values, and zeros for the rest.
    #[inline(always)]
    fn load_part(self, from: &[f32]) -> Self::Lanes {
        // SAFETY: as for `splat`.
        unsafe { Self::Lanes::load_part(from) }
    }
}

/// A computation that can be compiled for any tier.
pub(crate) trait Kernel {
    /// What it answers.
    type Output;

    /// Computes. Implementations must be `#[inline(always)]`, and so must all they call on the way to the lanes, which
    /// rules out closures: code that is not inlined is compiled without the instruction set, each operation a call.
    fn run<T: Tier>(self, tier: T) -> Self::Output;
}

impl Isa {
    /// Runs a kernel on this tier; on plain arrays if it is scalar.
    ///
    /// # Panics
    /// If this machine cannot run the tier.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => super::avx2::Avx2::new().run(kernel),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Amx => super::avx512::Avx512::new().run(kernel),
            _ => {
                self.require();
                super::scalar::Plain.run(kernel)
            }
        }
    }
}
