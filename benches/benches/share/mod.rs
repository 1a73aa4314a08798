//! Kernels as shares of what a core can do.

use attune_kernels::Isa;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use std::time::{Duration, Instant};

/// Rows of a batch of 256 tokens.
pub const ROWS: usize = 256;

/// Inputs and outputs of MiniLM's products: query, key and value; attention output; both halves of the feed-forward block.
pub const SHAPES: [[usize; 2]; 4] = [[384, 1152], [384, 384], [384, 1536], [1536, 384]];

/// All tiers that this machine has but the scalar one, which is a specification.
pub fn fast_tiers() -> impl Iterator<Item = Isa> {
    Isa::supported().into_iter().filter(|isa| *isa != Isa::Scalar)
}

/// Reproducible values in -0.5..0.5, none of them special.
pub fn values(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 0.618_034).fract() - 0.5).collect()
}

/// Benches `work`, which goes through so many `elements`, and gives the seconds of its fastest sample.
pub fn fastest(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, elements: usize, mut work: impl FnMut()) -> f64 {
    let mut fastest = f64::INFINITY;
    group.throughput(Throughput::Elements(elements as u64));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let start = Instant::now();
            (0..iterations).for_each(|_| work());
            let elapsed = start.elapsed();
            fastest = fastest.min(elapsed.as_secs_f64() / iterations as f64);
            elapsed
        });
    });
    fastest
}

/// Benches `work` and prints its share of `limit`, in 10^9 operations a second, by the fastest sample.
pub fn bench(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, operations: usize, limit: f64, work: impl FnMut()) {
    let rate = operations as f64 / fastest(group, name, operations, work) / 1e9;
    eprintln!("{name}: {rate:.1} of {limit:.1}, {:.0}% of the limit", 100.0 * rate / limit);
}

/// Few and short samples: the fastest one counts.
pub fn short() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}
