//! How long calls take, one after the other.

use std::io::Write;
use std::time::{Duration, Instant};

/// Makes a call so many times, and prints the median, the 99th percentile and the longest.
pub async fn time(name: &str, calls: usize, mut call: impl AsyncFnMut(usize)) {
    let mut times = Vec::with_capacity(calls);
    for number in 0..calls {
        let begun = Instant::now();
        call(number).await;
        times.push(begun.elapsed());
    }
    say(&report(name, times));
}

fn report(name: &str, mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| {
        let micros = times[((times.len() as f64 * share) as usize).min(times.len() - 1)].as_secs_f64() * 1e6;
        if micros < 1_000.0 { format!("{micros:.2} us") } else { format!("{:.2} ms", micros / 1e3) }
    };
    format!("{name:<28} p50 {:>10}   p99 {:>10}   most {:>10}", at(0.5), at(0.99), at(1.0))
}

/// Prints a line.
pub fn say(line: &str) {
    let _closed = writeln!(std::io::stdout(), "{line}");
}
