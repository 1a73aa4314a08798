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
/// Panels of the widest tile of any kernel.
const PANELS_MAX: usize = 3;

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

/// Scales the sums of a tile and takes them through bias, activation and residual to their one write.
///
/// `scale(row)(panel, sums)` turns the sums of one panel of the tile, in one row of the operand, into products.
///
/// # Safety
/// The processor must have the instruction set of `L`; to be inlined into a function compiled for it.
#[inline(always)]
pub(crate) unsafe fn write_out<L: Lanes, const COLUMNS: usize, S: Fn(usize, L) -> L>(
    tile: &Tile<COLUMNS>,
    block: &Block,
    output: &mut Output<'_, '_>,
    scale: impl Fn(usize) -> S,
) {
    let Output { y, width, first_row, epilogue } = output;
    // SAFETY: the caller's promise; so for the loads below.
    let mut biases = [unsafe { L::splat(0.0) }; PANELS_MAX];
    if let Some(bias) = epilogue.bias {
        for (lanes, bias) in biases.iter_mut().zip(bias[block.columns.clone()].chunks(LANES)) {
            *lanes = unsafe { L::load_part(bias) };
        }
    }
    for (row, sums) in block.rows.clone().zip(&tile.0) {
        let at = (row - *first_row) * *width + block.columns.start;
        let y = &mut y[at..][..block.columns.len()];
        let residual = epilogue.residual.map(|residual| &residual[at..][..y.len()]);
        let scale = scale(row);
        for (panel, (y, sums)) in y.chunks_mut(LANES).zip(sums.as_chunks().0).enumerate() {
            let mut value = scale(panel, unsafe { L::load(sums) }).add(biases[panel]);
            if epilogue.activation == Activation::GeluErf {
                value = value.gelu_erf();
            }
            if let Some(residual) = residual {
                value = value.add(unsafe { L::load_part(&residual[panel * LANES..][..y.len()]) });
            }
            value.store_part(y);
        }
    }
}
