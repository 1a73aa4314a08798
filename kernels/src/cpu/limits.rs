//! What this machine can do at most: loops that only multiply and add registers, for the share-of-the-limit figures.
//!
//! A limit is measured with the instructions that the kernels of a tier use, on as many threads as the engine would use,
//! because a core's clock depends on both. The sums of a loop are independent, as many as hide the latency of the
//! instruction, and are handed to `black_box` so that they are computed.

use super::Isa;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// A limit is the best of this many windows: what else the machine does can only slow one down.
const WINDOWS: usize = 10;

/// How long a window is.
const WINDOW: Duration = Duration::from_millis(20);

/// Repetitions of a loop between two looks at the clock.
const ROUNDS: usize = 20_000;

/// Multiplications and additions of bytes, in 10^9 a second, with the tier's int8 instructions.
///
/// # Panics
/// If this machine does not support `isa`, or `threads` is zero.
pub fn int8_gops(isa: Isa, threads: usize) -> f64 {
    let path = super::int8::Path::of(isa);
    rate(threads, || path.saturate(ROUNDS))
}

/// Multiplications and additions of bf16 values, in 10^9 a second, with the tier's way of multiplying bf16.
///
/// # Panics
/// If this machine does not support `isa`, or `threads` is zero.
pub fn bf16_gflops(isa: Isa, threads: usize) -> f64 {
    let path = super::bf16::Path::of(isa);
    rate(threads, || path.saturate(ROUNDS))
}

/// Runs `work`, which says how many operations it did, on all threads at once, and gives 10^9 operations a second.
fn rate(threads: usize, work: impl Fn() -> usize + Sync) -> f64 {
    assert!(threads > 0, "a limit needs a thread to measure it on");
    let start = Barrier::new(threads);
    let on_one_thread = || {
        (0..WINDOWS)
            .map(|_| {
                start.wait();
                run_window(&work)
            })
            .collect::<Vec<f64>>()
    };
    let rates: Vec<Vec<f64>> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(on_one_thread)).collect();
        running.into_iter().map(|thread| thread.join().expect("a loop of arithmetic does not panic")).collect()
    });
    let together = |window: usize| rates.iter().map(|rates| rates[window]).sum();
    (0..WINDOWS).map(together).fold(0.0, f64::max)
}

/// 10^9 operations a second of one thread over one window.
fn run_window(work: impl Fn() -> usize) -> f64 {
    let start = Instant::now();
    let mut operations = 0;
    while start.elapsed() < WINDOW {
        operations += work();
    }
    operations as f64 / start.elapsed().as_nanos() as f64
}
