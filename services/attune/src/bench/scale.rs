//! `attune bench scale`: a server with a catalogue, users and a history of a stated size.
//!
//! It is filled as an application would fill it: items over REST, the history by `attune import events`. Then it is killed
//! at the end of the import, when it has most to read again, stopped as it should be, and killed once more. A start ends
//! with the first whole list for a user of the history. Nothing is trained meanwhile; the last server trains a recommender
//! of all that is there, which is when a server needs most memory.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use attune_api::moment::now_ms;
use attune_api::progress;
use attune_api::rest::operations::ReadyBackground;
use attune_api::rest::recommendation::{RecommendRequest, RecommendResponse};
use attune_load::random::SplitMix64;
use attune_trainer::TrainerConfig;
use clap::Args;
use serde::Serialize;

use super::made_up::{self, Size};
use super::write_json;
use crate::client::Rest;
use crate::config::{Config, EngineFlags};
use crate::own_server::{Home, Memory, OwnServer};
use crate::{import, serve, term};

/// The history is of so many seconds.
const HISTORY_S: i64 = 30 * 86_400;
/// Types of events, each as likely as another.
const TYPES: [&str; 10] = ["view", "view", "view", "view", "view", "click", "click", "click", "click", "purchase"];
/// What follows the log, as it is called where a server says how far behind it is.
const READERS: [&str; 2] = [progress::LISTS, progress::LAKE];
/// How far behind it may be and has still read everything.
const LAG_S_MAX: f64 = 1.0;
/// A start, or catching up, takes no longer.
const PATIENCE: Duration = Duration::from_secs(1_800);
const PAUSE: Duration = Duration::from_millis(20);
/// A server gives back what it does not use every few seconds.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// What can be typed after `attune bench scale`.
#[derive(Debug, Args)]
#[command(after_help = "\
Starts servers of its own in other processes, one after the other on the same
data, which lies in the data folder and goes when all is measured. With the
defaults it takes some minutes and 4 GB of disk.

Examples:
  attune bench scale
  attune bench scale --items 1000 --no-embeddings --events 1000000 --json scale.json")]
pub struct Options {
    /// Flags of the engine.
    #[command(flatten)]
    pub flags: EngineFlags,
    /// Items in the catalogue
    #[arg(long, default_value_t = 100_000)]
    items: usize,
    /// Users, each as likely as another
    #[arg(long, default_value_t = 100_000)]
    users: usize,
    /// Events in the history
    #[arg(long, default_value_t = 5_000_000)]
    events: usize,
    /// Do not wait until the items are embedded
    #[arg(long)]
    no_embeddings: bool,
    /// After the import, wait until lists and lake have read all of it, instead of killing the server at once
    #[arg(long)]
    catch_up: bool,
    /// Train no recommender at the end
    #[arg(long)]
    no_training: bool,
    /// Also write everything to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Everything that was found.
#[derive(Debug, Serialize)]
struct Report {
    items: usize,
    users: usize,
    events: u64,
    /// Until the items were sent, and embedded.
    items_s: f64,
    /// Until the last event was acknowledged.
    import_s: f64,
    /// The server that took it all, at that moment.
    import_memory: Memory,
    /// Who had not read everything then.
    behind: Vec<Behind>,
    /// From then until they had, where that was waited for.
    catch_up_s: Option<f64>,
    starts: Vec<Start>,
    training: Option<Training>,
}

/// A reader of the log at the end of the import.
#[derive(Debug, Serialize)]
struct Behind {
    name: String,
    /// Records that it had not dealt with.
    records: u64,
}

/// A recommender that was trained.
#[derive(Debug, Serialize)]
struct Training {
    /// From the start of the server to the model's being in service, or refused.
    trained_s: f64,
    /// What the server said of it.
    note: String,
    /// Some seconds later.
    memory: Memory,
}

/// A start on what is there.
#[derive(Debug, Serialize)]
struct Start {
    /// How the server before it ended.
    after: &'static str,
    /// From the start of the process to the first whole list.
    first_list_s: f64,
    /// And until all that follows the log has read it.
    caught_up_s: f64,
    /// Some seconds later.
    memory: Memory,
}

/// Fills a server, ends and starts it again and again, prints what that took.
///
/// # Errors
/// A server does not start, cannot be filled or reached, or a file cannot be written.
pub fn run(config: &Config, options: &Options) -> Result<()> {
    ensure!(options.items > 0 && options.users > 0 && options.events > 0, "--items, --users and --events are above 0");
    let untrained =
        Config { trainer: TrainerConfig { model: String::new(), ..config.trainer.clone() }, ..config.clone() };
    let mut home = Home::new(&untrained)?;
    let trainer = (!options.no_training).then(|| config.trainer.clone());
    let report = serve::runtime()?.block_on(measure(&mut home, options, trainer))?;
    show(&report);
    options.json.as_ref().map_or(Ok(()), |path| write_json(&report, path))
}

async fn measure(home: &mut Home, options: &Options, trainer: Option<TrainerConfig>) -> Result<Report> {
    let size = Size { items: options.items, users: options.users };
    let file = home.path("history.csv");
    write_history(&file, size, options.events).context("the history cannot be written")?;
    let mut server = home.start()?;
    let rest = Rest::new(&server.url, &server.key);
    let start = Instant::now();
    made_up::send_items(&rest, options.items).await?;
    if !options.no_embeddings {
        made_up::at_rest(&rest).await?;
    }
    let items_s = start.elapsed().as_secs_f64();
    term::detail(&format!("{} items after {items_s:.1} s; importing", term::grouped(options.items as u64)));
    let before = made_up::background(&rest, &READERS).await?;
    let start = Instant::now();
    let events = import::events::whole(&file, &server.url, &server.key).await?;
    let (import_s, import_memory) = (start.elapsed().as_secs_f64(), server.memory()?);
    let behind = behind(&before, &made_up::background(&rest, &READERS).await?, events);
    term::detail(&format!("{} events after {import_s:.1} s", term::grouped(events)));
    let start = Instant::now();
    if options.catch_up {
        all_read(&server, &rest).await?;
    }
    let catch_up_s = options.catch_up.then(|| start.elapsed().as_secs_f64());

    server.kill()?;
    let end = if options.catch_up { "SIGKILL when all was read" } else { "SIGKILL at the end of the import" };
    let (server, killed) = started(home, end).await?;
    let stopping = server.stop()?;
    term::detail(&format!("stopped in {stopping:.1?}"));
    let (mut server, stopped) = started(home, "a stop").await?;
    server.kill()?;
    let (mut server, again) = started(home, "SIGKILL").await?;
    server.kill()?;
    let training = match trainer {
        Some(trainer) => Some(trained(home, trainer).await?),
        None => None,
    };
    let (items, users, starts) = (options.items, options.users, vec![killed, stopped, again]);
    Ok(Report { items, users, events, items_s, import_s, import_memory, behind, catch_up_s, starts, training })
}

/// How many of so many new records each has not dealt with, by what it had `before` and has `now`.
fn behind(before: &[ReadyBackground], now: &[ReadyBackground], events: u64) -> Vec<Behind> {
    let records = |lines: &[ReadyBackground], name: &str| {
        lines.iter().find(|line| line.name == name).map_or(0, |line| line.records)
    };
    let behind = |line: &ReadyBackground| {
        let done = line.records.saturating_sub(records(before, &line.name));
        Behind { name: line.name.clone(), records: events.saturating_sub(done) }
    };
    now.iter().map(behind).collect()
}

/// Starts a server that trains, and waits until it has.
async fn trained(home: &mut Home, trainer: TrainerConfig) -> Result<Training> {
    home.change(|config| config.trainer = trainer);
    let server = home.start()?;
    let rest = Rest::new(&server.url, &server.key);
    let mut note = None;
    until(&server, async || {
        let lines = made_up::background(&rest, &[progress::TRAINER]).await?;
        note = lines.into_iter().find_map(|line| line.note);
        ensure!(note.is_some(), "no recommender was trained");
        Ok(())
    })
    .await?;
    let trained_s = server.began.elapsed().as_secs_f64();
    tokio::time::sleep(SETTLED_AFTER).await;
    Ok(Training { trained_s, note: note.unwrap_or_default(), memory: server.memory()? })
}

fn write_history(path: &Path, size: Size, events: usize) -> std::io::Result<()> {
    let mut random = SplitMix64::new(3);
    let mut file = BufWriter::new(File::create(path)?);
    writeln!(file, "user_id,item_id,type,timestamp")?;
    let begin = now_ms() / 1_000 - HISTORY_S;
    for number in 0..events {
        let kind = TYPES[random.below(TYPES.len() as u64) as usize];
        let time = begin + HISTORY_S * number as i64 / events as i64;
        writeln!(file, "{},{},{kind},{time}", size.user(&mut random), size.popular(&mut random))?;
    }
    file.into_inner()?.sync_data()
}

/// Starts the next server, and waits for its first list and until it has caught up.
async fn started(home: &mut Home, after: &'static str) -> Result<(OwnServer, Start)> {
    let server = home.start()?;
    let rest = Rest::new(&server.url, &server.key);
    let ask = RecommendRequest { user_id: Some("user-0".into()), ..RecommendRequest::default() };
    until(&server, async || {
        let list: RecommendResponse = rest.post("/v1/recommend", &ask).await?;
        ensure!(!list.degraded, "a list with notes: {:?}", list.notes);
        Ok(())
    })
    .await?;
    let first_list_s = server.began.elapsed().as_secs_f64();
    all_read(&server, &rest).await?;
    let caught_up_s = server.began.elapsed().as_secs_f64();
    tokio::time::sleep(SETTLED_AFTER).await;
    let start = Start { after, first_list_s, caught_up_s, memory: server.memory()? };
    term::detail(&format!("after {after}: a list in {first_list_s:.1} s, all read in {caught_up_s:.1} s"));
    Ok((server, start))
}

async fn all_read(server: &OwnServer, rest: &Rest) -> Result<()> {
    until(server, async || {
        let late = made_up::behind(rest, &READERS, LAG_S_MAX).await?;
        late.map_or(Ok(()), |late| bail!("{} is {:.0} s behind", late.name, late.lag_s))
    })
    .await
}

async fn until(server: &OwnServer, mut goes_well: impl AsyncFnMut() -> Result<()>) -> Result<()> {
    loop {
        match goes_well().await {
            Ok(()) => return Ok(()),
            Err(error) if server.began.elapsed() > PATIENCE => return Err(error),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

fn show(report: &Report) {
    let Report { items, users, events, items_s, import_s, import_memory, behind, catch_up_s, starts, training } =
        report;
    let [items, users] = [*items, *users].map(|count| term::grouped(count as u64));
    let rate = term::grouped((*events as f64 / import_s) as u64);
    say!("{items} items in {items_s:.1} s, {users} users");
    say!("{} events imported in {import_s:.1} s: {rate}/s", term::grouped(*events));
    for Behind { name, records } in behind {
        say!("  {name} had {} of them still to read", term::grouped(*records));
    }
    if let Some(seconds) = catch_up_s {
        say!("  all was read {seconds:.1} s later");
    }
    say!("{:<34} {:>10} {:>10} {:>12} {:>9} {:>9}", "", "first list", "all read", "resident MB", "own MB", "peak MB");
    let row = |what: &str, times: [String; 2], memory: &Memory| {
        let [resident, own, peak] = [memory.resident, memory.anonymous, memory.peak].map(|bytes| bytes as f64 / 1e6);
        say!("{what:<34} {:>10} {:>10} {resident:>12.0} {own:>9.0} {peak:>9.0}", times[0], times[1]);
    };
    row("at the end of the import", Default::default(), import_memory);
    for Start { after, first_list_s, caught_up_s, memory } in starts {
        row(&format!("after {after}"), [first_list_s, caught_up_s].map(|seconds| format!("{seconds:.1} s")), memory);
    }
    if let Some(Training { trained_s, note, memory }) = training {
        row("with a recommender trained", Default::default(), memory);
        say!("{trained_s:.0} s after the start: {note}");
    }
}

#[cfg(test)]
mod tests {
    use attune_batch::read::{BatchLimits, ColumnMap, Event, Reader};

    use super::*;

    #[test]
    fn what_is_behind_is_told_in_records_of_the_import() {
        let line = |name: &str, records| {
            let (name, lag_s) = (name.to_owned(), 0.0);
            ReadyBackground { name, lag_s, starting: false, records, note: None }
        };
        let found = behind(&[line("lists", 100)], &[line("lists", 600), line("lake", 1_000)], 1_000);
        assert_eq!(found.iter().map(|one| one.records).collect::<Vec<_>>(), [500, 0]);
    }

    #[test]
    fn the_history_is_one_that_can_be_imported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.csv");
        write_history(&path, Size { items: 5, users: 3 }, 200).unwrap();
        let mut reader = Reader::<Event>::open(&path, &ColumnMap::default(), 0).unwrap();
        let batch = reader.next_batch(BatchLimits { rows_max: 1_000, bytes_max: 1 << 20 }).unwrap().unwrap();
        assert_eq!((batch.rows.len(), batch.rejected.len()), (200, 0));
        let times: Vec<i64> = batch.rows.iter().map(|one| one.row.timestamp_ms).collect();
        assert!(times.is_sorted() && times[199] <= now_ms());
    }
}
