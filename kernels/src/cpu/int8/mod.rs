//! The int8 product: one scheme on every instruction set.
//!
//! **Activations** are quantised per row, when they are used, to 7-bit levels with a scale and a zero point
//! (`x ~ scale * (level - zero_point)`, level in 0..=127). **Weights** are quantised once per output column, symmetrically
//! to -127..=127. A result is
//!
//! ```text
//! y[r,n] = act(scale[r] * scale[n] * (sum_k level[r,k] weight[n,k] - zero_point[r] * sum_k weight[n,k]) + bias[n]) + residual[r,n]
//! ```
//!
//! where both sums are integers and therefore the same whatever the order, the vector width and the company of the row.
//!
//! Why 7 bits: `vpmaddubsw`, all that AVX2 has, adds pairs of products in 16 bits and saturates with the 8th bit. VNNI and
//! AMX could take 8, but then the same model would give other answers on other machines. Why per row: a row's result may
//! not depend on the other rows of its batch. Why an affine range for activations: after GELU they are almost all
//! positive, and a symmetric range would waste half the levels.
//!
//! The error this makes is bounded by the steps: `|x - x~| <= scale[r]/2` and `|w - w~| <= scale[n]/2` give
//! `|y - y~| <= scale[n]/2 * sum|x~| + scale[r]/2 * sum|w|` before the activation, which is what the tests hold it to.
//! A NaN or an infinity in a row makes that whole row of the result NaN, and one in a weight its whole column: an
//! engine sees at once that something is broken, where a clamped level would be plausible garbage.
//!
//! Quantised rows are a value of their own ([`QuantisedRows`]): one quantisation feeds several products, and
//! [`gemm_i8_requantised`] writes the rows that the next product reads without an f32 matrix in between.

mod activations;
mod weights;

pub use activations::QuantisedRows;
pub use weights::PackedI8;

use super::lanes::Lanes;
use super::lines::LANES;
use super::tier::Tier;
use super::tiled::{Operands, Product, Scaling};
use super::{Epilogue, Isa, Scratch, scalar};
use activations::RowScale;

/// Longest dimension to sum over: 127 x 127 x 131,072 still fits an i32.
pub const DEPTH_MAX: usize = 1 << 17;

/// Largest level: 7 bits, so that two products fit the 16 bits of `vpmaddubsw` (2 x 127 x 127 < 32,768).
const LEVEL_MAX: i32 = 127;

/// Evaluates `$body` with `$kernel` bound to a micro-kernel. They are of different types, so this is no function.
macro_rules! with_micro_kernel {
    ($path:expr, $kernel:ident => $body:expr) => {
        match $path {
            Path::Scalar => {
                let $kernel = scalar::int8::Loops;
                $body
            }
            #[cfg(target_arch = "x86_64")]
            Path::Maddubs => {
                let $kernel = super::avx2::int8::Maddubs::new();
                $body
            }
            #[cfg(target_arch = "x86_64")]
            Path::Vnni => {
                let $kernel = super::avx512::int8::Vnni::new();
                $body
            }
            #[cfg(target_arch = "x86_64")]
            Path::Amx => {
                let $kernel = super::amx::int8::TileProducts::new();
                $body
            }
        }
    };
}

/// `y = act(x w^T + bias) + residual`, with `x` (`rows` x `in_features`) quantised per row on the way in.
///
/// # Panics
/// If the length of `x`, `y` (`rows` x `out_features`), the bias or the residual contradicts the shape.
pub fn gemm_i8(w: &PackedI8, x: &[f32], rows: usize, epilogue: Epilogue<'_>, y: &mut [f32], scratch: &mut Scratch) {
    scratch.quantised.quantise(w.isa(), x, rows, w.in_features());
    gemm_i8_rows(w, &scratch.quantised, epilogue, y);
}

/// [`gemm_i8`] for activations that are already quantised, for instance because several products read them.
///
/// # Panics
/// If the width of `x` or the length of `y`, the bias or the residual contradicts the shape.
pub fn gemm_i8_rows(w: &PackedI8, x: &QuantisedRows, epilogue: Epilogue<'_>, y: &mut [f32]) {
    assert_eq!(y.len(), x.rows() * w.out_features(), "y must be rows x out_features");
    with_micro_kernel!(w.path(), kernel => product(w, x, epilogue, kernel).write(w.isa(), y));
}

/// [`gemm_i8_rows`] whose result is quantised for the next product: block of rows by block of rows, because the range of a
/// row must be known before its first level can be written.
///
/// # Panics
/// As [`gemm_i8_rows`].
pub fn gemm_i8_requantised(
    w: &PackedI8,
    x: &QuantisedRows,
    epilogue: Epilogue<'_>,
    y: &mut QuantisedRows,
    scratch: &mut Scratch,
) {
    y.resize(x.rows(), w.out_features());
    let sink = |first_row: usize, values: &[f32]| y.quantise_from(w.isa(), first_row, values);
    with_micro_kernel!(w.path(), kernel => {
        product(w, x, epilogue, kernel).write_by_blocks(w.isa(), &mut scratch.block, sink)
    });
}

fn product<'a, K>(
    w: &'a PackedI8,
    x: &'a QuantisedRows,
    epilogue: Epilogue<'a>,
    micro_kernel: K,
) -> Product<'a, K, Scales<'a>> {
    assert_eq!(
        x.width(),
        w.in_features(),
        "activations have {} values a row, the weights {}",
        x.width(),
        w.in_features()
    );
    epilogue.check(x.rows(), w.out_features());
    let scaling = Scales { rows: x.scales(), columns: w.scales(), column_sums: w.sums() };
    let operands = Operands { rows: x.lines(), panels: w.panels() };
    Product { operands, micro_kernel, scaling, columns: w.out_features(), epilogue }
}

/// `scale_row * scale_column * (sum - zero_point * column_sum)`: the integer part is exact, and is rounded once.
#[derive(Clone, Copy)]
struct Scales<'a> {
    rows: &'a [RowScale],
    /// By panel, as the sums.
    columns: &'a [[f32; LANES]],
    column_sums: &'a [[i32; LANES]],
}

impl Scaling for Scales<'_> {
    #[inline(always)]
    fn scaled<T: Tier>(&self, tier: T, row: usize, panel: usize, sums: T::Lanes) -> T::Lanes {
        let RowScale { scale, zero_point } = self.rows[row];
        let factors = tier.splat(scale).mul(tier.load(&self.columns[panel]));
        sums.integer_difference(zero_point, &self.column_sums[panel]).mul(factors)
    }
}

/// Which micro-kernel multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Maddubs,
    #[cfg(target_arch = "x86_64")]
    Vnni,
    #[cfg(target_arch = "x86_64")]
    Amx,
}

impl Path {
    /// The best micro-kernel of a supported tier. AVX-512 without VNNI (Skylake) runs the AVX2 kernel.
    ///
    /// # Panics
    /// If this machine does not support the tier.
    pub(crate) fn of(isa: Isa) -> Self {
        isa.require();
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Amx => Path::Amx,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 if super::avx512::int8::Vnni::is_supported() => Path::Vnni,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx2 => Path::Maddubs,
            _ => Path::Scalar,
        }
    }

    /// Repeats the instructions of the micro-kernel on registers alone, and gives the number of operations.
    pub(crate) fn saturate(self, rounds: usize) -> usize {
        with_micro_kernel!(self, kernel => kernel.saturate(rounds))
    }
}
