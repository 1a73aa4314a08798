//! The loops around a quantised micro-kernel: which tile of the result is computed when, and where it goes.
//!
//! A [`TileKernel`] computes one small tile of sums in registers over the whole summed dimension, so nothing is ever added
//! to a half-finished result in memory, and the order of summation of a row does not depend on which other rows there are.
//! The tile lands in a buffer that stays in the first-level cache, where scales, bias, activation and residual are applied
//! before it is written out once. Storing and reading the tile again costs 1-2% at 384 inputs, and buys one epilogue for
//! every kernel.
//!
//! Order of the loops: a block of rows that fits the second-level cache stays there while the weights pass by once; a few
//! panels of weights stay in the first-level cache while the rows of the block pass by.

use super::lanes::Lanes;
use super::lines::{LANES, Line};
use super::{Activation, Epilogue};
use std::ops::Range;

/// Rows of the largest tile of any kernel.
pub(crate) const TILE_ROWS: usize = 32;
/// Columns of the widest tile of any kernel.
pub(crate) const TILE_COLUMNS_MAX: usize = 3 * LANES;

/// Bytes of activations that one pass over the weights works on: a quarter of the smallest second-level cache in sight
/// (1 MiB), which leaves room for the panels and the result.
const ROW_BLOCK_BYTES: usize = 256 << 10;

/// Rows that [`multiply_by_blocks`] computes at a time: few enough for their f32 values to stay in the second-level cache,
/// enough to read the weights seldom.
const SINK_ROWS: usize = 32;

/// A tile of sums, row by row. Integer sums are kept as the bits of an i32 until the scales turn them into values.
#[repr(C, align(64))]
pub(crate) struct Tile<const COLUMNS: usize>(pub(crate) [[f32; COLUMNS]; TILE_ROWS]);

/// A block of a matrix: rows by columns (or rows by panels).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
}

/// Both operands of one product, and the micro-kernel that multiplies them in tiles of up to `ROWS` x `COLUMNS`.
pub(crate) trait TileKernel<const COLUMNS: usize> {
    /// Rows of a full tile, at most [`TILE_ROWS`].
    const ROWS: usize;

    /// Lines from one row of activations to the next.
    fn row_stride(&self) -> usize;

    /// Sums over the whole depth for `rows` x `panels`, both non-empty and within a full tile.
    fn sums(&self, rows: Range<usize>, panels: Range<usize>, tile: &mut Tile<COLUMNS>);

    /// Turns the sums at `block` into results: scales, bias, activation, residual. `block.rows` are rows of the operand,
    /// which may be ahead of the rows of `output` by `output.first_row`.
    fn finish(&self, block: &Block, tile: &mut Tile<COLUMNS>, output: &mut Output<'_, '_>);
}

/// Where results go and what is done to them on the way.
pub(crate) struct Output<'a, 'e> {
    /// Row-major, `width` columns.
    pub(crate) y: &'a mut [f32],
    pub(crate) width: usize,
    /// The operand row that `y` and the residual begin with.
    pub(crate) first_row: usize,
    pub(crate) epilogue: Epilogue<'e>,
}

/// Computes `rows` of the product into `output`. `rows.start` must be a multiple of `K::ROWS`.
pub(crate) fn multiply<const COLUMNS: usize, K>(kernel: &K, rows: Range<usize>, output: &mut Output<'_, '_>)
where
    K: TileKernel<COLUMNS>,
{
    let panels = output.width.div_ceil(LANES);
    let row_bytes = kernel.row_stride() * size_of::<Line>();
    let row_block = (ROW_BLOCK_BYTES / row_bytes).max(1).next_multiple_of(K::ROWS);
    let mut tile = Tile([[0.0; COLUMNS]; TILE_ROWS]);
    for block in pieces(rows, row_block) {
        for panels in pieces(0..panels, COLUMNS / LANES) {
            let columns = panels.start * LANES..(panels.end * LANES).min(output.width);
            for rows in pieces(block.clone(), K::ROWS) {
                kernel.sums(rows.clone(), panels.clone(), &mut tile);
                kernel.finish(&Block { rows, columns: columns.clone() }, &mut tile, output);
            }
        }
    }
}

/// Computes the product block of rows by block of rows into `buffer`, and hands each finished block (its first row and its
/// values) to `sink`: for results that are rounded or quantised at once and never needed as an f32 matrix.
pub(crate) fn multiply_by_blocks<const COLUMNS: usize, K>(
    kernel: &K,
    rows: usize,
    width: usize,
    epilogue: Epilogue<'_>,
    buffer: &mut Vec<f32>,
    mut sink: impl FnMut(usize, &[f32]),
) where
    K: TileKernel<COLUMNS>,
{
    for block in pieces(0..rows, SINK_ROWS.next_multiple_of(K::ROWS)) {
        let values = block.start * width..block.end * width;
        buffer.resize(values.len(), 0.0);
        let epilogue = Epilogue { residual: epilogue.residual.map(|residual| &residual[values]), ..epilogue };
        multiply(kernel, block.clone(), &mut Output { y: buffer, width, first_row: block.start, epilogue });
        sink(block.start, buffer);
    }
}

/// Cuts a range into pieces of `size`, the last one possibly shorter.
fn pieces(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    range.clone().step_by(size).map(move |start| start..range.end.min(start + size))
}

/// What turns the sums of a tile into products.
pub(crate) trait Scaling<L> {
    /// Scales the sums of one panel of the tile, in one row of the operand. Must be inlined, as every use of [`Lanes`].
    ///
    /// # Safety
    /// The processor must have the instruction set of `L`.
    unsafe fn scaled(&self, row: usize, panel: usize, sums: L) -> L;
}

/// Sums that are products already.
pub(crate) struct Unscaled;

impl<L> Scaling<L> for Unscaled {
    #[inline(always)]
    unsafe fn scaled(&self, _: usize, _: usize, sums: L) -> L {
        sums
    }
}

/// Scales the sums of a tile and takes them through bias, activation and residual to their one write.
///
/// # Safety
/// The processor must have the instruction set of `L`; to be inlined into a function compiled for it.
#[inline(always)]
pub(crate) unsafe fn write_out<L: Lanes, const COLUMNS: usize>(
    tile: &Tile<COLUMNS>,
    block: &Block,
    output: &mut Output<'_, '_>,
    scaling: &impl Scaling<L>,
) {
    let Output { y, width, first_row, epilogue } = output;
    let columns = block.columns.len();
    let mut bias = [0.0; COLUMNS];
    if let Some(given) = epilogue.bias {
        bias[..columns].copy_from_slice(&given[block.columns.clone()]);
    }
    for (row, sums) in block.rows.clone().zip(&tile.0) {
        let at = (row - *first_row) * *width + block.columns.start;
        let y = &mut y[at..][..columns];
        let residual = epilogue.residual.map(|residual| &residual[at..][..columns]);
        let tile_row = TileRow { row, sums, bias: &bias, activation: epilogue.activation, scaling };
        // SAFETY: the caller's promise.
        unsafe {
            match y.first_chunk_mut() {
                Some(y) => tile_row.write_out::<L>(residual.and_then(<[f32]>::first_chunk), y),
                None => tile_row.write_out_part::<L>(residual, y),
            }
        }
    }
}

/// One row of a tile on its way out.
struct TileRow<'a, const COLUMNS: usize, S> {
    row: usize,
    sums: &'a [f32; COLUMNS],
    bias: &'a [f32; COLUMNS],
    activation: Activation,
    scaling: &'a S,
}

impl<const COLUMNS: usize, S> TileRow<'_, COLUMNS, S> {
    /// # Safety
    /// As [`write_out`].
    #[inline(always)]
    unsafe fn write_out<L: Lanes>(&self, residual: Option<&[f32; COLUMNS]>, y: &mut [f32; COLUMNS])
    where
        S: Scaling<L>,
    {
        for panel in 0..COLUMNS / LANES {
            // SAFETY: the caller's promise; so for the other loads.
            let sums = unsafe { L::load(&self.sums.as_chunks().0[panel]) };
            let bias = unsafe { L::load(&self.bias.as_chunks().0[panel]) };
            let mut value = unsafe { self.scaling.scaled(self.row, panel, sums) }.add(bias);
            if self.activation == Activation::GeluErf {
                value = value.gelu_erf();
            }
            if let Some(residual) = residual {
                value = value.add(unsafe { L::load(&residual.as_chunks().0[panel]) });
            }
            value.store(&mut y.as_chunks_mut().0[panel]);
        }
    }

    /// The same at the right edge, where the tile is wider than what is left of the result.
    ///
    /// # Safety
    /// As [`write_out`].
    #[inline(always)]
    unsafe fn write_out_part<L: Lanes>(&self, residual: Option<&[f32]>, y: &mut [f32])
    where
        S: Scaling<L>,
    {
        let mut whole = [0.0; COLUMNS];
        let padded = residual.map(|residual| {
            let mut padded = [0.0; COLUMNS];
            padded[..residual.len()].copy_from_slice(residual);
            padded
        });
        // SAFETY: the caller's promise.
        unsafe { self.write_out::<L>(padded.as_ref(), &mut whole) };
        y.copy_from_slice(&whole[..y.len()]);
    }
}
