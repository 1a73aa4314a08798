//! The AMX kernels against the scalar specification, over the same packed bytes: on AMX where there is one, else through
//! the emulator.

use super::emulator::with_tiles;
use super::tiles::BLOCK;
use super::{bf16, int8};
use crate::cpu::bf16::{PackedBf16, RoundedRows};
use crate::cpu::int8::{PackedI8, QuantisedRows};
use crate::cpu::lanes::Lanes;
use crate::cpu::lines::{LANES, Line};
use crate::cpu::tier::Tier;
use crate::cpu::tiled::{MicroKernel, Operands, Product, Scaling, Unscaled};
use crate::cpu::{Epilogue, Isa, scalar};
use rand::RngExt;

/// Rows, columns, depth: within one tile, on its edges, beyond a block, and not a multiple of anything.
const SHAPES: [[usize; 3]; 6] = [[1, 1, 1], [16, 16, 64], [17, 33, 65], [32, 32, 128], [33, 48, 130], [70, 95, 200]];

/// No integer is beyond 2^24 here, so each is its own f32.
#[derive(Clone, Copy)]
struct Integers;

impl Scaling for Integers {
    fn scaled<T: Tier>(&self, _: T, _: usize, _: usize, sums: T::Lanes) -> T::Lanes {
        sums.integer_difference(0, &[0; LANES])
    }
}

fn random(count: usize) -> Vec<f32> {
    let mut rng = rand::rng();
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// All sums, and on plain arrays whatever is done to them, so that the test runs on any x86-64.
fn sums<const COLUMNS: usize>(
    operands: Operands<'_>,
    columns: usize,
    micro_kernel: impl MicroKernel<COLUMNS>,
    scaling: impl Scaling,
) -> Vec<f32> {
    let mut y = vec![f32::NAN; operands.rows.rows() * columns];
    Product { operands, micro_kernel, scaling, columns, epilogue: Epilogue::default() }.write(Isa::Scalar, &mut y);
    y
}

/// All that a product may read.
fn readable(operands: Operands<'_>, columns: usize) -> [&[Line]; 2] {
    let rows = operands.rows.rows().next_multiple_of(BLOCK);
    [operands.rows.rows_from(0, rows), operands.panels.panels_from(0, columns.div_ceil(LANES))]
}

#[test]
fn int8_sums_equal_the_specification() {
    for [rows, columns, depth] in SHAPES {
        let w = PackedI8::pack(Isa::Scalar, &random(columns * depth), columns, depth);
        let mut x = QuantisedRows::new();
        x.quantise(Isa::Scalar, &random(rows * depth), rows, depth);
        let operands = Operands { rows: x.lines(), panels: w.panels() };
        let expected = sums(operands, columns, scalar::int8::Loops, Integers);
        let y = with_tiles(readable(operands, columns), || {
            // SAFETY: `with_tiles` provides the tiles.
            sums(operands, columns, unsafe { int8::TileProducts::assume() }, Integers)
        });
        assert_eq!(y, expected, "{rows} x {columns} x {depth}");
    }
}

#[test]
fn bf16_sums_are_within_the_bound_of_their_order() {
    for [rows, columns, depth] in SHAPES {
        let w = PackedBf16::pack(Isa::Scalar, &random(columns * depth), columns, depth);
        let mut x = RoundedRows::new();
        x.round(Isa::Scalar, &random(rows * depth), rows, depth);
        let operands = Operands { rows: x.lines(), panels: w.panels() };
        let expected = sums(operands, columns, scalar::bf16::Loops, Unscaled);
        let y = with_tiles(readable(operands, columns), || {
            // SAFETY: `with_tiles` provides the tiles.
            sums(operands, columns, unsafe { bf16::TileProducts::assume() }, Unscaled)
        });
        // Values are below 1, so the magnitudes sum to less than the depth; both orders of summation are within
        // (depth + 1) * 2^-24 of that from the exact sum.
        let bound = ((depth + 1) * depth) as f32 * f32::EPSILON;
        for (got, expected) in y.iter().zip(&expected) {
            assert!((got - expected).abs() <= bound, "{rows} x {columns} x {depth}: {got} is not {expected}");
        }
    }
}
