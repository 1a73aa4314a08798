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

use super::lanes::{Lanes, ROUNDING};
use super::lines::{LANES, Panels, RowLines};
use super::scalar::lanes::Array;
use super::tiled::{Block, Output, Scaling, TILE_COLUMNS_MAX, Tile, multiply, multiply_by_blocks, write_out};
use super::{Epilogue, Isa, Scratch, scalar};

/// Longest dimension to sum over: 127 x 127 x 131,072 still fits an i32.
pub const DEPTH_MAX: usize = 1 << 17;

/// Largest level: 7 bits, so that two products fit the 16 bits of `vpmaddubsw` (2 x 127 x 127 < 32,768).
const LEVEL_MAX: i32 = 127;

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
            Isa::Avx512 if is_x86_feature_detected!("avx512vnni") => Path::Vnni,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx2 => Path::Maddubs,
            _ => Path::Scalar,
        }
    }

    /// Repeats the instructions of the micro-kernel on registers alone, and gives the number of operations.
    pub(crate) fn saturate(self, rounds: usize) -> usize {
        match self {
            Path::Scalar => scalar::int8::saturate(rounds),
            #[cfg(target_arch = "x86_64")]
            Path::Maddubs => super::avx2::int8::saturate(rounds),
            #[cfg(target_arch = "x86_64")]
            Path::Vnni => super::avx512::int8::saturate(rounds),
            #[cfg(target_arch = "x86_64")]
            Path::Amx => super::amx::tiles::saturate_int8(rounds),
        }
    }
}

/// Evaluates `$body` with `$kernel` bound to the micro-kernel that `$w` was packed for.
macro_rules! with_kernel {
    ($w:expr, $x:expr, $kernel:ident => $body:expr) => {
        match $w.path {
            Path::Scalar => {
                let $kernel = scalar::int8::Kernel { rows: $x, weights: $w };
                $body
            }
            #[cfg(target_arch = "x86_64")]
            Path::Maddubs => {
                let $kernel = super::avx2::int8::Kernel { rows: $x, weights: $w };
                $body
            }
            #[cfg(target_arch = "x86_64")]
            Path::Vnni => {
                let $kernel = super::avx512::int8::Kernel { rows: $x, weights: $w };
                $body
            }
            #[cfg(target_arch = "x86_64")]
            Path::Amx => {
                let $kernel = super::amx::int8::Kernel::new($x, $w);
                $body
            }
        }
    };
}

/// How to read the levels of one row: `x ~ scale * (level - zero_point)`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct RowScale {
    /// Width of one step. Zero for a row read as zeros, NaN for a row that was not finite.
    pub(crate) scale: f32,
    /// The level that means zero, 0..=127.
    pub(crate) zero_point: i32,
}

/// Activations as 7-bit rows, each with its scale and zero point. Reused from batch to batch without allocating.
#[derive(Clone, Debug, Default)]
pub struct QuantisedRows {
    lines: RowLines,
    scales: Vec<RowScale>,
    width: usize,
}

impl QuantisedRows {
    /// No rows yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the contents with the rows of `x` (`rows` x `width`, row-major).
    ///
    /// # Panics
    /// If `x` is not `rows * width` long, `width` is over [`DEPTH_MAX`], or this machine does not support `isa`.
    pub fn quantise(&mut self, isa: Isa, x: &[f32], rows: usize, width: usize) {
        assert_eq!(x.len(), rows * width, "activations must be rows x width = {rows} x {width}");
        self.resize(rows, width);
        self.quantise_from(isa, 0, x);
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.scales.len()
    }

    /// Values in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Bytes held, used or not.
    pub fn bytes(&self) -> usize {
        self.lines.bytes() + self.scales.capacity() * size_of::<RowScale>()
    }

    fn resize(&mut self, rows: usize, width: usize) {
        assert!(width <= DEPTH_MAX, "rows of {width} values: int8 products sum over at most {DEPTH_MAX}");
        self.lines.resize(rows, width);
        self.scales.resize(rows, RowScale::default());
        self.width = width;
    }

    /// Quantises whole rows into the places from `first` on.
    fn quantise_from(&mut self, isa: Isa, first: usize, x: &[f32]) {
        let quantise_row = row_quantiser(isa);
        for (row, x) in x.chunks_exact(self.width.max(1)).enumerate().map(|(i, x)| (first + i, x)) {
            self.scales[row] = quantise_row(x, self.lines.row_mut(row, x.len()));
        }
    }

    pub(crate) fn lines(&self) -> &RowLines {
        &self.lines
    }
}

/// Quantises one row, and says how to read its levels.
///
/// The range always includes zero, so that zero is exact, the zero point is itself a level, and a row of one repeated
/// value has a step that is not zero. A row that holds a NaN or an infinity gets a NaN scale, which makes all its results
/// NaN; a row too small for a normal step (below 1.5e-36) is read as zeros.
///
/// # Safety
/// The processor must have the instruction set of `L`; to be inlined into a function compiled for it.
#[inline(always)]
pub(crate) unsafe fn quantise_row<L: Lanes>(x: &[f32], levels: &mut [u8]) -> RowScale {
    // SAFETY: the caller's promise; so for the lanes below.
    let range = unsafe { row_range::<L>(x) };
    let scale = range.high / LEVEL_MAX as f32 - range.low / LEVEL_MAX as f32;
    if !range.finite || scale < f32::MIN_POSITIVE {
        levels.fill(0);
        return RowScale { scale: if range.finite { 0.0 } else { f32::NAN }, zero_point: 0 };
    }
    let inverse = 1.0 / scale;
    let zero_point = (-range.low * inverse + ROUNDING) - ROUNDING;
    let (factor, offset) = unsafe { (L::splat(inverse), L::splat(zero_point + ROUNDING)) };
    for (x, levels) in x.chunks(LANES).zip(levels.chunks_mut(LANES)) {
        let nearest = unsafe { L::load_part(x) }.mul(factor).levels(offset);
        match levels.first_chunk_mut() {
            Some(levels) => *levels = nearest,
            None => levels.copy_from_slice(&nearest[..levels.len()]),
        }
    }
    RowScale { scale, zero_point: zero_point as i32 }
}

struct RowRange {
    low: f32,
    high: f32,
    finite: bool,
}

/// The smallest range that holds the row and zero, and whether all of the row is finite.
///
/// # Safety
/// As [`quantise_row`].
#[inline(always)]
unsafe fn row_range<L: Lanes>(x: &[f32]) -> RowRange {
    // SAFETY: the caller's promise; so for the loads below.
    let start = unsafe { Extremes::<L>::of_zero() };
    let mut sets = [start; 4]; // independent of each other, to hide the latency of `min` and `max`
    let (stripes, rest) = x.as_chunks::<{ 4 * LANES }>();
    for stripe in stripes {
        for (set, x) in sets.iter_mut().zip(stripe.as_chunks().0) {
            set.include(unsafe { L::load(x) });
        }
    }
    for x in rest.chunks(LANES) {
        sets[0].include(unsafe { L::load_part(x) });
    }
    let [a, b, c, d] = sets;
    let all = a.join(b).join(c.join(d));
    RowRange { low: all.low.lowest(), high: all.high.highest(), finite: all.poison.is_zero() }
}

/// What has been seen in each lane.
#[derive(Clone, Copy)]
struct Extremes<L> {
    zero: L,
    low: L,
    high: L,
    /// Zero, and NaN for good after a NaN or an infinity.
    poison: L,
}

impl<L: Lanes> Extremes<L> {
    /// # Safety
    /// As [`quantise_row`].
    #[inline(always)]
    unsafe fn of_zero() -> Self {
        // SAFETY: the caller's promise.
        let zero = unsafe { L::splat(0.0) };
        Extremes { zero, low: zero, high: zero, poison: zero }
    }

    #[inline(always)]
    fn include(&mut self, x: L) {
        self.low = x.min(self.low);
        self.high = x.max(self.high);
        self.poison = self.poison.add(x.mul(self.zero));
    }

    #[inline(always)]
    fn join(self, other: Self) -> Self {
        Extremes {
            zero: self.zero,
            low: self.low.min(other.low),
            high: self.high.max(other.high),
            poison: self.poison.add(other.poison),
        }
    }
}

/// `scale_row * scale_column * (sum - zero_point * column_sum)`: the integer part is exact, and is rounded once.
struct Scales<'a, const COLUMNS: usize> {
    rows: &'a [RowScale],
    columns: &'a [f32; COLUMNS],
    column_sums: &'a [i32; COLUMNS],
}

impl<L: Lanes, const COLUMNS: usize> Scaling<L> for Scales<'_, COLUMNS> {
    #[inline(always)]
    unsafe fn scaled(&self, row: usize, panel: usize, sums: L) -> L {
        let RowScale { scale, zero_point } = self.rows[row];
        // SAFETY: the caller's promise.
        let factors = unsafe { L::splat(scale).mul(L::load(&self.columns.as_chunks().0[panel])) };
        sums.integer_difference(zero_point, &self.column_sums.as_chunks().0[panel]).mul(factors)
    }
}

/// Scales exact sums and applies the epilogue.
///
/// # Safety
/// The processor must have the instruction set of `L`; to be inlined into a function compiled for it.
#[inline(always)]
pub(crate) unsafe fn finish<L: Lanes, const COLUMNS: usize>(
    rows: &QuantisedRows,
    weights: &PackedI8,
    block: &Block,
    tile: &Tile<COLUMNS>,
    output: &mut Output<'_, '_>,
) {
    let (columns, column_sums) = weights.columns(block.columns.start);
    let scales = Scales::<COLUMNS> { rows: &rows.scales, columns, column_sums };
    // SAFETY: the caller's promise.
    unsafe { write_out::<L, COLUMNS>(tile, block, output, &scales) }
}

fn row_quantiser(isa: Isa) -> fn(&[f32], &mut [u8]) -> RowScale {
    isa.require();
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => super::avx2::int8::quantise_row,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Amx => super::avx512::int8::quantise_row,
        // SAFETY: arrays need no instruction set.
        _ => |x, levels| unsafe { quantise_row::<Array>(x, levels) },
    }
}

/// Weights as int8, one scale per output column, packed once for one instruction set.
#[derive(Clone, Debug)]
pub struct PackedI8 {
    isa: Isa,
    path: Path,
    panels: Panels,
    /// Padded so that a tile at the right edge may read past the last column.
    scales: Vec<f32>,
    /// `sum_k weight[n,k]`, padded in the same way.
    sums: Vec<i32>,
    out_features: usize,
    in_features: usize,
}

impl PackedI8 {
    /// Quantises and packs `weights` (`out_features` x `in_features`, row-major).
    ///
    /// # Panics
    /// If the length is not `out_features * in_features`, or `in_features` is over [`DEPTH_MAX`], or this machine does not
    /// support `isa`.
    pub fn pack(isa: Isa, weights: &[f32], out_features: usize, in_features: usize) -> Self {
        let path = Path::of(isa);
        assert_eq!(weights.len(), out_features * in_features, "weights must be {out_features} x {in_features}");
        assert!(in_features <= DEPTH_MAX, "{in_features} inputs: int8 products sum over at most {DEPTH_MAX}");
        let column = |n: usize| &weights[n * in_features..][..in_features];
        let padded = out_features + TILE_COLUMNS_MAX;
        let mut scales: Vec<f32> = (0..out_features).map(|n| column_scale(column(n))).collect();
        let level = |n: usize, k: usize| column_level(weights[n * in_features + k], scales[n]);
        let mut sums: Vec<i32> =
            (0..out_features).map(|n| (0..in_features).map(|k| i32::from(level(n, k))).sum()).collect();
        let panels = Panels::pack(out_features, in_features, |n, k| level(n, k).to_ne_bytes());
        scales.resize(padded, 0.0);
        sums.resize(padded, 0);
        PackedI8 { isa, path, panels, scales, sums, out_features, in_features }
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
        self.panels.bytes() + self.scales.len() * size_of::<f32>() + self.sums.len() * size_of::<i32>()
    }

    pub(crate) fn panels(&self) -> &Panels {
        &self.panels
    }

    /// Scales and sums of the columns of a tile.
    fn columns<const COLUMNS: usize>(&self, first: usize) -> (&[f32; COLUMNS], &[i32; COLUMNS]) {
        let padded = "columns are padded by a whole tile";
        (self.scales[first..].first_chunk().expect(padded), self.sums[first..].first_chunk().expect(padded))
    }
}

/// Step of a column: its largest magnitude becomes 127. NaN if any weight is not finite, zero if all are (almost) zero.
fn column_scale(weights: &[f32]) -> f32 {
    if weights.iter().any(|w| !w.is_finite()) {
        return f32::NAN;
    }
    let scale = weights.iter().fold(0.0f32, |largest, w| largest.max(w.abs())) / LEVEL_MAX as f32;
    if scale < f32::MIN_POSITIVE { 0.0 } else { scale }
}

/// Nearest level; zero where the scale is zero or NaN.
fn column_level(weight: f32, scale: f32) -> i8 {
    if scale > 0.0 { (weight / scale).round_ties_even().clamp(-(LEVEL_MAX as f32), LEVEL_MAX as f32) as i8 } else { 0 }
}

/// `y = act(x w^T + bias) + residual`, with `x` (`rows` x `in_features`) quantised per row on the way in.
///
/// # Panics
/// If the length of `x`, `y` (`rows` x `out_features`), the bias or the residual contradicts the shape.
pub fn gemm_i8(w: &PackedI8, x: &[f32], rows: usize, epilogue: Epilogue<'_>, y: &mut [f32], scratch: &mut Scratch) {
    scratch.quantised.quantise(w.isa, x, rows, w.in_features);
    gemm_i8_rows(w, &scratch.quantised, epilogue, y);
}

/// [`gemm_i8`] for activations that are already quantised, for instance because several products read them.
///
/// # Panics
/// If the width of `x` or the length of `y`, the bias or the residual contradicts the shape.
pub fn gemm_i8_rows(w: &PackedI8, x: &QuantisedRows, epilogue: Epilogue<'_>, y: &mut [f32]) {
    check(w, x, &epilogue);
    assert_eq!(y.len(), x.rows() * w.out_features, "y must be rows x out_features");
    let mut output = Output { y, width: w.out_features, first_row: 0, epilogue };
    with_kernel!(w, x, kernel => multiply(&kernel, 0..x.rows(), &mut output));
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
    check(w, x, &epilogue);
    y.resize(x.rows(), w.out_features);
    let sink = |first_row: usize, values: &[f32]| y.quantise_from(w.isa, first_row, values);
    with_kernel!(w, x, kernel => multiply_by_blocks(&kernel, x.rows(), w.out_features, epilogue, &mut scratch.block, sink));
}

fn check(w: &PackedI8, x: &QuantisedRows, epilogue: &Epilogue<'_>) {
    assert_eq!(x.width(), w.in_features, "activations have {} values a row, the weights {}", x.width(), w.in_features);
    epilogue.check(x.rows(), w.out_features);
}
