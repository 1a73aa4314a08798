//! What a bench found: one record for each workload, precision and instruction set; as a table and as JSON.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Everything one call of `attune bench infer` found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// What ran it.
    pub machine: Machine,
    /// One for each combination.
    pub records: Vec<Record>,
}

/// The machine, as far as a reader needs it to judge the figures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// Worker threads, all running at once.
    pub threads: usize,
    /// Version of Attune.
    pub attune: String,
    /// How this program was compiled: `release` or `dev`.
    pub profile: String,
}

/// One workload on one engine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The model's name.
    pub model: String,
    /// Its version.
    pub version: String,
    /// `real`, `fixed:N` or `long-tail`.
    pub lengths: String,
    /// Of the matrix products.
    pub precision: String,
    /// What was used.
    pub instruction_set: String,
    /// Texts in a batch.
    pub batch_texts: usize,
    /// Texts in a run.
    pub texts: usize,
    /// Their tokens, special tokens included; there is no padding.
    pub tokens: usize,
    /// Floating-point or integer operations in a run: the matrix products of the layers and attention.
    pub operations: f64,
    /// Seconds of each run.
    pub seconds: Vec<f64>,
    /// Most operations a second on as many threads, measured by `attune doctor --limits`' loops just before.
    pub limit_operations_per_s: Option<f64>,
}

impl Record {
    /// Median of the runs, in tokens a second.
    pub fn tokens_per_s(&self) -> f64 {
        self.tokens as f64 / median(&self.seconds)
    }

    /// Median of the runs, in texts a second.
    pub fn texts_per_s(&self) -> f64 {
        self.texts as f64 / median(&self.seconds)
    }

    /// Slowest to fastest run, as a share of the median.
    pub fn spread(&self) -> f64 {
        let (low, high) = self.seconds.iter().fold((f64::MAX, 0.0_f64), |(low, high), &s| (low.min(s), high.max(s)));
        (high - low) / median(&self.seconds)
    }

    /// Share of the measured limit that the operations reach.
    pub fn share_of_limit(&self) -> Option<f64> {
        self.limit_operations_per_s.map(|limit| self.operations / median(&self.seconds) / limit)
    }
}

impl Report {
    /// The table, for a person.
    pub fn print(&self) {
        let machine = &self.machine;
        say!("{}, {} threads, attune {} ({})", machine.processor, machine.threads, machine.attune, machine.profile);
        say!("the engine alone: texts are tokenised before the clock starts; no padding");
        say!(
            "{:<10} {:<7} {:<9} {:>9} {:>10} {:>9} {:>6} {:>6} {:>5}",
            "lengths",
            "format",
            "isa",
            "tokens",
            "tokens/s",
            "texts/s",
            "limit",
            "spread",
            "runs"
        );
        for one in &self.records {
            let share = one.share_of_limit().map_or("-".to_owned(), |share| format!("{:.0}%", 100.0 * share));
            say!(
                "{:<10} {:<7} {:<9} {:>9} {:>10.0} {:>9.0} {:>6} {:>5.1}% {:>5}",
                one.lengths,
                one.precision,
                one.instruction_set,
                one.tokens,
                one.tokens_per_s(),
                one.texts_per_s(),
                share,
                100.0 * one.spread(),
                one.seconds.len()
            );
        }
    }

    /// Reads what [`write_json`] wrote.
    ///
    /// # Errors
    /// The file cannot be read or is something else.
    pub fn read(path: &Path) -> Result<Self> {
        let read = || anyhow::Ok(serde_json::from_reader(File::open(path)?)?);
        read().with_context(|| format!("cannot read {}", path.display()))
    }
}

/// Writes any report as JSON.
///
/// # Errors
/// The file cannot be written.
pub fn write_json(report: &impl Serialize, path: &Path) -> Result<()> {
    let write = || anyhow::Ok(serde_json::to_writer_pretty(File::create(path)?, report)?);
    write().with_context(|| format!("cannot write {}", path.display()))
}

impl Machine {
    /// This one, with so many worker threads.
    pub fn here(threads: usize) -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Self {
            processor: name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.to_owned()),
            threads,
            attune: env!("CARGO_PKG_VERSION").to_owned(),
            profile: if cfg!(debug_assertions) { "dev" } else { "release" }.to_owned(),
        }
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_median_run() {
        let record = Record {
            model: "m".into(),
            version: "v".into(),
            lengths: "real".into(),
            precision: "f32".into(),
            instruction_set: "avx2".into(),
            batch_texts: 32,
            texts: 10,
            tokens: 100,
            operations: 1e9,
            seconds: vec![4.0, 1.0, 2.0],
            limit_operations_per_s: Some(1e9),
        };
        assert_eq!((record.tokens_per_s(), record.texts_per_s()), (50.0, 5.0));
        assert_eq!((record.spread(), record.share_of_limit()), (1.5, Some(0.5)));
        assert_eq!(median(&[1.0, 3.0]), 2.0);
    }
}
