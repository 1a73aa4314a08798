//! How long a caller is willing to wait: `x-request-timeout-ms` and `grpc-timeout`.

use std::time::{Duration, Instant};

use attune_api::ApiError;
use http::{HeaderMap, HeaderValue};

use crate::{config::RequestLimits, errors::bad_header};

const TIMEOUT_MS: &str = "x-request-timeout-ms";
const GRPC_TIMEOUT: &str = "grpc-timeout";
/// The gRPC specification allows at most this many digits.
const GRPC_TIMEOUT_DIGITS_MAX: usize = 8;

/// The moment after which nobody waits for the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    /// The moment.
    pub at: Instant,
    /// The caller named it; otherwise it is the server's default, which does not hold for streams.
    pub is_callers: bool,
}

impl Deadline {
    /// Reads the headers of a request that arrived at `now`. If it has both, the earlier one holds.
    ///
    /// # Errors
    /// `malformed` when a header does not parse.
    pub fn of(headers: &HeaderMap, now: Instant, limits: &RequestLimits) -> Result<Self, ApiError> {
        let milliseconds = read(headers, TIMEOUT_MS, "a whole number of milliseconds", |text| {
            digits(text).then(|| text.parse().ok().map(Duration::from_millis)).flatten()
        })?;
        let grpc = read(headers, GRPC_TIMEOUT, "1 to 8 digits and one of H, M, S, m, u, n", parse_grpc_timeout)?;
        let callers = milliseconds.into_iter().chain(grpc).min();
        let timeout = callers.unwrap_or(limits.deadline_default).min(limits.deadline_max);
        Ok(Self { at: now + timeout, is_callers: callers.is_some() })
    }

    /// Whether it is over.
    pub fn has_passed(&self) -> bool {
        Instant::now() >= self.at
    }
}

/// Writes the time that is left into the headers of a request that is sent on: by both names, in milliseconds.
pub(crate) fn pass_on(headers: &mut HeaderMap, at: Option<Instant>) {
    headers.remove(TIMEOUT_MS);
    headers.remove(GRPC_TIMEOUT);
    let Some(at) = at else { return };
    let left = at
        .saturating_duration_since(Instant::now())
        .as_millis()
        .clamp(1, 10_u128.pow(GRPC_TIMEOUT_DIGITS_MAX as u32) - 1);
    headers.insert(TIMEOUT_MS, HeaderValue::from_str(&left.to_string()).expect("digits"));
    headers.insert(GRPC_TIMEOUT, HeaderValue::from_str(&format!("{left}m")).expect("digits and a letter"));
}

fn read(
    headers: &HeaderMap,
    name: &str,
    wanted: &str,
    parse: impl Fn(&str) -> Option<Duration>,
) -> Result<Option<Duration>, ApiError> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = HeaderValue::to_str(value).unwrap_or_default();
    parse(text).map(Some).ok_or_else(|| bad_header(name, &String::from_utf8_lossy(value.as_bytes()), wanted))
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The gRPC over HTTP/2 specification: `TimeoutValue TimeoutUnit`.
fn parse_grpc_timeout(text: &str) -> Option<Duration> {
    let (value, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !digits(value) || value.len() > GRPC_TIMEOUT_DIGITS_MAX {
        return None;
    }
    let value: u64 = value.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3_600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(headers: &[(&'static str, &'static str)]) -> Result<(Duration, bool), ApiError> {
        let headers = headers.iter().map(|&(n, v)| (n.parse().unwrap(), HeaderValue::from_static(v))).collect();
        let now = Instant::now();
        Deadline::of(&headers, now, &RequestLimits::default()).map(|d| (d.at - now, d.is_callers))
    }

    #[test]
    fn the_earlier_deadline_holds_and_a_default_fills_in() {
        assert_eq!(wait(&[(TIMEOUT_MS, "250")]).unwrap(), (Duration::from_millis(250), true));
        assert_eq!(wait(&[(GRPC_TIMEOUT, "2S")]).unwrap(), (Duration::from_secs(2), true));
        assert_eq!(wait(&[(GRPC_TIMEOUT, "2S"), (TIMEOUT_MS, "9")]).unwrap(), (Duration::from_millis(9), true));
        assert_eq!(wait(&[]).unwrap(), (RequestLimits::default().deadline_default, false));
        assert_eq!(wait(&[(GRPC_TIMEOUT, "99999999H")]).unwrap().0, RequestLimits::default().deadline_max);
    }

    #[test]
    fn nonsense_is_malformed() {
        for bad in ["", "-1", "1.5", "soon", "99999999999999999999999"] {
            assert!(wait(&[(TIMEOUT_MS, bad)]).is_err(), "{bad}");
        }
        for bad in ["", "S", "1", "1s", "123456789S", "-1S", "1 S"] {
            assert!(wait(&[(GRPC_TIMEOUT, bad)]).is_err(), "{bad}");
        }
    }
}
