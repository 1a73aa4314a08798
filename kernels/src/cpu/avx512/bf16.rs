//! bf16 with AVX512-BF16: `vdpbf16ps` multiplies a pair by a pair of weights in each of 16 lanes and adds both products to
//! an f32 sum. Taken only where it is faster than f32 multiply-add, which today is on AMD.

use super::groups::{COLUMNS, PANELS, ROWS, SumsFn, group_products};
use crate::cpu::Isa;
use crate::cpu::lines::{LANES, Line};
use crate::cpu::tier::Tier;
use crate::cpu::tiled::{MicroKernel, Operands, Tile};
use std::arch::x86_64::*;
use std::hint::black_box;
use std::ops::Range;
use std::sync::OnceLock;

/// The sums with `vdpbf16ps`, over rows of pairs; exists only where AVX512-BF16 does.
pub(crate) struct PairProducts(());

impl PairProducts {
    /// Whether this machine has `vdpbf16ps` at twice the rate of f32 multiply-add: AMD's do (Zen 4 measured 232 against 115
    /// GFLOP/s a core), Intel's run it at half that rate and have AMX for bf16.
    pub(crate) fn is_fast() -> bool {
        static FAST: OnceLock<bool> = OnceLock::new(); // CPUID is slow in a virtual machine
        *FAST.get_or_init(|| Self::is_supported() && vendor() == *b"AuthenticAMD")
    }

    fn is_supported() -> bool {
        Isa::Avx512.is_supported() && is_x86_feature_detected!("avx512bf16")
    }

    /// # Panics
    /// If this machine has no AVX512-BF16.
    pub(crate) fn new() -> Self {
        assert!(Self::is_supported(), "this machine has no AVX512-BF16");
        PairProducts(())
    }

    /// Only `vdpbf16ps` between registers, for [`crate::cpu::limits`]; gives the number of operations.
    pub(crate) fn saturate(&self, rounds: usize) -> usize {
        // SAFETY: a PairProducts exists only where the instruction does.
        unsafe { saturate(rounds) };
        rounds * ROWS * COLUMNS * 2 * 2
    }
}

/// The vendor's name as CPUID leaf 0 spells it: EBX, EDX, ECX.
fn vendor() -> [u8; 12] {
    let leaf = __cpuid(0);
    let mut name = [0; 12];
    for (bytes, register) in name.as_chunks_mut::<4>().0.iter_mut().zip([leaf.ebx, leaf.edx, leaf.ecx]) {
        *bytes = register.to_le_bytes();
    }
    name
}

impl MicroKernel<COLUMNS> for PairProducts {
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
        // SAFETY: a PairProducts exists only where the instruction does, and the shape of the instance is that of the
        // slices.
        unsafe { SHAPES[rows.len() - 1][panels.len() - 1](a, b, operands.rows.depth(), tile) }
    }
}

group_products!("avx512f,avx512bf16", multiply_pairs);

/// `vdpbf16ps` on registers whose lanes hold pairs of bf16.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn multiply_pairs(sums: __m512, pairs: __m512i, weights: __m512i) -> __m512 {
    // SAFETY: both types are 64 bytes in which every bit pattern is a value.
    let [pairs, weights] = unsafe { std::mem::transmute::<[__m512i; 2], [__m512bh; 2]>([pairs, weights]) };
    _mm512_dpbf16_ps(sums, pairs, weights)
}
