//! int8 and bf16 products of MiniLM's shapes, on one thread, each as its share of what the registers of a core can do.
//!
//! ```text
//! cargo bench -p attune-benches --bench gemm_quantised
//! ```
//!
//! `product` is the product of quantised (or rounded) rows with its bias; `from f32` quantises the rows first; `gelu, on`
//! applies the GELU and quantises the result for the next product, as the first half of a feed-forward block does.

mod share;

use attune_kernels::{
    Activation, Epilogue, PackedBf16, PackedI8, QuantisedRows, RoundedRows, Scratch, gemm_bf16, gemm_bf16_rounded,
    gemm_bf16_rows, gemm_i8, gemm_i8_requantised, gemm_i8_rows, limits,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use share::{ROWS, SHAPES, bench, fast_tiers, short, values};
use std::hint::black_box;

/// One shape's operands, reproducible and without special values.
struct Case {
    inputs: usize,
    outputs: usize,
    x: Vec<f32>,
    w: Vec<f32>,
    bias: Vec<f32>,
    y: Vec<f32>,
    scratch: Scratch,
}

impl Case {
    fn new([inputs, outputs]: [usize; 2]) -> Self {
        let (x, w) = (values(ROWS * inputs), values(outputs * inputs));
        Case { inputs, outputs, x, w, bias: values(outputs), y: vec![0.0; ROWS * outputs], scratch: Scratch::new() }
    }
}

fn int8(criterion: &mut Criterion) {
    for isa in fast_tiers() {
        let limit = limits::int8_gops(isa, 1);
        let mut group = criterion.benchmark_group(format!("int8 {isa}"));
        for shape in SHAPES {
            let Case { inputs, outputs, x, w, bias, mut y, mut scratch } = Case::new(shape);
            let operations = 2 * ROWS * inputs * outputs;
            let weights = PackedI8::pack(isa, &w, outputs, inputs);
            let plain = Epilogue { bias: Some(&bias), ..Epilogue::default() };
            let gelu = Epilogue { activation: Activation::GeluErf, ..plain };
            let (mut rows, mut next) = (QuantisedRows::new(), QuantisedRows::new());
            rows.quantise(isa, &x, ROWS, inputs);
            let name = |what: &str| format!("{ROWS} x {inputs} x {outputs} {what}");
            bench(&mut group, &name("product"), operations, limit, || {
                gemm_i8_rows(&weights, black_box(&rows), plain, &mut y);
            });
            bench(&mut group, &name("from f32"), operations, limit, || {
                gemm_i8(&weights, black_box(&x), ROWS, plain, &mut y, &mut scratch);
            });
            bench(&mut group, &name("gelu, on"), operations, limit, || {
                gemm_i8_requantised(&weights, black_box(&rows), gelu, &mut next, &mut scratch);
            });
        }
    }
}

fn bf16(criterion: &mut Criterion) {
    for isa in fast_tiers() {
        let limit = limits::bf16_gflops(isa, 1);
        let mut group = criterion.benchmark_group(format!("bf16 {isa}"));
        for shape in SHAPES {
            let Case { inputs, outputs, x, w, bias, mut y, mut scratch } = Case::new(shape);
            let operations = 2 * ROWS * inputs * outputs;
            let weights = PackedBf16::pack(isa, &w, outputs, inputs);
            let plain = Epilogue { bias: Some(&bias), ..Epilogue::default() };
            let gelu = Epilogue { activation: Activation::GeluErf, ..plain };
            let (mut rows, mut next) = (RoundedRows::new(), RoundedRows::new());
            rows.round(isa, &x, ROWS, inputs);
            let name = |what: &str| format!("{ROWS} x {inputs} x {outputs} {what}");
            bench(&mut group, &name("product"), operations, limit, || {
                gemm_bf16_rows(&weights, black_box(&rows), plain, &mut y);
            });
            bench(&mut group, &name("from f32"), operations, limit, || {
                gemm_bf16(&weights, black_box(&x), ROWS, plain, &mut y, &mut scratch);
            });
            bench(&mut group, &name("gelu, on"), operations, limit, || {
                gemm_bf16_rounded(&weights, black_box(&rows), gelu, &mut next, &mut scratch);
            });
        }
    }
}

/// Rows on their way into a product: values a second.
fn rows(criterion: &mut Criterion) {
    for isa in fast_tiers() {
        let mut group = criterion.benchmark_group(format!("rows {isa}"));
        for inputs in [384, 1536] {
            let x = Case::new([inputs, 1]).x;
            group.throughput(Throughput::Elements(x.len() as u64));
            let mut quantised = QuantisedRows::new();
            group.bench_function(format!("quantise {inputs}"), |bencher| {
                bencher.iter(|| quantised.quantise(isa, black_box(&x), ROWS, inputs));
            });
            let mut rounded = RoundedRows::new();
            group.bench_function(format!("round {inputs}"), |bencher| {
                bencher.iter(|| rounded.round(isa, black_box(&x), ROWS, inputs));
            });
        }
    }
}

criterion_group! { name = benches; config = short(); targets = int8, bf16, rows }
criterion_main!(benches);
