//! The head of a wide vector: what a few axes see of it, and how long the rest is.
//!
//! Embeddings of texts have hundreds of values, and most of what tells them apart lies along a fraction of as many axes: the
//! eigenvectors of their second moments with the largest eigenvalues (Pearson 1901; Jolliffe, Principal Component Analysis).
//! So a segment of wide vectors is screened by heads first, rows of 64 or 128 levels, and only items whose head lets
//! them through are looked at whole. Blocks bound nothing there: what bounds an item is the length that its head leaves.
//! Where axes explain too little (a sample tells, when the segment is laid out) there are no heads, and items are screened
//! as wholes.
//!
//! # Why nothing is lost
//!
//! Let the rows of `P` be the axes, in f32, and `G = P P' - I`, whose Frobenius norm `k` is computed in f64: they need not be
//! orthonormal, it only makes bounds wider. For an item `x` let `y` be what the f32 kernel makes of `P x`, and `r = x - P' y`
//! the rest; for a query `q` likewise `z` and `s`. Then, exactly,
//!
//! ```text
//! q.x = z.y + s.r + z.(G y) + z.(P r) + (P s).y          P r = (P x - y) - G y,    P s = (P q - z) - G z
//! ```
//!
//! The kernel's sums are wrong by at most `h |x|`, `h = g |P|`, `g` as in [`bound`](super::bound) and `|P|` the Frobenius
//! norm: `|P x - y| <= h |x|`, so `|y| <= (1 + a) |x|` with `a = k / 2 + h`. All but the first two terms are together at most
//! `(1 + a)^2 (2 h + 3 k) |q| |x|`. And
//!
//! ```text
//! |r|^2 = |x|^2 - |y|^2 - 2 y.(P x - y) + y.(G y)  <=  |x|^2 - |y|^2 + (1 + a)^2 (2 h + k) |x|^2
//! ```
//!
//! With `b = 3 h + 4 k`, which leaves room as long as `b` is below [`BLUR_MAX`], and `R(x)^2 = |x|^2 - |y|^2 + b |x|^2`,
//!
//! ```text
//! q.x  <=  (z, R(q)) . (y, R(x))  +  b |q| |x|
//! ```
//!
//! So a head is the row `(y, R)`, screened like an item ([`Grid`](super::bound::Grid)), with `b |q| |x|` more that is not
//! seen. Underflow makes each product of the kernel wrong by less than the smallest normal number. That is covered where
//! every norm is taken to be longer by [`LENGTH_MIN`]: `h` times that is more.
//!
//! # What levels lose
//!
//! Embeddings have much in common: the first axis is nearly their mean, and alone would set the scale of all levels. So
//! items are quantised as `(y, R) - m`, `m` the mean of a sample, and a query's product with `m` is added to every bound. And
//! the first axis has [`COPIES`] places, each with that share of the query's value. Rounding of the difference and of that product
//! are together less than `2^-22 |q| |m|` and a part of the room in `b`.

use std::thread;

use attune_kernels::{Epilogue, Isa, PackedF32, Scratch, ScreenItems, ScreenRows, gemm_f32};
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatRef, Par, Side};

use super::bound::{Grid, norm, norm_squared, rounding};
use super::cluster::spread;
use super::layout::{Block, HOLE, PANEL};

/// Widths of a row of heads: whole lines of the screen.
const WIDTHS: [usize; 3] = [64, 128, 192];
/// Places of the first axis. A power of two, so that a share of a value is exact.
const COPIES: usize = 4;
/// Axes are found for vectors so wide: below, a head is no shorter than half of them, above it takes too many seconds.
const WIDTH_MIN: usize = 2 * WIDTHS[0];
const WIDTH_MAX: usize = 1_024;
/// A smaller segment is scanned sooner than its axes are found.
const ITEMS_MIN: usize = 8_192;
/// Items that axes are found from.
const SAMPLE: usize = 4_096;
/// Items and queries, from the sample, that tell how many heads let through.
const SAMPLE_ITEMS: usize = 1_024;
const SAMPLE_QUERIES: usize = 32;
/// Items that a query may be the mean of.
const LIKED: usize = 8;
/// Between a product and what levels say of it, as a share of the product of both norms: what is usual.
const QUANTISED: f64 = 1.0 / 64.0;
/// Reading an item alone costs as much as so many bytes of neighbours a byte.
const ALONE: f64 = 2.0;
/// Heads are worth it where a search costs less than this share of one without.
const WORTH: f64 = 0.75;
/// The largest `b`.
const BLUR_MAX: f64 = 0.02;
/// A norm is taken to be longer by so much.
const LENGTH_MIN: f64 = 1e-30;

/// What heads are made with.
#[derive(Clone, Debug)]
pub(super) struct Axes {
    /// The axes, and rows of zeros in whose place copies of the first and the length of the rest will stand.
    packed: PackedF32,
    /// `b`.
    blur: f64,
    /// `m`.
    mean: Vec<f32>,
    /// What taking it away may round, as a share of the query's length.
    rounded: f64,
}

/// Heads, whose levels are the first screen, and what it takes to look again.
#[derive(Clone, Debug)]
pub(super) struct Heads {
    pub axes: Axes,
    /// By place, whole items.
    pub whole: ScreenRows,
    /// By block, of whole items.
    pub grids: Vec<Grid>,
}

impl Axes {
    /// The axes of vectors that are worth it, by place.
    pub(super) fn find(isa: Isa, vectors: &[f32], width: usize) -> Option<Self> {
        let items = vectors.len() / width;
        if !(WIDTH_MIN..=WIDTH_MAX).contains(&width) || items < ITEMS_MIN {
            return None;
        }
        let sample = spread(vectors, width, SAMPLE);
        let axes = eigenvectors(&sample, width)?;
        // None of these is among the queries.
        let others = sample.chunks_exact(width).skip(1).step_by(SAMPLE / SAMPLE_ITEMS);
        let (queries, others) = (queries(&sample, width), others.collect::<Vec<_>>().concat());
        let narrower = WIDTHS.into_iter().filter(|heads| 2 * heads <= width);
        let costs = narrower.map(|heads| {
            let axes = Self::new(isa, &axes, width, heads)?.around_mean(&sample);
            let share = axes.share(&queries, &others, items);
            Some((axes, heads as f64 + share * ALONE * width as f64))
        });
        let best = costs.flatten().min_by(|left, right| left.1.total_cmp(&right.1));
        best.filter(|(_, cost)| *cost <= WORTH * width as f64).map(|(axes, _)| axes)
    }

    /// The axes of some vectors, for heads of so many values, be they worth it or not.
    #[cfg(test)]
    pub(super) fn of(isa: Isa, vectors: &[f32], width: usize, heads: usize) -> Option<Self> {
        Some(Self::new(isa, &eigenvectors(vectors, width)?, width, heads)?.around_mean(vectors))
    }

    /// The first of some rows of `width`, for heads of so many values; unless rounding has left them far from orthonormal.
    fn new(isa: Isa, rows: &[f32], width: usize, heads: usize) -> Option<Self> {
        let count = heads - COPIES;
        let rows = &rows[..count * width];
        let row = |number: usize| rows[number * width..][..width].iter().map(|&value| f64::from(value));
        let mut skew = 0.0;
        for left in 0..count {
            for right in 0..=left {
                let product: f64 = row(left).zip(row(right)).map(|(left, right)| left * right).sum();
                let (is_same, twice) = if left == right { (1.0, 1.0) } else { (0.0, 2.0) };
                skew += twice * (product - is_same).powi(2);
            }
        }
        let blur = 3.0 * rounding(width) * norm(rows) + 4.0 * skew.sqrt();
        let mut rows = rows.to_vec();
        rows.resize(heads * width, 0.0);
        let packed = PackedF32::pack(isa, &rows, heads, width);
        (blur < BLUR_MAX).then(|| Self { packed, blur, mean: vec![0.0; heads], rounded: 0.0 })
    }

    /// With the mean of some vectors' heads.
    fn around_mean(self, vectors: &[f32]) -> Self {
        let mut heads = Vec::new();
        self.of_items(vectors, &mut heads, &mut Scratch::default());
        let mut sums = vec![0.0_f64; self.width()];
        for head in heads.chunks_exact(self.width()) {
            sums.iter_mut().zip(head).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        let share = self.width() as f64 / heads.len() as f64;
        let mean: Vec<f32> = sums.into_iter().map(|sum| (sum * share) as f32).collect();
        Self { rounded: 2.0 * f64::from(f32::EPSILON) * norm(&mean), mean, ..self }
    }

    /// Values of a head.
    pub(super) fn width(&self) -> usize {
        self.packed.out_features()
    }

    fn bytes(&self) -> usize {
        self.packed.bytes() + size_of_val(&self.mean[..])
    }

    /// Replaces `heads` by those of some vectors, row by row, the mean included.
    fn heads(&self, vectors: &[f32], heads: &mut Vec<f32>, scratch: &mut Scratch) {
        let (width, rest) = (self.packed.in_features(), self.width() - 1);
        heads.resize(vectors.len() / width * self.width(), 0.0);
        gemm_f32(&self.packed, vectors, vectors.len() / width, Epilogue::default(), heads, scratch);
        for (head, vector) in heads.chunks_exact_mut(self.width()).zip(vectors.chunks_exact(width)) {
            let left = norm_squared(vector) - norm_squared(head) + self.blur * length(vector).powi(2);
            let first = head[0];
            head[rest + 1 - COPIES..rest].fill(first);
            head[rest] = (left.max(0.0).sqrt() as f32).next_up();
        }
    }

    /// Replaces `heads` by those of items, as they are quantised.
    fn of_items(&self, vectors: &[f32], heads: &mut Vec<f32>, scratch: &mut Scratch) {
        self.heads(vectors, heads, scratch);
        for head in heads.chunks_exact_mut(self.width()) {
            head.iter_mut().zip(&self.mean).for_each(|(value, mean)| *value -= mean);
        }
    }

    /// Replaces `heads` by those of queries, as they are quantised.
    pub(super) fn of_queries(&self, vectors: &[f32], heads: &mut Vec<f32>, scratch: &mut Scratch) {
        self.heads(vectors, heads, scratch);
        for head in heads.chunks_exact_mut(self.width()) {
            let rest = head.len() - 1;
            head[0] /= COPIES as f32;
            head[rest + 1 - COPIES..rest].iter_mut().for_each(|value| *value /= COPIES as f32);
        }
    }

    /// What the mean adds to all products of a query, given by its head.
    pub(super) fn common(&self, head: &[f32]) -> f64 {
        head.iter().zip(&self.mean).map(|(&value, &mean)| f64::from(value) * f64::from(mean)).sum()
    }

    /// What an item's head does not see of a product, as a share of the query's length.
    fn unseen(&self, vector: &[f32]) -> f64 {
        (self.blur + rounding(vector.len())) * length(vector) + self.rounded
    }

    /// The share of a sample that heads let through, where the best of so many items are wanted.
    fn share(&self, queries: &[f32], sample: &[f32], items: usize) -> f64 {
        let (width, mut scratch) = (self.packed.in_features(), Scratch::default());
        let (mut of_queries, mut of_sample) = (Vec::new(), Vec::new());
        self.of_queries(queries, &mut of_queries, &mut scratch);
        self.of_items(sample, &mut of_sample, &mut scratch);
        let product = |left: &[f32], right: &[f32]| -> f32 { left.iter().zip(right).map(|(l, r)| l * r).sum() };
        // As many as the hundred best of a segment are of all; the best of the sample, at least.
        let rank = (100 * SAMPLE_ITEMS / items).min(SAMPLE_ITEMS - 1);
        let mut passed = 0;
        for (query, head) in queries.chunks_exact(width).zip(of_queries.chunks_exact(self.width())) {
            let mut products: Vec<f32> = sample.chunks_exact(width).map(|item| product(query, item)).collect();
            let (_, threshold, _) = products.select_nth_unstable_by(rank, |left, right| right.total_cmp(left));
            let bounds = sample
                .chunks_exact(width)
                .zip(of_sample.chunks_exact(self.width()))
                .map(|(item, of_item)| f64::from(product(head, of_item)) + QUANTISED * length(query) * length(item));
            let threshold = f64::from(*threshold) - self.common(head);
            passed += bounds.filter(|bound| *bound >= threshold).count();
        }
        passed as f64 / (SAMPLE_QUERIES * SAMPLE_ITEMS) as f64
    }
}

impl Heads {
    /// Of items by place, which are there as wholes; and the heads, laid out to be screened. The blocks, whose grids are those
    /// of the wholes, get those of the heads.
    pub(super) fn build(
        isa: Isa,
        axes: Axes,
        rows: &[u32],
        vectors: &[f32],
        whole: ScreenRows,
        blocks: &mut [Block],
        threads: usize,
    ) -> (Self, ScreenItems) {
        let (grids, heads) = (blocks.iter().map(|block| block.grid).collect(), axes.width());
        let mut levels = vec![0; rows.len() * heads];
        let share = blocks.len().div_ceil(threads.max(1)).max(1);
        thread::scope(|scope| {
            let mut rest = &mut levels[..];
            for blocks in blocks.chunks_mut(share) {
                let places = blocks.iter().map(Block::places).sum::<u32>() as usize;
                let (mine, others) = rest.split_at_mut(places * heads);
                rest = others;
                let axes = &axes;
                scope.spawn(move || axes.quantise(rows, vectors, blocks, mine));
            }
        });
        let screened = ScreenItems::pack(isa, &levels, heads);
        (Self { axes, whole, grids }, screened)
    }

    pub(super) fn bytes(&self) -> usize {
        self.axes.bytes() + self.whole.bytes() + size_of_val(&self.grids[..])
    }
}

impl Axes {
    /// Writes the levels of the heads of neighbouring blocks, and their grids. `rows` and `vectors` are of all places.
    fn quantise(&self, rows: &[u32], vectors: &[f32], blocks: &mut [Block], levels: &mut [i8]) {
        let (width, mut rest) = (self.packed.in_features(), levels);
        let (mut heads, mut scratch) = (Vec::new(), Scratch::default());
        for block in blocks {
            let first = block.panels().start * PANEL;
            let (mine, others) = rest.split_at_mut(block.places() as usize * self.width());
            rest = others;
            // Holes come last, and keep levels of 0.
            let items = rows[first..][..block.places() as usize].iter().take_while(|row| **row != HOLE).count();
            let vectors = &vectors[first * width..][..items * width];
            self.of_items(vectors, &mut heads, &mut scratch);
            let unseen = vectors.chunks_exact(width).map(|vector| self.unseen(vector));
            block.grid = Grid::of_heads(&heads, self.width(), unseen, width, &mut mine[..items * self.width()]);
        }
    }
}

/// What may be asked for: items, and means of items that have nothing in common but who liked them.
fn queries(sample: &[f32], width: usize) -> Vec<f32> {
    let mut queries = spread(sample, width, SAMPLE_QUERIES);
    let likes = spread(sample, width, SAMPLE_QUERIES * LIKED / 2);
    for (number, query) in queries.chunks_exact_mut(width).step_by(2).enumerate() {
        query.fill(0.0);
        for like in likes.chunks_exact(width).skip(number).step_by(SAMPLE_QUERIES / 2) {
            query.iter_mut().zip(like).for_each(|(sum, value)| *sum += value / LIKED as f32);
        }
    }
    queries
}

/// The Euclidean norm, and what underflow asks for.
pub(super) fn length(vector: &[f32]) -> f64 {
    norm(vector) + LENGTH_MIN
}

/// Unit vectors along which the rows of a sample are long, the longest first: as many as the widest head has axes, or as
/// wide as the rows are.
fn eigenvectors(sample: &[f32], width: usize) -> Option<Vec<f32>> {
    let values: Vec<f64> = sample.iter().map(|&value| f64::from(value)).collect();
    let rows = MatRef::from_column_major_slice(&values, width, values.len() / width);
    let mut moments = Mat::<f64>::zeros(width, width);
    triangular::matmul(
        moments.as_mut(),
        BlockStructure::TriangularLower,
        Accum::Replace,
        rows,
        BlockStructure::Rectangular,
        rows.transpose(),
        BlockStructure::Rectangular,
        1.0,
        Par::Seq,
    );
    let eigen = moments.self_adjoint_eigen(Side::Lower).ok()?;
    let rising = eigen.U().col_iter().rev().take(WIDTHS[WIDTHS.len() - 1] - COPIES);
    Some(rising.flat_map(|axis| axis.iter().map(|&value| value as f32).collect::<Vec<_>>()).collect())
}

#[cfg(test)]
mod tests;
