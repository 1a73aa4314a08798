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
//! q.x = q.(c w) + q.r = c d (v.w) + t.(c w) + q.r,    and    |t.(c w) + q.r| <= |t| W + |q| R
//! ```
//!
//! where `W` is the largest `|c w|` in the block and `R` the largest `|r|`: by Cauchy and Schwarz, and both are computed
//! from what is stored, not estimated from the step. With `X` the largest `|x|`, an item with `s >= threshold` has
//!
//! ```text
//! v.w  >=  (threshold - |t| W - |q| R - g |q| X) / (c d)
//! ```
//!
//! and the left side is what the integer kernel computes, exactly. ([`Grid::at_least`])
//!
//! **Cone.** For a unit vector `e`, write `x = a e + y` with `y` orthogonal to `e`, and `q = b e + p` likewise. Then
//! `q.x = a b + p.y <= a b + |p| |y|`, and `|p|^2 = |q|^2 - b^2`. A cone knows the smallest and the largest `a` and the
//! largest `|y|` of its items, so `b`, one inner product, bounds them all. A ball around the centre would give
//! `a b + |q| |y|`: for vectors of length 1 around many centres that is above every threshold, and this is not. `b` comes
//! from the f32 kernel too, and is wrong by at most `h = g |q|`; both places where it stands allow for that.
//! ([`Length::across`], [`Cones`])
//!
//! **Landmark.** The cone's bound assumes that an item lies across its direction just as the query does. Most do not, and
//! one number tells: the inner product with a second direction `f`, one that much of the query points in. For any `m >= 0`
//! let `q = m f + q'`. Then `q.x = m (f.x) + q'.x`, and the bound is `m` times the largest `f.x` of the block, which is
//! stored for every `f` that may come, plus the cone's bound for `q'`, which is shorter than `q`. What rounding makes of
//! `q'` is wrong by less than `g |q|`, which the error of `q'` allows for. (Every `m` is right. The best for an item with
//! `f.x = z |y|` is about `q.f - z |q - (q.f) f|`; [`Landmark::new`] takes one `z` for all.)
//!
//! The norms are computed in f64, whose own errors (n 2^-53) the room in [`rounding`] covers many times over. Bounds are
//! computed in f32, many at once: what they are made of is rounded up first, and the dozen roundings that follow, each of at
//! most `2^-24` of a sum that is not above `3 |q| X`, are allowed for by [`ARITHMETIC`]. What they lose to underflow is far
//! below the `n` smallest normal numbers that every bound has on top.

use std::ops::Range;

use attune_kernels::{Isa, inner_products};

/// Above the relative error of an inner product of `width` values in f32.
pub fn rounding(width: usize) -> f64 {
    (width + 16) as f64 * f64::from(f32::EPSILON)
}

/// Above what underflow may add to an inner product of `width` values.
fn underflow(width: usize) -> f64 {
    width as f64 * f64::from(f32::MIN_POSITIVE)
}

/// Above what computing a bound in f32 loses, as a share of `|q| X`.
const ARITHMETIC: f64 = 1.0 / (1 << 18) as f64;

/// The next f32 that is not below.
fn above(value: f64) -> f32 {
    (value as f32).next_up()
}

/// The next f32 that is not above.
fn below(value: f64) -> f32 {
    (value as f32).next_down()
}

/// The larger of a value and 0; unlike `max` one instruction, since there is no NaN here.
fn positive(value: f32) -> f32 {
    if value > 0.0 { value } else { 0.0 }
}

/// A query's numbers that bounds need.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// `|q|`.
    norm: f64,
    /// `|t|`: what its levels leave.
    residual: f64,
    /// `1 / d`, `d` being what a level is worth.
    levels_a_unit: f64,
    /// `h`.
    error: f64,
    /// Of a head: what is added to every product.
    common: f64,
    /// What cones must know of it.
    length: Length,
}

impl Reach {
    /// Quantises a query into `levels`.
    pub fn quantise(query: &[f32], level_max: i8, levels: &mut [i8]) -> Self {
        let (scale, norm) = (scale(query, level_max), norm(query));
        let (_, residual) = quantise(query, scale, level_max, levels);
        let error = rounding(query.len()) * norm + underflow(query.len());
        let (levels_a_unit, length) = (1.0 / scale, Length::new(norm, error, norm));
        Self { norm, residual, levels_a_unit, error, common: 0.0, length }
    }

    /// Quantises the head of a query of some length, to whose products something is common (`head.rs`).
    pub fn of_head(head: &[f32], length: f64, common: f64, level_max: i8, levels: &mut [i8]) -> Self {
        let reach = Self::quantise(head, level_max, levels);
        Self { norm: reach.norm.max(length), common, ..reach }
    }

    /// What cones must know of it.
    pub fn length(&self) -> &Length {
        &self.length
    }
}

/// How long a vector is that cones are held against: a query, or what a landmark leaves of one. Nothing is rounded down.
#[derive(Clone, Copy, Debug)]
pub struct Length {
    /// `|q|`.
    norm: f32,
    /// `1 / |q|`, or 0 where that is nearly endless.
    inverse: f32,
    /// `h / |q|`.
    blur: f32,
    /// `h`, and what the arithmetic of bounds needs.
    error: f32,
}

impl Length {
    /// Above what rounding does to a squared share of the length that is computed in f32.
    const SLACK: f32 = 1.0 / (1 << 20) as f32;
    /// A shorter vector has no share of its length along anything.
    const NORM_MIN: f64 = 1e-30;

    /// `whole` is the norm of the query that it is a part of.
    fn new(norm: f64, error: f64, whole: f64) -> Self {
        let inverse = if norm > Self::NORM_MIN { (1.0 / norm) as f32 } else { 0.0 };
        let blur = above(error * f64::from(inverse));
        Self { norm: above(norm), inverse, blur, error: above(error + ARITHMETIC * whole) }
    }

    /// Not below `|p|`, the length across a direction; `along` is the inner product with it, as the f32 kernel gives it.
    fn across(&self, along: f32) -> f32 {
        // The direction is a unit vector but for rounding, which the blur stands for as well.
        let share = positive(along.abs() * self.inverse - self.blur);
        self.norm * (positive(1.0 - share * share) + Self::SLACK).sqrt()
    }
}

/// The part of a query that one direction explains, and how long the rest is.
#[derive(Clone, Copy, Debug)]
pub struct Landmark {
    /// `m` by the level of a support.
    per_level: f32,
    /// Of `q'`; its error also stands for `q` not being exactly what its parts are.
    rest: Length,
}

impl Landmark {
    /// Where items are expected: `f.x = z |y|`.
    const EXPECTED: f32 = 0.25;
    /// A landmark with a smaller share of the query's length says too little to be asked.
    const SHARE_MIN: f32 = 0.3;

    /// Writes to `rest` what `direction` leaves of a query; `along` is their inner product as the f32 kernel gives it.
    /// None if it is a small part of the query.
    pub fn new(query: &[f32], reach: &Reach, direction: &[f32], along: f32, rest: &mut [f32]) -> Option<Self> {
        let weight = along - Self::EXPECTED * reach.length.across(along);
        if weight <= Self::SHARE_MIN * reach.norm as f32 {
            return None;
        }
        for ((rest, value), direction) in rest.iter_mut().zip(query).zip(direction) {
            *rest = value - weight * direction;
        }
        let per_level = above(f64::from(weight) / Support::LEVELS);
        Some(Self { per_level, rest: Length::new(norm(rest), 4.0 * reach.error, reach.norm) })
    }

    /// Of what it leaves.
    pub fn rest(&self) -> &Length {
        &self.rest
    }
}

/// The largest inner product of a cone's items with a landmark, rounded up, as a share of the longest item's norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Support(pub i8);

impl Support {
    /// Levels of 1: some are left for rounding above it.
    const LEVELS: f64 = 120.0;

    /// `largest` is as the f32 kernel gives it.
    pub fn new(largest: f32, cone: &Cone, width: usize) -> Self {
        if cone.norm_max == 0.0 {
            return Self(0);
        }
        let error = 2.0 * rounding(width) + underflow(width) / cone.norm_max;
        // More than 1 is nobody's inner product with a unit vector; the cast saturates.
        Self(((f64::from(largest) / cone.norm_max + error).min(1.0 + error) * Self::LEVELS).ceil() as i8)
    }

    /// Of a cone that has the items of others, from theirs.
    pub fn of_all<'a>(parts: impl Iterator<Item = (Self, &'a Cone)>, all: &Cone) -> Self {
        if all.norm_max == 0.0 {
            return Self(0);
        }
        let largest = parts.map(|(support, cone)| support.of(cone)).fold(f64::NEG_INFINITY, f64::max);
        Self((largest / all.norm_max * Self::LEVELS).ceil() as i8)
    }

    fn of(self, cone: &Cone) -> f64 {
        f64::from(self.0) / Self::LEVELS * cone.norm_max
    }
}

/// What is known of items that follow one direction.
#[derive(Clone, Copy, Debug)]
pub struct Cone {
    /// Smallest `a`: length along the direction.
    along_min: f64,
    /// Largest `a`.
    along_max: f64,
    /// Largest `|y|`: length across the direction.
    across_max: f64,
    /// `X`.
    norm_max: f64,
    /// `X` and the largest `|a|` and `|y|` together: what `h` is multiplied with.
    extent: f64,
}

impl Cone {
    /// Of no items.
    pub const EMPTY: Self =
        Self { along_min: f64::INFINITY, along_max: f64::NEG_INFINITY, across_max: 0.0, norm_max: 0.0, extent: 0.0 };

    /// Of one item. `direction` is a unit vector up to rounding, or zero.
    fn of(item: &[f32], direction: &[f32]) -> Self {
        let ((along, across), norm) = (split(item, direction), norm(item));
        Self {
            along_min: along,
            along_max: along,
            across_max: across,
            norm_max: norm,
            extent: along.abs() + across + norm,
        }
    }

    /// Of the items of both.
    pub fn with(&self, other: &Self) -> Self {
        Self {
            along_min: self.along_min.min(other.along_min),
            along_max: self.along_max.max(other.along_max),
            across_max: self.across_max.max(other.across_max),
            norm_max: self.norm_max.max(other.norm_max),
            extent: self.extent.max(other.extent),
        }
    }
}

/// Cones by column, each number an f32 that is rounded to where bounds are larger.
#[derive(Clone, Debug, Default)]
pub struct Cones {
    along_min: Vec<f32>,
    along_max: Vec<f32>,
    across_max: Vec<f32>,
    norm_max: Vec<f32>,
    extent: Vec<f32>,
    underflow: f32,
}

/// A landmark, and by cone how far its items reach towards it, as [`Support`]s.
pub type Towards<'a> = (&'a Landmark, &'a [i8]);

impl Cones {
    /// Of items of some width.
    pub fn new(cones: &[Cone], width: usize) -> Self {
        let column = |number: fn(&Cone) -> f64| cones.iter().map(|cone| above(number(cone))).collect();
        Self {
            along_min: cones.iter().map(|cone| below(cone.along_min)).collect(),
            along_max: column(|cone| cone.along_max),
            across_max: column(|cone| cone.across_max),
            norm_max: column(|cone| cone.norm_max),
            extent: column(|cone| cone.extent),
            underflow: above(underflow(width)),
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        5 * size_of_val(&self.norm_max[..])
    }

    /// Appends for some cones of one direction what no score of an item is above. `along` is the inner product of the
    /// direction with a query, or with what a landmark leaves of it, as the f32 kernel gives it; `length` is of the same.
    pub fn bounds(
        &self,
        cones: Range<usize>,
        length: &Length,
        along: f32,
        towards: Option<Towards<'_>>,
        bounds: &mut Vec<f32>,
    ) {
        let across = length.across(along);
        self.append(cones, length, |_| (along, across), towards, bounds);
    }

    /// The same for all cones, each of a direction of its own.
    ///
    /// # Panics
    /// Unless there is one `along` a cone.
    pub fn bounds_of_all(&self, length: &Length, along: &[f32], towards: Option<Towards<'_>>, bounds: &mut Vec<f32>) {
        let cones = 0..self.norm_max.len();
        let along = &along[cones.clone()];
        self.append(cones, length, |cone| (along[cone], length.across(along[cone])), towards, bounds);
    }

    /// `facing` says `b` and `|p|` of a cone, counted from the first. Loops that the compiler turns into vector instructions.
    #[inline(always)]
    fn append(
        &self,
        cones: Range<usize>,
        length: &Length,
        facing: impl Fn(usize) -> (f32, f32),
        towards: Option<Towards<'_>>,
        bounds: &mut Vec<f32>,
    ) {
        let first = bounds.len();
        bounds.resize(first + cones.len(), 0.0);
        let bounds = &mut bounds[first..];
        let (along_min, along_max) = (&self.along_min[cones.clone()], &self.along_max[cones.clone()]);
        let (across_max, extent) = (&self.across_max[cones.clone()], &self.extent[cones.clone()]);
        for (cone, bound) in bounds.iter_mut().enumerate() {
            let (along, across) = facing(cone);
            let farthest = if along >= 0.0 { along_max[cone] } else { along_min[cone] };
            *bound = farthest * along + across * across_max[cone] + (length.error * extent[cone] + self.underflow);
        }
        if let Some((landmark, supports)) = towards {
            let reaches = supports[cones.clone()].iter().zip(&self.norm_max[cones]);
            for (bound, (&level, norm)) in bounds.iter_mut().zip(reaches) {
                *bound += landmark.per_level * (f32::from(level) * norm);
            }
        }
    }
}

/// What is known of items that are quantised with one scale.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    /// `W`.
    quantised_max: f64,
    /// `R + g X`.
    unseen_max: f64,
    /// `1 / c`, `c` being the scale.
    levels_a_unit: f64,
    /// What underflow may add to a score.
    underflow: f64,
}

impl Grid {
    /// Quantises the items (rows of `direction`'s length) into `levels`, and says what is known of them. `direction` is a
    /// unit vector up to rounding, or zero.
    ///
    /// # Panics
    /// If `levels` has not the length of `items`.
    pub fn quantise(items: &[f32], direction: &[f32], levels: &mut [i8]) -> (Self, Cone) {
        let (width, mut cone) = (direction.len(), Cone::EMPTY);
        let unseen = items.chunks_exact(width).map(|item| {
            let one = Cone::of(item, direction);
            cone = cone.with(&one);
            rounding(width) * one.norm_max
        });
        let grid = Self::of(items, width, unseen, underflow(width), levels);
        (grid, cone)
    }

    /// Quantises heads of `heads` values, each of a vector of `width` values; `unseen` says for each what is not
    /// seen of it (`head.rs`).
    ///
    /// # Panics
    /// If `levels` has not the length of `rows`.
    pub fn of_heads(
        rows: &[f32],
        heads: usize,
        unseen: impl Iterator<Item = f64>,
        width: usize,
        levels: &mut [i8],
    ) -> Self {
        Self::of(rows, heads, unseen, underflow(width), levels)
    }

    /// `unseen` is by row what a score may be larger than the row says, as a share of the query's length.
    fn of(rows: &[f32], width: usize, unseen: impl Iterator<Item = f64>, underflow: f64, levels: &mut [i8]) -> Self {
        assert_eq!(rows.len(), levels.len(), "one level for each value");
        let scale = scale(rows, 127);
        let mut grid = Self { quantised_max: 0.0, unseen_max: 0.0, levels_a_unit: 1.0 / scale, underflow };
        let rows = rows.chunks_exact(width).zip(levels.chunks_exact_mut(width));
        for ((row, levels), unseen) in rows.zip(unseen) {
            let (quantised, residual) = quantise(row, scale, 127, levels);
            grid.quantised_max = grid.quantised_max.max(quantised);
            grid.unseen_max = grid.unseen_max.max(residual + unseen);
        }
        grid
    }

    /// The smallest integer product of an item whose score is at least `threshold`.
    pub fn at_least(&self, query: &Reach, threshold: f32) -> i32 {
        let levels =
            (f64::from(threshold) - query.common - self.error(query)) * (self.levels_a_unit * query.levels_a_unit);
        // The cast rounds towards zero and saturates; one more is for the rounding of these lines.
        (levels as i32).saturating_sub(2)
    }

    /// Between a score and what the integer product says it is.
    fn error(&self, query: &Reach) -> f64 {
        query.residual * self.quantised_max + query.norm * self.unseen_max + self.underflow
    }
}

/// An item as seen from a direction: its length along it, and across.
pub fn split(item: &[f32], direction: &[f32]) -> (f64, f64) {
    let along = sum(item.iter().zip(direction).map(|(&x, &e)| f64::from(x) * f64::from(e)));
    let across = item.iter().zip(direction).map(|(&x, &e)| (f64::from(x) - along * f64::from(e)).powi(2));
    (along, sum(across).sqrt())
}

/// What a level must be worth for the largest magnitude to become `level_max`; 1 if all values are 0.
fn scale(values: &[f32], level_max: i8) -> f64 {
    let largest = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    if largest == 0.0 { 1.0 } else { f64::from(largest) / f64::from(level_max) }
}

/// Writes the levels of a row, and gives the norms of what they stand for and of what they leave.
fn quantise(row: &[f32], scale: f64, level_max: i8, levels: &mut [i8]) -> (f64, f64) {
    /// Added and taken away, it leaves whole numbers: no smaller fraction fits beside it.
    const WHOLE: f64 = 1.5 * (1_u64 << 52) as f64;
    let (level_max, levels_a_unit) = (f64::from(level_max), 1.0 / scale);
    let whole = |value: f32| ((f64::from(value) * levels_a_unit).clamp(-level_max, level_max) + WHOLE) - WHOLE;
    for (&value, level) in row.iter().zip(levels) {
        *level = whole(value) as i8;
    }
    let quantised = sum(row.iter().map(|&value| (whole(value) * scale).powi(2)));
    let residual = sum(row.iter().map(|&value| (f64::from(value) - whole(value) * scale).powi(2)));
    (quantised.sqrt(), residual.sqrt())
}

/// The Euclidean norm.
pub fn norm(row: &[f32]) -> f64 {
    norm_squared(row).sqrt()
}

/// Its square.
pub fn norm_squared(row: &[f32]) -> f64 {
    sum(row.iter().map(|&value| f64::from(value).powi(2)))
}

/// The sum by four partial sums, which one instruction adds to.
fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let mut sums = [0.0; 4];
    for (place, value) in values.enumerate() {
        sums[place % 4] += value;
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3])
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

    /// Of one cone, which must be the same alone and among all.
    fn bound(cone: &Cone, width: usize, length: &Length, along: f32, towards: Option<Towards<'_>>) -> f32 {
        let (cones, mut bounds) = (Cones::new(&[*cone], width), Vec::new());
        cones.bounds(0..1, length, along, towards, &mut bounds);
        cones.bounds_of_all(length, &[along], towards, &mut bounds);
        assert_eq!(bounds[0], bounds[1]);
        bounds[0]
    }

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

        /// With the threshold at any item's own score, that item passes all bounds. `near` says how much of the landmark
        /// is in the query: from nothing to all but rounding.
        #[test]
        fn no_item_is_lost(
            (width, mut items, mut query, magnitude) in vectors(),
            (direction, landmark) in (0_usize..20, 0_usize..20),
            near in prop_oneof![0.0_f32..4.0, Just(1e6)],
        ) {
            let isa = Isa::active().unwrap();
            let unit = |number: usize| {
                let mut unit = items[number % (items.len() / width) * width..][..width].to_vec();
                attune_kernels::l2_normalize(isa, &mut unit, width);
                unit
            };
            let (axis, landmark) = (unit(direction), unit(landmark));
            query.iter_mut().zip(&landmark).for_each(|(value, landmark)| *value += near * landmark);
            items.iter_mut().for_each(|value| *value *= magnitude);
            let mut levels = vec![0; items.len()];
            let (grid, cone) = Grid::quantise(&items, &axis, &mut levels);
            let supports = items.chunks_exact(width).map(|item| score(isa, &landmark, item));
            let support = Support::new(supports.fold(f32::NEG_INFINITY, f32::max), &cone, width);

            for level_max in [63, 127] {
                let mut query_levels = vec![0; width];
                let reach = Reach::quantise(&query, level_max, &mut query_levels);
                let bound = bound(&cone, width, reach.length(), score(isa, &query, &axis), None);
                let mut rest = vec![0.0; width];
                let seen = Landmark::new(&query, &reach, &landmark, score(isa, &query, &landmark), &mut rest);
                let second = seen.map(|seen| {
                    let towards = Some((&seen, &[support.0][..]));
                    super::tests::bound(&cone, width, seen.rest(), score(isa, &rest, &axis), towards)
                });
                for (item, levels) in items.chunks_exact(width).zip(levels.chunks_exact(width)) {
                    let exact = score(isa, &query, item);
                    let product: i32 = levels.iter().zip(&query_levels).map(|(&w, &v)| i32::from(w) * i32::from(v)).sum();
                    prop_assert!(exact <= bound, "score {exact} above the bound {bound}");
                    prop_assert!(second.is_none_or(|bound| exact <= bound), "score {exact} above {second:?}");
                    prop_assert!(product >= grid.at_least(&reach, exact), "product {product}, score {exact}");
                }
            }
        }
    }

    #[test]
    fn the_screen_is_sharp_enough_to_be_of_use() {
        // A row of 64 values that fill the scale: the error is about a hundredth of the product of both norms.
        let row: Vec<f32> = (0..64).map(|i| (i as f32 * 0.7).sin()).collect();
        let mut levels = vec![0; 64];
        let (grid, _) = Grid::quantise(&row, &row, &mut levels);
        let reach = Reach::quantise(&row, 127, &mut levels);
        let exact = norm(&row).powi(2);
        let (below, above) =
            (grid.at_least(&reach, (exact * 0.98) as f32), grid.at_least(&reach, (exact * 1.02) as f32));
        let product: i32 = levels.iter().map(|&level| i32::from(level).pow(2)).sum();
        assert!((below..above).contains(&product), "{below} {product} {above}");
    }

    #[test]
    fn a_landmark_sharpens_the_bound_of_a_cone_it_is_not_in() {
        // Three axes: the query lies along the second, the items along the first and the third.
        let (items, query) = ([0.8, 0.0, 0.6], [0.0, 0.8, 0.6]);
        let (axis, landmark) = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]);
        let (_, cone) = Grid::quantise(&items, &axis, &mut [0; 3]);
        let reach = Reach::quantise(&query, 127, &mut [0; 3]);
        assert!(bound(&cone, 3, reach.length(), 0.0, None) > 0.59, "it could lie along the second as well");
        let mut rest = [0.0; 3];
        let seen = Landmark::new(&query, &reach, &landmark, 0.8, &mut rest).unwrap();
        let bound = bound(&cone, 3, seen.rest(), 0.0, Some((&seen, &[Support::new(0.0, &cone, 3).0])));
        assert!((0.36..0.39).contains(&bound), "{bound}");
    }
}
