//! `attune bench als`: what an epoch of implicit alternating least squares costs, alone, by the number of interactions.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use attune_ranking::data::Interactions;
use attune_ranking::train::{Als, AlsOptions};
use clap::Args;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};
use serde::Serialize;

use super::{workers, write_json};
use crate::config::{Config, WorkerFlags};
use crate::term;

/// Interactions of a user, and users of an item, in synthetic data.
const USER_INTERACTIONS: usize = 50;
const ITEM_USERS: usize = 10;
/// How popular the most popular items are.
const EXPONENT: f64 = 0.8;

/// What can be typed after `attune bench als`.
#[derive(Debug, Args)]
#[command(after_help = "\
Synthetic interactions: 50 a user, a tenth as many items as users, items drawn by
Zipf's law with exponent 0.8. --pairs measures interactions of your own: pairs of
32-bit numbers, user and item, little endian.

Examples:
  attune bench als
  attune bench als --interactions 100000 --factors 128 --steps 0")]
pub struct Options {
    /// Flags of the engine: --workers is what counts here.
    #[command(flatten)]
    pub flags: WorkerFlags,
    /// Interactions, with commas
    #[arg(long, value_name = "N,..", value_delimiter = ',', default_values_t = [100_000, 1_000_000, 10_000_000])]
    interactions: Vec<usize>,
    /// Measure these pairs instead
    #[arg(long, value_name = "FILE", conflicts_with = "interactions")]
    pairs: Option<PathBuf>,
    /// Numbers a vector
    #[arg(long, value_name = "N", default_value_t = 64)]
    factors: usize,
    /// Epochs of a run
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    epochs: u32,
    /// Steps of conjugate gradients for a row; 0 for the exact solution
    #[arg(long, value_name = "N", default_value_t = AlsOptions::default().steps)]
    steps: usize,
    /// Runs, the median of which counts
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Also write everything to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What was measured on one table.
#[derive(Clone, Debug, Serialize)]
struct Record {
    users: usize,
    items: usize,
    interactions: usize,
    factors: usize,
    steps: usize,
    threads: usize,
    /// Of each run.
    seconds_an_epoch: Vec<f64>,
}

/// Trains on each table and prints what an epoch costs.
///
/// # Errors
/// The pairs cannot be read, or the result cannot be written.
pub fn run(config: &Config, options: &Options) -> Result<()> {
    let threads = workers(config);
    let tables: Vec<Box<dyn Fn() -> Result<Interactions>>> = match &options.pairs {
        Some(path) => vec![Box::new(move || read(path))],
        None => options.interactions.iter().map(|&count| Box::new(move || synthetic(count)) as Box<_>).collect(),
    };
    say!("| users | items | interactions | seconds an epoch | ns an interaction |\n|---|---|---|---|---|");
    let mut records = Vec::new();
    for table in tables {
        let record = measure(&table()?, options, threads)?;
        let middle = record.median();
        let [users, items, interactions] =
            [record.users, record.items, record.interactions].map(|count| term::grouped(count as u64));
        let each = middle * 1e9 / record.interactions as f64;
        say!("| {users} | {items} | {interactions} | {middle:.4} | {each:.0} |");
        records.push(record);
    }
    say!("{} factors, {} steps, {threads} threads, median of {}", options.factors, options.steps, options.runs);
    options.json.as_ref().map_or(Ok(()), |path| write_json(&records, path))
}

fn measure(table: &Interactions, options: &Options, threads: usize) -> Result<Record> {
    let als = |epochs: usize| -> Result<f64> {
        let settings =
            AlsOptions { factors: options.factors, steps: options.steps, epochs, threads, ..AlsOptions::default() };
        let start = Instant::now();
        Als::train(table, &settings)?;
        Ok(start.elapsed().as_secs_f64())
    };
    let mut seconds_an_epoch = Vec::new();
    for _ in 0..options.runs {
        // What is done once, whatever the number of epochs, is not an epoch's.
        let (once, all) = (als(0)?, als(options.epochs as usize)?);
        seconds_an_epoch.push((all - once).max(0.0) / f64::from(options.epochs));
    }
    let (users, items, interactions) = (table.rows(), table.width(), table.entries());
    let Options { factors, steps, .. } = *options;
    Ok(Record { users, items, interactions, factors, steps, threads, seconds_an_epoch })
}

impl Record {
    fn median(&self) -> f64 {
        let mut sorted = self.seconds_an_epoch.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }
}

/// So many interactions, less those that are drawn twice.
fn synthetic(count: usize) -> Result<Interactions> {
    let users = count.div_ceil(USER_INTERACTIONS).max(1);
    let items = users.div_ceil(ITEM_USERS).max(USER_INTERACTIONS);
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let popularity = Zipf::new(items as f64, EXPONENT).context("a law of popularity")?;
    // Popular items have any number, as they do in files.
    let mut numbers: Vec<u32> = (0..items as u32).collect();
    for at in (1..items).rev() {
        numbers.swap(at, random.random_range(0..=at));
    }
    let mut entries = Vec::with_capacity(count);
    for entry in 0..count {
        let item = popularity.sample(&mut random) as usize - 1;
        entries.push(((entry % users) as u32, numbers[item.min(items - 1)], 1.0));
    }
    Ok(Interactions::from_entries(users, items, &entries)?)
}

/// Users and items that a table of pairs may have, and how many more for each pair: the largest number decides, and in a
/// file that is none of pairs it is any.
const ROWS_MAX: usize = 1_000_000;
const ROWS_A_PAIR_MAX: usize = 100;

fn read(path: &Path) -> Result<Interactions> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(bytes.len().is_multiple_of(8) && !bytes.is_empty(), "{} is not pairs of 32-bit numbers", path.display());
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    let pairs = || bytes.chunks_exact(8).map(|pair| (number(&pair[..4]), number(&pair[4..])));
    let [users, items] = [pairs().map(|pair| pair.0).max(), pairs().map(|pair| pair.1).max()]
        .map(|last| last.map_or(0, |last| last as usize + 1));
    let rows_max = ROWS_MAX + ROWS_A_PAIR_MAX * bytes.len() / 8;
    ensure!(
        users.max(items) <= rows_max,
        "{} would be of {users} users and {items} items, at most {rows_max} of each are read: is it a file of pairs?",
        path.display()
    );
    let entries: Vec<(u32, u32, f32)> = pairs().map(|(user, item)| (user, item, 1.0)).collect();
    Ok(Interactions::from_entries(users, items, &entries)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synthetic_tables_are_of_the_size_that_is_asked_for() {
        let table = synthetic(10_000).unwrap();
        assert_eq!((table.rows(), table.width()), (200, 50));
        assert!(table.entries() > 3_000 && table.entries() <= 10_000, "{}", table.entries());
    }

    #[test]
    fn pairs_are_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = [1_u32, 0, 0, 2].into_iter().flat_map(u32::to_le_bytes).collect();
        fs::write(file.path(), &bytes).unwrap();
        let table = read(file.path()).unwrap();
        assert_eq!((table.rows(), table.width(), table.entries()), (2, 3, 2));
        let odd: Vec<u8> = [1_u32, u32::MAX].into_iter().flat_map(u32::to_le_bytes).collect();
        fs::write(file.path(), &odd).unwrap();
        assert!(read(file.path()).unwrap_err().to_string().contains("is it a file of pairs?"));
        fs::write(file.path(), &bytes[..7]).unwrap();
        assert!(read(file.path()).is_err());
    }
}
