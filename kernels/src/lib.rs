//! Compute kernels behind safe slice APIs: all the unsafe code of Attune.
//!
//! Every function is pure on its slices, row-major, single-threaded (parallelism is one engine per worker thread) and takes
//! the [`Isa`] to run on, or weights that were packed for one. A row of a result is bit-identical whatever rows are
//! computed beside it: sums are made in one fixed order. Functions panic only on lengths that contradict each other, which
//! is a mistake of the caller's and not of its data; NaN in the data comes out as NaN. f32 kernels compute the same bits with
//! AVX2 as with AVX-512.

mod cpu;
pub mod cuda;

pub use cpu::attention::*;
pub use cpu::bf16::*;
pub use cpu::gemm::*;
pub use cpu::huge_vec;
pub use cpu::int8::*;
pub use cpu::layers::*;
pub use cpu::limits;
pub use cpu::pool::*;
pub use cpu::screen::*;
pub use cpu::stand_back;
pub use cpu::{Activation, Epilogue, ISA_VARIABLE, Isa, IsaError, Scratch};
