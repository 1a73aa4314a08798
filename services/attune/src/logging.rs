//! Log lines go to standard error; what is logged is the configuration's `log` and `log_format`. Spans go to the collector
//! of traces as well, where there is one, whatever is logged.

use std::io::{self, IsTerminal};

use anyhow::{Context, Result};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::config::{Config, LogFormat};
use crate::telemetry::Traces;

/// Sets up logging and traces for the life of the process, within a runtime.
///
/// # Errors
/// The filter does not parse, or the collector's address is none.
pub fn init(config: &Config) -> Result<Traces> {
    let filter = EnvFilter::try_new(&config.log)
        .with_context(|| format!("log = {:?} is neither a level nor a list of target=level", config.log))?;
    let traces = Traces::start(&config.telemetry)?;
    let lines = fmt::layer().with_writer(io::stderr);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match config.log_format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let spans = traces.tracer().map(|tracer| {
        // Spans of ours alone: libraries have their own, and events are what the log is for.
        let ours = filter_fn(|metadata| metadata.is_span() && metadata.target().starts_with("attune"));
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        let layer = layer.with_location(false).with_threads(false).with_tracked_inactivity(false);
        layer.with_filter(ours.with_max_level_hint(LevelFilter::DEBUG))
    });
    tracing_subscriber::registry().with(lines.with_filter(filter)).with(spans).init();
    Ok(traces)
}
