//! Attention: the specification.

use super::layers::softmax;
use crate::cpu::attention::AttentionShape;

/// Each row of `out` is the mean of its text's values, weighted by the softmax of its query's products with their keys.
pub(crate) fn attention(shape: AttentionShape, qkv: &[f32], offsets: &[usize], out: &mut [f32]) {
    let AttentionShape { heads, head_width, scale } = shape;
    let hidden = shape.hidden();
    let part = |token: usize, part: usize, head: usize| {
        &qkv[token * 3 * hidden + part * hidden + head * head_width..][..head_width]
    };
    for text in offsets.windows(2).map(|text| text[0]..text[1]) {
        for (token, head) in text.clone().flat_map(|token| (0..heads).map(move |head| (token, head))) {
            let query = part(token, 0, head);
            let mut weights: Vec<f32> = text
                .clone()
                .map(|other| scale * query.iter().zip(part(other, 1, head)).map(|(q, k)| q * k).sum::<f32>())
                .collect();
            softmax(&mut weights, text.len());
            let context = &mut out[token * hidden + head * head_width..][..head_width];
            context.fill(0.0);
            for (other, weight) in text.clone().zip(weights) {
                context.iter_mut().zip(part(other, 2, head)).for_each(|(sum, value)| *sum += weight * value);
            }
        }
    }
}
