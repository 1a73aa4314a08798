//! f32 kernels with MiniLM's shapes, on one thread, each as its share of what the registers of a core can do.
//!
//! ```text
//! cargo bench -p attune-benches --bench kernels_f32
//! ```
//!
//! What is not a product (GELU, norm, pooling) is stated in values a second, because its arithmetic is not what a limit
//! counts, and as what it adds to a forward pass whose products run at the limit.

mod share;

use attune_kernels::{
    Activation, AttentionShape, Epilogue, Isa, PackedF32, Scratch, attention, gelu_erf, gemm_f32, l2_normalize,
    layer_norm, limits, pool_mean,
};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use share::{ROWS, SHAPES, bench, fast_tiers, fastest, short, values};
use std::hint::black_box;

const HIDDEN: usize = 384;
const INTERMEDIATE: usize = 1536;
const LAYERS: usize = 6;

/// Multiplications and additions of a token's products in all layers.
const TOKEN_OPERATIONS: usize = 24 * HIDDEN * HIDDEN * LAYERS;

fn products(criterion: &mut Criterion) {
    for isa in fast_tiers() {
        let limit = limits::f32_gflops(isa, 1);
        let mut group = criterion.benchmark_group(format!("f32 {isa}"));
        for [inputs, outputs] in SHAPES {
            // As many matrices as a model has layers: in a forward pass weights come from beyond the second-level cache.
            let weights: Vec<PackedF32> =
                (0..LAYERS).map(|_| PackedF32::pack(isa, &values(outputs * inputs), outputs, inputs)).collect();
            let (x, bias, residual) = (values(ROWS * inputs), values(outputs), values(ROWS * outputs));
            let (mut y, mut scratch) = (vec![0.0; ROWS * outputs], Scratch::new());
            let plain = Epilogue { bias: Some(&bias), ..Epilogue::default() };
            let gelu = Epilogue { activation: Activation::GeluErf, ..plain };
            let residual = Epilogue { residual: Some(&residual), ..plain };
            for (what, epilogue) in [("bias", plain), ("gelu", gelu), ("residual", residual)] {
                let mut layer = weights.iter().cycle();
                let name = format!("{ROWS} x {inputs} x {outputs} {what}");
                bench(&mut group, &name, 2 * ROWS * inputs * outputs, limit, || {
                    let weights = layer.next().expect("a cycle has no end");
                    gemm_f32(weights, black_box(&x), ROWS, epilogue, &mut y, &mut scratch);
                });
            }
        }
    }
}

fn attentions(criterion: &mut Criterion) {
    for isa in fast_tiers() {
        let limit = limits::f32_gflops(isa, 1);
        let mut group = criterion.benchmark_group(format!("attention {isa}"));
        for (length, heads) in [(8, 12), (25, 12), (128, 12), (512, 12), (128, 6), (128, 3)] {
            let shape = AttentionShape { heads, head_width: HIDDEN / heads, scale: 0.2 };
            let offsets: Vec<usize> = (0..=512 / length).map(|text| text * length).collect();
            let tokens = offsets[offsets.len() - 1];
            let (qkv, mut out) = (values(tokens * 3 * HIDDEN), vec![0.0; tokens * HIDDEN]);
            let mut scratch = Scratch::new();
            let name = format!("texts of {length}, {heads} heads of {}", shape.head_width);
            bench(&mut group, &name, 4 * length * tokens * HIDDEN, limit, || {
                attention(isa, shape, black_box(&qkv), &offsets, &mut out, &mut scratch);
            });
        }
    }
}

/// Benches what touches each of `count` values `times` in a forward pass of [`ROWS`] tokens, and prints its share.
fn beside_products(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    limit: f64,
    (count, times): (usize, usize),
    work: impl FnMut(),
) {
    let seconds = fastest(group, name, count, work);
    let products = (ROWS * TOKEN_OPERATIONS) as f64 / (limit * 1e9);
    eprintln!("{name}: {:.2}% of the products", 100.0 * seconds * times as f64 / products);
}

fn layers(criterion: &mut Criterion) {
    for isa in fast_tiers() {
        let limit = limits::f32_gflops(isa, 1);
        let mut group = criterion.benchmark_group(format!("layers {isa}"));
        let (mut wide, mut narrow) = (values(ROWS * INTERMEDIATE), values(ROWS * HIDDEN));
        let (gamma, beta) = (values(HIDDEN), values(HIDDEN));
        beside_products(&mut group, "gelu", limit, (wide.len(), LAYERS), || gelu_erf(isa, black_box(&mut wide)));
        beside_products(&mut group, "layer norm", limit, (narrow.len(), 2 * LAYERS + 1), || {
            layer_norm(isa, black_box(&mut narrow), &gamma, &beta, 1e-12);
        });
        pooling(&mut group, isa, limit, &narrow);
    }
}

fn pooling(group: &mut BenchmarkGroup<'_, WallTime>, isa: Isa, limit: f64, tokens: &[f32]) {
    let offsets: Vec<usize> = (0..=8).map(|text| text * ROWS / 8).collect();
    let mut pooled = vec![0.0; 8 * HIDDEN];
    beside_products(group, "mean and length 1", limit, (tokens.len(), 1), || {
        pool_mean(isa, black_box(tokens), &offsets, HIDDEN, &mut pooled);
        l2_normalize(isa, &mut pooled, HIDDEN);
    });
}

criterion_group! { name = benches; config = short(); targets = products, attentions, layers }
criterion_main!(benches);
