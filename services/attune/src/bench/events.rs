//! `attune bench events`: events into a server, in batches, each acknowledged when it would survive a loss of power.
//!
//! Closed loops say how many events a second that is, over REST and over the stream of gRPC; an open loop says how long a
//! batch takes at a stated rate. Meanwhile new users do something and ask for a list at once: each of these lists has to
//! know of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use attune_api::rest::recommendation::{RecommendRequest, RecommendResponse};
use attune_api::rest::tracking::Tracked;
use attune_api::v1::{self, track_stream_response::Outcome};
use attune_load::random::SplitMix64;
use attune_load::{
    ClosedRun, Latencies, OpenRun, Percentiles, RateOptions, SaturateOptions, WARM_UP, at_rates, saturate_rest,
    saturate_stream,
};
use bytes::Bytes;
use clap::Args;
use prost::Message;
use serde::Serialize;
use serde_json::{Value, json};

use super::made_up::{self, Size};
use super::measuring::Measuring;
use super::show_open;
use crate::client::Rest;
use crate::config::{Config, EngineFlags};
use crate::own_server::Home;
use crate::{serve, term};

/// Different batches, sent in turn. An event without an id and a time is another one whenever it is sent.
const BATCHES: usize = 500;
/// How often somebody new does something and asks.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// What can be typed after `attune bench events`.
#[derive(Debug, Args)]
#[command(after_help = "\
Starts a server of its own in another process, on a disk that is the one of the
data folder: an acknowledged event is synced there.

Examples:
  attune bench events
  attune bench events --batch 1 --lanes 64
  attune bench events --rates 100,200 --runs 3 --json events.json")]
pub struct Options {
    /// Flags of the engine.
    #[command(flatten)]
    pub flags: EngineFlags,
    /// Events of a batch
    #[arg(long, value_name = "N", default_value_t = 100)]
    batch: usize,
    /// Batches under way at once
    #[arg(long, value_name = "N", default_value_t = 8)]
    lanes: usize,
    /// Batches a second of the open loop, with commas; without it none is run
    #[arg(long, value_delimiter = ',')]
    rates: Vec<f64>,
    /// Users, each as likely as another
    #[arg(long, default_value_t = 20_000)]
    users: usize,
    /// Items in the catalogue
    #[arg(long, default_value_t = 1_000)]
    items: usize,
    /// How often and how long.
    #[command(flatten)]
    measuring: Measuring,
}

/// Everything that was found.
#[derive(Debug, Default, Serialize)]
struct Report {
    events_per_batch: usize,
    rest: Vec<ClosedRun>,
    stream: Vec<ClosedRun>,
    open: Vec<OpenRun>,
    read: Read,
}

/// Whether lists knew of what their users did just before.
#[derive(Debug, Default, Serialize)]
struct Read {
    asked: usize,
    knew: usize,
    /// Of those that did not, how many said so: they were degraded.
    said: usize,
    /// From sending the event to having the list.
    latency: Percentiles,
}

/// Fills a server, measures it, prints a table.
///
/// # Errors
/// The server does not start, cannot be filled or reached, refuses an event, or a file cannot be written.
pub fn run(config: &Config, options: &Options) -> Result<()> {
    ensure!(options.users > 0 && options.items > 0 && options.batch > 0, "--users, --items and --batch are above 0");
    let length = options.measuring.length()?;
    let mut home = Home::new(config)?;
    let server = home.start()?;
    let rest = Rest::new(&server.url, &server.key);
    let runtime = serve::runtime()?;
    runtime.block_on(async {
        made_up::send_items(&rest, options.items).await?;
        made_up::at_rest(&rest).await
    })?;
    let is_over = AtomicBool::new(false);
    let report = std::thread::scope(|scope| {
        let asking = scope.spawn(|| runtime.block_on(ask(&rest, options.items, &is_over)));
        let measured = measure(options, &server.url, &server.key, length);
        is_over.store(true, Ordering::Relaxed);
        let read = asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        anyhow::Ok(Report { read: read?, ..measured? })
    })?;
    drop(server);
    show(&report);
    options.measuring.write(&report)
}

fn measure(options: &Options, url: &str, key: &str, length: Duration) -> Result<Report> {
    let batches = batches(options);
    let messages = |encode: fn(&[Value]) -> Vec<u8>| batches.iter().map(|batch| Bytes::from(encode(batch))).collect();
    let saturate = |path, messages| SaturateOptions {
        url: url.to_owned(),
        key: key.to_owned(),
        path,
        messages,
        lanes: options.lanes,
        warm_up: WARM_UP,
        length,
    };
    let over_rest = saturate("/v1/events", messages(as_json));
    let over_stream = saturate("/attune.v1.Tracking/TrackStream", messages(as_item));
    let mut report = Report { events_per_batch: options.batch, ..Report::default() };
    for run in 1..=options.measuring.runs {
        term::detail(&format!("run {run} of {}", options.measuring.runs));
        report.rest.push(saturate_rest(&over_rest, kept_of_json)?);
        report.stream.push(saturate_stream(&over_stream, kept_of_item)?);
    }
    if !options.rates.is_empty() {
        let rates = RateOptions {
            url: url.to_owned(),
            key: Some(key.to_owned()),
            method: "/attune.v1.Tracking/Track",
            messages: messages(as_request),
            rates_per_s: options.rates.clone(),
            runs: options.measuring.runs,
            warm_up: WARM_UP,
            length,
            connections: options.lanes,
            deadline: Duration::from_secs(10),
            seed: 42,
        };
        report.open = at_rates(&rates, &mut term::detail)?;
    }
    Ok(report)
}

fn batches(options: &Options) -> Vec<Vec<Value>> {
    let (size, mut random) = (Size { items: options.items, users: options.users }, SplitMix64::new(11));
    (0..BATCHES).map(|_| (0..options.batch).map(|_| size.click(&mut random)).collect()).collect()
}

fn as_json(batch: &[Value]) -> Vec<u8> {
    json!({ "events": batch }).to_string().into_bytes()
}

fn request(batch: &[Value]) -> v1::TrackRequest {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let event = |event: &Value| v1::Event {
        r#type: text(&event["type"]),
        user_id: Some(text(&event["user_id"])),
        item_id: Some(text(&event["item_id"])),
        ..v1::Event::default()
    };
    v1::TrackRequest { events: batch.iter().map(event).collect() }
}

fn as_request(batch: &[Value]) -> Vec<u8> {
    request(batch).encode_to_vec()
}

fn as_item(batch: &[Value]) -> Vec<u8> {
    v1::TrackStreamRequest { id: 0, request: Some(request(batch)) }.encode_to_vec()
}

fn kept_of_json(answer: &[u8]) -> Result<u64, String> {
    let tracked: Tracked = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
    match tracked.rejected.first() {
        None => Ok(tracked.accepted.into()),
        Some(one) => Err(format!("an event was rejected: {}", one.detail)),
    }
}

fn kept_of_item(answer: v1::TrackStreamResponse) -> Result<u64, String> {
    match answer.outcome {
        Some(Outcome::Response(response)) if response.rejected.is_empty() => Ok(response.accepted.into()),
        Some(Outcome::Response(response)) => Err(format!("an event was rejected: {:?}", response.rejected[0])),
        Some(Outcome::Error(error)) => Err(format!("a batch was refused: {}", error.detail)),
        None => Err("an empty answer".to_owned()),
    }
}

/// Until it is over: somebody of whom nothing is known clicks on something, and then asks for a list.
async fn ask(rest: &Rest, items: usize, is_over: &AtomicBool) -> Result<Read> {
    let (mut read, mut latencies) = (Read::default(), Latencies::default());
    while !is_over.load(Ordering::Relaxed) {
        let user_id = format!("reader-{}", read.asked);
        let click = json!({"type": "click", "user_id": user_id, "item_id": format!("item-{}", read.asked % items)});
        let sent = Instant::now();
        let _tracked: Tracked = rest.post("/v1/events", &json!({ "events": [click] })).await?;
        let ask = RecommendRequest { user_id: Some(user_id), ..RecommendRequest::default() };
        let list: RecommendResponse = rest.post("/v1/recommend", &ask).await?;
        latencies.record(sent.elapsed());
        read.asked += 1;
        let knew = list.notes.iter().all(|note| note.code != "no_history");
        read.knew += usize::from(knew);
        read.said += usize::from(!knew && list.degraded);
        tokio::time::sleep(ASK_EVERY).await;
    }
    read.latency = latencies.percentiles();
    Ok(read)
}

fn show(report: &Report) {
    say!("over            events/s   batches/s   p50 ms   p99 ms  p99.9 ms  refused");
    for (over, runs) in [("REST", &report.rest), ("gRPC stream", &report.stream)] {
        for run in runs {
            let Percentiles { p50_ms, p99_ms, p999_ms, .. } = run.latency;
            let (events, batches) = (term::grouped(run.counted_per_s() as u64), run.requests_per_s());
            say!(
                "{over:<12} {events:>11} {batches:>11.0} {p50_ms:>8.2} {p99_ms:>8.2} {p999_ms:>9.2} {:>8}",
                run.refused
            );
        }
    }
    if !report.open.is_empty() {
        say!("batches of {} events that are due, gRPC:", report.events_per_batch);
        show_open(&report.open);
    }
    let Read { asked, knew, said, latency } = &report.read;
    say!(
        "meanwhile {knew} of {asked} lists knew of their user's click just before, {said} said that they were degraded; \
         click and list: p50 {:.1} ms, p99 {:.1} ms",
        latency.p50_ms,
        latency.p99_ms
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_says_the_same_in_every_encoding_and_answers_are_counted() {
        let batch = [json!({"type": "click", "user_id": "user-1", "item_id": "item-2"})];
        let json: Value = serde_json::from_slice(&as_json(&batch)).unwrap();
        assert_eq!(json["events"][0], batch[0]);
        let item = v1::TrackStreamRequest::decode(&*as_item(&batch)).unwrap();
        assert_eq!(item.request, v1::TrackRequest::decode(&*as_request(&batch)).ok());
        let event = &item.request.unwrap().events[0];
        assert_eq!((event.user_id(), event.item_id(), event.r#type.as_str()), ("user-1", "item-2", "click"));

        assert_eq!(kept_of_json(br#"{"accepted":7,"duplicates":1,"rejected":[]}"#), Ok(7));
        let bad = br#"{"accepted":0,"duplicates":0,"rejected":[{"index":0,"code":"invalid","detail":"no item"}]}"#;
        assert!(kept_of_json(bad).unwrap_err().contains("no item"));
        assert!(kept_of_item(v1::TrackStreamResponse::default()).is_err());
        let kept = v1::TrackResponse { accepted: 3, ..v1::TrackResponse::default() };
        assert_eq!(kept_of_item(v1::TrackStreamResponse { id: 1, outcome: Some(Outcome::Response(kept)) }), Ok(3));
    }
}
