//! `attune bench recommend`: lists under open load, over gRPC, from a catalogue that is made up.
//!
//! A server of this very binary in a process of its own is filled over REST as an application would fill it; then lists
//! are asked for at stated rates. Everything is drawn from a seed.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use attune_api::rest::recommendation::{RecommendResponse, SimilarRequest};
use attune_api::v1;
use attune_load::random::SplitMix64;
use attune_load::{OpenRun, RateOptions, WARM_UP, at_rates};
use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use prost::Message;
use serde_json::{Value, json};

use super::serve::OwnServer;
use super::write_json;
use crate::client::Rest;
use crate::config::{Config, EngineFlags};
use crate::{serve, term};

/// Items and events a call.
const BATCH: usize = 1_000;
/// Calls in flight while the server is filled.
const IN_FLIGHT: usize = 4;
/// Different requests, sent in turn.
const REQUESTS: usize = 2_000;
const CATEGORIES: u64 = 20;
/// Items that are looked at to see whether all are embedded.
const LOOKED_AT: usize = 50;
/// Items that one call ranks.
const RANKED: usize = 100;
const WORDS: [&str; 16] = [
    "quiet", "river", "winter", "letter", "garden", "stranger", "island", "night", "paper", "silver", "road", "music",
    "glass", "summer", "harbour", "clock",
];
/// Embedding all items takes as long as it takes.
const PATIENCE: Duration = Duration::from_secs(3_600);
const PAUSE: Duration = Duration::from_millis(200);

/// What can be typed after `attune bench recommend`.
#[derive(Debug, Args)]
#[command(after_help = "\
Starts a server of its own in another process. Items are embedded by the server
before anything is measured. Latency counts from when a request was due; a run in
which the driver itself fell behind is void.

Examples:
  attune bench recommend
  attune bench recommend --rank --rates 500
  attune bench recommend --items 10000 --rates 100,200,400 --seconds 10 --json lists.json")]
pub struct Options {
    /// Flags of the engine.
    #[command(flatten)]
    pub flags: EngineFlags,
    /// Items in the catalogue
    #[arg(long, default_value_t = 100_000)]
    items: usize,
    /// Users with events
    #[arg(long, default_value_t = 20_000)]
    users: usize,
    /// Events, ten a user if absent
    #[arg(long)]
    events: Option<usize>,
    /// Requests a second, with commas
    #[arg(long, value_delimiter = ',', default_values_t = [300.0])]
    rates: Vec<f64>,
    /// Runs at each rate, with arrivals of their own
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: usize,
    /// Length of a run
    #[arg(long, value_name = "S", default_value_t = 20.0)]
    seconds: f64,
    /// Let 100 items be ranked in place of asking for a list of 10
    #[arg(long)]
    rank: bool,
    /// Ask without a filter
    #[arg(long)]
    no_filter: bool,
    /// Also write everything to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Fills a server, measures it, prints a table.
///
/// # Errors
/// The server does not start, cannot be filled or reached, or a file cannot be written.
pub fn run(config: &Config, options: &Options) -> Result<()> {
    ensure!(options.items >= RANKED && options.users > 0, "at least {RANKED} items and one user are needed");
    let server = OwnServer::start(config)?;
    serve::runtime()?.block_on(fill(&Rest::new(&server.url, &server.key), options))?;
    let mut random = SplitMix64::new(7);
    let messages = (0..REQUESTS).map(|_| message(options, &mut random).into()).collect();
    let runs = at_rates(
        &RateOptions {
            url: server.url.clone(),
            key: Some(server.key.clone()),
            method: if options.rank { "/attune.v1.Recommendation/Rank" } else { "/attune.v1.Recommendation/Recommend" },
            messages,
            rates_per_s: options.rates.clone(),
            runs: options.runs,
            warm_up: WARM_UP,
            length: Duration::try_from_secs_f64(options.seconds).context("--seconds")?,
            connections: 8,
            deadline: Duration::from_secs(10),
            seed: 42,
        },
        &mut term::detail,
    )?;
    drop(server);
    show(&runs);
    options.json.as_ref().map_or(Ok(()), |path| write_json(&runs, path))
}

async fn fill(rest: &Rest, options: &Options) -> Result<()> {
    let start = Instant::now();
    let items: Vec<Value> = (0..options.items as u64).map(item).collect();
    let bodies = items.chunks(BATCH).map(|items| json!({ "items": items }));
    send(rest, "/v1/items:batch", bodies.collect()).await?;
    let mut random = SplitMix64::new(3);
    let count = options.events.unwrap_or(10 * options.users);
    let events: Vec<Value> = (0..count).map(|_| event(options, &mut random)).collect();
    let bodies = events.chunks(BATCH).map(|events| json!({ "events": events }));
    send(rest, "/v1/events", bodies.collect()).await?;
    term::detail(&format!("{} items and {count} events sent in {:.1?}; embedding", options.items, start.elapsed()));
    for number in (0..options.items).step_by((options.items / LOOKED_AT).max(1)) {
        embedded(rest, number).await?;
    }
    term::detail(&format!("all embedded after {:.1?}", start.elapsed()));
    Ok(())
}

async fn send(rest: &Rest, path: &'static str, bodies: Vec<Value>) -> Result<()> {
    let post = |body: Value| async move { rest.post::<Value, Value>(path, &body).await };
    stream::iter(bodies).map(post).buffer_unordered(IN_FLIGHT).try_for_each(|_| async { Ok(()) }).await
}

/// Waits until an item has neighbours by its text.
async fn embedded(rest: &Rest, number: usize) -> Result<()> {
    let ask = SimilarRequest { item_id: format!("item-{number}"), k: Some(10), filter: None, explain: None };
    let start = Instant::now();
    loop {
        let list: Result<RecommendResponse> = rest.post("/v1/similar", &ask).await;
        if list.as_ref().is_ok_and(|list| list.sources.contains_key("semantic")) {
            return Ok(());
        }
        ensure!(start.elapsed() < PATIENCE, "the items were not embedded in time: {list:?}");
        tokio::time::sleep(PAUSE).await;
    }
}

fn item(number: u64) -> Value {
    let mut random = SplitMix64::new(number);
    let words: Vec<&str> = (0..3).map(|_| WORDS[random.below(WORDS.len() as u64) as usize]).collect();
    json!({
        "id": format!("item-{number}"),
        "title": words.join(" "),
        "attributes": {"category": format!("c{}", random.below(CATEGORIES)), "price": random.below(100)},
    })
}

/// Small numbers are popular: the product of two even draws.
fn popular(items: usize, random: &mut SplitMix64) -> u64 {
    let items = items as u64;
    random.below(items) * random.below(items) / items
}

fn event(options: &Options, random: &mut SplitMix64) -> Value {
    let user = random.below(options.users as u64);
    json!({"type": "click", "user_id": format!("user-{user}"), "item_id": format!("item-{}", popular(options.items, random))})
}

fn message(options: &Options, random: &mut SplitMix64) -> Vec<u8> {
    let user = format!("user-{}", random.below(options.users as u64));
    if options.rank {
        let item_ids = (0..RANKED).map(|_| format!("item-{}", random.below(options.items as u64))).collect();
        let who = Some(v1::rank_request::Who::UserId(user));
        return v1::RankRequest { who, item_ids, ..Default::default() }.encode_to_vec();
    }
    let category = random.below(CATEGORIES);
    let filter = format!(r#"category != "c{category}" and price < 80"#);
    let who = Some(v1::recommend_request::Who::UserId(user));
    let filter = (!options.no_filter).then_some(filter);
    v1::RecommendRequest { who, k: Some(10), filter, ..Default::default() }.encode_to_vec()
}

fn show(runs: &[OpenRun]) {
    say!("  rate/s   requests  answered   p50 ms   p99 ms  p99.9 ms  refused");
    for run in runs {
        let OpenRun { rate_per_s, requests, latency, refused, .. } = run;
        let (p50, p99, p999) = (latency.p50_ms, latency.p99_ms, latency.p999_ms);
        let (answered, refused) = (latency.count, refused.count);
        say!("{rate_per_s:>8.0} {requests:>10} {answered:>9} {p50:>8.2} {p99:>8.2} {p999:>9.2} {refused:>8}");
        if let Some(why) = &run.void {
            term::warn(&format!("this run proves nothing: {why}"));
        }
    }
}
