//! The AMX kernels against the scalar specification, over the same packed bytes: on AMX where there is one, else through
//! the emulator.

use super::emulator::with_tiles;
use super::tiles::BLOCK;
use super::{bf16, int8};
use crate::cpu::bf16::{PackedBf16, RoundedRows};
use crate::cpu::int8::{PackedI8, QuantisedRows};
use crate::cpu::lines::{LANES, Line, Panels, RowLines};
use crate::cpu::scalar::lanes::Array;
use crate::cpu::tiled::{Block, Output, Tile, TileKernel, Unscaled, multiply, write_out};
use crate::cpu::{Activation, Epilogue, Isa, scalar};
use rand::RngExt;
use std::ops::Range;

/// Rows, columns, depth: within one tile, on its edges, beyond a block, and not a multiple of anything.
const SHAPES: [[usize; 3]; 6] = [[1, 1, 1], [16, 16, 64], [17, 33, 65], [32, 32, 128], [33, 48, 130], [70, 95, 200]];

const PLAIN: Epilogue<'static> = Epilogue { bias: None, activation: Activation::Identity, residual: None };

/// The sums of an AMX kernel without its AVX-512 epilogue, so that the test runs on any x86-64.
struct SumsOnly<K, F>(K, F);

impl<K, F> TileKernel<BLOCK> for SumsOnly<K, F>
where
    K: TileKernel<BLOCK>,
    F: Fn(&Block, &mut Tile<BLOCK>, &mut Output<'_, '_>),
{
    const ROWS: usize = K::ROWS;

    fn row_stride(&self) -> usize {
        self.0.row_stride()
    }

    fn sums(&self, rows: Range<usize>, panels: Range<usize>, tile: &mut Tile<BLOCK>) {
        self.0.sums(rows, panels, tile);
    }

    fn finish(&self, block: &Block, tile: &mut Tile<BLOCK>, output: &mut Output<'_, '_>) {
        self.1(block, tile, output);
    }
}

fn random(count: usize) -> Vec<f32> {
    let mut rng = rand::rng();
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// All that a product may read.
fn readable<'a>(rows: &'a RowLines, panels: &'a Panels, columns: usize) -> [&'a [Line]; 2] {
    [rows.rows_from(0, rows.rows().next_multiple_of(BLOCK)), panels.panels_from(0, columns.div_ceil(LANES))]
}

#[test]
fn int8_sums_equal_the_specification() {
    for [rows, columns, depth] in SHAPES {
        let w = PackedI8::pack(Isa::Scalar, &random(columns * depth), columns, depth);
        let mut x = QuantisedRows::new();
        x.quantise(Isa::Scalar, &random(rows * depth), rows, depth);
        let (mut expected, mut y) = (vec![0.0; rows * columns], vec![f32::NAN; rows * columns]);
        let mut output = Output { y: &mut expected, width: columns, first_row: 0, epilogue: PLAIN };
        multiply(&scalar::int8::Kernel { rows: &x, weights: &w }, 0..rows, &mut output);

        let emulated = with_tiles(readable(x.lines(), w.panels(), columns), || {
            // SAFETY: `with_tiles` provides the tiles, and no other kernel is alive.
            let kernel = unsafe { int8::Kernel::assume_available(&x, &w) };
            // SAFETY: arrays need no instruction set.
            let finish = |block: &_, tile: &mut _, output: &mut Output<'_, '_>| unsafe {
                crate::cpu::int8::finish::<Array, BLOCK>(&x, &w, block, tile, output);
            };
            let mut output = Output { y: &mut y, width: columns, first_row: 0, epilogue: PLAIN };
            multiply(&SumsOnly(kernel, finish), 0..rows, &mut output);
        });
        assert_eq!(y, expected, "{rows} x {columns} x {depth}, emulated: {emulated}");
    }
}

#[test]
fn bf16_sums_are_within_the_bound_of_their_order() {
    for [rows, columns, depth] in SHAPES {
        let w = PackedBf16::pack(Isa::Scalar, &random(columns * depth), columns, depth);
        let mut x = RoundedRows::new();
        x.round(Isa::Scalar, &random(rows * depth), rows, depth);
        let (mut expected, mut y) = (vec![0.0; rows * columns], vec![f32::NAN; rows * columns]);
        let kernel = scalar::bf16::Kernel { rows: x.lines(), panels: w.panels() };
        let mut output = Output { y: &mut expected, width: columns, first_row: 0, epilogue: PLAIN };
        multiply(&kernel, 0..rows, &mut output);

        let emulated = with_tiles(readable(x.lines(), w.panels(), columns), || {
            // SAFETY: `with_tiles` provides the tiles, and no other kernel is alive.
            let kernel = unsafe { bf16::Kernel::assume_available(x.lines(), w.panels()) };
            // SAFETY: arrays need no instruction set.
            let finish = |block: &_, tile: &mut _, output: &mut Output<'_, '_>| unsafe {
                write_out::<Array, _>(tile, block, output, &Unscaled);
            };
            let mut output = Output { y: &mut y, width: columns, first_row: 0, epilogue: PLAIN };
            multiply(&SumsOnly(kernel, finish), 0..rows, &mut output);
        });
        // Values are below 1, so the sum of magnitudes is below the depth, and both orders of summation are within
        // depth * 2^-24 of the exact sum relative to it.
        let bound = 2.0 * (depth * depth) as f32 * f32::EPSILON / 2.0;
        for (got, expected) in y.iter().zip(&expected) {
            assert!((got - expected).abs() <= bound, "{got} is not {expected}, emulated: {emulated}");
        }
    }
}
