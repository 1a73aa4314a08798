//! Log lines go to standard error; what is logged is the configuration's `log` and `log_format`. Spans go to the collector
//! of traces as well, where there is one, whatever is logged.

use std::io::{self, IsTerminal};

use anyhow::{Context, Result, bail};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::config::{Config, LogFormat};
use crate::telemetry::Traces;

const LEVELS: &str = "off, error, warn, info, debug, trace";

/// The filter that `log` is.
///
/// # Errors
/// It is neither a level nor parts of `target=level`. A word alone that is no level would be the name of a target of
/// which all is logged, and of others nothing: who misspells a level means something else.
pub fn filter(log: &str) -> Result<EnvFilter> {
    let is_word = |part: &&str| !part.is_empty() && !part.contains(['=', '[', ']', '{', '}']);
    let mut words = log.split(',').map(str::trim).filter(is_word);
    if let Some(word) = words.find(|word| word.parse::<LevelFilter>().is_err()) {
        bail!("log = {log:?}: {word:?} is no level; those are {LEVELS}, and of one target {word}=debug");
    }
    EnvFilter::try_new(log)
        .with_context(|| format!("log = {log:?} is neither a level ({LEVELS}) nor a list of target=level"))
}

/// Sets up logging and traces for the life of the process, within a runtime.
///
/// # Errors
/// The filter does not parse, or the collector's address is none.
pub fn init(config: &Config) -> Result<Traces> {
    let filter = filter(&config.log)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_refused_with_the_levels() {
        for log in ["loud", "info,loud", "attune_gateway", "attune_gateway=loud"] {
            let error = format!("{:#}", filter(log).unwrap_err());
            assert!(error.contains("error, warn, info, debug, trace"), "{error}");
        }
        for log in ["", "info", "DEBUG", "off", "warn,attune_gateway=debug", "attune_api[call{id=7}]=trace"] {
            assert!(filter(log).is_ok(), "{log}");
        }
    }
}
