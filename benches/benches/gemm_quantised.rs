//! int8 and bf16 products of MiniLM's shapes, on one thread, each as its share of what the registers of a core can do.
//!
//! ```text
//! cargo bench -p attune-benches --bench gemm_quantised
//! ```
//!
//! `product` is the product of quantised (or rounded) rows with its bias; `from f32` quantises the rows first; `gelu, on`
//! applies the GELU and quantises the result for the next product, as the first half of a feed-forward block does.

use attune_kernels::{
    Activation, Epilogue, Isa, PackedBf16, PackedI8, QuantisedRows, RoundedRows, Scratch, gemm_bf16, gemm_bf16_rounded,
    gemm_bf16_rows, gemm_i8, gemm_i8_requantised, gemm_i8_rows, limits,
};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Rows of a batch of 256 tokens.
const ROWS: usize = 256;

/// Inputs and outputs: query, key and value; attention output; both halves of the feed-forward block.
const SHAPES: [[usize; 2]; 4] = [[384, 1152], [384, 384], [384, 1536], [1536, 384]];

/// All that this machine has but the scalar one, which is a specification.
fn fast_tiers() -> impl Iterator<Item = Isa> {
    Isa::supported().into_iter().filter(|isa| *isa != Isa::Scalar)
}

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
        let values = |count: usize| (0..count).map(|i| (i as f32 * 0.618_034).fract() - 0.5).collect::<Vec<f32>>();
        let (x, w) = (values(ROWS * inputs), values(outputs * inputs));
        Case { inputs, outputs, x, w, bias: values(outputs), y: vec![0.0; ROWS * outputs], scratch: Scratch::new() }
    }
}

/// Benches `work` and prints its share of `limit`, in 10^9 operations a second, by the fastest sample.
fn bench(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, operations: u64, limit: f64, mut work: impl FnMut()) {
    let mut fastest = Duration::MAX;
    group.throughput(Throughput::Elements(operations));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let start = Instant::now();
            (0..iterations).for_each(|_| work());
            let elapsed = start.elapsed();
            fastest = fastest.min(elapsed / iterations as u32);
            elapsed
        });
    });
    let rate = operations as f64 / fastest.as_nanos() as f64;
    eprintln!("{name}: {rate:.0} of {limit:.0}, {:.0}% of the limit", 100.0 * rate / limit);
}

fn int8(criterion: &mut Criterion) {
    for isa in fast_tiers() {
        let limit = limits::int8_gops(isa, 1);
        let mut group = criterion.benchmark_group(format!("int8 {isa}"));
        for shape in SHAPES {
            let Case { inputs, outputs, x, w, bias, mut y, mut scratch } = Case::new(shape);
            let operations = (2 * ROWS * inputs * outputs) as u64;
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
            let operations = (2 * ROWS * inputs * outputs) as u64;
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

fn short() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! { name = benches; config = short(); targets = int8, bf16, rows }
criterion_main!(benches);
