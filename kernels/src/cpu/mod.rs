//! Kernels for the CPU. One text per kernel where that is possible, one folder per instruction set for what is not.
//!
//! | folder | holds |
//! |---|---|
//! | [`scalar`] | the specification: plain loops, which every other tier is tested against |
//! | [`avx2`], [`avx512`], [`amx`] | registers, and the micro-kernels that need particular instructions |
//! | here | what surrounds the micro-kernels, and every kernel that is one text over [`lanes`] |

pub(crate) mod attention;
pub(crate) mod bf16;
mod dispatch;
mod epilogue;
pub(crate) mod gemm;
pub(crate) mod int8;
mod lanes;
pub(crate) mod layers;
pub mod limits;
mod lines;
mod math;
mod microkernel;
pub(crate) mod pool;
mod priority;
mod scratch;
pub(crate) mod screen;
mod tier;
mod tiled;

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;

pub use dispatch::{ISA_VARIABLE, Isa, IsaError};
pub use epilogue::{Activation, Epilogue};
pub use lines::huge_vec;
pub use priority::stand_back;
pub use scratch::Scratch;
