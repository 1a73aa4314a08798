//! `attune bench rank`: exact top-k alone, on vectors from a file or made here.
//!
//! The answers to the first queries are compared with brute force: a fast wrong answer is none.

mod vectors;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use attune_kernels::{Isa, inner_products};
use attune_ranking::index::{Allowed, Scored, Search, Segment};
use clap::Args;
use serde::{Deserialize, Serialize};

use self::vectors::{Shape, Vectors};
use super::report::{Machine, write_json};
use super::workers;
use crate::config::{Config, WorkerFlags};

/// Queries that are compared with brute force.
const CHECKED: usize = 64;
/// A run lasts at least so many queries or so many seconds, whichever is over first.
const RUN_QUERIES: usize = 4_096;
const RUN_SECONDS: f64 = 2.0;

/// What can be typed after `attune bench rank`.
#[derive(Debug, Args)]
#[command(after_help = "\
Vectors are scaled to length 1. Recall is measured against brute force, by score,
and must be 1: otherwise the command fails. A filter keeps that share of all
items, chosen at random, and is part of the scan. One that comes again and again
has its items laid out for themselves; where 32 filters take turns, each is
forgotten before it comes again, which shows what one costs that comes once.
Measure with a release build (make release) on a quiet machine.

Shapes:
  clustered   1,000 centres, normal; each vector a centre plus 0.7 times a normal
              vector
  gaussian    every value normal, no structure at all
  embedded    spread as embeddings of texts are; use it with --width 384

Examples:
  attune bench rank
  attune bench rank --shape gaussian --filter 1
  attune bench rank --filter 0.1 --filters 32
  attune bench rank --shape embedded --width 384 --items 100000
  attune bench rank --vectors items.f32 --queries queries.f32 --width 128")]
pub struct Options {
    /// Flags of the workers.
    #[command(flatten)]
    pub flags: WorkerFlags,
    /// Items, where they are made here
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    items: usize,
    /// Values a vector
    #[arg(long, value_name = "N", default_value_t = 64)]
    width: usize,
    /// How items are made
    #[arg(long, value_enum, default_value_t = Shape::Clustered)]
    shape: Shape,
    /// Items from a file of little-endian f32 instead, row-major
    #[arg(long, value_name = "FILE", requires = "queries")]
    vectors: Option<PathBuf>,
    /// Queries from such a file
    #[arg(long, value_name = "FILE", requires = "vectors")]
    queries: Option<PathBuf>,
    /// Items an answer
    #[arg(long, default_value_t = 100)]
    k: usize,
    /// Queries at once, several with commas
    #[arg(long = "batch", value_name = "N", value_delimiter = ',', default_values_t = [1, 8, 64])]
    batches: Vec<usize>,
    /// Shares of items that a filter keeps, with commas; 1 is no filter
    #[arg(long = "filter", value_name = "SHARE", value_delimiter = ',', default_values_t = [1.0, 0.1])]
    shares: Vec<f64>,
    /// Filters of each share, which take turns
    #[arg(long, value_name = "N", default_value_t = 1)]
    filters: usize,
    /// Measured runs of each combination; one more warms up
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: usize,
    /// Also write everything to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Everything one call found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// What ran it.
    pub machine: Machine,
    /// The tier of the kernels.
    pub instruction_set: String,
    /// How many.
    pub items: usize,
    /// Values a vector.
    pub width: usize,
    /// Items an answer.
    pub k: usize,
    /// To lay the items out for search.
    pub build_seconds: f64,
    /// Of the index, over the bytes of the vectors alone.
    pub memory_ratio: f64,
    /// One for each combination.
    pub records: Vec<Record>,
}

/// One combination.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Share of the items that the filter keeps.
    pub filter: f64,
    /// Queries at once.
    pub batch: usize,
    /// Queries a second, of each run.
    pub queries_per_s: Vec<f64>,
    /// Of the answers that were checked.
    pub recall: f64,
}

impl Record {
    /// The median of the runs.
    pub fn median(&self) -> f64 {
        let mut sorted = self.queries_per_s.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }
}

/// Measures every combination, prints the table and writes the JSON.
///
/// # Errors
/// A file is not what it should be, an option is out of range, or an answer is not that of brute force.
pub fn run(config: &Config, options: &Options) -> Result<()> {
    let counts = [&[options.runs, options.filters], &options.batches[..]].concat();
    ensure!(!counts.contains(&0), "runs, filters and batches must be above 0");
    ensure!(options.shares.iter().all(|share| (0.0..=1.0).contains(share)), "a filter keeps a share of 0 to 1");
    let threads = workers(config);
    let vectors = match (&options.vectors, &options.queries) {
        (Some(items), Some(queries)) => Vectors::read(items, queries, options.width)?,
        _ => Vectors::make(options.shape, options.items, options.width)?,
    };
    let rows: Vec<u32> = (0..u32::try_from(vectors.items.len() / options.width)?).collect();
    let started = Instant::now();
    let segment = Segment::build(&vectors.items, options.width, &rows, threads).context("the items")?;
    let mut report = Report {
        machine: Machine::here(threads),
        instruction_set: Isa::active()?.to_string(),
        items: segment.items(),
        width: options.width,
        k: options.k,
        build_seconds: started.elapsed().as_secs_f64(),
        memory_ratio: segment.bytes() as f64 / size_of_val(&vectors.items[..]) as f64,
        records: Vec::new(),
    };
    report.print_head();
    for &share in &options.shares {
        let filters: Vec<Filter> = (0..options.filters).map(|salt| Filter::keep(&segment, share, salt)).collect();
        if let [filter] = &filters[..] {
            introduce(&segment, &vectors.queries, filter, options, threads)?;
        }
        let recall = recall(&segment, &vectors, &filters[0], options, threads)?;
        for &batch in &options.batches {
            let queries_per_s = speeds(&segment, &vectors.queries, &filters, batch, options, threads)?;
            let record = Record { filter: share, batch, queries_per_s, recall };
            record.print();
            report.records.push(record);
        }
    }
    options.json.as_ref().map_or(Ok(()), |path| write_json(&report, path))?;
    let wrong = report.records.iter().find(|record| record.recall < 1.0);
    ensure!(wrong.is_none(), "an answer is not that of brute force: this is a defect of Attune");
    Ok(())
}

/// Items that may be found.
struct Filter {
    share: f64,
    salt: usize,
    allowed: Option<Allowed>,
}

impl Filter {
    /// A share of all items that has nothing to do with their vectors.
    fn keep(segment: &Segment, share: f64, salt: usize) -> Self {
        let keeps = |row: u32| keeps(row, share, salt);
        let place = |(place, row): (usize, Option<u32>)| row.is_some_and(keeps).then_some(place as u32);
        let places = || segment.places().enumerate().filter_map(place);
        let allowed = (share < 1.0).then(|| Allowed::new(segment.places().len(), places()));
        Self { share, salt, allowed }
    }
}

/// Multiplicative hashing (Knuth, volume 3, 6.4): neighbours get unrelated numbers, and a salt turns all of them.
fn keeps(row: u32, share: f64, salt: usize) -> bool {
    let turned = (salt as u32).wrapping_mul(0x0bad_5eed);
    f64::from(row.wrapping_mul(2_654_435_769).wrapping_add(turned)) < share * f64::from(u32::MAX)
}

/// Share of the checked answers whose scores are those of brute force.
fn recall(segment: &Segment, vectors: &Vectors, filter: &Filter, options: &Options, threads: usize) -> Result<f64> {
    let width = options.width;
    let queries = &vectors.queries[..vectors.queries.len().min(CHECKED * width)];
    let search = Search { queries, k: options.k, allowed: filter.allowed.as_ref(), excluded: &[], threads };
    let found = segment.search(&search)?;
    let isa = Isa::active()?;
    let mut scores = vec![0.0; vectors.items.len() / width];
    let (mut right, mut all) = (0, 0);
    for (query, found) in queries.chunks_exact(width).zip(&found) {
        inner_products(isa, query, &vectors.items, &mut scores);
        let mut expected: Vec<Scored> = (0..).zip(&scores).map(|(row, &score)| Scored { row, score }).collect();
        expected.retain(|scored| filter.share >= 1.0 || keeps(scored.row, filter.share, filter.salt));
        expected.sort_by(|left, right| right.score.total_cmp(&left.score).then(left.row.cmp(&right.row)));
        expected.truncate(options.k);
        all += expected.len();
        right += expected.iter().zip(found).filter(|(expected, found)| expected == found).count();
    }
    Ok(if all == 0 { 1.0 } else { right as f64 / all as f64 })
}

/// Asks once with each query: a filter that is asked with so often is laid out.
fn introduce(segment: &Segment, queries: &[f32], filter: &Filter, options: &Options, threads: usize) -> Result<()> {
    for queries in queries.chunks(CHECKED * options.width) {
        let search = Search { queries, k: options.k, allowed: filter.allowed.as_ref(), excluded: &[], threads };
        segment.search(&search)?;
    }
    Ok(())
}

/// Queries a second of each run.
fn speeds(
    segment: &Segment,
    queries: &[f32],
    filters: &[Filter],
    batch: usize,
    options: &Options,
    threads: usize,
) -> Result<Vec<f64>> {
    let values = (batch * options.width).min(queries.len());
    let mut batches = queries.chunks_exact(values).cycle().zip(filters.iter().cycle());
    let mut run = || -> Result<f64> {
        let (started, mut done) = (Instant::now(), 0);
        while done < RUN_QUERIES && started.elapsed().as_secs_f64() < RUN_SECONDS {
            let (queries, filter) = batches.next().context("there are no queries")?;
            let search = Search { queries, k: options.k, allowed: filter.allowed.as_ref(), excluded: &[], threads };
            segment.search(&search)?;
            done += queries.len() / options.width;
        }
        Ok(done as f64 / started.elapsed().as_secs_f64())
    };
    run()?;
    (0..options.runs).map(|_| run()).collect()
}

impl Report {
    fn print_head(&self) {
        let Machine { processor, threads, attune, profile } = &self.machine;
        say!("{processor}, {threads} threads, {}, attune {attune} ({profile})", self.instruction_set);
        say!("exact top-{} of {} items of {} values, recall against brute force", self.k, self.items, self.width);
        say!("built in {:.1} s, {:.2} times the bytes of the vectors\n", self.build_seconds, self.memory_ratio);
        say!("{:>7} {:>6} {:>11} {:>7} {:>7}", "filter", "batch", "queries/s", "spread", "recall");
    }
}

impl Record {
    fn print(&self) {
        let (least, most) = self.queries_per_s.iter().fold((f64::MAX, 0.0_f64), |(l, m), &v| (l.min(v), m.max(v)));
        let spread = 100.0 * (most - least) / self.median();
        say!(
            "{:>6}% {:>6} {:>11.0} {:>6.1}% {:>7.3}",
            100.0 * self.filter,
            self.batch,
            self.median(),
            spread,
            self.recall
        );
    }
}
