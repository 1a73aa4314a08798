//! `/metrics`: counters of the gateway, and the scheduler's own read at the moment of a scrape.
//!
//! Names are `attune_*` in base units (seconds, bytes). Every label comes from a bounded set: routes are patterns,
//! never paths.

use std::{sync::OnceLock, time::Duration};

use attune_api::{progress, rest::operations::ReadyTables};
use attune_inference::CardState;
use attune_inference::schedule::Stats;
use axum::extract::State;
use http::header::CONTENT_TYPE;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::{app::App, errors::Refusal};

const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Recorded durations are folded into buckets this often, scraped or not.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);
const LATENCY_BUCKETS_SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 30.0];

const REQUESTS: &str = "attune_requests_total";
const REQUEST_SECONDS: &str = "attune_request_duration_seconds";
const IN_FLIGHT: &str = "attune_requests_in_flight";
const REFUSED: &str = "attune_refused_total";
const LIMITED_LOCALLY: &str = "attune_requests_limited_locally_total";
const CONNECTIONS: &str = "attune_connections";
const CONNECTIONS_CLOSED: &str = "attune_connections_closed_total";
const QUEUE_TEXTS: &str = "attune_queue_texts";
const QUEUE_TOKENS: &str = "attune_queue_tokens";
const WORKERS: &str = "attune_engine_workers";
const WORKERS_BUSY: &str = "attune_engine_workers_busy";
const JOBS_LOST: &str = "attune_jobs_without_answer_total";
const BATCHES_LOST: &str = "attune_batches_without_answer_total";
const BATCHES: &str = "attune_batches_total";
const TEXTS: &str = "attune_texts_total";
const TOKENS: &str = "attune_tokens_total";
const BUSY: &str = "attune_engine_busy_seconds";
const GPU_IN_USE: &str = "attune_gpu_in_use";
const GPU_FAILURES: &str = "attune_gpu_failures_total";
const GPU_TABLES: &str = "attune_gpu_tables";
const GPU_TABLE_FAILURES: &str = "attune_gpu_table_failures_total";
const LAG: &str = "attune_background_lag_seconds";
const STARTING: &str = "attune_background_starting";
const RECORDS: &str = "attune_background_records_total";
const CERTIFICATE_STALE: &str = "attune_tls_certificate_stale";
const READY: &str = "attune_ready";
const BUILD: &str = "attune_build_info";
const RESIDENT: &str = "attune_resident_memory_bytes";

/// Labels of [`Stats::waiting`], in its order.
const CLASSES: [&str; 3] = ["interactive", "bulk", "training"];

/// The recorder is one per process (that is how the `metrics` crate works), whatever number of servers run in it.
static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// Installs the recorder. What counts was made after this, or counts nothing: so it is called before stores are opened.
/// Later calls do nothing.
pub fn install() {
    RECORDER.get_or_init(|| {
        let buckets = PrometheusBuilder::new().set_buckets(&LATENCY_BUCKETS_SECONDS);
        let recorder = buckets.expect("the list of buckets is not empty").build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed: /metrics will be empty");
        }
        describe();
        handle
    });
}

/// Keeps the recorder small while nobody scrapes. Runs until it is dropped.
pub(crate) async fn upkeep() {
    loop {
        tokio::time::sleep(UPKEEP_INTERVAL).await;
        if let Some(handle) = RECORDER.get() {
            handle.run_upkeep();
        }
    }
}

fn describe() {
    describe_counter!(REQUESTS, "Requests answered, by protocol, route and status");
    describe_histogram!(REQUEST_SECONDS, "From a request's head to its answer's head");
    describe_gauge!(IN_FLIGHT, "Requests between those two");
    describe_counter!(REFUSED, "Calls that were refused, by reason");
    describe_counter!(
        LIMITED_LOCALLY,
        "Requests whose rate was that of this process, since the shared cache did not answer"
    );
    describe_gauge!(CONNECTIONS, "Open connections");
    describe_counter!(CONNECTIONS_CLOSED, "Connections that the server closed, by reason");
    describe_gauge!(QUEUE_TEXTS, "Texts that wait for an engine, by class of work");
    describe_gauge!(QUEUE_TOKENS, "Tokens that wait for an engine, by class of work");
    describe_gauge!(WORKERS, "Threads that own engines");
    describe_gauge!(WORKERS_BUSY, "Threads that run a batch");
    describe_counter!(JOBS_LOST, "Jobs that the queue did not see to their end, by reason");
    describe_counter!(BATCHES_LOST, "Batches that did not run to their end, by reason");
    describe_counter!(BATCHES, "Batches that ran");
    describe_counter!(TEXTS, "Texts that ran");
    describe_counter!(TOKENS, "Tokens that ran");
    describe_gauge!(
        BUSY,
        "Time that engines have computed since the start, over all workers; a gauge, for its fractions"
    );
    describe_gauge!(GPU_IN_USE, "1 while batches of a model go to the card, 0 while the CPU answers in its place");
    describe_counter!(GPU_FAILURES, "Batches and attempts that failed on the card");
    describe_gauge!(
        GPU_TABLES,
        "Segments of items that the card has taken over: in_use, or out_of_use while the CPU searches them in its place"
    );
    describe_counter!(GPU_TABLE_FAILURES, "Searches of segments and attempts to put them back that failed on the card");
    describe_gauge!(
        LAG,
        "How far behind what goes on in the background is; it grows when that has ended without a word"
    );
    describe_gauge!(STARTING, "1 while what goes on in the background still reads what was before it");
    describe_counter!(RECORDS, "Records of the log that what goes on in the background has dealt with");
    describe_gauge!(
        CERTIFICATE_STALE,
        "1 while the files of the certificate are others than those in use, and cannot be used"
    );
    describe_gauge!(READY, "1 when requests should be sent here");
    describe_gauge!(BUILD, "1, with the version as a label");
    describe_gauge!(RESIDENT, "Memory of the process that is in RAM");
}

/// The server's counters, in the Prometheus text format.
#[utoipa::path(
    get, path = "/metrics", tag = "Operations", security(()),
    responses((status = 200, body = String, content_type = "text/plain")),
)]
pub(crate) async fn scrape(State(app): State<App>) -> Result<([(http::HeaderName, &'static str); 1], String), Refusal> {
    let handle = RECORDER.get().ok_or_else(attune_api::ApiError::internal)?;
    observe(&app.inference.stats());
    observe_cards(&app.inference.cards());
    app.card_tables().into_iter().for_each(observe_tables);
    for line in progress::board() {
        gauge!(LAG, "name" => line.name).set(line.lag.as_secs_f64());
        gauge!(STARTING, "name" => line.name).set(f64::from(u8::from(line.is_starting)));
        counter!(RECORDS, "name" => line.name).absolute(line.records);
    }
    gauge!(READY).set(f64::from(u8::from(app.inference.is_ready() && !app.is_draining())));
    gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    if let Some(bytes) = resident_bytes() {
        gauge!(RESIDENT).set(bytes);
    }
    Ok(([(CONTENT_TYPE, TEXT_FORMAT)], handle.render()))
}

fn observe(stats: &Stats) {
    for (class, depth) in CLASSES.into_iter().zip(stats.waiting) {
        gauge!(QUEUE_TEXTS, "class" => class).set(depth.texts as f64);
        gauge!(QUEUE_TOKENS, "class" => class).set(depth.tokens as f64);
    }
    gauge!(WORKERS).set(stats.workers as f64);
    gauge!(WORKERS_BUSY).set(stats.running as f64);
    let total = &stats.total;
    counter!(BATCHES).absolute(total.batches);
    counter!(TEXTS).absolute(total.texts);
    counter!(TOKENS).absolute(total.tokens);
    gauge!(BUSY).set(total.busy.as_secs_f64());
    let ends = [("refused", total.refused), ("expired", total.expired), ("cancelled", total.cancelled)];
    for (end, count) in ends {
        counter!(JOBS_LOST, "reason" => end).absolute(count);
    }
    counter!(BATCHES_LOST, "reason" => "stopped").absolute(total.stopped);
    counter!(BATCHES_LOST, "reason" => "failed").absolute(total.failed);
}

/// One model may have lost a card that another still uses: each counts. Their names come from the driver, a few at most.
fn observe_cards(cards: &[CardState]) {
    for (index, card) in cards.iter().enumerate() {
        let labels = [("card", card.card.clone()), ("place", index.to_string())];
        gauge!(GPU_IN_USE, &labels).set(f64::from(u8::from(card.in_use)));
        counter!(GPU_FAILURES, &labels).absolute(card.failures);
    }
}

/// A segment may be out of use while others on the card are in use.
fn observe_tables(tables: ReadyTables) {
    let labels = |state: &'static str| [("card", tables.card.clone()), ("state", state.to_owned())];
    gauge!(GPU_TABLES, &labels("in_use")).set(tables.in_use as f64);
    gauge!(GPU_TABLES, &labels("out_of_use")).set(tables.out_of_use as f64);
    counter!(GPU_TABLE_FAILURES, "card" => tables.card).absolute(tables.failures);
}

/// Linux only: the second figure of `statm` is resident pages.
fn resident_bytes() -> Option<f64> {
    const PAGE_BYTES: f64 = 4096.0;
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(statm.split_whitespace().nth(1)?.parse::<f64>().ok()? * PAGE_BYTES)
}

pub(crate) fn request_started() {
    gauge!(IN_FLIGHT).increment(1.0);
}

pub(crate) fn request_finished(protocol: &'static str, route: &str, status: &str, time: Duration) {
    let labels = [("protocol", protocol.to_owned()), ("route", route.to_owned())];
    histogram!(REQUEST_SECONDS, &labels).record(time.as_secs_f64());
    let labels = [labels[0].clone(), labels[1].clone(), ("status", status.to_owned())];
    counter!(REQUESTS, &labels).increment(1);
    gauge!(IN_FLIGHT).decrement(1.0);
}

pub(crate) fn refused(reason: &'static str) {
    counter!(REFUSED, "reason" => reason).increment(1);
}

pub(crate) fn limited_locally() {
    counter!(LIMITED_LOCALLY).increment(1);
}

pub(crate) fn connections(open: usize) {
    gauge!(CONNECTIONS).set(open as f64);
}

pub(crate) fn connection_closed(reason: &'static str) {
    counter!(CONNECTIONS_CLOSED, "reason" => reason).increment(1);
}

pub(crate) fn certificate_is_stale(is_stale: bool) {
    gauge!(CERTIFICATE_STALE).set(f64::from(u8::from(is_stale)));
}

/// Routes that balancers and scrapers ask all day: not worth a line in the log.
pub(crate) fn is_operational(route: &str) -> bool {
    matches!(route, "/livez" | "/readyz" | "/healthz" | "/metrics") || route.starts_with("/grpc.health.")
}
