//! Which instruction set runs: detected once, overridden by `ATTUNE_ISA`, logged once.
//!
//! Kernels take an [`Isa`] as an argument instead of asking here, so that one process can run and compare every tier of
//! its processor: that is how the tests hold the fast tiers to the scalar specification, and how `doctor` and the benches
//! time an AVX2 machine's kernels on an AVX-512 machine. [`Isa::active`] is what a program that does not care passes.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// Names the instruction set to use instead of the best one: `scalar`, `avx2`, `avx512` or `amx`.
pub const ISA_VARIABLE: &str = "ATTUNE_ISA";

/// A tier of instruction sets. Each one includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Plain Rust: the specification, and what processors other than x86-64 run.
    Scalar,
    /// AVX2 with FMA: 16 registers of 8 floats.
    Avx2,
    /// AVX-512 F, BW, DQ and VL: 32 registers of 16 floats. VNNI is used for int8 where it is present.
    Avx512,
    /// AVX-512 and AMX tiles for bf16 and int8. f32 runs as on [`Isa::Avx512`].
    Amx,
}

impl Isa {
    /// The name that is logged, and that [`ISA_VARIABLE`] takes.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Amx => "amx",
        }
    }

    /// Every tier, slowest first.
    pub const ALL: [Isa; 4] = [Isa::Scalar, Isa::Avx2, Isa::Avx512, Isa::Amx];

    /// The tiers that this processor and operating system can run, slowest first. [`Isa::Scalar`] is always among them.
    pub fn supported() -> Vec<Isa> {
        Isa::ALL.into_iter().filter(|isa| *isa <= best()).collect()
    }

    /// Whether this machine can run the tier.
    pub fn is_supported(self) -> bool {
        self <= best()
    }

    /// The tier to use: the one that [`ISA_VARIABLE`] names, or the best supported one. Decided and logged once a process.
    ///
    /// # Errors
    /// When the variable names no tier, or one that this machine cannot run: a forced choice is never replaced quietly.
    pub fn active() -> Result<Isa, IsaError> {
        static ACTIVE: OnceLock<Result<Isa, IsaError>> = OnceLock::new();
        ACTIVE
            .get_or_init(|| choose(std::env::var_os(ISA_VARIABLE).map(|name| name.to_string_lossy().into_owned())))
            .clone()
    }

    /// Stops a caller that passes a tier of another machine.
    ///
    /// # Panics
    /// If this machine cannot run the tier: running on would execute instructions that do not exist.
    #[track_caller]
    pub(crate) fn require(self) {
        assert!(self.is_supported(), "this machine cannot run {self} kernels");
    }
}

/// Why there is no active instruction set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IsaError {
    /// No such tier.
    #[error("unknown instruction set {0:?}: {ISA_VARIABLE} is one of scalar, avx2, avx512, amx")]
    Unknown(String),
    /// A tier that needs another machine.
    #[error("this machine has no {wanted}: unset {ISA_VARIABLE} or set it to {best} or below")]
    Unsupported {
        /// What was asked for.
        wanted: Isa,
        /// The best tier that would run.
        best: Isa,
    },
}

fn choose(forced: Option<String>) -> Result<Isa, IsaError> {
    let best = best();
    let isa = match &forced {
        None => best,
        Some(name) => name.parse()?,
    };
    if isa > best {
        return Err(IsaError::Unsupported { wanted: isa, best });
    }
    tracing::info!(%isa, %best, forced = forced.is_some(), "instruction set chosen");
    Ok(isa)
}

/// The best tier of this machine, found once.
fn best() -> Isa {
    static BEST: OnceLock<Isa> = OnceLock::new();
    *BEST.get_or_init(detect)
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Isa {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let avx512 = avx2
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    match (avx2, avx512) {
        (_, true) if super::amx::is_available() => Isa::Amx,
        (_, true) => Isa::Avx512,
        (true, false) => Isa::Avx2,
        (false, false) => Isa::Scalar,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Isa {
    Isa::Scalar
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Isa {
    type Err = IsaError;

    fn from_str(name: &str) -> Result<Self, IsaError> {
        Isa::ALL.into_iter().find(|isa| isa.to_string() == name).ok_or_else(|| IsaError::Unknown(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for isa in Isa::ALL {
            assert_eq!(isa.to_string().parse(), Ok(isa));
        }
        assert_eq!("sse9".parse::<Isa>(), Err(IsaError::Unknown("sse9".to_owned())));
    }

    #[test]
    fn a_forced_tier_is_used_or_refused() {
        assert_eq!(choose(None), Ok(best()));
        assert_eq!(choose(Some("scalar".to_owned())), Ok(Isa::Scalar));
        for isa in Isa::ALL.into_iter().filter(|isa| !isa.is_supported()) {
            assert_eq!(choose(Some(isa.to_string())), Err(IsaError::Unsupported { wanted: isa, best: best() }));
        }
    }
}
