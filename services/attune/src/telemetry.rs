//! Traces by OpenTelemetry: where spans go, and which begin a trace.
//!
//! A request that comes with a trace (W3C `traceparent`) goes on with it, and is recorded if that is; of the others a share
//! begins one. Spans wait in a bounded queue for a thread of their own. While the collector is away they are lost, which
//! costs a warning and nothing else: no request ever waits for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use opentelemetry::trace::TracerProvider;
use opentelemetry::{KeyValue, global};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, SpanData, SpanExporter};

use crate::config::Telemetry;

const SERVICE: &str = "attune";
/// How long a batch of spans may take to the collector.
const EXPORT_MAX: Duration = Duration::from_secs(3);
/// How long a stop waits for the spans that are left.
const FLUSH_MAX: Duration = Duration::from_secs(5);

/// The way to the collector, where there is one.
#[derive(Debug, Default)]
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Begins to collect, within a runtime that lives as long.
    ///
    /// # Errors
    /// The address is none.
    pub fn start(config: &Telemetry) -> Result<Self> {
        if config.otlp.is_empty() {
            return Ok(Self(None));
        }
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&config.otlp)
            .with_timeout(EXPORT_MAX)
            .build()
            .with_context(|| format!("traces cannot go to {:?} (telemetry.otlp)", config.otlp))?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder().with_service_name(SERVICE).with_attribute(version).build();
        let share = Sampler::TraceIdRatioBased(config.sampling_ratio);
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(share)))
            .with_resource(resource)
            .with_batch_exporter(Warned { exporter, is_away: AtomicBool::new(false) })
            .build();
        global::set_text_map_propagator(TraceContextPropagator::new());
        Ok(Self(Some(provider)))
    }

    /// What makes spans of ours to the collector's.
    pub fn tracer(&self) -> Option<SdkTracer> {
        self.0.as_ref().map(|provider| provider.tracer(SERVICE))
    }

    /// Sends what is left.
    pub async fn flush(self) {
        let Some(provider) = self.0 else { return };
        let flushed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_MAX)).await;
        if let Ok(Err(error)) = flushed {
            tracing::warn!(%error, "the last traces did not get to their collector");
        }
    }
}

/// An exporter that says when the collector goes and when it is there again, once each.
#[derive(Debug)]
struct Warned<E> {
    exporter: E,
    is_away: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Warned<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let exported = self.exporter.export(batch).await;
        match (&exported, self.is_away.swap(exported.is_err(), Ordering::Relaxed)) {
            (Err(error), false) => {
                tracing::warn!(%error, spans, "the collector of traces is away: spans are lost until it is back");
            }
            (Ok(()), true) => tracing::info!("the collector of traces is back"),
            _ => {}
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
