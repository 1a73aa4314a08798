//! `[telemetry]`: where traces go.

use serde::{Deserialize, Serialize};

/// Traces by OpenTelemetry. Off without a collector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// The collector's OTLP over gRPC, for example `http://127.0.0.1:4317`.
    pub otlp: String,
    /// Of requests that come without a trace, the share that begins one.
    pub sampling_ratio: f64,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { otlp: String::new(), sampling_ratio: 1.0 }
    }
}

impl Telemetry {
    /// Refuses what is no address of a collector, and shares that are none.
    ///
    /// # Errors
    /// A sentence with the key.
    pub fn check(&self) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.sampling_ratio) {
            return Err(format!("telemetry.sampling_ratio is {}, it must be 0 to 1", self.sampling_ratio));
        }
        let is_address = self.otlp.parse::<http::Uri>().is_ok_and(|uri| {
            uri.scheme_str() == Some("http") && uri.port_u16().is_some() && matches!(uri.path(), "" | "/")
        });
        if self.otlp.is_empty() || is_address {
            return Ok(());
        }
        let remedy = "give http://HOST:PORT of a collector's OTLP over gRPC; one that needs TLS is reached through a \
                      collector on this machine";
        Err(format!("telemetry.otlp is {:?}: {remedy}", self.otlp))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_has_a_host_and_a_port() {
        let of = |otlp: &str| Telemetry { otlp: otlp.into(), ..Telemetry::default() }.check();
        assert!(of("").is_ok() && of("http://127.0.0.1:4317").is_ok() && of("http://collector:4317/").is_ok());
        for wrong in ["collector:4317", "https://collector:4317", "http://collector", "http://c:4318/v1/traces", "x"] {
            assert!(of(wrong).unwrap_err().contains("telemetry.otlp"), "{wrong}");
        }
        for ratio in [-0.1, 1.1, f64::NAN] {
            assert!(Telemetry { sampling_ratio: ratio, ..Telemetry::default() }.check().is_err());
        }
    }
}
