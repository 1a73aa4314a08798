//! bf16 weights with f32 multiply-add: a line of pairs is widened to two lines of f32 in registers (a shift for the first
//! of each pair, a mask for the second), and the rows hold f32 already. Half the memory of f32 weights, at about its speed.
//!
//! | tier | tile | registers |
//! |---|---|---|
//! | AVX2 | 6 rows x 1 panel | 12 sums, 2 widened weights, 1 broadcast value, of 16 |
//! | AVX-512 | 8 rows x 3 panels | 24 sums, 6 widened weights, 1 broadcast value, of 32 |
//!
//! Widening costs 4 instructions for 24 multiply-adds on AVX2, and 6 for 48 on AVX-512.

use crate::cpu::lanes::Lanes;
use crate::cpu::lines::{LANES, Line, elements};
use crate::cpu::tier::{Kernel, Tier};
use crate::cpu::tiled::{MicroKernel, Operands, Tile};
use crate::cpu::{Isa, limits};
use std::array::from_fn;
use std::ops::Range;

/// The sums over widened rows. `COLUMNS` is 16 times `PANELS`.
pub(super) struct Widened<const ROWS: usize, const PANELS: usize, const COLUMNS: usize> {
    isa: Isa,
}

/// The tile for 16 registers.
pub(super) type WidenedAvx2 = Widened<6, 1, LANES>;
/// The tile for 32 registers.
pub(super) type WidenedAvx512 = Widened<8, 3, { 3 * LANES }>;

impl WidenedAvx2 {
    pub(super) fn new() -> Self {
        Widened { isa: Isa::Avx2 }
    }
}

impl WidenedAvx512 {
    pub(super) fn new() -> Self {
        Widened { isa: Isa::Avx512 }
    }
}

impl<const ROWS: usize, const PANELS: usize, const COLUMNS: usize> MicroKernel<COLUMNS>
    for Widened<ROWS, PANELS, COLUMNS>
{
    const ROWS: usize = ROWS;

    /// What does not fill a tile is done row by row, respectively panel by panel.
    #[inline(always)]
    fn sums<T: Tier>(
        &self,
        tier: T,
        operands: Operands<'_>,
        rows: Range<usize>,
        panels: Range<usize>,
        tile: &mut Tile<COLUMNS>,
    ) {
        let (row_step, panel_step) =
            (if rows.len() == ROWS { ROWS } else { 1 }, if panels.len() == PANELS { PANELS } else { 1 });
        for panel in (0..panels.len()).step_by(panel_step) {
            for row in (0..rows.len()).step_by(row_step) {
                let a = operands.rows.rows_from(rows.start + row, row_step);
                let b = operands.panels.panels_from(panels.start + panel, panel_step);
                let args = Args { a, b, depth: operands.panels.depth(), tile, row, panel };
                match (row_step == ROWS, panel_step == PANELS) {
                    (true, true) => tier.run(Sums::<ROWS, PANELS, COLUMNS>(args)),
                    (true, false) => tier.run(Sums::<ROWS, 1, COLUMNS>(args)),
                    (false, true) => tier.run(Sums::<1, PANELS, COLUMNS>(args)),
                    (false, false) => tier.run(Sums::<1, 1, COLUMNS>(args)),
                }
            }
        }
    }
}

impl<const ROWS: usize, const PANELS: usize, const COLUMNS: usize> Widened<ROWS, PANELS, COLUMNS> {
    /// Only f32 multiply-add between registers, for [`limits`]; gives the number of operations.
    pub(super) fn saturate(&self, rounds: usize) -> usize {
        limits::multiply_adds(self.isa, rounds)
    }
}

struct Args<'a, const COLUMNS: usize> {
    a: &'a [Line],
    b: &'a [Line],
    /// Lines of a panel.
    depth: usize,
    tile: &'a mut Tile<COLUMNS>,
    /// Where in the tile the sums go.
    row: usize,
    panel: usize,
}

/// Sums of `R` rows x `P` panels, in the order of the values.
struct Sums<'a, const R: usize, const P: usize, const COLUMNS: usize>(Args<'a, COLUMNS>);

impl<const R: usize, const P: usize, const COLUMNS: usize> Kernel for Sums<'_, R, P, COLUMNS> {
    type Output = ();

    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "one index runs over several arrays of registers")]
    fn run<T: Tier>(self, tier: T) {
        let Args { a, b, depth, tile, row, panel } = self.0;
        let rows: [&[[f32; 2]]; R] =
            from_fn(|r| &elements(&a[a.len() / R * r..][..a.len() / R]).as_chunks().0[..depth]);
        let panels: [&[[f32; LANES]]; P] = from_fn(|p| elements(&b[depth * p..][..depth]).as_chunks().0);
        let zero = tier.splat(0.0);
        let mut sums = [[zero; P]; R];
        let (mut first, mut second) = ([zero; P], [zero; P]);
        for group in 0..depth {
            for p in 0..P {
                let pairs = tier.load(&panels[p][group]);
                first[p] = pairs.widened_lower_halves();
                second[p] = pairs.widened_upper_halves();
            }
            for r in 0..R {
                let [x0, x1] = rows[r][group];
                for p in 0..P {
                    sums[r][p] = tier.splat(x0).mul_add(first[p], sums[r][p]);
                    sums[r][p] = tier.splat(x1).mul_add(second[p], sums[r][p]);
                }
            }
        }
        for r in 0..R {
            for p in 0..P {
                sums[r][p].store(&mut tile.0[row + r].as_chunks_mut().0[panel + p]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::bf16::{Form, PackedBf16, RoundedRows};
    use crate::cpu::tiled::{Product, Unscaled};
    use crate::cpu::{Epilogue, scalar};
    use rand::RngExt;

    /// All sums of a product, on one tier.
    fn sums<const COLUMNS: usize>(
        isa: Isa,
        operands: Operands<'_>,
        columns: usize,
        micro_kernel: impl MicroKernel<COLUMNS>,
    ) -> Vec<f32> {
        let mut y = vec![f32::NAN; operands.rows.rows() * columns];
        Product { operands, micro_kernel, scaling: Unscaled, columns, epilogue: Epilogue::default() }
            .write(isa, &mut y);
        y
    }

    /// A machine with a faster way never comes here by itself, so both tiles are run on every tier by hand.
    #[test]
    fn both_tiles_sum_what_the_specification_sums() {
        let mut rng = rand::rng();
        let mut random = |count| (0..count).map(|_| rng.random_range(-1.0..1.0)).collect::<Vec<f32>>();
        for [rows, columns, depth] in [[1, 1, 1], [6, 16, 32], [8, 48, 33], [23, 90, 131]] {
            let w = PackedBf16::pack(Isa::Scalar, &random(columns * depth), columns, depth);
            let x = random(rows * depth);
            let (mut pairs, mut widened) = (RoundedRows::new(), RoundedRows::new());
            pairs.round(Isa::Scalar, &x, rows, depth);
            widened.resize(Form::Widened, rows, depth);
            widened.round_from(Isa::Scalar, 0, &x);
            let operands = Operands { rows: pairs.lines(), panels: w.panels() };
            let expected = sums(Isa::Scalar, operands, columns, scalar::bf16::Loops);
            let operands = Operands { rows: widened.lines(), panels: w.panels() };
            for isa in Isa::supported() {
                for y in [
                    sums(isa, operands, columns, WidenedAvx2::new()),
                    sums(isa, operands, columns, WidenedAvx512::new()),
                ] {
                    // Magnitudes are below 1; both sums are within (depth + 1) * 2^-24 of their total from the exact one.
                    let bound = ((depth + 1) * depth) as f32 * f32::EPSILON;
                    for (got, expected) in y.iter().zip(&expected) {
                        assert!(
                            (got - expected).abs() <= bound,
                            "{isa} {rows} x {columns} x {depth}: {got}, {expected}"
                        );
                    }
                }
            }
        }
    }
}
