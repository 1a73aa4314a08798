//! Activations as 7-bit levels: one scale and one zero point per row.

use super::{DEPTH_MAX, LEVEL_MAX};
use crate::cpu::Isa;
use crate::cpu::lanes::{Lanes, ROUNDING};
use crate::cpu::lines::{LANES, RowLines};
use crate::cpu::tier::{Kernel, Tier};

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
    /// If `x` is not `rows * width` long, `width` is zero or over [`DEPTH_MAX`], or this machine does not support `isa`.
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

    /// Makes room; the contents are unspecified until each row has been quantised.
    pub(super) fn resize(&mut self, rows: usize, width: usize) {
        assert!((1..=DEPTH_MAX).contains(&width), "rows of {width} values: int8 products sum over 1 to {DEPTH_MAX}");
        self.lines.resize(rows, width);
        self.scales.resize(rows, RowScale::default());
        self.width = width;
    }

    /// Quantises whole rows into the places from `first_row` on.
    pub(super) fn quantise_from(&mut self, isa: Isa, first_row: usize, x: &[f32]) {
        isa.run(Quantise { x, first_row, rows: self });
    }

    pub(crate) fn lines(&self) -> &RowLines {
        &self.lines
    }

    pub(crate) fn scales(&self) -> &[RowScale] {
        &self.scales
    }
}

/// Quantises whole rows into the places from `first_row` on.
struct Quantise<'a> {
    x: &'a [f32],
    first_row: usize,
    rows: &'a mut QuantisedRows,
}

impl Kernel for Quantise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<T: Tier>(self, tier: T) {
        let width = self.rows.width;
        for (i, x) in self.x.chunks_exact(width).enumerate() {
            let row = self.first_row + i;
            self.rows.scales[row] = quantise_row(tier, x, self.rows.lines.row_mut(row, width));
        }
    }
}

/// Quantises one row, and says how to read its levels.
///
/// The range always includes zero, so that zero is exact, the zero point is itself a level, and a row of one repeated
/// value has a step that is not zero. A row that holds a NaN or an infinity gets a NaN scale, which makes all its results
/// NaN; a row too small for a normal step (below 1.5e-36) is read as zeros.
#[inline(always)]
fn quantise_row<T: Tier>(tier: T, x: &[f32], levels: &mut [u8]) -> RowScale {
    let range = row_range(tier, x);
    let scale = range.high / LEVEL_MAX as f32 - range.low / LEVEL_MAX as f32;
    if !range.finite || scale < f32::MIN_POSITIVE {
        levels.fill(0);
        return RowScale { scale: if range.finite { 0.0 } else { f32::NAN }, zero_point: 0 };
    }
    let inverse = 1.0 / scale;
    let zero_point = (-range.low * inverse + ROUNDING) - ROUNDING;
    let (factor, offset) = (tier.splat(inverse), tier.splat(zero_point + ROUNDING));
    for (x, levels) in x.chunks(LANES).zip(levels.chunks_mut(LANES)) {
        let nearest = tier.load_part(x).mul(factor).levels(offset);
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
#[inline(always)]
fn row_range<T: Tier>(tier: T, x: &[f32]) -> RowRange {
    let zero = tier.splat(0.0);
    let mut sets = [Extremes { zero, low: zero, high: zero, poison: zero }; 4]; // four hide the latency of `min` and `max`
    let (stripes, rest) = x.as_chunks::<{ 4 * LANES }>();
    for stripe in stripes {
        for (set, x) in sets.iter_mut().zip(stripe.as_chunks().0) {
            set.include(tier.load(x));
        }
    }
    for x in rest.chunks(LANES) {
        sets[0].include(tier.load_part(x));
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
