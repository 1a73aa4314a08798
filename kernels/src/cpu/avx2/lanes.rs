//! Sixteen lanes in two AVX2 registers.

use crate::cpu::lanes::{Lanes, ROUNDING};
use crate::cpu::lines::LANES;
use std::arch::x86_64::*;

/// Two registers, lanes 0..8 and 8..16. Exists only on processors with AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Registers(__m256, __m256);

// SAFETY (all blocks): Registers exist only where AVX2 does, see `Lanes`; loads and stores are within their arrays.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Lanes for Registers {
    #[inline(always)]
    unsafe fn load(from: &[f32; LANES]) -> Self {
        unsafe { Registers(_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))) }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        unsafe { Registers(_mm256_set1_ps(value), _mm256_set1_ps(value)) }
    }

    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), self.0);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), self.1);
        }
    }

    #[inline(always)]
    fn constant(self, value: f32) -> Self {
        unsafe { Registers(_mm256_set1_ps(value), _mm256_set1_ps(value)) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        unsafe { Registers(_mm256_add_ps(self.0, other.0), _mm256_add_ps(self.1, other.1)) }
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        unsafe { Registers(_mm256_sub_ps(self.0, other.0), _mm256_sub_ps(self.1, other.1)) }
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        unsafe { Registers(_mm256_mul_ps(self.0, other.0), _mm256_mul_ps(self.1, other.1)) }
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        unsafe { Registers(_mm256_div_ps(self.0, other.0), _mm256_div_ps(self.1, other.1)) }
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        unsafe { Registers(_mm256_fmadd_ps(self.0, factor.0, addend.0), _mm256_fmadd_ps(self.1, factor.1, addend.1)) }
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        unsafe { Registers(_mm256_min_ps(self.0, other.0), _mm256_min_ps(self.1, other.1)) }
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        unsafe { Registers(_mm256_max_ps(self.0, other.0), _mm256_max_ps(self.1, other.1)) }
    }

    #[inline(always)]
    fn first_or(self, count: usize, rest: Self) -> Self {
        let count = count.min(LANES) as i32;
        unsafe { Registers(first_or(self.0, count, rest.0), first_or(self.1, count - 8, rest.1)) }
    }

    #[inline(always)]
    fn transposed(rows: [Self; LANES]) -> [Self; LANES] {
        let mut columns = rows;
        for half in [0, 8] {
            let mut eight = [rows[0].0; 8];
            for i in 0..8 {
                eight[i] = if half == 0 { rows[i].0 } else { rows[i].1 };
            }
            let upper = unsafe { transposed(eight) };
            for i in 0..8 {
                eight[i] = if half == 0 { rows[8 + i].0 } else { rows[8 + i].1 };
            }
            let lower = unsafe { transposed(eight) };
            for i in 0..8 {
                columns[half + i] = Registers(upper[i], lower[i]);
            }
        }
        columns
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        unsafe { sum(_mm256_add_ps(self.0, self.1)) }
    }

    #[inline(always)]
    fn power_of_two(self) -> Self {
        unsafe { Registers(power_of_two(self.0), power_of_two(self.1)) }
    }

    #[inline(always)]
    fn lowest(self) -> f32 {
        unsafe {
            let eight = _mm256_min_ps(self.0, self.1);
            let four = _mm_min_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_min_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_min_ss(two, _mm_movehdup_ps(two)))
        }
    }

    #[inline(always)]
    fn highest(self) -> f32 {
        unsafe {
            let eight = _mm256_max_ps(self.0, self.1);
            let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        }
    }

    #[inline(always)]
    fn is_zero(self) -> bool {
        unsafe {
            let zero = _mm256_setzero_ps();
            let equal =
                _mm256_and_ps(_mm256_cmp_ps::<_CMP_EQ_OQ>(self.0, zero), _mm256_cmp_ps::<_CMP_EQ_OQ>(self.1, zero));
            _mm256_movemask_ps(equal) == 0xff
        }
    }

    #[inline(always)]
    fn integer_difference(self, factor: i32, subtrahend: &[i32; LANES]) -> Self {
        let (low, high) = subtrahend.split_at(8);
        unsafe { Registers(difference(self.0, factor, low), difference(self.1, factor, high)) }
    }

    #[inline(always)]
    fn levels(self, offset: Self) -> [u8; LANES] {
        unsafe {
            let rounding = _mm256_set1_epi32(ROUNDING.to_bits() as i32);
            let sum = self.add(offset);
            let low = _mm256_sub_epi32(_mm256_castps_si256(sum.0), rounding);
            let high = _mm256_sub_epi32(_mm256_castps_si256(sum.1), rounding);
            let words = in_order(_mm256_packs_epi32(low, high));
            let packed = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            let mut levels = [0; LANES];
            _mm_storeu_si128(levels.as_mut_ptr().cast(), _mm_min_epu8(packed, _mm_set1_epi8(127)));
            levels
        }
    }

    #[inline(always)]
    fn rounded_to_bf16(self) -> Self {
        unsafe { Registers(rounded(self.0), rounded(self.1)) }
    }

    #[inline(always)]
    fn widened_lower_halves(self) -> Self {
        unsafe { Registers(lower_half(self.0), lower_half(self.1)) }
    }

    #[inline(always)]
    fn widened_upper_halves(self) -> Self {
        let upper = unsafe { _mm256_castsi256_ps(_mm256_set1_epi32(0xffff_0000_u32 as i32)) };
        unsafe { Registers(_mm256_and_ps(self.0, upper), _mm256_and_ps(self.1, upper)) }
    }

    #[inline(always)]
    fn upper_halves(self) -> [u16; LANES] {
        unsafe {
            let low = _mm256_srli_epi32::<16>(_mm256_castps_si256(self.0));
            let high = _mm256_srli_epi32::<16>(_mm256_castps_si256(self.1));
            let mut stored = [0; LANES];
            _mm256_storeu_si256(stored.as_mut_ptr().cast(), in_order(_mm256_packus_epi32(low, high)));
            stored
        }
    }
}

/// The sum of eight lanes, halves folded onto each other.
///
/// # Safety
/// The processor must have AVX2.
#[inline(always)]
pub(crate) unsafe fn sum(eight: __m256) -> f32 {
    // SAFETY: the caller's promise.
    unsafe {
        let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
    }
}

/// The first `count` lanes of `x` (none if it is negative, all if it is over 8), the others of `rest`.
#[inline(always)]
unsafe fn first_or(x: __m256, count: i32, rest: __m256) -> __m256 {
    // SAFETY: only called on Registers, which exist only where AVX2 does.
    unsafe {
        let first = _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
        _mm256_blendv_ps(rest, x, _mm256_castsi256_ps(first))
    }
}

/// Eight rows of eight become eight columns.
#[inline(always)]
unsafe fn transposed(rows: [__m256; 8]) -> [__m256; 8] {
    let mut columns = rows;
    // SAFETY: only called on Registers, which exist only where AVX2 does.
    unsafe {
        // Half h of `quads[4 g + j]` becomes rows 4g..4g+4 of column 4h + j.
        let mut quads = rows;
        for g in 0..2 {
            let [a, b, c, d] = [rows[4 * g], rows[4 * g + 1], rows[4 * g + 2], rows[4 * g + 3]];
            let low = (_mm256_castps_pd(_mm256_unpacklo_ps(a, b)), _mm256_castps_pd(_mm256_unpacklo_ps(c, d)));
            let high = (_mm256_castps_pd(_mm256_unpackhi_ps(a, b)), _mm256_castps_pd(_mm256_unpackhi_ps(c, d)));
            quads[4 * g] = _mm256_castpd_ps(_mm256_unpacklo_pd(low.0, low.1));
            quads[4 * g + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low.0, low.1));
            quads[4 * g + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(high.0, high.1));
            quads[4 * g + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(high.0, high.1));
        }
        for j in 0..4 {
            columns[j] = _mm256_permute2f128_ps::<0x20>(quads[j], quads[4 + j]);
            columns[4 + j] = _mm256_permute2f128_ps::<0x31>(quads[j], quads[4 + j]);
        }
    }
    columns
}

#[inline(always)]
unsafe fn power_of_two(x: __m256) -> __m256 {
    // SAFETY: only called on Registers, which exist only where AVX2 does.
    unsafe {
        let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(x));
        _mm256_castsi256_ps(_mm256_add_epi32(exponent, _mm256_set1_epi32(1f32.to_bits() as i32)))
    }
}

/// Packing works within 128-bit halves, which gives 0-3 8-11 4-7 12-15: back in order.
#[inline(always)]
unsafe fn in_order(words: __m256i) -> __m256i {
    // SAFETY: only called on Registers, which exist only where AVX2 does; reads are within the slice of 8.
    unsafe { _mm256_permute4x64_epi64::<0b11_01_10_00>(words) }
}

#[inline(always)]
unsafe fn difference(sums: __m256, factor: i32, subtrahend: &[i32]) -> __m256 {
    // SAFETY: only called on Registers, which exist only where AVX2 does; reads are within the slice of 8.
    unsafe {
        let product = _mm256_mullo_epi32(_mm256_set1_epi32(factor), _mm256_loadu_si256(subtrahend.as_ptr().cast()));
        _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_castps_si256(sums), product))
    }
}

/// The bf16 in the lower 16 bits of each lane, as f32.
#[inline(always)]
unsafe fn lower_half(pairs: __m256) -> __m256 {
    // SAFETY: only called on Registers, which exist only where AVX2 does.
    unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_castps_si256(pairs))) }
}

/// Rounded to bf16, as f32.
#[inline(always)]
unsafe fn rounded(x: __m256) -> __m256 {
    // SAFETY: only called on Registers, which exist only where AVX2 does; reads are within the slice of 8.
    unsafe {
        let bits = _mm256_castps_si256(x);
        let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
        let nearest = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
        let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
        let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(x, x));
        let kept = _mm256_blendv_epi8(nearest, quiet, nan);
        _mm256_castsi256_ps(_mm256_and_si256(kept, _mm256_set1_epi32(0xffff_0000_u32 as i32)))
    }
}
