//! Sixteen f32 lanes, the width of a panel: what every kernel but the quantised micro-kernels is written in.
//!
//! Norms, softmax, attention, quantising a row, scaling sums and applying an epilogue are each one generic text over
//! [`Lanes`], compiled once per instruction set. Sixteen lanes are one AVX-512 register or two AVX2 registers, so both add
//! up in the same order and differ in nothing but speed. Only [`Lanes::mul_add`] fuses a multiply with an add; without it
//! the arrays of the scalar tier compute the same bits, too. Plain loops left to the compiler's vectoriser were tried, and
//! cost a third of a quantised product: it turns the outer loop into gathers and scatters.

use super::lines::LANES;
use super::math;

/// Sixteen f32 values in the registers of one instruction set.
///
/// All methods must be inlined into a function that is compiled for that instruction set. `load` and `splat` are the only
/// ways to get a value and are unsafe; holding one is the proof that the instructions exist.
pub(crate) trait Lanes: Copy {
    /// Reads sixteen values.
    ///
    /// # Safety
    /// The processor must have the instruction set of this type.
    unsafe fn load(from: &[f32; LANES]) -> Self;

    /// The same value in every lane.
    ///
    /// # Safety
    /// As [`Lanes::load`].
    unsafe fn splat(value: f32) -> Self;

    fn store(self, to: &mut [f32; LANES]);
    /// The same value in every lane; this one is the proof that the instructions exist.
    fn constant(self, value: f32) -> Self;
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    /// `self * factor + addend`, rounded once where the hardware fuses it and twice in the arrays.
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// The smaller of two numbers, lane by lane; `other` where either is NaN.
    fn min(self, other: Self) -> Self;
    /// The larger of two numbers, lane by lane; `other` where either is NaN.
    fn max(self, other: Self) -> Self;

    /// The first `count` lanes of this one, the others of `rest`.
    fn first_or(self, count: usize, rest: Self) -> Self;

    /// Lane `c` of row `r` becomes lane `r` of row `c`.
    fn transposed(rows: [Self; LANES]) -> [Self; LANES];

    /// The sum of all lanes, in the same order in every implementation: halves are folded onto each other.
    fn sum(self) -> f32;

    /// For lanes that are [`ROUNDING`] + n with whole n in -126..=127: two to the power of n.
    fn power_of_two(self) -> Self;

    /// The smallest lane. No lane may be NaN.
    fn lowest(self) -> f32;

    /// The largest lane. No lane may be NaN.
    fn highest(self) -> f32;

    /// Whether all lanes equal zero, which NaN does not.
    fn is_zero(self) -> bool;

    /// Reads the bits of each lane as an i32 and gives `lane - factor * subtrahend` as an f32.
    fn integer_difference(self, factor: i32, subtrahend: &[i32; LANES]) -> Self;

    /// Each lane, which lies between -1 and 128 once `offset` is added, plus `offset`, to the nearest of the levels
    /// 0..=127, ties to even. `offset` includes [`ROUNDING`].
    fn levels(self, offset: Self) -> [u8; LANES];

    /// Each lane rounded to the nearest value of bf16, ties to even, NaN kept: the lower 16 bits become zero.
    fn rounded_to_bf16(self) -> Self;

    /// The upper 16 bits of each lane.
    fn upper_halves(self) -> [u16; LANES];

    /// The bf16 in the lower 16 bits of each lane, as f32.
    fn widened_lower_halves(self) -> Self;

    /// The bf16 in the upper 16 bits of each lane, as f32.
    fn widened_upper_halves(self) -> Self;

    /// `x/2 * (1 + erf(x / sqrt(2)))`.
    #[inline(always)]
    fn gelu_erf(self) -> Self {
        math::gelu_erf(self)
    }

    /// Reads up to sixteen values, and zeros for the rest.
    ///
    /// # Safety
    /// As [`Lanes::load`].
    #[inline(always)]
    unsafe fn load_part(from: &[f32]) -> Self {
        // SAFETY: passed on to the caller.
        unsafe {
            match from.first_chunk() {
                Some(from) => Self::load(from),
                None => {
                    let mut padded = [0.0; LANES];
                    padded[..from.len()].copy_from_slice(from);
                    Self::load(&padded)
                }
            }
        }
    }

    /// Writes the first lanes, as many as `to` has places, at most sixteen.
    #[inline(always)]
    fn store_part(self, to: &mut [f32]) {
        match to.first_chunk_mut() {
            Some(to) => self.store(to),
            None => {
                let mut padded = [0.0; LANES];
                self.store(&mut padded);
                to.copy_from_slice(&padded[..to.len()]);
            }
        }
    }
}

/// 1.5 x 2^23: adding it to a float of small magnitude leaves the nearest integer, ties to even, in the low bits.
pub(crate) const ROUNDING: f32 = 12_582_912.0;
