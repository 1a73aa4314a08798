//! What can go wrong on a card.

use std::time::Duration;

/// Why the GPU did not do what it was asked to. Each of them means: do this on the CPU.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CudaError {
    /// A call of the driver failed.
    #[error("{call} failed: {reason} (CUDA error {code})")]
    Driver {
        /// The driver's function.
        call: &'static str,
        /// CUresult.
        code: u32,
        /// The driver's own words.
        reason: String,
    },
    /// The work was not done in time: a kernel hangs, or another process holds the card.
    #[error("the GPU was not done after {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// An earlier failure made this device unusable.
    #[error("the GPU failed before, and is not used any more")]
    Lost,
    /// NVRTC refused the kernels.
    #[error("NVRTC {version} cannot compile the kernels for {architecture}: {log}")]
    Compile {
        /// NVRTC's version.
        version: String,
        /// For example `sm_90a`.
        architecture: String,
        /// What it said.
        log: String,
    },
    /// There are no kernels that this card could run.
    #[error("no kernels for this card: {0}")]
    NoModule(String),
    /// The card has too little memory left.
    #[error("{needed_mib} MiB of GPU memory are needed, {free_mib} MiB of {total_mib} are free")]
    Memory {
        /// Asked for.
        needed_mib: usize,
        /// What other programs, and models loaded before, have left.
        free_mib: usize,
        /// The card's.
        total_mib: usize,
    },
    /// More at once than the stream was made for.
    #[error("{what}: {asked} are more than the {limit} that the stream was made for")]
    Capacity {
        /// Of what.
        what: &'static str,
        /// How many.
        asked: usize,
        /// How many at most.
        limit: usize,
    },
    /// The emulated device could not be made, or found a mistake in a kernel.
    #[error("emulated GPU: {0}")]
    Emulation(String),
}

/// The driver's answer as a result.
pub(super) fn checked(call: &'static str, code: cudarc::driver::sys::CUresult) -> Result<(), CudaError> {
    if code == cudarc::driver::sys::CUresult::CUDA_SUCCESS {
        return Ok(());
    }
    let mut text = std::ptr::null();
    // SAFETY: the driver is loaded, since it gave `code`; it sets `text` to a static string or leaves it null.
    let known = unsafe { cudarc::driver::sys::cuGetErrorString(code, &mut text) };
    let reason = match known == cudarc::driver::sys::CUresult::CUDA_SUCCESS && !text.is_null() {
        // SAFETY: a static string of the driver's that ends in a zero.
        true => unsafe { std::ffi::CStr::from_ptr(text) }.to_string_lossy().into_owned(),
        false => "unknown error".to_owned(),
    };
    Err(CudaError::Driver { call, code: code as u32, reason })
}
