//! Activations rounded to bf16.

use super::{Form, Path};
use crate::cpu::Isa;
use crate::cpu::lanes::Lanes;
use crate::cpu::lines::{LANES, RowLines};
use crate::cpu::tier::{Kernel, Tier};

/// Values that fill one line of pairs.
const PAIRED_DEPTH: usize = 2 * LANES;

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
    /// If `x` is not `rows * width` long, `width` is zero, or this machine does not support `isa`.
    pub fn round(&mut self, isa: Isa, x: &[f32], rows: usize, width: usize) {
        assert_eq!(x.len(), rows * width, "activations must be rows x width = {rows} x {width}");
        self.resize(Path::of(isa).form(), rows, width);
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

    /// Makes room; the contents are unspecified until each row has been rounded. Both forms are padded to as many values as
    /// a whole line of pairs has, because the weights are.
    pub(super) fn resize(&mut self, form: Form, rows: usize, width: usize) {
        assert!(width > 0, "rows must have values");
        self.form = form;
        self.width = width;
        self.lines.resize(rows, width.next_multiple_of(PAIRED_DEPTH) * form.element_bytes());
    }

    /// Rounds whole rows into the places from `first_row` on.
    pub(super) fn round_from(&mut self, isa: Isa, first_row: usize, x: &[f32]) {
        isa.run(Round { x, first_row, rows: self });
    }

    pub(crate) fn lines(&self) -> &RowLines {
        &self.lines
    }

    pub(super) fn form(&self) -> Form {
        self.form
    }
}

/// Rounds whole rows into the places from `first_row` on.
struct Round<'a> {
    x: &'a [f32],
    first_row: usize,
    rows: &'a mut RoundedRows,
}

impl Kernel for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn run<T: Tier>(self, tier: T) {
        let RoundedRows { lines, form, width } = self.rows;
        for (i, x) in self.x.chunks_exact(*width).enumerate() {
            let row = self.first_row + i;
            match form {
                Form::Pairs => round(tier, x, lines.row_mut(row, *width)),
                Form::Widened => round_widened(tier, x, lines.row_mut(row, *width)),
            }
        }
    }
}

/// Rounds to bf16: nearest, ties to even. NaN stays NaN (made quiet), infinities stay, what is beyond the largest bf16
/// becomes infinite.
#[inline(always)]
pub(super) fn round<T: Tier>(tier: T, x: &[f32], rounded: &mut [u16]) {
    for (x, rounded) in x.chunks(LANES).zip(rounded.chunks_mut(LANES)) {
        let values = tier.load_part(x).rounded_to_bf16().upper_halves();
        match rounded.first_chunk_mut() {
            Some(rounded) => *rounded = values,
            None => rounded.copy_from_slice(&values[..x.len()]),
        }
    }
}

/// [`round`], with the results kept as f32.
#[inline(always)]
fn round_widened<T: Tier>(tier: T, x: &[f32], rounded: &mut [f32]) {
    for (x, rounded) in x.chunks(LANES).zip(rounded.chunks_mut(LANES)) {
        tier.load_part(x).rounded_to_bf16().store_part(rounded);
    }
}
