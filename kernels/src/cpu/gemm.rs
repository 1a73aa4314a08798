//! The f32 product: `y = act(x w^T + bias) + residual`.
//!
//! Weights are packed once into panels of 16 columns. Activations are copied, a block of rows at a time, to rows an odd
//! number of lines apart ([`RowLines`]): a block that fits the second-level cache is read back hundreds of times, the copy
//! costs 0.3% of a product of 384 columns, and rows that would share one set of the cache (1,024 inputs: 4 KiB apart) lose
//! 9% with AVX-512 and 30% with AVX2 where they lie. The loops around the micro-kernel are those of the quantised products
//! ([`super::tiled`]). Cutting the summed dimension as well, the usual next step, was tried and gained nothing on any shape
//! up to 4,096 inputs: the second level keeps up with the registers.

use super::lines::{LANES, Line, Panels, RowLines, elements};
use super::microkernel::TileProduct;
use super::scalar::gemm::Loops;
use super::tier::Tier;
use super::tiled::{MicroKernel, Operands, Product, Tile, Unscaled, pieces, rows_in_block};
use super::{Epilogue, Isa, Scratch};
use std::ops::Range;

/// Weights as f32, packed once for one instruction set.
#[derive(Clone, Debug)]
pub struct PackedF32 {
    isa: Isa,
    panels: Panels,
    out_features: usize,
    in_features: usize,
}

impl PackedF32 {
    /// Packs `weights` (`out_features` x `in_features`, row-major).
    ///
    /// # Panics
    /// If the length is not `out_features * in_features`, or this machine does not support `isa`.
    pub fn pack(isa: Isa, weights: &[f32], out_features: usize, in_features: usize) -> Self {
        isa.require();
        assert_eq!(weights.len(), out_features * in_features, "weights must be {out_features} x {in_features}");
        let panels = Panels::pack(out_features, in_features, |n, k| weights[n * in_features + k].to_ne_bytes());
        PackedF32 { isa, panels, out_features, in_features }
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
}

/// `y = act(x w^T + bias) + residual`, with `x` (`rows` x `in_features`) and `y` (`rows` x `out_features`) row-major.
///
/// # Panics
/// If the length of `x`, `y`, the bias or the residual contradicts the shape.
pub fn gemm_f32(w: &PackedF32, x: &[f32], rows: usize, epilogue: Epilogue<'_>, y: &mut [f32], scratch: &mut Scratch) {
    let (inputs, outputs) = (w.in_features, w.out_features);
    assert_eq!(x.len(), rows * inputs, "x must be rows x in_features = {rows} x {inputs}");
    assert_eq!(y.len(), rows * outputs, "y must be rows x out_features = {rows} x {outputs}");
    epilogue.check(rows, outputs);
    let row_bytes = inputs * size_of::<f32>();
    let most = rows_in_block(row_bytes.div_ceil(size_of::<Line>()), BLOCK_STEP);
    let blocks = rows.div_ceil(most);
    for block in pieces(0..rows, rows.div_ceil(blocks.max(1)).max(1).next_multiple_of(BLOCK_STEP)) {
        scratch.rows.resize(block.len(), row_bytes);
        for (to, from) in block.clone().enumerate() {
            scratch.rows.row_mut(to, inputs).copy_from_slice(&x[from * inputs..][..inputs]);
        }
        let results = block.start * outputs..block.end * outputs;
        let residual = epilogue.residual.map(|residual| &residual[results.clone()]);
        w.multiply(&scratch.rows, Epilogue { residual, ..epilogue }, &mut y[results]);
    }
}

/// Rows of a block are a multiple of this, and so of the tiles of every tier.
const BLOCK_STEP: usize = 12;

impl PackedF32 {
    fn multiply(&self, rows: &RowLines, epilogue: Epilogue<'_>, y: &mut [f32]) {
        let (operands, columns) = (Operands { rows, panels: &self.panels }, self.out_features);
        let scaling = Unscaled;
        match self.isa {
            Isa::Scalar => {
                Product { operands, micro_kernel: Loops, scaling, columns, epilogue }.write::<LANES>(self.isa, y);
            }
            Isa::Avx2 => {
                let micro_kernel = Fused::<6>;
                Product { operands, micro_kernel, scaling, columns, epilogue }.write::<LANES>(self.isa, y);
            }
            Isa::Avx512 | Isa::Amx => {
                let micro_kernel = Fused::<12>;
                Product { operands, micro_kernel, scaling, columns, epilogue }.write::<{ 2 * LANES }>(self.isa, y);
            }
        }
    }
}

/// The micro-kernel of the vector tiers, in tiles of up to `TILE_ROWS` rows.
struct Fused<const TILE_ROWS: usize>;

impl<const TILE_ROWS: usize> Fused<TILE_ROWS> {
    /// This tile's share of the next panel, to be asked for meanwhile. A tile one panel wide uses a line for six
    /// cycles, faster than the third-level cache gives it unasked: worth 4% for a batch, 15% for one text. A tile two
    /// panels wide uses two lines for 24 cycles, and gained nothing.
    #[inline(always)]
    fn ahead<'a, T: Tier>(
        &self,
        operands: Operands<'a>,
        rows: &Range<usize>,
        panels: &Range<usize>,
    ) -> &'a [[f32; LANES]] {
        if T::TILE_PANELS > 1 || panels.end == operands.panels.count() {
            return &[];
        }
        let next = elements(operands.panels.panels_from(panels.end, 1)).as_chunks().0;
        let share = |row: usize| next.len() * row / operands.rows.rows();
        &next[share(rows.start)..share(rows.end)]
    }
}

impl<const TILE_ROWS: usize, const COLUMNS: usize> MicroKernel<COLUMNS> for Fused<TILE_ROWS> {
    const ROWS: usize = TILE_ROWS;

    #[inline(always)]
    fn sums<T: Tier>(
        &self,
        tier: T,
        operands: Operands<'_>,
        rows: Range<usize>,
        panels: Range<usize>,
        tile: &mut Tile<COLUMNS>,
    ) {
        let (a, b) = operands.lines(&rows, &panels);
        let product = TileProduct {
            a: elements(a),
            a_stride: operands.rows.stride() * LANES,
            rows: rows.len(),
            b: elements(b).as_chunks().0,
            b_stride: operands.panels.depth(),
            panels: panels.len(),
            depth: operands.panels.depth(),
            c: tile.0.as_flattened_mut(),
            c_stride: COLUMNS,
            ahead: self.ahead::<T>(operands, &rows, &panels),
        };
        product.compute(tier);
    }
}
