//! Sixteen lanes in one AVX-512 register.

use crate::cpu::lanes::{Lanes, ROUNDING};
use crate::cpu::lines::LANES;
use std::arch::x86_64::*;

/// One register. Exists only on processors with AVX-512 F, BW, DQ and VL.
#[derive(Clone, Copy)]
pub(crate) struct Register(__m512);

// SAFETY (all blocks): a Register exists only where AVX-512 does, see `Lanes`; loads and stores are within their arrays.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Lanes for Register {
    #[inline(always)]
    unsafe fn load(from: &[f32; LANES]) -> Self {
        Register(unsafe { _mm512_loadu_ps(from.as_ptr()) })
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Register(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), self.0) }
    }

    #[inline(always)]
    fn constant(self, value: f32) -> Self {
        Register(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Register(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Register(unsafe { _mm512_sub_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Register(unsafe { _mm512_mul_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        Register(unsafe { _mm512_div_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        Register(unsafe { _mm512_fmadd_ps(self.0, factor.0, addend.0) })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Register(unsafe { _mm512_min_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Register(unsafe { _mm512_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn first_or(self, count: usize, rest: Self) -> Self {
        let first = ((1u32 << count.min(LANES)) - 1) as u16;
        Register(unsafe { _mm512_mask_mov_ps(rest.0, first, self.0) })
    }

    #[inline(always)]
    fn transposed(rows: [Self; LANES]) -> [Self; LANES] {
        const EVEN: i32 = 0b10_00_10_00;
        const ODD: i32 = 0b11_01_11_01;
        let mut columns = rows;
        unsafe {
            // Quarter q of `quads[4 g + j]` becomes rows 4g..4g+4 of column 4q + j.
            let mut quads = [rows[0].0; LANES];
            for g in 0..4 {
                let [a, b, c, d] = [rows[4 * g].0, rows[4 * g + 1].0, rows[4 * g + 2].0, rows[4 * g + 3].0];
                let low = (_mm512_castps_pd(_mm512_unpacklo_ps(a, b)), _mm512_castps_pd(_mm512_unpacklo_ps(c, d)));
                let high = (_mm512_castps_pd(_mm512_unpackhi_ps(a, b)), _mm512_castps_pd(_mm512_unpackhi_ps(c, d)));
                quads[4 * g] = _mm512_castpd_ps(_mm512_unpacklo_pd(low.0, low.1));
                quads[4 * g + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low.0, low.1));
                quads[4 * g + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high.0, high.1));
                quads[4 * g + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high.0, high.1));
            }
            for j in 0..4 {
                let [a, b, c, d] = [quads[j], quads[4 + j], quads[8 + j], quads[12 + j]];
                let even = [_mm512_shuffle_f32x4::<EVEN>(a, b), _mm512_shuffle_f32x4::<EVEN>(c, d)];
                let odd = [_mm512_shuffle_f32x4::<ODD>(a, b), _mm512_shuffle_f32x4::<ODD>(c, d)];
                columns[j] = Register(_mm512_shuffle_f32x4::<EVEN>(even[0], even[1]));
                columns[4 + j] = Register(_mm512_shuffle_f32x4::<EVEN>(odd[0], odd[1]));
                columns[8 + j] = Register(_mm512_shuffle_f32x4::<ODD>(even[0], even[1]));
                columns[12 + j] = Register(_mm512_shuffle_f32x4::<ODD>(odd[0], odd[1]));
            }
        }
        columns
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        unsafe {
            let (low, high) = (_mm512_castps512_ps256(self.0), _mm512_extractf32x8_ps::<1>(self.0));
            crate::cpu::avx2::lanes::sum(_mm256_add_ps(low, high))
        }
    }

    #[inline(always)]
    fn power_of_two(self) -> Self {
        Register(unsafe {
            let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(self.0));
            _mm512_castsi512_ps(_mm512_add_epi32(exponent, _mm512_set1_epi32(1f32.to_bits() as i32)))
        })
    }

    #[inline(always)]
    fn lowest(self) -> f32 {
        unsafe { _mm512_reduce_min_ps(self.0) }
    }

    #[inline(always)]
    fn highest(self) -> f32 {
        unsafe { _mm512_reduce_max_ps(self.0) }
    }

    #[inline(always)]
    fn is_zero(self) -> bool {
        unsafe { _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(self.0, _mm512_setzero_ps()) == u16::MAX }
    }

    #[inline(always)]
    fn integer_difference(self, factor: i32, subtrahend: &[i32; LANES]) -> Self {
        Register(unsafe {
            let product = _mm512_mullo_epi32(_mm512_set1_epi32(factor), _mm512_loadu_si512(subtrahend.as_ptr().cast()));
            _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_castps_si512(self.0), product))
        })
    }

    #[inline(always)]
    fn levels(self, offset: Self) -> [u8; LANES] {
        unsafe {
            let sum = _mm512_castps_si512(_mm512_add_ps(self.0, offset.0));
            let level = _mm512_sub_epi32(sum, _mm512_set1_epi32(ROUNDING.to_bits() as i32));
            let level = _mm512_min_epi32(_mm512_max_epi32(level, _mm512_setzero_si512()), _mm512_set1_epi32(127));
            let mut levels = [0; LANES];
            _mm_storeu_si128(levels.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(level));
            levels
        }
    }

    #[inline(always)]
    fn rounded_to_bf16(self) -> Self {
        Register(unsafe {
            let bits = _mm512_castps_si512(self.0);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let nearest = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0);
            let kept = _mm512_mask_or_epi32(nearest, nan, bits, _mm512_set1_epi32(0x0040_0000));
            _mm512_castsi512_ps(_mm512_and_si512(kept, _mm512_set1_epi32(0xffff_0000_u32 as i32)))
        })
    }

    #[inline(always)]
    fn widened_lower_halves(self) -> Self {
        Register(unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_castps_si512(self.0))) })
    }

    #[inline(always)]
    fn widened_upper_halves(self) -> Self {
        let upper = unsafe { _mm512_set1_epi32(0xffff_0000_u32 as i32) };
        Register(unsafe { _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(self.0), upper)) })
    }

    #[inline(always)]
    fn upper_halves(self) -> [u16; LANES] {
        unsafe {
            let halves = _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(_mm512_castps_si512(self.0)));
            let mut stored = [0; LANES];
            _mm256_storeu_si256(stored.as_mut_ptr().cast(), halves);
            stored
        }
    }
}
