//! What this machine can do at most, for the share-of-the-limit figures: loops that only multiply and add registers, and
//! one that only reads memory.
//!
//! A limit is measured with the instructions that the kernels of a tier use, on as many threads as the engine would use,
//! because a core's clock depends on both. The sums of a loop are independent, as many as the micro-kernel has, which hides
//! the latency of the instruction; they are handed to `black_box` so that they are computed.

use super::Isa;
use super::lanes::Lanes;
use super::lines::LANES;
use super::tier::{Kernel, Tier};
use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// A limit is the best of this many windows: what else the machine does can only slow one down.
const WINDOWS: usize = 10;

/// How long a window is.
const WINDOW: Duration = Duration::from_millis(20);

/// Repetitions of a loop between two looks at the clock.
const ROUNDS: usize = 20_000;

/// Values that each thread reads to measure memory: 128 MiB, several times the caches of a core's share of a large machine.
const MEMORY_VALUES: usize = 32 << 20;

/// Multiplications and additions of f32, in 10^9 a second.
///
/// # Panics
/// If this machine does not support `isa`, or `threads` is zero.
pub fn f32_gflops(isa: Isa, threads: usize) -> f64 {
    isa.require();
    rate(threads, || || multiply_adds(isa, ROUNDS))
}

/// Multiplications and additions of bytes, in 10^9 a second, with the tier's int8 instructions.
///
/// # Panics
/// If this machine does not support `isa`, or `threads` is zero.
pub fn int8_gops(isa: Isa, threads: usize) -> f64 {
    let path = super::int8::Path::of(isa);
    rate(threads, || move || path.saturate(ROUNDS))
}

/// Multiplications and additions of bf16 values, in 10^9 a second, with the tier's way of multiplying bf16.
///
/// # Panics
/// If this machine does not support `isa`, or `threads` is zero.
pub fn bf16_gflops(isa: Isa, threads: usize) -> f64 {
    let path = super::bf16::Path::of(isa);
    rate(threads, || move || path.saturate(ROUNDS))
}

/// Memory read, in 10^9 bytes a second, with the widest loads there are. Takes 128 MiB a thread while it runs.
///
/// # Panics
/// If `threads` is zero.
pub fn memory_gbps(threads: usize) -> f64 {
    let isa = Isa::supported().pop().unwrap_or(Isa::Scalar);
    rate(threads, || {
        let values = vec![1.0; MEMORY_VALUES]; // not zeros, which the system would not give memory for
        move || {
            black_box(isa.run(Total(black_box(&values))));
            size_of_val(&values[..])
        }
    })
}

/// Repeats f32 multiply-add on registers alone, and gives the number of operations.
pub(super) fn multiply_adds(isa: Isa, rounds: usize) -> usize {
    match isa {
        Isa::Scalar => isa.run(MultiplyAdds::<4>(rounds)),
        Isa::Avx2 => isa.run(MultiplyAdds::<6>(rounds)),
        Isa::Avx512 | Isa::Amx => isa.run(MultiplyAdds::<24>(rounds)),
    }
}

/// Into `N` times 16 lanes.
struct MultiplyAdds<const N: usize>(usize);

impl<const N: usize> Kernel for MultiplyAdds<N> {
    type Output = usize;

    #[inline(always)]
    fn run<T: Tier>(self, tier: T) -> usize {
        let (x, y) = (tier.splat(black_box(0.5)), tier.splat(black_box(0.5)));
        let mut sums = [tier.splat(0.0); N];
        for _ in 0..self.0 {
            for sum in &mut sums {
                *sum = x.mul_add(y, *sum);
            }
        }
        black_box(sums.map(T::Lanes::sum));
        self.0 * N * LANES * 2
    }
}

/// The sum of all values, in four parts to hide the latency of an addition.
struct Total<'a>(&'a [f32]);

impl Kernel for Total<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<T: Tier>(self, tier: T) -> f32 {
        let mut sums = [tier.splat(0.0); 4];
        for stripe in self.0.as_chunks::<{ 4 * LANES }>().0 {
            for (sum, values) in sums.iter_mut().zip(stripe.as_chunks().0) {
                *sum = sum.add(tier.load(values));
            }
        }
        let [a, b, c, d] = sums;
        a.add(b).add(c.add(d)).sum()
    }
}

/// Runs the work that `prepare` makes for each thread, and that says how much it did, on all threads at once: 10^9 units a
/// second.
fn rate<W: FnMut() -> usize>(threads: usize, prepare: impl Fn() -> W + Sync) -> f64 {
    assert!(threads > 0, "a limit needs a thread to measure it on");
    let start = Barrier::new(threads);
    let on_one_thread = || {
        let mut work = prepare();
        let mut window = || {
            start.wait();
            run_window(&mut work)
        };
        (0..WINDOWS).map(|_| window()).collect::<Vec<f64>>()
    };
    let rates: Vec<Vec<f64>> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(on_one_thread)).collect();
        running.into_iter().map(|thread| thread.join().expect("a loop of arithmetic does not panic")).collect()
    });
    let together = |window: usize| rates.iter().map(|rates| rates[window]).sum();
    (0..WINDOWS).map(together).fold(0.0, f64::max)
}

/// 10^9 units a second of one thread over one window.
fn run_window(work: &mut impl FnMut() -> usize) -> f64 {
    let start = Instant::now();
    let mut done = 0;
    while start.elapsed() < WINDOW {
        done += work();
    }
    done as f64 / start.elapsed().as_nanos() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tier_has_limits() {
        for isa in Isa::supported() {
            for limit in [f32_gflops(isa, 1), int8_gops(isa, 2), bf16_gflops(isa, 1)] {
                assert!(limit.is_finite() && limit > 0.0, "{isa}: {limit}");
            }
        }
    }
}
