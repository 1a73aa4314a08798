//! `attune import items FILE`: a catalogue into a running server.
//!
//! Over the port and not into the stores: the server may be on another machine, it has the stores open, and what it
//! refuses here it refuses there. A batch is sent when the one before is answered, so that of two rows of one id the later
//! one stays, and what is noted as done is a row's number.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use attune_api::catalogue::AttributeKind;
use attune_api::rest::content::{BatchAnswer, ItemSchema};
use attune_batch::read::{ColumnMap, Items, Odd, Rejected};
use attune_batch::uri::local_path;
use attune_ranking::attributes::Kind;
use clap::Args;
use http::{Method, StatusCode};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::ServerFlags;
use super::ledger::{Ledger, Progress, Target};
use crate::client::Rest;
use crate::config::Config;
use crate::{serve, term};

/// What the rows are, in the file of progress.
const KIND: &str = "items";
/// Bytes of a batch, about: below the server's default bound on a body.
const BATCH_BYTES: usize = 2 << 20;
/// Rows of a batch, if nobody says.
const BATCH_ROWS: u64 = 500;
/// How often a batch is sent while the server says that it has too much to do, or is away.
const ATTEMPTS_MAX: u32 = 120;
/// How long it waits between, where the server does not say.
const PAUSE: Duration = Duration::from_secs(1);

/// What can be typed after `attune import items`.
#[derive(Debug, Args)]
#[command(after_help = "\
JSON lines have an item a line: {\"id\": ..., \"title\": ..., \"text\": ...,
\"attributes\": {...}}. CSV has the columns id and title, perhaps text, hidden,
published_at and expires_at, and an attribute in each other column; lists are
written a|b|c. Both may end in .gz.

The first file that has an attribute decides its kind for good. In CSV that is
what all of its values can be: list, time, boolean or number, and else text. The
kinds are shown before anything is sent.

Killed, the same command goes on behind the last batch that was answered: how
far it is stands in FILE.import.json. Rows that were not kept are listed with
the reason in FILE.rejected.jsonl. Keep the key in ATTUNE_KEY: everybody on this
machine sees what is typed.

Examples:
  attune import items films.jsonl
  attune import items shop.csv --map id=sku --url http://attune.internal:8080")]
pub struct Options {
    /// The file
    #[arg(value_name = "FILE")]
    input: PathBuf,
    #[command(flatten)]
    server: ServerFlags,
    /// A column that has another name in the file; may be given for each. What the file itself calls OURS is left out
    /// then, unless it is mapped, too
    #[arg(long = "map", value_name = "OURS=THEIRS")]
    columns: Vec<String>,
    /// Rows of a batch
    #[arg(long, value_name = "N", default_value_t = BATCH_ROWS, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    batch_rows: u64,
    /// Send all of it again
    #[arg(long)]
    restart: bool,
}

/// Imports the file, shows a bar, and prints what it came to.
///
/// # Errors
/// The file cannot be read, or the server cannot be reached or does not take items from this key.
pub fn run(config: &Config, options: &Options) -> Result<()> {
    let input = local_path(&options.input)?;
    let url = options.server.url(config);
    let (to, key) = (url.trim_end_matches('/'), &options.server.key);
    let target = Target { kind: KIND, url: to, key, columns: &options.columns };
    let mut ledger = Ledger::open(&input, target, options.restart)?;
    let before = ledger.progress.clone();
    if before.is_complete {
        say!("{} rows were imported into {url} already: --restart sends them again", term::grouped(before.rows));
        return Ok(());
    }
    let (start, bar) = (Instant::now(), term::file_bar(&options.input.display().to_string()));
    if before.rows > 0 {
        term::detail(&format!("going on behind row {}", term::grouped(before.rows)));
    }
    let import = Import { input, map: ColumnMap::parse(&options.columns)?, rows_max: options.batch_rows, bar };
    let rest = Rest::new(&ledger.progress.url, &options.server.key);
    let done = serve::runtime()?.block_on(import.complete(&rest, &mut ledger));
    import.bar.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    let Progress { rows, accepted, rejected, .. } = ledger.progress;
    let rate = term::grouped(((rows - before.rows) as f64 / seconds.max(1e-3)) as u64);
    let [rows, accepted, refused] = [rows, accepted, rejected].map(term::grouped);
    say!("{rows} rows, {accepted} kept, {refused} rejected, {seconds:.1} s, {rate} rows/s");
    if rejected > 0 {
        term::warn(&format!("why rows were rejected: {}", ledger.rejects().display()));
    }
    done
}

/// Imports a whole file into the server at `url`, and says how many items were kept. Every one has to be.
///
/// # Errors
/// As [`run`], and when a row was rejected.
pub async fn whole(input: &Path, url: &str, key: &str, bar: ProgressBar) -> Result<u64> {
    let mut ledger = Ledger::open(input, Target { kind: KIND, url, key, columns: &[] }, true)?;
    let import = Import { input: input.to_owned(), map: ColumnMap::default(), rows_max: BATCH_ROWS, bar };
    import.complete(&Rest::new(url, key), &mut ledger).await?;
    import.bar.finish_and_clear();
    match ledger.progress.rejected {
        0 => Ok(ledger.progress.accepted),
        rejected => bail!("{rejected} items were refused: see {}", ledger.rejects().display()),
    }
}

/// A file on its way.
struct Import {
    input: PathBuf,
    map: ColumnMap,
    rows_max: u64,
    bar: ProgressBar,
}

impl Import {
    /// Sends what is left of the file.
    async fn complete(&self, rest: &Rest, ledger: &mut Ledger) -> Result<()> {
        let before = ledger.progress.rows;
        self.bar.set_length(ledger.progress.bytes);
        let mut rows = Items::open(&self.input, &self.map, &kinds(rest).await?, before)?;
        let attributes: Vec<String> =
            rows.attributes().into_iter().map(|(name, kind)| format!("{name} ({kind})")).collect();
        if !attributes.is_empty() {
            term::detail(&format!("attributes: {}", attributes.join(", ")));
        }
        if let Some(first) = rows.replaced().first() {
            term::warn(&format!(
                "the file's own {} is left out, since --map puts another column in its place; --map NAME={first} keeps \
                 it under another name",
                rows.replaced().join(", ")
            ));
        }
        for (name, Odd { row, value, mostly }) in rows.odd() {
            term::warn(&format!(
                "{name} is text for good, since row {row} has {value}; most of it is {mostly}, and a corrected file \
                 can have it so under another name alone"
            ));
        }
        let start = Instant::now();
        loop {
            let batch = next_batch(&mut rows, self.rows_max)?;
            if batch.rows == 0 {
                break;
            }
            let mut rejected = batch.rejected;
            let answer = send(rest, &batch.items).await?;
            for one in answer.rejected {
                let row = *batch.numbers.get(one.index).context("the server rejects a row that was not sent")?;
                rejected.push(Rejected { row, reason: one.detail });
            }
            rejected.sort_by_key(|one| one.row);
            let now = &ledger.progress;
            let progress = Progress {
                rows: now.rows + batch.rows,
                accepted: now.accepted + answer.kept as u64,
                rejected: now.rejected + rejected.len() as u64,
                ..now.clone()
            };
            ledger.note(progress, &rejected)?;
            self.show(&rows, ledger.progress.rows, before, start.elapsed());
        }
        ledger.note(Progress { is_complete: true, ..ledger.progress.clone() }, &[])
    }

    fn show(&self, items: &Items, rows: u64, before: u64, took: Duration) {
        let rate = (rows - before) as f64 / took.as_secs_f64().max(1e-3);
        self.bar.set_position(items.file_bytes());
        self.bar.set_message(format!("{} items, {}/s", term::grouped(rows), term::grouped(rate as u64)));
    }
}

/// Rows that are sent together.
#[derive(Default)]
struct Batch {
    rows: u64,
    items: Vec<Value>,
    /// The row of each item.
    numbers: Vec<u64>,
    rejected: Vec<Rejected>,
}

fn next_batch(rows: &mut Items, rows_max: u64) -> Result<Batch> {
    let (mut batch, mut bytes) = (Batch::default(), 0);
    while batch.rows < rows_max && bytes < BATCH_BYTES {
        let Some(row) = rows.next_row()? else { break };
        batch.rows += 1;
        match row {
            Ok(item) => {
                bytes += serde_json::to_string(&item)?.len();
                batch.items.push(item);
                batch.numbers.push(rows.rows_read());
            }
            Err(reason) => batch.rejected.push(Rejected { row: rows.rows_read(), reason }),
        }
    }
    Ok(batch)
}

async fn send(rest: &Rest, items: &[Value]) -> Result<BatchAnswer> {
    if items.is_empty() {
        return Ok(BatchAnswer::default());
    }
    let body = serde_json::to_vec(&json!({ "items": items }))?;
    for _ in 0..ATTEMPTS_MAX {
        match rest.send(Method::POST, "/v1/items:batch", Some(body.clone())).await {
            Ok(answer) if !is_passing(answer.status) => return answer.read(),
            Ok(answer) => tokio::time::sleep(answer.retry_after.unwrap_or(PAUSE)).await,
            // A server that starts again is away for a moment; an address that leads nowhere was told of before.
            Err(error) => {
                tracing::debug!(%error, "a batch could not be sent");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    bail!("the server does not take more items now; the same command goes on from here")
}

fn is_passing(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

/// The kinds that the server has for attributes.
async fn kinds(rest: &Rest) -> Result<BTreeMap<String, Kind>> {
    let schema: ItemSchema = rest.get("/v1/items:schema").await?;
    let kind = |kind| match kind {
        AttributeKind::Keyword => Kind::Keyword,
        AttributeKind::Keywords => Kind::KeywordList,
        AttributeKind::Number => Kind::Number,
        AttributeKind::Boolean => Kind::Boolean,
        AttributeKind::Time => Kind::Time,
    };
    Ok(schema.attributes.into_iter().map(|(name, of)| (name, kind(of))).collect())
}
