//! From rows of tokens to one row per text, and from there to similarities.

use super::lanes::Lanes;
use super::layers::{check_rows, scale_row, sum_of_squares};
use super::lines::{LANES, prefetch};
use super::tier::{Kernel, Tier};
use super::{Isa, scalar};

/// Rows shorter than this are scaled as if they were this long: a row of zeros stays zeros.
const LENGTH_MIN: f32 = 1e-12;

/// Lines of a sum of rows that are worked on together: what the registers of every tier hold.
const STRIPE: usize = 4;

/// Independent sums of one inner product, to hide the latency of the additions.
const SUMS: usize = 4;

/// The mean of each text's rows: `x` is tokens x `width`, text `i` is rows `offsets[i]..offsets[i + 1]`, `out` is texts x
/// `width`.
///
/// # Panics
/// If a text is empty, or a length contradicts the offsets, or this machine does not support `isa`.
pub fn pool_mean(isa: Isa, x: &[f32], offsets: &[usize], width: usize, out: &mut [f32]) {
    check_pooling(x, offsets, width, out);
    match isa {
        Isa::Scalar => scalar::pool::pool_mean(x, offsets, width, out),
        _ => isa.run(Mean { x, offsets, width, out }),
    }
}

/// The first row of each text, arguments as for [`pool_mean`].
///
/// # Panics
/// If a text is empty, or a length contradicts the offsets.
pub fn pool_first(x: &[f32], offsets: &[usize], width: usize, out: &mut [f32]) {
    check_pooling(x, offsets, width, out);
    for (text, out) in offsets.windows(2).zip(out.chunks_exact_mut(width)) {
        out.copy_from_slice(&x[text[0] * width..][..width]);
    }
}

/// The last row of each text, arguments as for [`pool_mean`].
///
/// # Panics
/// If a text is empty, or a length contradicts the offsets.
pub fn pool_last(x: &[f32], offsets: &[usize], width: usize, out: &mut [f32]) {
    check_pooling(x, offsets, width, out);
    for (text, out) in offsets.windows(2).zip(out.chunks_exact_mut(width)) {
        out.copy_from_slice(&x[(text[1] - 1) * width..][..width]);
    }
}

/// Scales each row of `x` to length 1, in place. A row shorter than 1e-12 is divided by 1e-12.
///
/// # Panics
/// If `width` is zero, `x` is not whole rows, or this machine does not support `isa`.
pub fn l2_normalize(isa: Isa, x: &mut [f32], width: usize) {
    check_rows(x, width);
    match isa {
        Isa::Scalar => scalar::pool::l2_normalize(x, width, LENGTH_MIN),
        _ => isa.run(Normalize { x, width }),
    }
}

/// The inner product of `query` with each row of `rows`.
///
/// # Panics
/// If `query` is empty, `rows` is not whole rows of its length, `out` is not one value a row, or this machine does not
/// support `isa`.
pub fn inner_products(isa: Isa, query: &[f32], rows: &[f32], out: &mut [f32]) {
    check_rows(rows, query.len());
    assert_eq!(out.len(), rows.len() / query.len(), "out: one product per row");
    match isa {
        Isa::Scalar => scalar::pool::inner_products(query, rows, out),
        _ => isa.run(InnerProducts { query, rows, out }),
    }
}

/// Adds to `out` some rows of a table, row-major and as wide as `out`: row `rows[i]` times `weights[i]`.
///
/// # Panics
/// If `out` is empty, `table` is not whole rows of its length, a row is not in it, there is not one weight a row, or this
/// machine does not support `isa`.
pub fn add_rows(isa: Isa, table: &[f32], rows: &[u32], weights: &[f32], out: &mut [f32]) {
    check_rows(table, out.len());
    assert_eq!(rows.len(), weights.len(), "one weight a row");
    match isa {
        Isa::Scalar => scalar::pool::add_rows(table, rows, weights, out),
        _ => isa.run(AddRows { table, rows, weights, out }),
    }
}

/// Asks for a row that will be read soon. Its values may lie anywhere; nothing happens but that they come nearer.
pub fn prefetch_row(row: &[f32]) {
    row.iter().step_by(LANES).for_each(prefetch);
}

#[track_caller]
fn check_pooling(x: &[f32], offsets: &[usize], width: usize, out: &[f32]) {
    check_rows(x, width);
    assert!(offsets.windows(2).all(|text| text[0] < text[1]), "every text has a token, and they are in order");
    let (texts, tokens) = (offsets.len().saturating_sub(1), offsets.last().copied().unwrap_or(0));
    assert_eq!(x.len(), tokens * width, "x: {tokens} tokens x {width}");
    assert_eq!(out.len(), texts * width, "out: {texts} texts x {width}");
}

struct Mean<'a> {
    x: &'a [f32],
    offsets: &'a [usize],
    width: usize,
    out: &'a mut [f32],
}

impl Kernel for Mean<'_> {
    type Output = ();

    #[inline(always)]
    fn run<T: Tier>(self, tier: T) {
        let Mean { x, offsets, width, out } = self;
        for (text, mean) in offsets.windows(2).zip(out.chunks_exact_mut(width)) {
            let tokens = &x[text[0] * width..text[1] * width];
            let share = tier.splat(1.0 / (text[1] - text[0]) as f32);
            for (line, mean) in mean.chunks_mut(LANES).enumerate() {
                let mut sum = tier.splat(0.0);
                for token in tokens.chunks_exact(width) {
                    sum = sum.add(tier.load_part(&token[line * LANES..][..mean.len()]));
                }
                sum.mul(share).store_part(mean);
            }
        }
    }
}

struct Normalize<'a> {
    x: &'a mut [f32],
    width: usize,
}

impl Kernel for Normalize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<T: Tier>(self, tier: T) {
        for row in self.x.chunks_exact_mut(self.width) {
            let length = sum_of_squares(tier, row, tier.splat(0.0)).sqrt();
            // Not `max`, which would turn a NaN into a number.
            scale_row(tier, row, 1.0 / if length < LENGTH_MIN { LENGTH_MIN } else { length });
        }
    }
}

struct InnerProducts<'a> {
    query: &'a [f32],
    rows: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for InnerProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn run<T: Tier>(self, tier: T) {
        for (row, product) in self.rows.chunks_exact(self.query.len()).zip(self.out) {
            *product = inner_product(tier, self.query, row);
        }
    }
}

struct AddRows<'a> {
    table: &'a [f32],
    rows: &'a [u32],
    weights: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for AddRows<'_> {
    type Output = ();

    /// Stripe by stripe, so that sums stay in registers and each value of the table is read once.
    #[inline(always)]
    fn run<T: Tier>(self, tier: T) {
        let AddRows { table, rows, weights, out } = self;
        let width = out.len();
        let (stripes, rest) = out.as_chunks_mut::<{ STRIPE * LANES }>();
        for (stripe, out) in stripes.iter_mut().enumerate() {
            let mut sums = [tier.splat(0.0); STRIPE];
            for (sum, out) in sums.iter_mut().zip(out.as_chunks().0) {
                *sum = tier.load(out);
            }
            for (row, weight) in rows.iter().zip(weights) {
                let weight = tier.splat(*weight);
                let values = &table[*row as usize * width + stripe * STRIPE * LANES..][..STRIPE * LANES];
                for (sum, values) in sums.iter_mut().zip(values.as_chunks().0) {
                    *sum = weight.mul_add(tier.load(values), *sum);
                }
            }
            for (sum, out) in sums.iter().zip(out.as_chunks_mut().0) {
                sum.store(out);
            }
        }
        let first = width - rest.len();
        for (line, out) in rest.chunks_mut(LANES).enumerate() {
            let mut sum = tier.load_part(out);
            for (row, weight) in rows.iter().zip(weights) {
                let values = &table[*row as usize * width + first + line * LANES..][..out.len()];
                sum = tier.splat(*weight).mul_add(tier.load_part(values), sum);
            }
            sum.store_part(out);
        }
    }
}

/// The inner product of two rows of one length, in an order that depends on it alone.
#[inline(always)]
fn inner_product<T: Tier>(tier: T, a: &[f32], b: &[f32]) -> f32 {
    let ((a_stripes, a_rest), (b_stripes, b_rest)) =
        (a.as_chunks::<{ SUMS * LANES }>(), b.as_chunks::<{ SUMS * LANES }>());
    let mut sums = [tier.splat(0.0); SUMS];
    for (a, b) in a_stripes.iter().zip(b_stripes) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.as_chunks().0.iter().zip(b.as_chunks().0)) {
            *sum = tier.load(a).mul_add(tier.load(b), *sum);
        }
    }
    for (a, b) in a_rest.chunks(LANES).zip(b_rest.chunks(LANES)) {
        sums[0] = tier.load_part(a).mul_add(tier.load_part(b), sums[0]);
    }
    sums[0].add(sums[1]).add(sums[2].add(sums[3])).sum()
}
