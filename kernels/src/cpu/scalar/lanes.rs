//! Sixteen lanes as a plain array: the specification of the register types.

use crate::cpu::lanes::{Lanes, ROUNDING};
use crate::cpu::lines::LANES;
use std::array::from_fn;

/// Sixteen values, one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Array([f32; LANES]);

impl Array {
    fn with(self, other: Self, combine: impl Fn(f32, f32) -> f32) -> Self {
        Array(from_fn(|i| combine(self.0[i], other.0[i])))
    }
}

impl Lanes for Array {
    unsafe fn load(from: &[f32; LANES]) -> Self {
        Array(*from)
    }

    unsafe fn splat(value: f32) -> Self {
        Array([value; LANES])
    }

    fn store(self, to: &mut [f32; LANES]) {
        *to = self.0;
    }

    fn constant(self, value: f32) -> Self {
        Array([value; LANES])
    }

    fn add(self, other: Self) -> Self {
        self.with(other, |a, b| a + b)
    }

    fn sub(self, other: Self) -> Self {
        self.with(other, |a, b| a - b)
    }

    fn mul(self, other: Self) -> Self {
        self.with(other, |a, b| a * b)
    }

    fn div(self, other: Self) -> Self {
        self.with(other, |a, b| a / b)
    }

    fn mul_add(self, factor: Self, addend: Self) -> Self {
        self.mul(factor).add(addend)
    }

    fn min(self, other: Self) -> Self {
        self.with(other, |a, b| if a < b { a } else { b })
    }

    fn max(self, other: Self) -> Self {
        self.with(other, |a, b| if a > b { a } else { b })
    }

    fn first_or(self, count: usize, rest: Self) -> Self {
        Array(from_fn(|i| if i < count { self.0[i] } else { rest.0[i] }))
    }

    fn transposed(rows: [Self; LANES]) -> [Self; LANES] {
        from_fn(|c| Array(from_fn(|r| rows[r].0[c])))
    }

    fn sum(self) -> f32 {
        let mut lanes = self.0;
        for half in [8, 4, 2, 1] {
            (0..half).for_each(|i| lanes[i] += lanes[i + half]);
        }
        lanes[0]
    }

    fn power_of_two(self) -> Self {
        Array(self.0.map(|x| f32::from_bits((x.to_bits() << 23).wrapping_add(1f32.to_bits()))))
    }

    fn lowest(self) -> f32 {
        self.0.into_iter().fold(f32::INFINITY, f32::min)
    }

    fn highest(self) -> f32 {
        self.0.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }

    fn is_zero(self) -> bool {
        self.0.into_iter().all(|lane| lane == 0.0)
    }

    fn integer_difference(self, factor: i32, subtrahend: &[i32; LANES]) -> Self {
        Array(from_fn(|i| (self.0[i].to_bits() as i32).wrapping_sub(factor.wrapping_mul(subtrahend[i])) as f32))
    }

    fn levels(self, offset: Self) -> [u8; LANES] {
        self.add(offset).0.map(|x| (x.to_bits() as i32 - ROUNDING.to_bits() as i32).clamp(0, 127) as u8)
    }

    fn rounded_to_bf16(self) -> Self {
        Array(self.0.map(|x| {
            let bits = x.to_bits();
            let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
            f32::from_bits(if x.is_nan() { bits | 0x0040_0000 } else { nearest } & 0xffff_0000)
        }))
    }

    fn widened_lower_halves(self) -> Self {
        Array(self.0.map(|x| f32::from_bits(x.to_bits() << 16)))
    }

    fn widened_upper_halves(self) -> Self {
        Array(self.0.map(|x| f32::from_bits(x.to_bits() & 0xffff_0000)))
    }

    fn upper_halves(self) -> [u16; LANES] {
        self.0.map(|x| (x.to_bits() >> 16) as u16)
    }

    fn gelu_erf(self) -> Self {
        Array(self.0.map(super::layers::gelu_erf))
    }
}
