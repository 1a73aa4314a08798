//! `attune bench infer`: the engine alone, all workers at once, on batches that are ready before the clock starts.
//!
//! The scheduler is left out on purpose, and so is tokenising: `attune bench serve` measures them with everything else.
//! The instruction set of a process is chosen once, so another one is measured by another process of this program.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use attune_inference::ModelSpec;
use attune_inference::engine::{Engine, EngineInfo, FlatBatch, Precision as Format};
use attune_inference::registry::{Model, Registry};
use attune_inference::schedule::EngineFactory;
use attune_kernels::{ISA_VARIABLE, Isa, limits};
use attune_load::texts::bench_texts;
use clap::{ArgAction, Args};

use super::report::{Machine, Record, Report, write_json};
use super::workers;
use super::workload::Lengths;
use crate::config::{Config, Precision, WorkerFlags};
use crate::{compose, term, texts};

/// What can be typed after `attune bench infer`.
// A flag typed twice counts as typed last: that is how `in_another_process` changes this very command line.
#[derive(Debug, Args)]
#[command(
    args_override_self = true,
    after_help = "\
Texts are tokenised before the clock starts, and nothing is padded. Figures are
medians; `spread` is the slowest run minus the fastest, as a share of the median.
`limit` is the share of what the processor can do at most in that format and
instruction set, measured just before. Measure with a release build
(make release) on a quiet machine.

Lengths:
  real         the labelled sentences as they come, in one fixed shuffled order
               (25 tokens on average)
  fixed:N      every text has N tokens
  long-tail    half below 17 tokens, a few very long (Pareto), up to the model's
               limit

Examples:
  attune bench infer
  attune bench infer --precision f32,int8 --lengths real,fixed:128,long-tail
  attune bench infer --isa avx2,avx512 --runs 7 --json infer.json"
)]
pub struct Options {
    /// Flags of the engine.
    #[command(flatten)]
    pub flags: WorkerFlags,
    /// The configured model [default: the first]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// How long the texts are: real, fixed:N, long-tail; several with commas
    #[arg(long, value_delimiter = ',', default_value = "real")]
    lengths: Vec<Lengths>,
    /// Number formats, several with commas
    #[arg(long = "precision", value_delimiter = ',', default_values = ["f32", "bf16", "int8"])]
    precisions: Vec<Precision>,
    /// Instruction sets: scalar, avx2, avx512, amx; several with commas [default: the best of this processor]
    #[arg(long = "isa", value_name = "ISA", value_delimiter = ',', action = ArgAction::Set)]
    isas: Vec<Isa>,
    /// Texts in a run
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    texts: usize,
    /// Texts in a batch; fewer where their tokens are more than the engine takes at once
    #[arg(long = "batch", value_name = "N", default_value_t = 32)]
    batch_texts: usize,
    /// Measured runs of each combination; one more warms up
    #[arg(long, value_name = "N", default_value_t = 5)]
    runs: usize,
    /// Also write everything to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Measures every combination, prints the table and writes the JSON.
///
/// # Errors
/// A model or the texts are missing, a combination does not exist here, or a file cannot be written.
pub fn run(config: &Config, options: &Options) -> Result<()> {
    ensure!(
        options.runs > 0 && options.texts > 0 && options.batch_texts > 0,
        "runs, texts and batches must be above 0"
    );
    let threads = workers(config);
    let mut report = Report { machine: Machine::here(threads), records: Vec::new() };
    let active = Isa::active()?;
    let isas = if options.isas.is_empty() { vec![active] } else { options.isas.clone() };
    for isa in isas {
        if isa == active {
            report.records.extend(measure(config, options, isa, threads)?);
        } else if isa.is_supported() {
            report.records.extend(in_another_process(isa)?);
        } else {
            term::warn(&format!("skipped {isa}: this machine has no such instructions"));
        }
    }
    ensure!(!report.records.is_empty(), "nothing was measured: none of the instruction sets runs here");
    report.print();
    options.json.as_ref().map_or(Ok(()), |path| write_json(&report, path))
}

/// Runs this very command for one other instruction set.
fn in_another_process(isa: Isa) -> Result<Vec<Record>> {
    let json = tempfile::NamedTempFile::new()?;
    let program = std::env::current_exe()?;
    let status = Command::new(program)
        .args(std::env::args_os().skip(1))
        .arg("--isa")
        .arg(isa.to_string())
        .arg("--json")
        .arg(json.path())
        .env(ISA_VARIABLE, isa.to_string())
        .stdout(std::process::Stdio::null())
        .status()?;
    ensure!(status.success(), "the process for {isa} failed");
    Ok(Report::read(json.path())?.records)
}

fn measure(config: &Config, options: &Options, isa: Isa, threads: usize) -> Result<Vec<Record>> {
    let model = match &options.model {
        Some(name) => config.models.iter().find(|model| model.name == *name),
        None => config.models.first(),
    };
    let model = model.ok_or_else(|| match &options.model {
        Some(name) => anyhow!("no configured model is called {name:?}"),
        None => anyhow!("no model is configured"),
    })?;
    let texts = bench_texts(&texts::folder(config), options.texts)?;
    let mut records = Vec::new();
    for &precision in &options.precisions {
        let spec = ModelSpec { precision: Some(compose::precision(precision)), ..compose::spec(config, model)? };
        let limits = compose::inference(config);
        let registry = Registry::load(&[spec], limits.engine, limits.precision, limits.device)?;
        let loaded = &registry.models()[0];
        let real = tokenised(loaded, &texts)?;
        for &lengths in &options.lengths {
            let rows = lengths.rows(&real, loaded.info.max_tokens)?;
            let factory = Arc::clone(loaded) as Arc<dyn EngineFactory>;
            let batches = batches(&rows, options.batch_texts, loaded.capacity_tokens());
            let bench = Bench { factory, batches, threads };
            let seconds = bench.seconds(options.runs, &format!("{lengths} {}", loaded.info.engine.precision))?;
            records.push(Record {
                model: model.name.clone(),
                version: loaded.info.version.clone(),
                lengths: lengths.to_string(),
                precision: loaded.info.engine.precision.to_string(),
                instruction_set: loaded.info.engine.instruction_set.to_owned(),
                batch_texts: options.batch_texts,
                texts: rows.len(),
                tokens: rows.iter().map(Vec::len).sum(),
                operations: rows.iter().map(|row| loaded.work(row.len())).sum(),
                seconds,
                limit_operations_per_s: limit(&loaded.info.engine, isa, threads),
            });
        }
    }
    Ok(records)
}

fn tokenised(model: &Model, texts: &[String]) -> Result<Vec<Vec<u32>>> {
    let encode = |text: &String| Ok(model.tokenizer.encode(text).map_err(anyhow::Error::msg)?.ids);
    texts.iter().map(encode).collect()
}

/// What the processor can do; nothing is known of cards here.
fn limit(engine: &EngineInfo, isa: Isa, threads: usize) -> Option<f64> {
    if engine.name == "cuda" {
        return None;
    }
    let giga = match engine.precision {
        Format::F32 => limits::f32_gflops(isa, threads),
        Format::Bf16 => limits::bf16_gflops(isa, threads),
        Format::Int8 => limits::int8_gops(isa, threads),
        Format::F16 => return None,
    };
    Some(giga * 1e9)
}

/// Token ids and offsets of one batch.
struct Batch {
    tokens: Vec<u32>,
    offsets: Vec<usize>,
}

/// The rows in their order, so many to a batch, and no more tokens than may be.
fn batches(rows: &[Vec<u32>], batch_texts: usize, capacity_tokens: usize) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    for row in rows {
        let is_room =
            |last: &&mut Batch| last.offsets.len() <= batch_texts && last.tokens.len() + row.len() <= capacity_tokens;
        match batches.last_mut().filter(is_room) {
            Some(last) => last.push(row),
            None => {
                let mut first = Batch { tokens: Vec::new(), offsets: vec![0] };
                first.push(row);
                batches.push(first);
            }
        }
    }
    batches
}

impl Batch {
    fn push(&mut self, row: &[u32]) {
        self.tokens.extend(row);
        self.offsets.push(self.tokens.len());
    }
}

struct Bench {
    factory: Arc<dyn EngineFactory>,
    batches: Vec<Batch>,
    threads: usize,
}

impl Bench {
    /// Seconds of each run; each worker takes the next batch when it is free.
    fn seconds(&self, runs: usize, label: &str) -> Result<Vec<f64>> {
        let mut engines: Vec<Box<dyn Engine>> = (0..self.threads).map(|_| self.factory.engine()).collect();
        let bar = term::count_bar(label, runs as u64 + 1);
        let mut seconds = Vec::with_capacity(runs);
        for run in 0..=runs {
            let took = self.once(&mut engines)?;
            // The first run warms caches and scratch memory.
            if run > 0 {
                seconds.push(took);
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(seconds)
    }

    fn once(&self, engines: &mut [Box<dyn Engine>]) -> Result<f64> {
        let next = AtomicUsize::new(0);
        let barrier = Barrier::new(engines.len() + 1);
        let worker = |engine: &mut dyn Engine| {
            let mut out = Vec::new();
            barrier.wait();
            while let Some(batch) = self.batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                out.resize((batch.offsets.len() - 1) * engine.width(), 0.0);
                engine.run(FlatBatch::new(&batch.tokens, &batch.offsets)?, &|| false, &mut out)?;
            }
            anyhow::Ok(())
        };
        let worker = &worker;
        thread::scope(|scope| {
            let running: Vec<_> =
                engines.iter_mut().map(|engine| scope.spawn(move || worker(engine.as_mut()))).collect();
            // Before the barrier: on a busy machine this thread may wake long after the workers, and would flatter them.
            let start = Instant::now();
            barrier.wait();
            for thread in running {
                thread.join().map_err(|_| anyhow!("an engine panicked"))?.context("the engine failed")?;
            }
            Ok(start.elapsed().as_secs_f64())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_keep_the_order_and_lose_nothing() {
        let rows = [vec![1, 2], vec![3], vec![4, 5, 6]];
        let made = batches(&rows, 2, 100);
        assert_eq!(made.len(), 2);
        assert_eq!((made[0].tokens.as_slice(), made[0].offsets.as_slice()), (&[1, 2, 3][..], &[0, 2, 3][..]));
        assert_eq!((made[1].tokens.as_slice(), made[1].offsets.as_slice()), (&[4, 5, 6][..], &[0, 3][..]));
        let texts = |capacity| batches(&rows, 9, capacity).iter().map(|one| one.offsets.len() - 1).collect::<Vec<_>>();
        assert_eq!((texts(3), texts(5), texts(6)), (vec![2, 1], vec![2, 1], vec![3]));
    }
}
