//! How large a score can be, from less than all of the vector: the proof that nothing is lost.
//!
//! Let `q` be a query, `x` an item, and `s` the score that the f32 kernel computes for them. All norms are Euclidean.
//!
//! **Rounding.** `s` is a sum of `n` products in some fixed order, so `|s - q.x| <= g |q| |x|` with
//! `g = n u / (1 - n u)`, `u = 2^-24` (Higham, Accuracy and Stability of Numerical Algorithms, 3.1; then Cauchy and
//! Schwarz). [`rounding`] gives a `g` with some room. Where products underflow, each is wrong by less than the smallest
//! normal number instead, so `n` times that is allowed for as well.
//!
//! **Screen.** The item is stored as `x = c w + r`, `w` whole numbers in -127..=127, `c` the scale of its block, `r` what
//! is left; the query as `q = d v + t` likewise. Then
//!
//! ```text
//! q.x = q.(c w) + q.r = c d (v.w) + t.(c w) + q.r  <=  c d (v.w) + |t| W + |q| R
//! ```
//!
//! where `W` is the largest `|c w|` in the block and `R` the largest `|r|`: by Cauchy and Schwarz, and both are computed
//! from what is stored, not estimated from the step. With `X` the largest `|x|`, an item with `s >= threshold` has
//!
//! ```text
//! v.w  >=  (threshold - |t| W - |q| R - g |q| X) / (c d)
//! ```
//!
//! and the left side is what the integer kernel computes, exactly. ([`Ball::at_least`])
//!
//! **Block.** For a unit vector `e`, write `x = a e + y` with `y` orthogonal to `e`, and `q = b e + p` likewise. Then
//! `q.x = a b + p.y <= a b + |p| |y|`, and `|p|^2 = |q|^2 - b^2`. A block knows the smallest and the largest `a` and the
//! largest `|y|` of its items, so `b`, one inner product, bounds them all. A ball around the centre would give
//! `a b + |q| |y|`: for vectors of length 1 around many centres that is above every threshold, and this is not. `b` comes
//! from the f32 kernel too, and is wrong by at most `h = g |q|`; both places where it stands allow for that. Blocks of one
//! direction share all of it but a sum of three products. ([`Facing`], [`Ball::bound`])
//!
//! The norms are computed in f64, whose own errors (n 2^-53) the room in [`rounding`] covers many times over.

use attune_kernels::{Isa, inner_products};

/// Above the relative error of an inner product of `width` values in f32.
pub fn rounding(width: usize) -> f64 {
    (width + 16) as f64 * f64::from(f32::EPSILON)
}

/// A query's numbers that bounds need.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// `|q|`.
    pub norm: f64,
    /// `|t|`: what its levels leave.
    pub residual: f64,
    /// `1 / d`, `d` being what a level is worth.
    pub levels_a_unit: f64,
}

impl Reach {
    /// Quantises a query into `levels`.
    pub fn quantise(query: &[f32], level_max: i8, levels: &mut [i8]) -> Self {
        let scale = scale(query, level_max);
        let (_, residual) = quantise(query, scale, level_max, levels);
        Self { norm: norm(query), residual, levels_a_unit: 1.0 / scale }
    }
}

/// A query as seen from one direction.
#[derive(Clone, Copy, Debug)]
pub struct Facing {
    /// `b`.
    along: f64,
    /// Not below `|p|`.
    across: f64,
    /// `h`.
    error: f64,
}

impl Facing {
    /// `along` is the query's inner product with the direction, as the f32 kernel gives it.
    pub fn new(query: &Reach, along: f32, width: usize) -> Self {
        let (along, error) = (f64::from(along), rounding(width) * query.norm);
        // The direction is a unit vector but for rounding, which `error` stands for as well.
        let across = (query.norm.powi(2) - (along.abs() - error).max(0.0).powi(2)).max(0.0).sqrt();
        Self { along, across, error }
    }
}

/// What is known of all items of a block.
#[derive(Clone, Copy, Debug)]
pub struct Ball {
    /// Smallest `a`: length along the direction of the block.
    along_min: f64,
    /// Largest `a`.
    along_max: f64,
    /// Largest `|y|`: length across that direction.
    across_max: f64,
    /// `X` and the largest `|a|` and `|y|` together: what `h` is multiplied with.
    extent: f64,
    /// `W`.
    quantised_max: f64,
    /// `R + g X`.
    unseen_max: f64,
    /// `1 / c`, `c` being the scale.
    levels_a_unit: f64,
    /// What underflow may add to a score.
    underflow: f64,
}

impl Ball {
    /// Quantises the items (rows of `direction`'s length) into `levels`, and gives their bounds. `direction` is a unit
    /// vector up to rounding, or zero.
    ///
    /// # Panics
    /// If `levels` has not the length of `items`.
    pub fn quantise(items: &[f32], direction: &[f32], levels: &mut [i8]) -> Self {
        assert_eq!(items.len(), levels.len(), "one level for each value");
        let width = direction.len();
        let scale = scale(items, 127);
        let mut ball = Self {
            along_min: f64::INFINITY,
            along_max: f64::NEG_INFINITY,
            across_max: 0.0,
            extent: 0.0,
            quantised_max: 0.0,
            unseen_max: 0.0,
            levels_a_unit: 1.0 / scale,
            underflow: width as f64 * f64::from(f32::MIN_POSITIVE),
        };
        for (item, levels) in items.chunks_exact(width).zip(levels.chunks_exact_mut(width)) {
            let (quantised, residual) = quantise(item, scale, 127, levels);
            let ((along, across), norm) = (split(item, direction), norm(item));
            ball.quantised_max = ball.quantised_max.max(quantised);
            ball.unseen_max = ball.unseen_max.max(residual + rounding(width) * norm);
            ball.across_max = ball.across_max.max(across);
            ball.along_min = ball.along_min.min(along);
            ball.along_max = ball.along_max.max(along);
            ball.extent = ball.extent.max(along.abs() + across + norm);
        }
        ball
    }

    /// No item of the block has a larger score.
    pub fn bound(&self, query: &Facing) -> f64 {
        let along = if query.along >= 0.0 { self.along_max } else { self.along_min };
        along * query.along + query.across * self.across_max + query.error * self.extent + self.underflow
    }

    /// The smallest integer product of an item whose score is at least `threshold`.
    pub fn at_least(&self, query: &Reach, threshold: f32) -> i32 {
        let error = query.residual * self.quantised_max + query.norm * self.unseen_max + self.underflow;
        let levels = (f64::from(threshold) - error) * (self.levels_a_unit * query.levels_a_unit);
        // The cast rounds towards zero and saturates; one more is for the rounding of these lines.
        (levels as i32).saturating_sub(2)
    }
}

/// An item as seen from a direction: its length along it, and across.
pub fn split(item: &[f32], direction: &[f32]) -> (f64, f64) {
    let along: f64 = item.iter().zip(direction).map(|(&x, &e)| f64::from(x) * f64::from(e)).sum();
    let across = item.iter().zip(direction).map(|(&x, &e)| (f64::from(x) - along * f64::from(e)).powi(2));
    (along, across.sum::<f64>().sqrt())
}

/// What a level must be worth for the largest magnitude to become `level_max`; 1 if all values are 0.
fn scale(values: &[f32], level_max: i8) -> f64 {
    let largest = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    if largest == 0.0 { 1.0 } else { f64::from(largest) / f64::from(level_max) }
}

/// Writes the levels of a row, and gives the norms of what they stand for and of what they leave.
fn quantise(row: &[f32], scale: f64, level_max: i8, levels: &mut [i8]) -> (f64, f64) {
    let (mut quantised, mut residual) = (0.0, 0.0);
    for (&value, level) in row.iter().zip(levels) {
        let value = f64::from(value);
        let whole = (value / scale).round().clamp(-f64::from(level_max), f64::from(level_max));
        *level = whole as i8;
        quantised += (whole * scale).powi(2);
        residual += (value - whole * scale).powi(2);
    }
    (quantised.sqrt(), residual.sqrt())
}

/// The Euclidean norm.
fn norm(row: &[f32]) -> f64 {
    row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

/// The score: one inner product in f32, in the kernel's fixed order. Zero has no sign, so that equal scores are equal.
pub fn score(isa: Isa, query: &[f32], item: &[f32]) -> f32 {
    let mut score = [0.0];
    inner_products(isa, query, item, &mut score);
    score[0] + 0.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WIDTHS: [usize; 4] = [1, 3, 16, 67];

    fn vectors() -> impl Strategy<Value = (usize, Vec<f32>, Vec<f32>, f32)> {
        (0..WIDTHS.len(), 1_usize..20, -20_i32..20).prop_flat_map(|(width, items, magnitude)| {
            let width = WIDTHS[width];
            let value = -1.0_f32..1.0;
            let (items, query) =
                (prop::collection::vec(value.clone(), items * width), prop::collection::vec(value, width));
            (Just(width), items, query, Just(2.0_f32.powi(magnitude)))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// With the threshold at any item's own score, that item passes both bounds.
        #[test]
        fn no_item_is_lost((width, mut items, query, magnitude) in vectors(), direction in 0_usize..20) {
            let isa = Isa::active().unwrap();
            items.iter_mut().for_each(|value| *value *= magnitude);
            let mut axis = items[direction % (items.len() / width) * width..][..width].to_vec();
            attune_kernels::l2_normalize(isa, &mut axis, width);
            let mut levels = vec![0; items.len()];
            let ball = Ball::quantise(&items, &axis, &mut levels);

            for level_max in [63, 127] {
                let mut query_levels = vec![0; width];
                let reach = Reach::quantise(&query, level_max, &mut query_levels);
                let bound = ball.bound(&Facing::new(&reach, score(isa, &query, &axis), width));
                for (item, levels) in items.chunks_exact(width).zip(levels.chunks_exact(width)) {
                    let exact = score(isa, &query, item);
                    let product: i32 = levels.iter().zip(&query_levels).map(|(&w, &v)| i32::from(w) * i32::from(v)).sum();
                    prop_assert!(f64::from(exact) <= bound, "score {exact} above the bound {bound}");
                    prop_assert!(product >= ball.at_least(&reach, exact), "product {product}, score {exact}");
                }
            }
        }
    }

    #[test]
    fn the_screen_is_sharp_enough_to_be_of_use() {
        // A row of 64 values that fill the scale: the error is about a hundredth of the product of both norms.
        let row: Vec<f32> = (0..64).map(|i| (i as f32 * 0.7).sin()).collect();
        let mut levels = vec![0; 64];
        let ball = Ball::quantise(&row, &row, &mut levels);
        let reach = Reach::quantise(&row, 127, &mut levels);
        let exact = norm(&row).powi(2);
        let (below, above) =
            (ball.at_least(&reach, (exact * 0.98) as f32), ball.at_least(&reach, (exact * 1.02) as f32));
        let product: i32 = levels.iter().map(|&level| i32::from(level).pow(2)).sum();
        assert!((below..above).contains(&product), "{below} {product} {above}");
    }
}
