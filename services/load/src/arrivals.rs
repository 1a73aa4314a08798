//! When requests arrive: a Poisson process, as independent users make one.
//!
//! Arrivals are drawn before the clock starts and never wait for answers. A loop that sends the next request when the
//! last one is answered slows down with the server and hides its worst moments ("coordinated omission").

use std::time::Duration;

use crate::random::SplitMix64;

/// Times of arrival, from the start of the run and before `length`, in order: gaps are exponential with mean
/// `1 / rate_per_s`.
///
/// # Panics
/// If `rate_per_s` is not a positive number.
pub fn poisson(rate_per_s: f64, length: Duration, seed: u64) -> Vec<Duration> {
    assert!(rate_per_s > 0.0 && rate_per_s.is_finite(), "a rate of {rate_per_s} a second");
    let mut random = SplitMix64::new(seed);
    let mut now_s = 0.0;
    let next = || {
        now_s += random.exponential() / rate_per_s;
        Some(Duration::from_secs_f64(now_s))
    };
    std::iter::from_fn(next).take_while(|&at| at < length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_in_equal_windows_have_mean_and_variance_of_a_poisson_process() {
        let (rate_per_s, windows) = (20.0, 10_000);
        let mut counts = vec![0.0_f64; windows];
        for at in poisson(rate_per_s, Duration::from_secs(windows as u64), 7) {
            counts[at.as_secs() as usize] += 1.0;
        }
        let mean = counts.iter().sum::<f64>() / windows as f64;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / windows as f64;
        // Four standard errors: sqrt(20 / 10,000) = 0.045 of the mean, 20 sqrt(2 / 10,000) = 0.28 of the variance.
        assert!((mean - rate_per_s).abs() < 0.18, "mean {mean}");
        assert!((variance - rate_per_s).abs() < 1.15, "variance {variance}");
    }

    #[test]
    fn a_seed_decides_everything_and_the_rate_only_scales() {
        let length = Duration::from_secs(10);
        assert_eq!(poisson(50.0, length, 1), poisson(50.0, length, 1));
        assert_ne!(poisson(50.0, length, 1), poisson(50.0, length, 2));
        let (slow, fast) = (poisson(50.0, length, 1), poisson(100.0, length / 2, 1));
        assert_eq!(slow.len(), fast.len());
        for (slow, fast) in slow.iter().zip(&fast) {
            assert!((slow.as_secs_f64() - 2.0 * fast.as_secs_f64()).abs() < 1e-6);
        }
    }

    #[test]
    fn arrivals_are_in_order_and_inside_the_run() {
        let length = Duration::from_millis(1_500);
        let arrivals = poisson(200.0, length, 3);
        assert!(arrivals.is_sorted() && arrivals.iter().all(|&at| at < length));
    }
}
