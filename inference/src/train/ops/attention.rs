//! Full attention within each text of a flat run of tokens, with its derivative.
//!
//! Per text and head: P = softmax(s Q K^T), out = P V. Backward, with G the gradient of the output: dV = P^T G,
//! dP = G V^T, dS = P (dP - rowsum(dP P)), dQ = s dS K, dK = s dS^T Q. P is computed again rather than kept: it costs
//! about one part in a hundred of a layer, and keeping it would cost memory that grows with the square of the length.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::math::{add_scaled, softmax, sum};
use super::{Values, floats, tensor_like};

struct Attention {
    offsets: Arc<[usize]>,
    heads: usize,
    width: usize,
}

/// Attention over `q`, `k` and `v` (each tokens x width), text by text; `width` is split among `heads`.
///
/// # Errors
/// When the shapes differ, `heads` does not divide the width, or `offsets` do not end at the last token.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, offsets: &Arc<[usize]>, heads: usize) -> Result<Tensor> {
    let (tokens, width) = q.dims2()?;
    if k.dims() != q.dims() || v.dims() != q.dims() || width % heads != 0 || offsets.last() != Some(&tokens) {
        bail!("attention over {:?}, {:?}, {:?} with {heads} heads: shapes do not fit", q.dims(), k.dims(), v.dims());
    }
    q.apply_op3(k, v, Attention { offsets: offsets.clone(), heads, width })
}

/// One head of one text: where its rows lie in a tokens x width matrix.
#[derive(Clone, Copy)]
struct Head {
    first_token: usize,
    tokens: usize,
    first_column: usize,
    head_width: usize,
    width: usize,
}

impl Head {
    #[inline(always)]
    fn row<'a>(&self, matrix: &'a [f32], token: usize) -> &'a [f32] {
        &matrix[(self.first_token + token) * self.width + self.first_column..][..self.head_width]
    }

    #[inline(always)]
    fn row_mut<'a>(&self, matrix: &'a mut [f32], token: usize) -> &'a mut [f32] {
        &mut matrix[(self.first_token + token) * self.width + self.first_column..][..self.head_width]
    }

    /// head_width x tokens, so that a row of products is a sum of whole rows.
    fn transpose(&self, matrix: &[f32], out: &mut Vec<f32>) {
        out.clear();
        out.resize(self.head_width * self.tokens, 0.0);
        for token in 0..self.tokens {
            for (column, value) in self.row(matrix, token).iter().enumerate() {
                out[column * self.tokens + token] = *value;
            }
        }
    }

    /// out[j] = factor * sum_d row[d] * other[j, d], `transposed` being `other` transposed.
    #[inline(always)]
    fn products(&self, row: &[f32], transposed: &[f32], factor: f32, out: &mut [f32]) {
        out.fill(0.0);
        for (value, column) in row.iter().zip(transposed.chunks_exact(self.tokens)) {
            add_scaled(out, factor * value, column);
        }
    }
}

impl Attention {
    fn heads(&self) -> impl Iterator<Item = Head> {
        let head_width = self.width / self.heads;
        self.offsets.windows(2).flat_map(move |text| {
            (0..self.heads).map(move |head| Head {
                first_token: text[0],
                tokens: text[1] - text[0],
                first_column: head * head_width,
                head_width,
                width: self.width,
            })
        })
    }

    fn scale(&self) -> f32 {
        1.0 / ((self.width / self.heads) as f32).sqrt()
    }

    fn forward(&self, q: &[f32], k: &[f32], v: &[f32]) -> Vec<f32> {
        let (mut out, mut keys, mut weights) = (vec![0.0; q.len()], Vec::new(), Vec::new());
        for head in self.heads() {
            head.transpose(k, &mut keys);
            weights.resize(head.tokens, 0.0);
            for token in 0..head.tokens {
                head.products(head.row(q, token), &keys, self.scale(), &mut weights);
                softmax(&mut weights);
                let row = head.row_mut(&mut out, token);
                for (other, weight) in weights.iter().enumerate() {
                    add_scaled(row, *weight, head.row(v, other));
                }
            }
        }
        out
    }

    /// The gradients of q, k and v.
    fn backward(&self, q: &[f32], k: &[f32], v: &[f32], gradient: &[f32]) -> [Vec<f32>; 3] {
        let scale = self.scale();
        let [mut to_q, mut to_k, mut to_v] = std::array::from_fn(|_| vec![0.0; q.len()]);
        let (mut keys, mut values, mut weights, mut slopes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for head in self.heads() {
            head.transpose(k, &mut keys);
            head.transpose(v, &mut values);
            weights.resize(head.tokens, 0.0);
            slopes.resize(head.tokens, 0.0);
            for token in 0..head.tokens {
                let (query, gradient) = (head.row(q, token), head.row(gradient, token));
                head.products(query, &keys, scale, &mut weights);
                softmax(&mut weights);
                head.products(gradient, &values, 1.0, &mut slopes);
                let mean = sum(head.tokens, |i| slopes[i] * weights[i]);
                let row = head.row_mut(&mut to_q, token);
                for (other, (weight, slope)) in weights.iter().zip(&slopes).enumerate() {
                    let slope = weight * (slope - mean) * scale;
                    add_scaled(row, slope, head.row(k, other));
                    add_scaled(head.row_mut(&mut to_k, other), slope, query);
                    add_scaled(head.row_mut(&mut to_v, other), *weight, gradient);
                }
            }
        }
        [to_q, to_k, to_v]
    }
}

impl CustomOp3 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_at: &Layout,
        k: &CpuStorage,
        k_at: &Layout,
        v: &CpuStorage,
        v_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let out = self.forward(floats(q, q_at)?, floats(k, k_at)?, floats(v, v_at)?);
        Ok((CpuStorage::F32(out), q_at.shape().clone()))
    }

    fn bwd(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        _out: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [to_q, to_k, to_v] =
            self.backward(&Values::of(q)?, &Values::of(k)?, &Values::of(v)?, &Values::of(gradient)?);
        Ok((Some(tensor_like(to_q, q)?), Some(tensor_like(to_k, k)?), Some(tensor_like(to_v, v)?)))
    }
}
