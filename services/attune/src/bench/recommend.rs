//! `attune bench recommend`: lists under open load, over gRPC, from a catalogue that is made up.
//!
//! A server of this very binary in a process of its own is filled over REST as an application would fill it; then lists
//! are asked for at stated rates. Everything is drawn from a seed.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use attune_api::v1;
use attune_load::random::SplitMix64;
use attune_load::{RateOptions, WARM_UP, at_rates};
use clap::Args;
use prost::Message;

use super::made_up::{self, CATEGORIES, Size};
use super::measuring::Measuring;
use super::show_open;
use crate::client::Rest;
use crate::config::{Config, EngineFlags};
use crate::own_server::Home;
use crate::{serve, term};

/// Different requests, sent in turn.
const REQUESTS: usize = 2_000;
/// Items that one call ranks.
const RANKED: usize = 100;

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
    #[arg(long, value_delimiter = ',', default_values_t = [300.0], value_parser = rate)]
    rates: Vec<f64>,
    /// Let 100 items be ranked in place of asking for a list of 10
    #[arg(long)]
    rank: bool,
    /// Ask without a filter
    #[arg(long)]
    no_filter: bool,
    /// How often and how long.
    #[command(flatten)]
    measuring: Measuring,
}

/// A rate, refused before anything is made where it is none.
fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "a number above 0 is needed".to_owned())
}

impl Options {
    fn size(&self) -> Size {
        Size { items: self.items, users: self.users }
    }
}

/// Fills a server, measures it, prints a table.
///
/// # Errors
/// The server does not start, cannot be filled or reached, or a file cannot be written.
pub fn run(config: &Config, options: &Options) -> Result<()> {
    ensure!(options.items >= RANKED && options.users > 0, "at least {RANKED} items and one user are needed");
    // What is measured is the making of lists; what a training takes of them is another question.
    let mut config = config.clone();
    config.trainer.model.clear();
    let mut home = Home::new(&config)?;
    let server = home.start()?;
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
            runs: options.measuring.runs,
            warm_up: WARM_UP,
            length: options.measuring.length()?,
            connections: 8,
            deadline: Duration::from_secs(10),
            seed: 42,
        },
        &mut term::detail,
    )?;
    drop(server);
    show_open(&runs);
    options.measuring.write(&runs)
}

async fn fill(rest: &Rest, options: &Options) -> Result<()> {
    let start = Instant::now();
    let count = options.events.unwrap_or(10 * options.users);
    made_up::send_items(rest, options.items).await?;
    made_up::send_clicks(rest, options.size(), count).await?;
    term::detail(&format!("{} items and {count} events sent in {:.1?}; embedding", options.items, start.elapsed()));
    made_up::at_rest(rest).await?;
    term::detail(&format!("all embedded after {:.1?}", start.elapsed()));
    Ok(())
}

fn message(options: &Options, random: &mut SplitMix64) -> Vec<u8> {
    let user = options.size().user(random);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_above_0() {
        assert_eq!(rate("0.5"), Ok(0.5));
        for odd in ["0", "-1", "nan", "inf", "fast", ""] {
            assert!(rate(odd).is_err(), "{odd}");
        }
    }
}
