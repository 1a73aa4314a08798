//! Loops over slices that a compiler can vectorise on any instruction set.

/// Partial sums a reduction keeps, so that it does not wait for each addition in turn.
const LANES: usize = 16;

/// e^x for x <= 0, to about 2 units in the last place; 0 below the smallest normal result.
///
/// 2^n is built in the exponent bits and e^r, |r| <= ln 2 / 2, is a polynomial: no table, no branch, no call.
#[inline(always)]
pub fn exp_of_negative(x: f32) -> f32 {
    /// Adding 1.5 * 2^23 leaves the nearest integer in the low bits of the mantissa.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = if x < -87.0 { -87.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    let tail = 1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0)));
    let polynomial = 1.0 + r * (1.0 + r * (0.5 + r * tail));
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    polynomial * f32::from_bits(exponent)
}

/// y += a x.
#[inline(always)]
pub fn add_scaled(y: &mut [f32], a: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

/// The sum of `f(i)` for i in 0..length, in a fixed order.
#[inline(always)]
pub fn sum(length: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let whole = length - length % LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += f(start + lane);
        }
    }
    lanes.iter().sum::<f32>() + (whole..length).map(f).sum::<f32>()
}

/// Softmax of one row in place.
#[inline(always)]
pub fn softmax(row: &mut [f32]) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for value in row.iter_mut() {
        *value = exp_of_negative(*value - largest);
    }
    let scale = 1.0 / sum(row.len(), |i| row[i]);
    for value in row.iter_mut() {
        *value *= scale;
    }
}
