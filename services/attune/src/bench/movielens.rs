//! `attune bench movielens`: lists over REST, from MovieLens-100K, asked for by a few connections again and again.
//!
//! This is how rates of recommenders are usually told: a public history, `wrk` beside the server on the same machine. Every
//! list is made when it is asked for.

use std::time::Instant;

use anyhow::{Context, Result};
use attune_api::rest::recommendation::RecommendRequest;
use attune_batch::history::History;
use attune_batch::read::ColumnMap;
use attune_load::{ClosedRun, Percentiles, SaturateOptions, WARM_UP, saturate_rest};
use bytes::Bytes;
use clap::Args;
use serde_json::{Value, json};

use super::made_up::{self, BATCH, send};
use super::measuring::Measuring;
use crate::client::Rest;
use crate::config::{Config, EngineFlags};
use crate::movielens::films;
use crate::own_server::Home;
use crate::{serve, term};

/// Of an answer, that nothing was late or away. The server writes JSON without spaces.
const WHOLE: &[u8] = br#""degraded":false"#;
/// Items of a list, and what each of them has.
const K: usize = 10;
const ITEM: &[u8] = br#""item_id""#;

/// What can be typed after `attune bench movielens`.
#[derive(Debug, Args)]
#[command(after_help = "\
Needs the data: attune models pull movielens-100k. Starts a server of its own in
another process, sends it the films and all ratings, and asks for lists of 10 over
HTTP/1.1 connections that are kept, one request at a time on each.

Examples:
  attune bench movielens
  attune bench movielens --connections 32 --seconds 30 --json lists.json")]
pub struct Options {
    /// Flags of the engine.
    #[command(flatten)]
    pub flags: EngineFlags,
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 8)]
    connections: usize,
    /// How often and how long.
    #[command(flatten)]
    measuring: Measuring,
}

/// Fills a server, measures it, prints a table.
///
/// # Errors
/// The data is not there, the server does not start, cannot be filled or reached, or a file cannot be written.
pub fn run(config: &Config, options: &Options) -> Result<()> {
    let length = options.measuring.length()?;
    let ratings = config.model_folder("movielens-100k").join("ml-100k.inter");
    let missing = || format!("{} is missing: `attune models pull movielens-100k` fetches it", ratings.display());
    let history = History::read(&ratings, &ColumnMap::default()).with_context(missing)?;
    let films = films(&ratings.with_extension("item")).with_context(missing)?.into_values().collect();
    let mut home = Home::new(config)?;
    let server = home.start()?;
    serve::runtime()?.block_on(fill(&Rest::new(&server.url, &server.key), &history, films))?;
    let ask = |user: &str| {
        let ask = RecommendRequest { user_id: Some(user.to_owned()), k: Some(K), ..RecommendRequest::default() };
        serde_json::to_vec(&ask).map(Bytes::from)
    };
    let saturate = SaturateOptions {
        url: server.url.clone(),
        key: server.key.clone(),
        path: "/v1/recommend",
        messages: history.users.iter().map(ask).collect::<Result<_, _>>()?,
        lanes: options.connections,
        warm_up: WARM_UP,
        length,
    };
    let mut runs = Vec::new();
    for run in 1..=options.measuring.runs {
        term::detail(&format!("run {run} of {}", options.measuring.runs));
        runs.push(saturate_rest(&saturate, whole)?);
    }
    drop(server);
    show(&runs);
    options.measuring.write(&runs)
}

/// 1 for a list of which nothing is missing.
fn whole(answer: &[u8]) -> Result<u64, String> {
    let count = |part: &[u8]| answer.windows(part.len()).filter(|window| *window == part).count();
    match count(ITEM) {
        K => Ok(count(WHOLE) as u64),
        items => Err(format!("a list of {items} items: {}", String::from_utf8_lossy(answer))),
    }
}

async fn fill(rest: &Rest, history: &History, films: Vec<Value>) -> Result<()> {
    let start = Instant::now();
    send(rest, "/v1/items:batch", films.chunks(BATCH).map(|items| json!({ "items": items }))).await?;
    let event = |event: &attune_ranking::data::Event| {
        json!({
            "type": "rating",
            "user_id": history.users.name(event.user),
            "item_id": history.items.name(event.item),
            "value": event.value.map(|value| value.get()),
            "timestamp": event.time,
        })
    };
    let events = history.log.events();
    let bodies = events.chunks(BATCH).map(|events| json!({ "events": events.iter().map(event).collect::<Vec<_>>() }));
    send(rest, "/v1/events", bodies).await?;
    made_up::at_rest(rest).await?;
    term::detail(&format!("{} films and {} ratings after {:.1?}", films.len(), events.len(), start.elapsed()));
    Ok(())
}

fn show(runs: &[ClosedRun]) {
    say!("connections   lists/s  degraded   p50 ms   p99 ms  p99.9 ms  refused");
    for run in runs {
        let ClosedRun { lanes, counted, refused, latency, .. } = run;
        let Percentiles { count, p50_ms, p99_ms, p999_ms, .. } = latency;
        let (rate, degraded) = (term::grouped(run.requests_per_s() as u64), count - counted);
        say!("{lanes:>11} {rate:>9} {degraded:>9} {p50_ms:>8.2} {p99_ms:>8.2} {p999_ms:>9.2} {refused:>8}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_whole_or_not_or_none() {
        let list = |items: usize, degraded: bool| {
            let items: Vec<Value> = (0..items).map(|item| json!({"item_id": item.to_string(), "rank": 1})).collect();
            json!({"degraded": degraded, "items": items}).to_string().into_bytes()
        };
        assert_eq!((whole(&list(K, false)), whole(&list(K, true))), (Ok(1), Ok(0)));
        assert!(whole(&list(K - 1, false)).unwrap_err().contains("9 items"));
    }
}
