//! int8 with AVX-512 VNNI: `vpdpbusd` multiplies 4 levels by 4 weights in each of 16 lanes and adds them to 32-bit sums.

use super::groups::{COLUMNS, PANELS, ROWS, SumsFn, group_products};
use crate::cpu::Isa;
use crate::cpu::lines::{LANES, Line};
use crate::cpu::tier::Tier;
use crate::cpu::tiled::{MicroKernel, Operands, Tile};
use std::arch::x86_64::*;
use std::hint::black_box;
use std::ops::Range;

/// The sums with `vpdpbusd`; exists only where VNNI does.
pub(crate) struct Vnni(());

impl Vnni {
    /// Whether this machine has AVX-512 with VNNI.
    pub(crate) fn is_supported() -> bool {
        Isa::Avx512.is_supported() && is_x86_feature_detected!("avx512vnni")
    }

    /// # Panics
    /// If this machine has no VNNI.
    pub(crate) fn new() -> Self {
        assert!(Self::is_supported(), "this machine has no VNNI");
        Vnni(())
    }

    /// Only `vpdpbusd` between registers, for [`crate::cpu::limits`]; gives the number of operations.
    pub(crate) fn saturate(&self, rounds: usize) -> usize {
        // SAFETY: a Vnni exists only where the instruction does.
        unsafe { saturate(rounds) };
        rounds * ROWS * COLUMNS * 2 * 4
    }
}

impl MicroKernel<COLUMNS> for Vnni {
    const ROWS: usize = ROWS;

    fn sums<T: Tier>(
        &self,
        _: T,
        operands: Operands<'_>,
        rows: Range<usize>,
        panels: Range<usize>,
        tile: &mut Tile<COLUMNS>,
    ) {
        let (a, b) = operands.lines(&rows, &panels);
        // SAFETY: a Vnni exists only where the instruction does, and the shape of the instance is that of the slices.
        unsafe { SHAPES[rows.len() - 1][panels.len() - 1](a, b, operands.rows.depth(), tile) }
    }
}

group_products!("avx512f,avx512vnni", multiply_fours);

/// `vpdpbusd` on registers whose lanes hold 4 levels, 4 weights and the bits of an integer sum.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn multiply_fours(sums: __m512, levels: __m512i, weights: __m512i) -> __m512 {
    _mm512_castsi512_ps(_mm512_dpbusd_epi32(_mm512_castps_si512(sums), levels, weights))
}
