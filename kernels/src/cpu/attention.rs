//! Attention within each text of a flat run of tokens, without padding.
//!
//! Head by head, keys and values of a text are laid out as the panels of the f32 micro-kernel: keys transposed (16 keys
//! side by side), values as they are (16 of a head's columns side by side). Then a few queries at a time, as many as a
//! tile has rows: scores = queries x keys, softmax over the scores while they are in the first-level cache, context =
//! scores x values, divided by the sum of the softmax at the very end, on 16 columns instead of on all scores.
//!
//! The scores of a tile are kept whole (12 rows of a text of 512 tokens are 24 KiB), so the softmax is the plain one. The
//! running softmax of FlashAttention would save that buffer and cost rescalings that depend on where blocks begin; on a
//! CPU there is a second-level cache to keep it in.
//!
//! Texts are short (25 tokens of 12 heads of 32 columns, on average), so what is done once per head matters as much as the
//! products: transposing keys in registers, 16 x 16 at a time, is what keeps it small.

use super::lanes::Lanes;
use super::layers::exponentials;
use super::lines::{LANES, Line, elements_mut};
use super::microkernel::TileProduct;
use super::tier::{Kernel, Tier};
use super::tiled::{TILE_ROWS, pieces, tiles};
use super::{Isa, Scratch, scalar};
use std::ops::Range;

/// What kind of attention. Every token sees every token of its text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionShape {
    /// How many heads.
    pub heads: usize,
    /// Columns of one head.
    pub head_width: usize,
    /// Factor of the scores before the softmax, usually `1 / sqrt(head_width)`. Not negative.
    pub scale: f32,
}

impl AttentionShape {
    /// Columns of all heads.
    pub fn hidden(&self) -> usize {
        self.heads * self.head_width
    }
}

/// `softmax(scale q k^T) v` for each head of each text (Vaswani et al., 2017).
///
/// `qkv` is tokens x 3 hidden: all heads' queries, then keys, then values of a token. Text `i` is tokens
/// `offsets[i]..offsets[i + 1]`. `out` is tokens x hidden.
///
/// # Panics
/// If a length contradicts the offsets or the shape, the offsets fall, or this machine does not support `isa`.
pub fn attention(
    isa: Isa,
    shape: AttentionShape,
    qkv: &[f32],
    offsets: &[usize],
    out: &mut [f32],
    scratch: &mut Scratch,
) {
    let (hidden, tokens) = (shape.hidden(), offsets.last().copied().unwrap_or(0));
    assert!(hidden > 0 && shape.scale >= 0.0, "attention of no columns or a negative scale: {shape:?}");
    assert_eq!(qkv.len(), tokens * 3 * hidden, "qkv: {tokens} tokens x 3 x {hidden}");
    assert_eq!(out.len(), tokens * hidden, "out: {tokens} tokens x {hidden}");
    assert!(offsets.is_sorted(), "texts in order");
    match isa {
        Isa::Scalar => scalar::attention::attention(shape, qkv, offsets, out),
        _ => isa.run(Attention { shape, qkv, offsets, out, buffers: &mut scratch.attention }),
    }
}

/// One text's keys, values and scores for one head.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// Panels of 16 keys, each `head_width` lines.
    keys: Vec<Line>,
    /// Panels of 16 columns, each a line per token.
    values: Vec<Line>,
    /// A tile's rows of scores.
    scores: Vec<Line>,
}

struct Attention<'a> {
    shape: AttentionShape,
    qkv: &'a [f32],
    offsets: &'a [usize],
    out: &'a mut [f32],
    buffers: &'a mut Buffers,
}

impl Kernel for Attention<'_> {
    type Output = ();

    #[inline(always)]
    fn run<T: Tier>(self, tier: T) {
        let AttentionShape { heads, head_width: width, scale } = self.shape;
        let hidden = self.shape.hidden();
        for text in self.offsets.windows(2).map(|text| text[0]..text[1]).filter(|text| !text.is_empty()) {
            let qkv = &self.qkv[text.start * 3 * hidden..text.end * 3 * hidden];
            let out = &mut self.out[text.start * hidden..text.end * hidden];
            for first in (0..heads).map(|head| head * width) {
                let head = Head { tokens: text.len(), width, hidden, scale, qkv: &qkv[first..] };
                tier.run(OneHead { head, out: &mut out[first..], buffers: self.buffers });
            }
        }
    }
}

/// One head of one text: token `t`'s query is the first `width` values of `qkv[t * 3 * hidden..]`, its key lies `hidden`
/// further, its value another `hidden`.
#[derive(Clone, Copy)]
struct Head<'a> {
    tokens: usize,
    width: usize,
    hidden: usize,
    scale: f32,
    qkv: &'a [f32],
}

/// Attention of one head of one text, into the first `width` values of each `out[t * hidden..]`.
struct OneHead<'a> {
    head: Head<'a>,
    out: &'a mut [f32],
    buffers: &'a mut Buffers,
}

impl Kernel for OneHead<'_> {
    type Output = ();

    #[inline(always)]
    fn run<T: Tier>(self, tier: T) {
        let Head { tokens, scale, .. } = self.head;
        let keys = self.head.pack_keys(tier, &mut self.buffers.keys);
        let values = self.head.pack_values(tier, &mut self.buffers.values);
        // An odd number of lines, so that the rows of a tile do not share one set of the cache.
        let stride = (tokens.div_ceil(LANES) | 1) * LANES;
        let scores = lines_mut(&mut self.buffers.scores, T::TILE_ROWS * stride / LANES).as_flattened_mut();
        let mut shares = [0.0; TILE_ROWS];
        for rows in tiles(0..tokens, T::TILE_ROWS, false) {
            self.head.score(tier, rows.clone(), keys, scores, stride);
            for (scores, share) in scores.chunks_exact_mut(stride).take(rows.len()).zip(&mut shares) {
                *share = 1.0 / exponentials(tier, scores, tokens, scale);
            }
            self.head.mix(tier, rows, values, (scores, stride), &shares, self.out);
        }
    }
}

impl Head<'_> {
    /// Values from one token to the next.
    fn stride(&self) -> usize {
        3 * self.hidden
    }

    /// Panels of 16 keys: line `c` of a panel holds column `c` of its keys.
    #[inline(always)]
    fn pack_keys<'b, T: Tier>(&self, tier: T, buffer: &'b mut Vec<Line>) -> &'b [[f32; LANES]] {
        let panels = lines_mut(buffer, self.tokens.div_ceil(LANES) * self.width);
        for (panel, lines) in panels.chunks_exact_mut(self.width).enumerate() {
            for (columns, lines) in lines.chunks_mut(LANES).enumerate() {
                let mut rows = [tier.splat(0.0); LANES];
                for (row, token) in rows.iter_mut().zip(panel * LANES..self.tokens) {
                    let key = &self.qkv[token * self.stride() + self.hidden + columns * LANES..];
                    *row = tier.load_part(&key[..lines.len()]);
                }
                for (line, column) in lines.iter_mut().zip(T::Lanes::transposed(rows)) {
                    column.store(line);
                }
            }
        }
        panels
    }

    /// Panels of 16 columns: line `t` of a panel holds those columns of token `t`.
    #[inline(always)]
    fn pack_values<'b, T: Tier>(&self, tier: T, buffer: &'b mut Vec<Line>) -> &'b [[f32; LANES]] {
        let panels = lines_mut(buffer, self.width.div_ceil(LANES) * self.tokens);
        for (panel, lines) in panels.chunks_exact_mut(self.tokens).enumerate() {
            let columns = LANES.min(self.width - panel * LANES);
            for (token, line) in lines.iter_mut().enumerate() {
                let value = &self.qkv[token * self.stride() + 2 * self.hidden + panel * LANES..];
                tier.load_part(&value[..columns]).store(line);
            }
        }
        panels
    }

    /// Products of the queries of `rows` with all keys, a row each `stride` values.
    #[inline(always)]
    fn score<T: Tier>(&self, tier: T, rows: Range<usize>, keys: &[[f32; LANES]], scores: &mut [f32], stride: usize) {
        for panels in pieces(0..self.tokens.div_ceil(LANES), T::TILE_PANELS) {
            let tile = TileProduct {
                a: &self.qkv[rows.start * self.stride()..],
                a_stride: self.stride(),
                rows: rows.len(),
                b: &keys[panels.start * self.width..],
                b_stride: self.width,
                panels: panels.len(),
                depth: self.width,
                c: &mut scores[panels.start * LANES..],
                c_stride: stride,
                ahead: &[],
            };
            tile.compute(tier);
        }
    }

    /// Values weighted by the scores of `rows`, times each row's share, to their places in `out`.
    #[inline(always)]
    fn mix<T: Tier>(
        &self,
        tier: T,
        rows: Range<usize>,
        values: &[[f32; LANES]],
        (scores, scores_stride): (&[f32], usize),
        shares: &[f32],
        out: &mut [f32],
    ) {
        const COLUMNS: usize = 2 * LANES;
        let mut context = [[0.0; COLUMNS]; TILE_ROWS];
        for panels in pieces(0..self.width.div_ceil(LANES), T::TILE_PANELS) {
            let tile = TileProduct {
                a: scores,
                a_stride: scores_stride,
                rows: rows.len(),
                b: &values[panels.start * self.tokens..],
                b_stride: self.tokens,
                panels: panels.len(),
                depth: self.tokens,
                c: context.as_flattened_mut(),
                c_stride: COLUMNS,
                ahead: &[],
            };
            tile.compute(tier);
            let columns = panels.start * LANES..self.width.min(panels.end * LANES);
            for ((row, context), share) in rows.clone().zip(&context).zip(shares) {
                let out = &mut out[row * self.hidden..][columns.clone()];
                let share = tier.splat(*share);
                for (out, context) in out.chunks_mut(LANES).zip(context.as_chunks().0) {
                    tier.load(context).mul(share).store_part(out);
                }
            }
        }
    }
}

/// The first `count` lines of a buffer that grows when it must.
fn lines_mut(buffer: &mut Vec<Line>, count: usize) -> &mut [[f32; LANES]] {
    if buffer.len() < count {
        buffer.resize(count, Line::ZERO);
    }
    elements_mut(&mut buffer[..count]).as_chunks_mut().0
}
