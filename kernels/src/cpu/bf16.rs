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

use super::lanes::Lanes;
use super::lines::{LANES, Panels, RowLines};
use super::scalar::lanes::Array;
use super::tiled::{Output, multiply, multiply_by_blocks};
use super::{Epilogue, Isa, Scratch, scalar};

/// Values that fill one line of pairs.
const PAIRED_DEPTH: usize = 2 * LANES;

/// What a bf16 stands for, exactly.
#[inline(always)]
pub(crate) fn widen(x: u16) -> f32 {
    f32::from_bits(u32::from(x) << 16)
}

/// How a kernel wants to read rounded activations.
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

/// Which micro-kernel multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx512Dot,
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
            Isa::Avx512 if super::avx512::bf16_dot::is_fast() => Path::Avx512Dot,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Path::Avx512,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Path::Avx2,
            _ => Path::Scalar,
        }
    }

    /// Repeats the instructions of the micro-kernel on registers alone, and gives the number of operations.
    pub(crate) fn saturate(self, rounds: usize) -> usize {
        match self {
            Path::Scalar => scalar::bf16::saturate(rounds),
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => super::avx2::bf16::saturate(rounds),
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => super::avx512::bf16::saturate(rounds),
            #[cfg(target_arch = "x86_64")]
            Path::Avx512Dot => super::avx512::bf16_dot::saturate(rounds),
            #[cfg(target_arch = "x86_64")]
            Path::Amx => super::amx::tiles::saturate_bf16(rounds),
        }
    }

    fn form(self) -> Form {
        match self {
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 | Path::Avx512 => Form::Widened,
            _ => Form::Pairs,
        }
    }
}

/// Evaluates `$body` with `$kernel` bound to the micro-kernel that `$w` was packed for.
macro_rules! with_kernel {
    ($w:expr, $x:expr, $kernel:ident => $body:expr) => {
        match $w.path {
            Path::Scalar => {
                let $kernel = scalar::bf16::Kernel { rows: &$x.lines, panels: &$w.panels };
                $body
            }
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => {
                let $kernel = super::avx2::bf16::Kernel { rows: &$x.lines, panels: &$w.panels };
                $body
            }
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => {
                let $kernel = super::avx512::bf16::Kernel { rows: &$x.lines, panels: &$w.panels };
                $body
            }
            #[cfg(target_arch = "x86_64")]
            Path::Avx512Dot => {
                let $kernel = super::avx512::bf16_dot::Kernel { rows: &$x.lines, panels: &$w.panels };
                $body
            }
            #[cfg(target_arch = "x86_64")]
            Path::Amx => {
                let $kernel = super::amx::bf16::Kernel::new(&$x.lines, &$w.panels);
                $body
            }
        }
    };
}

/// Activations rounded to bf16, in the form that the micro-kernel of one instruction set reads. Reused from batch to batch
/// without allocating.
#[derive(Clone, Debug, Default)]
pub struct RoundedRows {
    lines: RowLines,
    form: Form,
    width: usize,
}

impl RoundedRows {
    /// No rows yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the contents with the rows of `x` (`rows` x `width`, row-major), for products with weights packed for `isa`.
    ///
    /// # Panics
    /// If `x` is not `rows * width` long, or this machine does not support `isa`.
    pub fn round(&mut self, isa: Isa, x: &[f32], rows: usize, width: usize) {
        assert_eq!(x.len(), rows * width, "activations must be rows x width = {rows} x {width}");
        self.resize(isa, rows, width);
        self.round_from(isa, 0, x);
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.lines.rows()
    }

    /// Values in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Bytes held, used or not.
    pub fn bytes(&self) -> usize {
        self.lines.bytes()
    }

    pub(crate) fn lines(&self) -> &RowLines {
        &self.lines
    }

    /// Both forms are padded to the groups of a whole line of pairs, as the weights are.
    fn resize(&mut self, isa: Isa, rows: usize, width: usize) {
        self.form = Path::of(isa).form();
        self.width = width;
        let padded = width.next_multiple_of(PAIRED_DEPTH);
        self.lines.resize(rows, padded * self.form.element_bytes());
    }

    /// Rounds whole rows into the places from `first` on.
    fn round_from(&mut self, isa: Isa, first: usize, x: &[f32]) {
        isa.require();
        for (row, x) in x.chunks_exact(self.width.max(1)).enumerate().map(|(i, x)| (first + i, x)) {
            match isa {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => super::avx2::bf16::round_widened_row(x, self.lines.row_mut(row, x.len())),
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 if self.form == Form::Widened => {
                    super::avx512::bf16::round_widened_row(x, self.lines.row_mut(row, x.len()));
                }
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 | Isa::Amx => super::avx512::bf16::round_row(x, self.lines.row_mut(row, x.len())),
                // SAFETY: arrays need no instruction set.
                _ => unsafe { round::<Array>(x, self.lines.row_mut(row, x.len())) },
            }
        }
    }
}

/// Rounds values to bf16.
///
/// # Safety
/// The processor must have the instruction set of `L`; to be inlined into a function compiled for it.
#[inline(always)]
pub(crate) unsafe fn round<L: Lanes>(x: &[f32], rounded: &mut [u16]) {
    for (x, rounded) in x.chunks(LANES).zip(rounded.chunks_mut(LANES)) {
        // SAFETY: the caller's promise.
        let values = unsafe { L::load_part(x) }.rounded_to_bf16().upper_halves();
        match rounded.first_chunk_mut() {
            Some(rounded) => *rounded = values,
            None => rounded.copy_from_slice(&values[..x.len()]),
        }
    }
}

/// Rounds values to those of bf16, kept as f32.
///
/// # Safety
/// As [`round`].
#[inline(always)]
pub(crate) unsafe fn round_widened<L: Lanes>(x: &[f32], rounded: &mut [f32]) {
    for (x, rounded) in x.chunks(LANES).zip(rounded.chunks_mut(LANES)) {
        // SAFETY: the caller's promise.
        unsafe { L::load_part(x) }.rounded_to_bf16().store_part(rounded);
    }
}

/// Weights as bf16, packed once for one instruction set.
#[derive(Clone, Debug)]
pub struct PackedBf16 {
    isa: Isa,
    path: Path,
    panels: Panels,
    out_features: usize,
    in_features: usize,
}

impl PackedBf16 {
    /// Rounds and packs `weights` (`out_features` x `in_features`, row-major).
    ///
    /// # Panics
    /// If the length is not `out_features * in_features`, or this machine does not support `isa`.
    pub fn pack(isa: Isa, weights: &[f32], out_features: usize, in_features: usize) -> Self {
        isa.require();
        assert_eq!(weights.len(), out_features * in_features, "weights must be {out_features} x {in_features}");
        let mut rounded = vec![0u16; weights.len()];
        // SAFETY: arrays need no instruction set.
        unsafe { round::<Array>(weights, &mut rounded) };
        let panels = Panels::pack(out_features, in_features, |n, k| rounded[n * in_features + k].to_ne_bytes());
        PackedBf16 { isa, path: Path::of(isa), panels, out_features, in_features }
    }

    /// Columns of the result.
    pub fn out_features(&self) -> usize {
        self.out_features
    }

    /// Values summed over.
    pub fn in_features(&self) -> usize {
        self.in_features
    }

    /// The instruction set it was packed for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.panels.bytes()
    }

    #[cfg(test)]
    pub(crate) fn panels(&self) -> &Panels {
        &self.panels
    }
}

/// `y = act(x w^T + bias) + residual`, with `x` (`rows` x `in_features`) rounded to bf16 on the way in.
///
/// # Panics
/// If the length of `x`, `y` (`rows` x `out_features`), the bias or the residual contradicts the shape.
pub fn gemm_bf16(w: &PackedBf16, x: &[f32], rows: usize, epilogue: Epilogue<'_>, y: &mut [f32], scratch: &mut Scratch) {
    scratch.rounded.round(w.isa, x, rows, w.in_features);
    gemm_bf16_rows(w, &scratch.rounded, epilogue, y);
}

/// [`gemm_bf16`] for activations that are already rounded, for instance because several products read them.
///
/// # Panics
/// If the width of `x` or the length of `y`, the bias or the residual contradicts the shape, or `x` was rounded for an
/// instruction set that reads another form.
pub fn gemm_bf16_rows(w: &PackedBf16, x: &RoundedRows, epilogue: Epilogue<'_>, y: &mut [f32]) {
    check(w, x, &epilogue);
    assert_eq!(y.len(), x.rows() * w.out_features, "y must be rows x out_features");
    let mut output = Output { y, width: w.out_features, first_row: 0, epilogue };
    with_kernel!(w, x, kernel => multiply(&kernel, 0..x.rows(), &mut output));
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
    check(w, x, &epilogue);
    y.resize(w.isa, x.rows(), w.out_features);
    let sink = |first_row: usize, values: &[f32]| y.round_from(w.isa, first_row, values);
    with_kernel!(w, x, kernel => multiply_by_blocks(&kernel, x.rows(), w.out_features, epilogue, &mut scratch.block, sink));
}

fn check(w: &PackedBf16, x: &RoundedRows, epilogue: &Epilogue<'_>) {
    assert_eq!(x.width, w.in_features, "activations have {} values a row, the weights {}", x.width, w.in_features);
    assert_eq!(x.form, w.path.form(), "activations were rounded for another instruction set than {}", w.isa);
    epilogue.check(x.rows(), w.out_features);
}
