//! Kernels for the CPU. One text per kernel where that is possible, one folder per instruction set for what is not.
//!
//! | folder | holds |
//! |---|---|
//! | [`scalar`] | the specification: plain loops, which every other tier is tested against |
//! | [`avx2`], [`avx512`], [`amx`] | registers, and the micro-kernels that need particular instructions |
//! | here | what surrounds the micro-kernels, and every kernel that is one text over [`lanes`] |

pub mod attention;
pub mod bf16;
mod dispatch;
mod epilogue;
pub mod gemm;
pub mod int8;
mod lanes;
pub mod layers;
pub mod limits;
mod lines;
mod math;
mod microkernel;
pub mod pool;
mod scratch;
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
pub use scratch::Scratch;
