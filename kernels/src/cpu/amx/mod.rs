//! AMX: eight tile registers of 16 rows x 64 bytes, and instructions that multiply whole tiles. Linux only.
//!
//! The intrinsics are unstable, inline assembly is not: every tile instruction of the crate is in [`tiles`], and the
//! kernels around it are ordinary code. The tile state is large (8 KiB), so Linux hands it out on request: once per process
//! with `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`, before the first use.

pub(crate) mod bf16;
#[cfg(all(test, target_os = "linux"))]
mod emulator;
pub(crate) mod int8;
#[cfg(all(test, target_os = "linux"))]
mod tests;
pub(crate) mod tiles;

use std::sync::OnceLock;

/// Whether the processor has AMX with bf16 and int8, and the system lets this process use it. Asks once.
pub(crate) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| processor_has_tiles() && system_grants_tiles())
}

/// CPUID leaf 7 (AMX-BF16, AMX-TILE, AMX-INT8), and OSXSAVE with both parts of the tile state enabled in XCR0.
fn processor_has_tiles() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
    const FEATURES: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    const OSXSAVE: u32 = 1 << 27;
    const TILE_STATE: u64 = 1 << 17 | 1 << 18;

    #[target_feature(enable = "xsave")]
    fn enabled_state() -> u64 {
        // SAFETY: register 0 always exists; the caller has seen OSXSAVE.
        unsafe { _xgetbv(0) }
    }

    __cpuid(0).eax >= 7
        && __cpuid_count(7, 0).edx & FEATURES == FEATURES
        && __cpuid(1).ecx & OSXSAVE != 0
        // SAFETY: OSXSAVE says that XGETBV exists and may be used.
        && unsafe { enabled_state() } & TILE_STATE == TILE_STATE
}

#[cfg(target_os = "linux")]
fn system_grants_tiles() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_int = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_ulong = 18;
    // SAFETY: this call takes two integers and touches no memory of ours; a kernel that does not know it returns an error.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn system_grants_tiles() -> bool {
    false
}
