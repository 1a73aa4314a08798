//! `attune import events`: a history, as one stream of batches over gRPC.
//!
//! The server acknowledges batches in their order, so that what is noted is always a beginning of the file. Batches are
//! cut the same way wherever the reading begins, and an event without an id is known by what it says: rows that are sent
//! again after a kill are no new events.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use attune_api::v1::{self, track_stream_response::Outcome, tracking_client::TrackingClient};
use attune_batch::read::{BatchLimits, ColumnMap, Event, Numbered, Reader, Rejected};
use attune_batch::uri::local_path;
use clap::Args;
use indicatif::ProgressBar;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::ServerFlags;
use super::ledger::{Ledger, Progress, Target};
use crate::config::Config;
use crate::{client, serve, term};

/// What the rows are, in the file of progress.
const KIND: &str = "events";
/// A batch: what the server takes in one call.
const LIMITS: BatchLimits = BatchLimits { rows_max: 1_000, bytes_max: 512 << 10 };
/// Batches that are read and not acknowledged; the server has at most 32 in work.
const BATCHES_AHEAD: usize = 64;
/// Progress is noted after so many batches.
const NOTE_EVERY: u64 = 16;
/// How often an import goes on after an error that passes, without anything acknowledged in between.
const TRIES_MAX: u32 = 20;
const PAUSE: Duration = Duration::from_secs(1);

/// What can be typed after `attune import events`.
#[derive(Debug, Args)]
#[command(after_help = "\
Reads CSV with a header, JSON lines or Parquet (.csv, .jsonl, .ndjson, .parquet;
the text formats also with .gz): user_id, item_id, type, timestamp (RFC 3339,
UTC where it has no zone, or Unix seconds) and, where there are any, value and
event_id. Rows that cannot be used are listed in FILE.rejected.jsonl, with the
reason; FILE.import.json says how far it is. Killed, the same command goes on;
what is sent twice counts once. So do rows far apart that are equal in every
column: who may do the same twice at one time has event_id tell it apart.
Keep the key in ATTUNE_KEY: everybody on this machine sees what is typed.

Examples:
  attune import events history.parquet
  attune import events ratings.csv --map user_id=user --map timestamp=time \\
               --url http://attune.internal:8080")]
pub struct Options {
    /// The file
    #[arg(value_name = "FILE")]
    input: PathBuf,
    #[command(flatten)]
    server: ServerFlags,
    /// A column that has another name in the file; may be given for each
    #[arg(long = "map", value_name = "OURS=THEIRS")]
    columns: Vec<String>,
    /// Send all of it again
    #[arg(long)]
    restart: bool,
}

/// Imports the file, shows a bar, and prints what it came to.
///
/// # Errors
/// The file cannot be read, the server cannot be reached or takes nothing.
pub fn run(config: &Config, options: &Options) -> Result<()> {
    let input = local_path(&options.input)?;
    let map = ColumnMap::parse(&options.columns)?;
    let url = options.server.url(config);
    let target = Target { kind: KIND, url: &url, key: &options.server.key, columns: &options.columns };
    let mut ledger = Ledger::open(&input, target, options.restart)?;
    let before = ledger.progress.clone();
    if before.is_complete {
        say!("{} rows were imported into {url} already: --restart sends them again", term::grouped(before.rows));
        return Ok(());
    }
    let start = Instant::now();
    let bar = Bar::new(&options.input.display().to_string(), &before);
    let mut import = Import { input, map, key: options.server.key.clone(), bar };
    let done = serve::runtime()?.block_on(import.complete(&mut ledger));
    import.bar.bar.finish_and_clear();
    report(&ledger, &before, start.elapsed().as_secs_f64());
    done
}

/// Imports a whole file into the server at `url`; every row has to be kept.
///
/// # Errors
/// As [`run`], and when a row was left out.
pub async fn whole(input: &Path, url: &str, key: &str) -> Result<u64> {
    let mut ledger = Ledger::open(input, Target { kind: KIND, url, key, columns: &[] }, true)?;
    let bar = Bar::new(&input.display().to_string(), &ledger.progress);
    let mut import = Import { input: input.to_owned(), map: ColumnMap::default(), key: key.to_owned(), bar };
    let done = import.complete(&mut ledger).await;
    import.bar.bar.finish_and_clear();
    done?;
    let Progress { rows, accepted, .. } = ledger.progress;
    ensure!(accepted == rows, "of {rows} rows {accepted} were kept: see {}", ledger.rejects().display());
    Ok(rows)
}

struct Import {
    input: PathBuf,
    map: ColumnMap,
    key: String,
    bar: Bar,
}

/// Rows of the file that are sent together, or, if none of them is an event, not at all.
struct Sent {
    /// Rows of the file up to here.
    rows: u64,
    /// Bytes of the file up to here.
    bytes: u64,
    /// The numbers of the rows that are sent, in their order.
    numbers: Vec<u64>,
    /// Rows that are not.
    rejected: Vec<Rejected>,
}

/// Why one stream ended early.
enum Ended {
    /// The same may go well later.
    Passing(anyhow::Error),
    /// It will not.
    Final(anyhow::Error),
}

impl Import {
    /// Streams until the file is at its end, beginning again behind what is acknowledged after an error that passes.
    async fn complete(&mut self, ledger: &mut Ledger) -> Result<()> {
        let mut tries = 0;
        loop {
            let rows = ledger.progress.rows;
            match self.stream(ledger).await {
                Ok(()) => return Ok(()),
                Err(Ended::Final(error)) => return Err(error),
                Err(Ended::Passing(error)) => {
                    tries = if ledger.progress.rows > rows { 1 } else { tries + 1 };
                    if tries > TRIES_MAX {
                        return Err(
                            error.context(format!("given up after {TRIES_MAX} tries; the same command goes on"))
                        );
                    }
                    tracing::warn!(%error, "going on in a second");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn stream(&mut self, ledger: &mut Ledger) -> Result<(), Ended> {
        let url = ledger.progress.url.clone();
        let mut client = connect(&url, &self.key).await.map_err(Ended::Passing)?;
        let (send_batch, batches) = mpsc::channel(1);
        let (send_note, mut notes) = mpsc::channel(BATCHES_AHEAD);
        let (input, map, skip) = (self.input.clone(), self.map.clone(), ledger.progress.rows);
        let reading = tokio::task::spawn_blocking(move || read(&input, &map, skip, &send_note, &send_batch));
        let request = client.track_stream(ReceiverStream::new(batches));
        let mut answers = request.await.map_err(|status| ended(&status))?.into_inner();

        let (mut progress, mut rejected, mut unnoted) = (ledger.progress.clone(), Vec::new(), 0);
        let outcome = loop {
            let Some(sent) = notes.recv().await else { break Ok(()) };
            let answer =
                if sent.numbers.is_empty() { Ok(v1::TrackResponse::default()) } else { next(&mut answers).await };
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => break Err(error),
            };
            self.bar.show(&sent);
            rejected.extend(settle(&mut progress, sent, answer));
            unnoted += 1;
            if unnoted == NOTE_EVERY {
                ledger.note(progress.clone(), &std::mem::take(&mut rejected)).map_err(Ended::Final)?;
                unnoted = 0;
            }
        };
        drop((notes, answers));
        let read = reading.await.map_err(|error| Ended::Final(error.into()))?;
        progress.is_complete = outcome.is_ok() && read.is_ok();
        ledger.note(progress, &rejected).map_err(Ended::Final)?;
        outcome?;
        read.map_err(Ended::Final)
    }
}

/// Reads the file on a thread that may block, as far ahead as the channels let it.
fn read(
    input: &Path,
    map: &ColumnMap,
    skip: u64,
    notes: &mpsc::Sender<Sent>,
    batches: &mpsc::Sender<v1::TrackStreamRequest>,
) -> Result<()> {
    let mut reader = Reader::<Event>::open(input, map, skip)?;
    while let Some(batch) = reader.next_batch(LIMITS)? {
        let numbers: Vec<u64> = batch.rows.iter().map(|row| row.number).collect();
        let is_empty = numbers.is_empty();
        let (rows, bytes) = (reader.rows_read(), reader.file_bytes());
        // Whoever has stopped listening knows why.
        if notes.blocking_send(Sent { rows, bytes, numbers, rejected: batch.rejected }).is_err() {
            return Ok(());
        }
        let events = batch.rows.into_iter().map(message).collect();
        let request = v1::TrackStreamRequest { id: rows, request: Some(v1::TrackRequest { events }) };
        if !is_empty && batches.blocking_send(request).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn message(Numbered { row, .. }: Numbered<Event>) -> v1::Event {
    let timestamp = prost_types::Timestamp {
        seconds: row.timestamp_ms.div_euclid(1_000),
        nanos: row.timestamp_ms.rem_euclid(1_000) as i32 * 1_000_000,
    };
    v1::Event {
        event_id: row.event_id,
        r#type: row.kind,
        user_id: Some(row.user_id),
        item_id: Some(row.item_id),
        value: row.value,
        timestamp: Some(timestamp),
        ..v1::Event::default()
    }
}

async fn connect(url: &str, key: &str) -> Result<TrackingClient<client::Keyed>> {
    Ok(TrackingClient::new(client::keyed(url, key).await?))
}

/// The next answer of the stream.
async fn next(answers: &mut tonic::Streaming<v1::TrackStreamResponse>) -> Result<v1::TrackResponse, Ended> {
    let answer = answers.next().await.ok_or_else(|| Ended::Passing(anyhow!("the server ended the stream")))?;
    match answer.map_err(|status| ended(&status))?.outcome {
        Some(Outcome::Response(response)) => Ok(response),
        Some(Outcome::Error(error)) => {
            let told = anyhow!("the server refused a batch: {} ({})", error.detail, error.code);
            Err(if error.retry_after_ms.is_some() { Ended::Passing(told) } else { Ended::Final(told) })
        }
        None => Err(Ended::Final(anyhow!("the server's answer is empty: is it of another version?"))),
    }
}

fn ended(status: &Status) -> Ended {
    let told = anyhow!("{} ({:?})", status.message(), status.code());
    match status.code() {
        Code::Unavailable | Code::ResourceExhausted | Code::Unknown | Code::Cancelled | Code::Internal => {
            Ended::Passing(told)
        }
        _ => Ended::Final(told),
    }
}

/// Counts what became of a batch; what was left out, in the order of the file.
fn settle(progress: &mut Progress, sent: Sent, answer: v1::TrackResponse) -> Vec<Rejected> {
    let refused = answer.rejected.into_iter().filter_map(|one| {
        let row = *sent.numbers.get(one.index as usize)?;
        Some(Rejected { row, reason: one.detail })
    });
    let mut rejected: Vec<Rejected> = sent.rejected.into_iter().chain(refused).collect();
    rejected.sort_by_key(|one| one.row);
    progress.rows = sent.rows;
    progress.accepted += u64::from(answer.accepted);
    progress.duplicates += u64::from(answer.duplicates);
    progress.rejected += rejected.len() as u64;
    rejected
}

/// A bar over the bytes of the file, with the rows that are acknowledged and their rate.
struct Bar {
    bar: ProgressBar,
    start: Instant,
    rows_before: u64,
}

impl Bar {
    fn new(label: &str, before: &Progress) -> Self {
        if before.rows > 0 {
            term::detail(&format!("going on behind row {}", term::grouped(before.rows)));
        }
        let bar = term::file_bar(label);
        bar.set_length(before.bytes);
        Self { bar, start: Instant::now(), rows_before: before.rows }
    }

    fn show(&self, sent: &Sent) {
        let rate = (sent.rows - self.rows_before) as f64 / self.start.elapsed().as_secs_f64().max(1e-3);
        self.bar.set_message(format!("{} rows, {}/s", term::grouped(sent.rows), term::grouped(rate as u64)));
        self.bar.set_position(sent.bytes);
    }
}

fn report(ledger: &Ledger, before: &Progress, seconds: f64) {
    let Progress { rows, accepted, duplicates, rejected, .. } = ledger.progress;
    let rate = (rows - before.rows) as f64 / seconds.max(1e-3);
    let [rows, accepted, duplicates] = [rows, accepted, duplicates].map(term::grouped);
    say!(
        "{rows} rows: {accepted} kept, {duplicates} known already, {} left out; {seconds:.1} s, {} rows/s",
        term::grouped(rejected),
        term::grouped(rate as u64)
    );
    if rejected > 0 {
        term::warn(&format!("why rows were left out: {}", ledger.rejects().display()));
    }
}
