//! The kernels' text, put together for whoever compiles it, and the PTX that comes with the program.

use std::fmt;
use std::io::Read;
use std::sync::LazyLock;

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

macro_rules! kernels {
    ($primitives:literal, $end:expr) => {
        concat!(
            include_str!(concat!("../../cuda/", $primitives)),
            include_str!("../../cuda/element.cuh"),
            include_str!("../../cuda/layers.cuh"),
            include_str!("../../cuda/project.cuh"),
            include_str!("../../cuda/hopper.cuh"),
            include_str!("../../cuda/attention.cuh"),
            include_str!("../../cuda/topk.cuh"),
            $end
        )
    };
}

/// For a card.
pub(super) const SOURCE: &str = kernels!("ptx.cuh", "");
/// For the emulation, in C++17.
pub(super) const EMULATED_SOURCE: &str = kernels!("emulated.hpp", include_str!("../../cuda/emulated_launch.hpp"));

/// What the kernels are compiled for in tests: every generation from Turing on.
pub const ARCHITECTURES: [&str; 7] = ["sm_75", "sm_80", "sm_86", "sm_89", "sm_90a", "sm_100", "sm_120"];

/// Number format of weights and activations; sums are f32 at each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    /// IEEE single, without tensor cores: for checking.
    F32,
    /// bfloat16, from compute 8.0 on.
    Bf16,
    /// IEEE half, from compute 7.5 on.
    F16,
}

impl Arithmetic {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::F16];

    /// The lowest compute capability that has it.
    pub fn capability_min(self) -> (u32, u32) {
        match self {
            Self::Bf16 => (8, 0),
            Self::F32 | Self::F16 => (7, 5),
        }
    }

    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }

    /// Half the distance between 1 and the next number.
    pub fn unit_roundoff(self) -> f64 {
        match self {
            Self::F32 => f64::powi(2.0, -24),
            Self::Bf16 => f64::powi(2.0, -8),
            Self::F16 => f64::powi(2.0, -11),
        }
    }

    /// As the sources know it.
    pub(super) fn define(self) -> &'static str {
        match self {
            Self::F32 => "-DATTUNE_PRECISION=0",
            Self::Bf16 => "-DATTUNE_PRECISION=1",
            Self::F16 => "-DATTUNE_PRECISION=2",
        }
    }
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        })
    }
}

/// Hex digits of the SHA-256 of some text.
pub(super) fn hash(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// [`hash`] of [`SOURCE`].
pub(super) static SOURCE_HASH: LazyLock<String> = LazyLock::new(|| hash(SOURCE));

/// Whether [`embedded_ptx`] has the kernels that only Hopper runs.
pub(super) fn has_hopper_ptx(arithmetic: Arithmetic, capability: (u32, u32)) -> bool {
    arithmetic == Arithmetic::Bf16 && capability == (9, 0)
}

/// PTX for the lowest capability that has the arithmetic, which every later card's driver can compile; for Hopper, whose own
/// instructions no other card has, PTX of its own. Made by `kernels/cuda/embed.py`; a test holds it against the sources.
pub(super) fn embedded_ptx(arithmetic: Arithmetic, capability: (u32, u32)) -> String {
    let packed: &[u8] = match (arithmetic, capability) {
        (Arithmetic::F32, _) => include_bytes!("../../cuda/ptx/f32.sm_75.ptx.gz"),
        (Arithmetic::Bf16, (9, 0)) => include_bytes!("../../cuda/ptx/bf16.sm_90a.ptx.gz"),
        (Arithmetic::Bf16, _) => include_bytes!("../../cuda/ptx/bf16.sm_80.ptx.gz"),
        (Arithmetic::F16, _) => include_bytes!("../../cuda/ptx/f16.sm_75.ptx.gz"),
    };
    let mut ptx = String::new();
    GzDecoder::new(packed).read_to_string(&mut ptx).expect("a file of this program's own, read by a test");
    ptx
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_ptx_was_made_from_these_sources() {
        let expected = format!("// attune kernels, source {}\n", *SOURCE_HASH);
        for (arithmetic, capability) in [
            (Arithmetic::F32, (8, 0)),
            (Arithmetic::F16, (7, 5)),
            (Arithmetic::Bf16, (8, 0)),
            (Arithmetic::Bf16, (9, 0)),
        ] {
            let ptx = embedded_ptx(arithmetic, capability);
            assert!(ptx.starts_with(&expected), "{arithmetic}: run `make cuda-ptx`, the kernels have changed since");
            let has_hopper = has_hopper_ptx(arithmetic, capability);
            let hopper = crate::cuda::launch::Kernel::HOPPER.into_iter().filter(|_| has_hopper);
            for kernel in crate::cuda::launch::Kernel::of(arithmetic).into_iter().chain(hopper) {
                assert!(ptx.contains(&format!(".entry {}(", kernel.name())), "{arithmetic}: no {}", kernel.name());
            }
        }
    }
}
