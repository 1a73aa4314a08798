//! The loops around a micro-kernel: which tile of the result is computed when, and where it goes.
//!
//! A [`MicroKernel`] computes one small tile of sums in registers over the whole summed dimension, so nothing is ever added
//! to a half-finished result in memory, and the order of summation of a row does not depend on which other rows there are.
//! The tile lands in a buffer that stays in the first-level cache, where scales, bias, activation and residual are applied
//! before it is written out once. Storing and reading the tile again costs 1-2% at 384 inputs, and buys one epilogue for
//! every micro-kernel.
//!
//! Order of the loops: a block of rows that fits the second-level cache stays there while the weights pass by once; a few
//! panels of weights stay in the first-level cache while the rows of the block pass by.

use super::lanes::Lanes;
use super::lines::{LANES, Line, Panels, RowLines, prefetch, prefetch_for_writing};
use super::tier::{Kernel, Tier};
use super::{Activation, Epilogue, Isa};
use std::ops::Range;

/// Rows of the largest tile of any micro-kernel.
pub(crate) const TILE_ROWS: usize = 32;
/// Panels of the widest tile of any micro-kernel.
pub(crate) const TILE_PANELS_MAX: usize = 3;

/// Bytes of activations that one pass over the weights works on: a quarter of the smallest second-level cache in sight
/// (1 MiB), which leaves room for the panels and the result.
const ROW_BLOCK_BYTES: usize = 256 << 10;

/// Rows that [`multiply_by_blocks`] computes at a time: few enough for their f32 values to stay in the second-level cache,
/// enough to read the weights seldom.
const SINK_ROWS: usize = 32;

/// A tile of sums, row by row. Integer sums are kept as the bits of an i32 until the scales turn them into values.
#[repr(C, align(64))]
pub(crate) struct Tile<const COLUMNS: usize>(pub(crate) [[f32; COLUMNS]; TILE_ROWS]);

impl<const COLUMNS: usize> Tile<COLUMNS> {
    /// All sums zero.
    pub(crate) fn zero() -> Self {
        Tile([[0.0; COLUMNS]; TILE_ROWS])
    }
}

/// What is multiplied: every row with every column of the panels.
#[derive(Clone, Copy)]
pub(crate) struct Operands<'a> {
    pub(crate) rows: &'a RowLines,
    pub(crate) panels: &'a Panels,
}

impl Operands<'_> {
    /// The lines of some neighbouring rows and of some neighbouring panels.
    pub(crate) fn lines(&self, rows: &Range<usize>, panels: &Range<usize>) -> (&[Line], &[Line]) {
        (self.rows.rows_from(rows.start, rows.len()), self.panels.panels_from(panels.start, panels.len()))
    }
}

/// Computes tiles of up to `ROWS` x `COLUMNS` sums.
pub(crate) trait MicroKernel<const COLUMNS: usize> {
    /// Rows of a full tile, at most [`TILE_ROWS`].
    const ROWS: usize;

    /// Rows start at multiples of `ROWS`, so that only the last tile of a block is not full. Otherwise tiles are as even as
    /// can be: a last tile of one row would leave most registers idle, which for a text of 25 tokens is a tenth of the time.
    const FULL_TILES: bool = false;

    /// Sums over the whole depth for `rows` x `panels`, both non-empty and within a full tile.
    fn sums<T: Tier>(
        &self,
        tier: T,
        operands: Operands<'_>,
        rows: Range<usize>,
        panels: Range<usize>,
        tile: &mut Tile<COLUMNS>,
    );
}

/// What turns sums into products.
pub(crate) trait Scaling: Copy {
    /// Scales the sums of one row of the operand in one panel. Must be inlined, as every use of [`Lanes`].
    fn scaled<T: Tier>(&self, tier: T, row: usize, panel: usize, sums: T::Lanes) -> T::Lanes;
}

/// Sums that are products already.
#[derive(Clone, Copy)]
pub(crate) struct Unscaled;

impl Scaling for Unscaled {
    #[inline(always)]
    fn scaled<T: Tier>(&self, _: T, _: usize, _: usize, sums: T::Lanes) -> T::Lanes {
        sums
    }
}

/// One product: operands, the micro-kernel for the sums, and what is done to them.
pub(crate) struct Product<'a, K, S> {
    pub(crate) operands: Operands<'a>,
    pub(crate) micro_kernel: K,
    pub(crate) scaling: S,
    /// Columns of the result.
    pub(crate) columns: usize,
    pub(crate) epilogue: Epilogue<'a>,
}

impl<K, S: Scaling> Product<'_, K, S> {
    /// Computes the whole result into `y`, row-major.
    pub(crate) fn write<const COLUMNS: usize>(&self, isa: Isa, y: &mut [f32])
    where
        K: MicroKernel<COLUMNS>,
    {
        isa.run(Rows::<_, _, COLUMNS> { product: self, rows: 0..self.operands.rows.rows(), y });
    }

    /// Computes block of rows by block of rows into `buffer`, and hands each finished block (its first row and its values)
    /// to `sink`: for results that are rounded or quantised at once and never needed as an f32 matrix.
    pub(crate) fn write_by_blocks<const COLUMNS: usize>(
        &self,
        isa: Isa,
        buffer: &mut Vec<f32>,
        mut sink: impl FnMut(usize, &[f32]),
    ) where
        K: MicroKernel<COLUMNS>,
    {
        for rows in pieces(0..self.operands.rows.rows(), SINK_ROWS.next_multiple_of(K::ROWS)) {
            buffer.resize(rows.len() * self.columns, 0.0);
            isa.run(Rows::<_, _, COLUMNS> { product: self, rows: rows.clone(), y: buffer });
            sink(rows.start, buffer);
        }
    }
}

/// Some rows of a product, and where they go.
struct Rows<'a, 'p, K, S, const COLUMNS: usize> {
    product: &'a Product<'p, K, S>,
    rows: Range<usize>,
    y: &'a mut [f32],
}

impl<K: MicroKernel<COLUMNS>, S: Scaling, const COLUMNS: usize> Kernel for Rows<'_, '_, K, S, COLUMNS> {
    type Output = ();

    #[inline(always)]
    fn run<T: Tier>(self, tier: T) {
        let Rows { product, rows, y } = self;
        let Product { operands, ref micro_kernel, columns: width, .. } = *product;
        let row_block = rows_in_block(operands.rows.stride(), K::ROWS);
        let mut tile = Tile::zero();
        for block in pieces(rows.clone(), row_block) {
            for panels in pieces(0..width.div_ceil(LANES), COLUMNS / LANES) {
                for tile_rows in tiles(block.clone(), K::ROWS, K::FULL_TILES) {
                    let y = &mut y[(tile_rows.start - rows.start) * width..];
                    prefetch_tile(y, width, tile_rows.len(), &panels);
                    if let Some(residual) = product.epilogue.residual {
                        prefetch_residual(&residual[tile_rows.start * width..], width, tile_rows.len(), &panels);
                    }
                    micro_kernel.sums(tier, operands, tile_rows.clone(), panels.clone(), &mut tile);
                    tier.run(WriteOut { product, tile: &tile, rows: tile_rows, panels: panels.clone(), y });
                }
            }
        }
    }
}

/// Asks for the places of a tile's results while the tile is computed: 4% of a wide product whose result is larger than the
/// second-level cache.
#[inline(always)]
fn prefetch_tile(y: &[f32], width: usize, rows: usize, panels: &Range<usize>) {
    for row in y.chunks(width).take(rows) {
        for column in panels.clone().map(|panel| panel * LANES) {
            prefetch_for_writing(&row[column]);
        }
    }
}

/// Asks for what will be added to a tile's results.
#[inline(always)]
fn prefetch_residual(residual: &[f32], width: usize, rows: usize, panels: &Range<usize>) {
    for row in residual.chunks(width).take(rows) {
        for column in panels.clone().map(|panel| panel * LANES) {
            prefetch(&row[column]);
        }
    }
}

/// How many rows, of so many lines each, one pass over the weights works on: whole tiles.
pub(crate) fn rows_in_block(row_lines: usize, tile_rows: usize) -> usize {
    let row_bytes = row_lines * size_of::<Line>();
    (ROW_BLOCK_BYTES / row_bytes.max(1)).max(1).next_multiple_of(tile_rows)
}

/// Cuts a range into as few pieces of at most `most` as can be: full ones and a rest, or all as even as can be.
pub(crate) fn tiles(range: Range<usize>, most: usize, full: bool) -> impl Iterator<Item = Range<usize>> {
    let (len, count) = (range.len(), range.len().div_ceil(most));
    let border = move |piece: usize| range.start + if full { (piece * most).min(len) } else { len * piece / count };
    (0..count).map(move |piece| border(piece)..border(piece + 1))
}

/// Cuts a range into pieces of `size`, the last one possibly shorter.
pub(crate) fn pieces(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    range.clone().step_by(size).map(move |start| start..range.end.min(start + size))
}

/// A finished tile on its way through scales, bias, activation and residual to its one write.
struct WriteOut<'a, 'p, K, S, const COLUMNS: usize> {
    product: &'a Product<'p, K, S>,
    tile: &'a Tile<COLUMNS>,
    rows: Range<usize>,
    panels: Range<usize>,
    /// From the first column of the tile's first row on.
    y: &'a mut [f32],
}

impl<K, S: Scaling, const COLUMNS: usize> Kernel for WriteOut<'_, '_, K, S, COLUMNS> {
    type Output = ();

    #[inline(always)]
    fn run<T: Tier>(self, tier: T) {
        let &Product { scaling, columns: width, epilogue, .. } = self.product;
        let first_column = self.panels.start * LANES;
        let columns = COLUMNS.min(width - first_column);
        let mut padded = [0.0; COLUMNS];
        let bias = match epilogue.bias.map(|bias| &bias[first_column..]) {
            None => const { &[0.0; COLUMNS] },
            Some(bias) => bias.first_chunk().unwrap_or_else(|| {
                padded[..columns].copy_from_slice(bias);
                &padded
            }),
        };
        for (i, (row, sums)) in self.rows.zip(&self.tile.0).enumerate() {
            let y = &mut self.y[i * width + first_column..][..columns];
            let residual = epilogue.residual.map(|residual| &residual[row * width + first_column..][..columns]);
            let row = TileRow { row, panel: self.panels.start, sums, bias, activation: epilogue.activation, scaling };
            match y.first_chunk_mut() {
                Some(y) => row.write_out(tier, residual.and_then(<[f32]>::first_chunk), y),
                None => row.write_out_part(tier, residual, y),
            }
        }
    }
}

/// One row of a tile.
struct TileRow<'a, S, const COLUMNS: usize> {
    row: usize,
    /// The first panel of the tile.
    panel: usize,
    sums: &'a [f32; COLUMNS],
    bias: &'a [f32; COLUMNS],
    activation: Activation,
    scaling: S,
}

impl<S: Scaling, const COLUMNS: usize> TileRow<'_, S, COLUMNS> {
    #[inline(always)]
    fn write_out<T: Tier>(&self, tier: T, residual: Option<&[f32; COLUMNS]>, y: &mut [f32; COLUMNS]) {
        for panel in 0..COLUMNS / LANES {
            let sums = tier.load(&self.sums.as_chunks().0[panel]);
            let bias = tier.load(&self.bias.as_chunks().0[panel]);
            let mut value = self.scaling.scaled(tier, self.row, self.panel + panel, sums).add(bias);
            if self.activation == Activation::GeluErf {
                value = value.gelu_erf();
            }
            if let Some(residual) = residual {
                value = value.add(tier.load(&residual.as_chunks().0[panel]));
            }
            value.store(&mut y.as_chunks_mut().0[panel]);
        }
    }

    /// The same at the right edge, where the tile is wider than what is left of the result.
    #[inline(always)]
    fn write_out_part<T: Tier>(&self, tier: T, residual: Option<&[f32]>, y: &mut [f32]) {
        let mut whole = [0.0; COLUMNS];
        let mut padded = [0.0; COLUMNS];
        if let Some(residual) = residual {
            padded[..residual.len()].copy_from_slice(residual);
        }
        self.write_out(tier, residual.is_some().then_some(&padded), &mut whole);
        y.copy_from_slice(&whole[..y.len()]);
    }
}
