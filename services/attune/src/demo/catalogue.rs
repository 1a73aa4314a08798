//! The second part of the walk: a real catalogue, found by words and by meaning.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use attune_api::rest::content::{BatchItem, SearchAnswer};
use http::Method;

use super::walk::{millis, stop, thousands};
use crate::client::Rest;
use crate::import;
use crate::term::{self, Style, styled};

const WORDS: (&str, &str) = ("space", "year >= 1990 and critics > 50");
const SENTENCE: &str = "Japanese animation for the whole family";
const HITS_SHOWN: usize = 3;
const GENRES_SHOWN: usize = 5;
/// How often the server is asked how far it is.
const POLL: Duration = Duration::from_millis(100);
/// Far more than any of this takes; a hang becomes a failure.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Imports the films through a file in `folder`, and shows how they are found.
///
/// # Errors
/// The file cannot be written, a call failed, or its answer is not what it should be.
pub async fn run(url: &str, key: &str, films: &[BatchItem], folder: &Path) -> Result<()> {
    let rest = Rest::new(url, key);
    import_all(&rest, url, key, films, folder).await?;
    by_words(&rest).await?;
    by_meaning(&rest).await
}

fn write(films: &[BatchItem], lines: &Path) -> Result<()> {
    let mut file = BufWriter::new(File::create(lines).with_context(|| format!("cannot write {}", lines.display()))?);
    for film in films {
        serde_json::to_writer(&mut file, film)?;
        file.write_all(b"\n")?;
    }
    file.into_inner()?.sync_data()?;
    Ok(())
}

async fn import_all(rest: &Rest, url: &str, key: &str, films: &[BatchItem], folder: &Path) -> Result<()> {
    let lines = folder.join("films.jsonl");
    write(films, &lines)?;
    stop(7, &format!("{} films", thousands(films.len())), "attune import items films.jsonl");
    let before = Gauges::read(rest).await?;
    let start = Instant::now();
    let bar = term::file_bar("importing");
    let kept = import::items::whole(&lines, url, key, bar).await?;
    say!("   {} kept and found by words after {:.1} s", thousands(kept as usize), start.elapsed().as_secs_f64());
    let bar = term::count_bar("embedding", kept);
    let after = loop {
        let now = Gauges::read(rest).await?;
        bar.set_position(kept.saturating_sub(now.waiting as u64));
        if now.waiting == 0.0 {
            break now;
        }
        ensure!(start.elapsed() < PATIENCE, "{} films still wait for an embedding", now.waiting);
        tokio::time::sleep(POLL).await;
    };
    bar.finish_and_clear();
    let seconds = start.elapsed().as_secs_f64();
    let busy = 100.0 * (after.busy_seconds - before.busy_seconds) / (after.workers * seconds);
    let rate = styled(Style::Green, format!("{:.0} films/s", kept as f64 / seconds));
    let detail = styled(Style::Dim, format!("the engine computed for {busy:.0}% of the time"));
    say!("   and by meaning after {seconds:.1} s: {rate}  {detail}");
    Ok(())
}

/// What the server says of itself.
struct Gauges {
    waiting: f64,
    workers: f64,
    busy_seconds: f64,
}

impl Gauges {
    async fn read(rest: &Rest) -> Result<Self> {
        let text = rest.send(Method::GET, "/metrics", None).await?.text();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.parse().ok()).with_context(|| format!("/metrics has no {name}"))
        };
        Ok(Self {
            waiting: value("attune_content_waiting_items")?,
            workers: value("attune_engine_workers")?,
            busy_seconds: value("attune_engine_busy_seconds")?,
        })
    }
}

async fn by_words(rest: &Rest) -> Result<()> {
    let (words, filter) = WORDS;
    stop(8, "Found by words, counted", "GET /v1/items:search?q=&filter=&facets=");
    let path = format!("/v1/items:search?q={words}&filter={}&facets=genres&k={HITS_SHOWN}", escaped(filter));
    let (answer, took) = search(rest, &path).await?;
    say!("   {words:?} where {filter}: {} films {}", answer.matches, styled(Style::Dim, format!("({})", millis(took))));
    show(&answer);
    let genres = answer.facets.first().context("the genres were asked for")?;
    let counts: Vec<String> =
        genres.values.iter().take(GENRES_SHOWN).map(|one| format!("{} {}", one.value, one.count)).collect();
    say!("   {}", styled(Style::Dim, counts.join(", ")));
    Ok(())
}

async fn by_meaning(rest: &Rest) -> Result<()> {
    stop(9, "Found by a sentence", "GET /v1/items:search?mode=semantic");
    let path = format!("/v1/items:search?q={}&mode=semantic&k={HITS_SHOWN}", escaped(SENTENCE));
    let (answer, took) = search(rest, &path).await?;
    say!("   {SENTENCE:?} {}", styled(Style::Dim, format!("({})", millis(took))));
    show(&answer);
    Ok(())
}

async fn search(rest: &Rest, path: &str) -> Result<(SearchAnswer, Duration)> {
    let start = Instant::now();
    let answer: SearchAnswer = rest.get(path).await?;
    ensure!(!answer.hits.is_empty(), "{path} found nothing");
    Ok((answer, start.elapsed()))
}

fn show(answer: &SearchAnswer) {
    for hit in &answer.hits {
        let year = hit.item.body.attributes.get("year").map(ToString::to_string).unwrap_or_default();
        let title: String = hit.item.body.title.chars().take(36).collect();
        let text = hit.item.body.text.as_deref().unwrap_or_default();
        let line: String = text.split(" of ").next().unwrap_or_default().chars().take(48).collect();
        say!("   {title:<36} {year:<5} {}", styled(Style::Dim, line));
    }
}

/// A text within the query of a URL.
fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
