//! The bf16 product: weights and activations rounded to bf16, products summed in f32.
//!
//! bf16 keeps f32's exponent and 8 of its 24 significant bits, so rounding is all there is to it: to nearest, ties to
//! even, NaN kept. Every tier rounds the same way and by the same text; they differ only in how the exact products
//! (16 bits of significand) are summed in f32, hence within `|y - y~| <= depth * 2^-23 * sum |x w|` of each other:
//!
//! | tier | how | operand rows |
//! |---|---|---|
//! | AMX | `tdpbf16ps` | pairs of bf16 |
//! | AVX-512 with AVX512-BF16, AMD | `vdpbf16ps` | pairs of bf16 |
//! | AVX-512 otherwise | weights widened in registers, f32 multiply-add | f32 |
//! | AVX2 | the same | f32 |
//! | scalar | plain loops | pairs of bf16 |
//!
//! `vdpbf16ps` is taken on AMD alone, because it runs at twice the rate of f32 multiply-add there (Zen 4: 232 against 115
//! GFLOP/s a core) and at the same rate on Intel's Sapphire Rapids, whose AMX is the way to bf16. The vendor decides, and
//! not a measurement at start: two runs on one machine must give the same bits. AMX and `vdpbf16ps` read subnormal
//! operands as zero and flush subnormal results; the others do not. That is below 1.2e-38 and is left at that.

mod activations;
mod weights;
mod widened;

pub use activations::RoundedRows;
pub use weights::PackedBf16;

use super::tiled::{Operands, Product, Unscaled};
use super::{Epilogue, Isa, Scratch, scalar};
#[cfg(target_arch = "x86_64")]
use super::{amx, avx512};
#[cfg(target_arch = "x86_64")]
use widened::{WidenedAvx2, WidenedAvx512};

/// Evaluates `$body` with `$kernel` bound to a micro-kernel. They are of different types, so this is no function.
macro_rules! with_micro_kernel {
    ($path:expr, $kernel:ident => $body:expr) => {
        match $path {
            Path::Scalar => {
                let $kernel = scalar::bf16::Loops;
                $body
            }
            #[cfg(target_arch = "x86_64")]
            Path::WidenedAvx2 => {
                let $kernel = WidenedAvx2::new();
                $body
            }
            #[cfg(target_arch = "x86_64")]
            Path::WidenedAvx512 => {
                let $kernel = WidenedAvx512::new();
                $body
            }
            #[cfg(target_arch = "x86_64")]
            Path::PairProducts => {
                let $kernel = avx512::bf16::PairProducts::new();
                $body
            }
            #[cfg(target_arch = "x86_64")]
            Path::Amx => {
                let $kernel = amx::bf16::TileProducts::new();
                $body
            }
        }
    };
}

/// `y = act(x w^T + bias) + residual`, with `x` (`rows` x `in_features`) rounded to bf16 on the way in.
///
/// # Panics
/// If the length of `x`, `y` (`rows` x `out_features`), the bias or the residual contradicts the shape.
pub fn gemm_bf16(w: &PackedBf16, x: &[f32], rows: usize, epilogue: Epilogue<'_>, y: &mut [f32], scratch: &mut Scratch) {
    scratch.rounded.round(w.isa(), x, rows, w.in_features());
    gemm_bf16_rows(w, &scratch.rounded, epilogue, y);
}

/// [`gemm_bf16`] for activations that are already rounded, for instance because several products read them.
///
/// # Panics
/// If the width of `x` or the length of `y`, the bias or the residual contradicts the shape, or `x` was rounded for an
/// instruction set that reads another form.
pub fn gemm_bf16_rows(w: &PackedBf16, x: &RoundedRows, epilogue: Epilogue<'_>, y: &mut [f32]) {
    assert_eq!(y.len(), x.rows() * w.out_features(), "y must be rows x out_features");
    with_micro_kernel!(w.path(), kernel => product(w, x, epilogue, kernel).write(w.isa(), y));
}

/// [`gemm_bf16_rows`] whose result is rounded for the next product, without an f32 matrix in between.
///
/// # Panics
/// As [`gemm_bf16_rows`].
pub fn gemm_bf16_rounded(
    w: &PackedBf16,
    x: &RoundedRows,
    epilogue: Epilogue<'_>,
    y: &mut RoundedRows,
    scratch: &mut Scratch,
) {
    y.resize(w.path().form(), x.rows(), w.out_features());
    let sink = |first_row: usize, values: &[f32]| y.round_from(w.isa(), first_row, values);
    with_micro_kernel!(w.path(), kernel => {
        product(w, x, epilogue, kernel).write_by_blocks(w.isa(), &mut scratch.block, sink)
    });
}

fn product<'a, K>(
    w: &'a PackedBf16,
    x: &'a RoundedRows,
    epilogue: Epilogue<'a>,
    micro_kernel: K,
) -> Product<'a, K, Unscaled> {
    assert_eq!(
        x.width(),
        w.in_features(),
        "activations have {} values a row, the weights {}",
        x.width(),
        w.in_features()
    );
    assert_eq!(x.form(), w.path().form(), "activations were rounded for another instruction set than {}", w.isa());
    epilogue.check(x.rows(), w.out_features());
    let operands = Operands { rows: x.lines(), panels: w.panels() };
    Product { operands, micro_kernel, scaling: Unscaled, columns: w.out_features(), epilogue }
}

/// Which micro-kernel multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    WidenedAvx2,
    #[cfg(target_arch = "x86_64")]
    WidenedAvx512,
    #[cfg(target_arch = "x86_64")]
    PairProducts,
    #[cfg(target_arch = "x86_64")]
    Amx,
}

impl Path {
    /// The best micro-kernel of a supported tier.
    ///
    /// # Panics
    /// If this machine does not support the tier.
    pub(crate) fn of(isa: Isa) -> Self {
        isa.require();
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Amx => Path::Amx,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 if avx512::bf16::PairProducts::is_fast() => Path::PairProducts,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Path::WidenedAvx512,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Path::WidenedAvx2,
            _ => Path::Scalar,
        }
    }

    /// Repeats the instructions of the micro-kernel on registers alone, and gives the number of operations.
    pub(crate) fn saturate(self, rounds: usize) -> usize {
        with_micro_kernel!(self, kernel => kernel.saturate(rounds))
    }

    /// What its micro-kernel reads.
    fn form(self) -> Form {
        match self {
            #[cfg(target_arch = "x86_64")]
            Path::WidenedAvx2 | Path::WidenedAvx512 => Form::Widened,
            _ => Form::Pairs,
        }
    }
}

/// How a micro-kernel wants to read rounded activations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    /// bf16, neighbours in one 4-byte group.
    #[default]
    Pairs,
    /// f32 that holds a value rounded to bf16: what f32 multiply-add can broadcast from memory.
    Widened,
}

impl Form {
    fn element_bytes(self) -> usize {
        match self {
            Form::Pairs => size_of::<u16>(),
            Form::Widened => size_of::<f32>(),
        }
    }
}
