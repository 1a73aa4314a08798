//! The register tile of every f32 product, of weights as of attention: up to `R` rows of one operand times up to `P` panels
//! of the other.
//!
//! A panel is 16 columns side by side: one cache line for each step of the summed dimension. Each sum stays in one lane of
//! one register from the first step to the last, so a row's sums are made in the order of the summed dimension whatever
//! tile the row falls in. That is what makes a row independent of its company.
//!
//! | tier | tile | registers for sums | each step |
//! |---|---|---|---|
//! | AVX2 | 6 rows x 1 panel | 12 of 16 | 2 loads and 6 broadcasts for 12 multiply-adds: the fewest that 16 registers allow |
//! | AVX-512 | 12 rows x 2 panels | 24 of 32 | 2 loads and 12 broadcasts for 24 multiply-adds |
//!
//! On a Zen 4 core both run at 99% of what registers alone allow (117 GFLOP/s at 3.67 GHz), for 384 and for 1,536 steps;
//! 14 x 2, 8 x 3 and 6 x 4 are equal within the noise, 4 x 1 with AVX2 is 6% slower. Rows are read as rows: interleaving
//! them into panels too, as general matrix libraries do, would buy nothing at these sizes and cost a transposition. Rows
//! must only not lie a multiple of 4 KiB apart, which their owners see to.

use super::lanes::Lanes;
use super::lines::{LANES, prefetch};
use super::tier::{Kernel, Tier};

/// The operands of one tile.
pub(crate) struct TileProduct<'a> {
    /// `rows` rows of at least `depth` values, `a_stride` apart.
    pub(crate) a: &'a [f32],
    pub(crate) a_stride: usize,
    pub(crate) rows: usize,
    /// `panels` panels of at least `depth` lines, `b_stride` lines apart.
    pub(crate) b: &'a [[f32; LANES]],
    pub(crate) b_stride: usize,
    pub(crate) panels: usize,
    /// Steps of the summed dimension.
    pub(crate) depth: usize,
    /// Receives `rows` rows of `16 * panels` sums, `c_stride` apart.
    pub(crate) c: &'a mut [f32],
    pub(crate) c_stride: usize,
    /// Lines that will be needed next, at most one a step: asked for while the tile is computed.
    pub(crate) ahead: &'a [[f32; LANES]],
}

impl TileProduct<'_> {
    /// Computes the tile.
    ///
    /// # Panics
    /// If the tile is larger than the tier's largest, or a slice too short for it.
    #[inline(always)]
    pub(crate) fn compute<T: Tier>(self, tier: T) {
        /// Picks the instance for a number of rows; those that the tier has no registers for are never made.
        macro_rules! instance {
            ($panels:literal: $($rows:literal)*) => {
                match self.rows {
                    $($rows if $rows <= T::TILE_ROWS => tier.run(Sums::<$rows, $panels>(self)),)*
                    rows => panic!("a tile of {rows} rows"),
                }
            };
        }
        match self.panels {
            1 => instance!(1: 1 2 3 4 5 6 7 8 9 10 11 12),
            2 if T::TILE_PANELS == 2 => instance!(2: 1 2 3 4 5 6 7 8 9 10 11 12),
            panels => panic!("a tile of {panels} panels"),
        }
    }
}

/// The micro-kernel for one shape of tile.
struct Sums<'a, const R: usize, const P: usize>(TileProduct<'a>);

impl<const R: usize, const P: usize> Kernel for Sums<'_, R, P> {
    type Output = ();

    #[inline(always)]
    fn run<T: Tier>(self, tier: T) {
        if R > T::TILE_ROWS || P > T::TILE_PANELS {
            return; // never called, see `compute`: this keeps the compiler from making it
        }
        let TileProduct { a, a_stride, b, b_stride, depth, c, c_stride, ahead, .. } = self.0;
        assert!(depth <= a_stride && a.len() >= (R - 1) * a_stride + depth, "rows of the tile");
        assert!(depth <= b_stride && b.len() >= (P - 1) * b_stride + depth, "panels of the tile");
        assert!(P * LANES <= c_stride && c.len() >= (R - 1) * c_stride + P * LANES, "sums of the tile");
        assert!(ahead.len() <= depth, "one line ahead for each step");
        let mut sums = [[tier.splat(0.0); P]; R];
        for (k, line) in ahead.iter().enumerate() {
            prefetch(line);
            // SAFETY: k < depth, and rows and panels reach that far, as asserted.
            unsafe { step(tier, a.get_unchecked(k..), a_stride, b.get_unchecked(k..), b_stride, &mut sums) };
        }
        for k in ahead.len()..depth {
            // SAFETY: as above.
            unsafe { step(tier, a.get_unchecked(k..), a_stride, b.get_unchecked(k..), b_stride, &mut sums) };
        }
        for (r, sums) in sums.into_iter().enumerate() {
            for (to, sum) in c[r * c_stride..].as_chunks_mut().0.iter_mut().zip(sums) {
                sum.store(to);
            }
        }
    }
}

/// One step of the summed dimension: the first value of each row times the first line of each panel, added to the sums.
///
/// # Safety
/// `a` must reach to the last row and `b` to the last panel.
#[inline(always)]
unsafe fn step<T: Tier, const R: usize, const P: usize>(
    tier: T,
    a: &[f32],
    a_stride: usize,
    b: &[[f32; LANES]],
    b_stride: usize,
    sums: &mut [[T::Lanes; P]; R],
) {
    let mut columns = [tier.splat(0.0); P];
    for (p, columns) in columns.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *columns = tier.load(unsafe { b.get_unchecked(p * b_stride) });
    }
    for (r, sums) in sums.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        let value = tier.splat(unsafe { *a.get_unchecked(r * a_stride) });
        for (sum, columns) in sums.iter_mut().zip(columns) {
            *sum = value.mul_add(columns, *sum);
        }
    }
}
