//! Attention: every tier against f64, on texts and heads of odd lengths.

use crate::support::{
    UNIT, assert_close, bits, offsets, on_every_tier, rng, same_bits_on_vector_tiers, sum_bound, uniform,
};
use attune_kernels::{AttentionShape, Isa, Scratch, attention};

/// Texts around the edges of tiles and panels, an empty one, and one of several blocks.
const LENGTHS: [usize; 14] = [1, 5, 6, 7, 12, 13, 0, 16, 17, 25, 32, 33, 64, 130];

const SHAPES: [AttentionShape; 6] = [
    AttentionShape { heads: 12, head_width: 32, scale: 0.176_776_7 },
    AttentionShape { heads: 2, head_width: 64, scale: 0.125 },
    AttentionShape { heads: 1, head_width: 128, scale: 0.088_388_35 },
    AttentionShape { heads: 3, head_width: 1, scale: 2.0 },
    AttentionShape { heads: 2, head_width: 15, scale: 0.3 },
    AttentionShape { heads: 2, head_width: 49, scale: 0.0 },
];

fn on(isa: Isa, shape: AttentionShape, qkv: &[f32], lengths: &[usize]) -> Vec<f32> {
    let mut out = vec![f32::NAN; qkv.len() / 3];
    attention(isa, shape, qkv, &offsets(lengths), &mut out, &mut Scratch::new());
    out
}

/// One value of the result in f64 and how far an f32 one may be from it: query, keys and values of one head.
struct Exact {
    weights: Vec<f64>,
    weight_error: f64,
}

impl Exact {
    fn weights<'a>(scale: f32, query: &[f32], keys: impl Iterator<Item = &'a [f32]>) -> Self {
        let product =
            |key: &[f32]| query.iter().zip(key).map(|(&q, &k)| f64::from(q) * f64::from(k)).collect::<Vec<_>>();
        let products: Vec<Vec<f64>> = keys.map(product).collect();
        let scale = f64::from(scale);
        let scores: Vec<f64> = products.iter().map(|terms| scale * terms.iter().sum::<f64>()).collect();
        let magnitudes = products.iter().map(|terms| terms.iter().map(|term| term.abs()).sum::<f64>());
        let score_error = scale * sum_bound(query.len(), magnitudes.fold(0.0, f64::max));
        let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let range = scores.iter().map(|score| highest - score).fold(0.0, f64::max);
        let total: f64 = scores.iter().map(|score| (score - highest).exp()).sum();
        Exact {
            weights: scores.iter().map(|score| (score - highest).exp() / total).collect(),
            // Twice the error of two scores, the roundings of the difference and its scaling, exp, the sum, the division.
            weight_error: 1.1 * (4.0 * score_error + UNIT * (2.0 * range + scores.len() as f64 + 12.0)),
        }
    }

    fn check(&self, got: f32, values: impl Iterator<Item = f32>, context: &str) {
        let terms = self.weights.iter().zip(values).map(|(weight, value)| weight * f64::from(value));
        let (exact, magnitudes) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
        let bound = sum_bound(self.weights.len() + 1, magnitudes) + magnitudes * self.weight_error;
        assert_close(got, exact, bound, context);
    }
}

#[test]
fn every_head_of_every_text() {
    let mut rng = rng();
    on_every_tier(|isa| {
        for shape in SHAPES {
            let hidden = shape.hidden();
            let qkv = uniform(LENGTHS.iter().sum::<usize>() * 3 * hidden, 2.0, &mut rng);
            let out = on(isa, shape, &qkv, &LENGTHS);
            for text in offsets(&LENGTHS).windows(2).map(|text| text[0]..text[1]) {
                for (token, head) in text.clone().flat_map(|token| (0..shape.heads).map(move |head| (token, head))) {
                    let part = |token: usize, part: usize| {
                        &qkv[(3 * token + part) * hidden + head * shape.head_width..][..shape.head_width]
                    };
                    let exact = Exact::weights(shape.scale, part(token, 0), text.clone().map(|other| part(other, 1)));
                    for column in 0..shape.head_width {
                        let got = out[token * hidden + head * shape.head_width + column];
                        let context =
                            format!("{isa} {shape:?} text {text:?} token {token} head {head} column {column}");
                        exact.check(got, text.clone().map(|other| part(other, 2)[column]), &context);
                    }
                }
            }
        }
    });
}

#[test]
fn a_text_does_not_depend_on_its_company() {
    let mut rng = rng();
    on_every_tier(|isa| {
        for shape in SHAPES {
            let hidden = shape.hidden();
            let qkv = uniform(LENGTHS.iter().sum::<usize>() * 3 * hidden, 2.0, &mut rng);
            let together = on(isa, shape, &qkv, &LENGTHS);
            for text in offsets(&LENGTHS).windows(2).map(|text| text[0]..text[1]) {
                let alone = on(isa, shape, &qkv[text.start * 3 * hidden..text.end * 3 * hidden], &[text.len()]);
                assert_eq!(
                    bits(&alone),
                    bits(&together[text.start * hidden..text.end * hidden]),
                    "{isa} {shape:?} {text:?}"
                );
            }
        }
    });
}

#[test]
fn vector_tiers_agree_to_the_bit() {
    let mut rng = rng();
    for shape in SHAPES {
        let qkv = uniform(LENGTHS.iter().sum::<usize>() * 3 * shape.hidden(), 2.0, &mut rng);
        same_bits_on_vector_tiers(|isa| on(isa, shape, &qkv, &LENGTHS));
    }
}

#[test]
fn nan_stays_in_its_text_and_head() {
    let mut rng = rng();
    let shape = AttentionShape { heads: 3, head_width: 20, scale: 0.2 };
    let (hidden, lengths) = (shape.hidden(), [9, 21, 4]);
    on_every_tier(|isa| {
        for part in 0..3 {
            let mut qkv = uniform(34 * 3 * hidden, 1.0, &mut rng);
            let expected = on(isa, shape, &qkv, &lengths);
            // Head 1 of token 12, in the second text: its query spoils its own row, its key and value all rows.
            qkv[(12 * 3 + part) * hidden + 25] = f32::NAN;
            let out = on(isa, shape, &qkv, &lengths);
            for (i, (got, expected)) in out.iter().zip(expected).enumerate() {
                let (token, column) = (i / hidden, i % hidden);
                let spoiled = match part {
                    0 => token == 12 && (20..40).contains(&column),
                    1 => (9..30).contains(&token) && (20..40).contains(&column),
                    _ => (9..30).contains(&token) && column == 25,
                };
                let is_right = if spoiled { got.is_nan() } else { got.to_bits() == expected.to_bits() };
                assert!(is_right, "{isa} part {part} token {token} column {column}: {got}");
            }
        }
    });
}
