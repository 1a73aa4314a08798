//! `attune export lists`: the log of one's own installation as rows that an off-policy estimate is made of.
//!
//! What came of a position is told by the events that name its list and its item. First the lists are read and then the
//! events, so that nothing is told of a list that happened before it.

use std::collections::HashSet;
use std::fs;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use arrow::array::{Array, ArrayRef, BooleanArray, Float64Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema, SchemaRef, UInt32Type};
use attune_batch::write::{Format, PartWriter};
use attune_gateway::DEFAULT_TENANT;
use attune_lake::{Dataset, LakeError, Reading, exposures_schema, fold, numbers, texts};
use attune_store::events::EventLog;
use attune_store::objects::Objects;
use attune_store::resolve::Stores;
use attune_store::{StoreKind, Tenant};
use clap::Args;
use tempfile::NamedTempFile;

use crate::config::Config;
use crate::keys::require_installation;
use crate::serve;
use crate::term::{self, grouped};

/// Positions that are written, where nobody says how many: about 200 MB in memory.
const ROWS: u64 = 1_000_000;
/// The newest events that are held against lists.
const EVENTS_MAX: u64 = 20_000_000;
/// Columns of the lake that are written as they are.
const AS_THEY_ARE: [&str; 7] = ["time", "surface", "pipeline", "model_version", "experiment", "arm", "arm_chance"];
const LISTS: [&str; 12] = [
    "subject",
    "request_id",
    "rank",
    "item_id",
    "propensity",
    "time",
    "surface",
    "pipeline",
    "model_version",
    "experiment",
    "arm",
    "arm_chance",
];
const EVENTS: [&str; 4] = ["subject", "type", "item_id", "request_id"];

/// What can be typed after `attune export lists`.
#[derive(Debug, Args)]
#[command(after_help = "\
Writes Parquet or JSON lines, as the name ends in .parquet or .jsonl: list_id,
position (from 1), item_id, propensity, reward, and time, surface, pipeline,
model_version, experiment, arm and arm_chance. A position has a reward of 1 where
an event of --reward names its list (`request_id`) and its item, and 0 otherwise.
`propensity` is how likely the item was to stand there in a list of that arm,
`arm_chance` how likely the arm was. Nothing in it says who it was shown to.

Where a pipeline explores (`exploration`), other items than the best were shown
with known chances, and a policy that was never served can be judged by them. It
can be run beside a server; an embedded event log is open in that process alone,
and what was shown in the last lake.flush_s seconds is then not in the file.

Examples:
  attune export lists shown.parquet
  attune export lists shown.jsonl --pipeline home --reward purchase --reward like
  attune evaluate --protocol off-policy --rows shown.parquet --policy mine.csv")]
pub struct Options {
    /// The file
    #[arg(value_name = "FILE")]
    output: PathBuf,
    /// Whose lists
    #[arg(long, default_value = DEFAULT_TENANT)]
    tenant: Tenant,
    /// Lists of this pipeline alone
    #[arg(long)]
    pipeline: Option<String>,
    /// Lists of this surface alone
    #[arg(long)]
    surface: Option<String>,
    /// A type of events that is a reward; may be given several times
    #[arg(long, value_name = "TYPE", default_value = "click")]
    reward: Vec<String>,
    /// The newest so many positions
    #[arg(long, value_name = "N", default_value_t = ROWS)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    rows: u64,
}

/// Positions that are to be written; the state of a fold.
#[derive(Default)]
struct Shown {
    pipeline: Option<String>,
    surface: Option<String>,
    batches: Vec<RecordBatch>,
}

/// What was rewarded: hashes of a list and an item.
#[derive(Default)]
struct Rewarded {
    kinds: Vec<String>,
    places: HashSet<u64>,
}

/// Writes the file.
///
/// # Errors
/// A store cannot be read, there is no such tenant, there are no such lists, or the file cannot be written.
pub fn run(config: &Config, options: &Options) -> Result<()> {
    let format = format(&options.output)?;
    require_installation(config, &[StoreKind::Objects])?;
    let (shown, rewarded) = serve::runtime()?.block_on(async {
        let rows = Stores::relational(&config.stores, &config.data).await?;
        crate::keys::require_tenant(&*rows, &options.tenant).await?;
        let objects = Stores::objects(&config.stores, &config.data).await?;
        let log = Stores::events(&config.stores, &config.data).await?;
        if log.is_none() {
            term::warn("the event log is open in another process: what is not in the lake yet is left out");
        }
        read(options, log.as_deref(), &*objects).await
    })?;
    let rows: usize = shown.iter().map(RecordBatch::num_rows).sum();
    ensure!(rows > 0, "there are no such lists in the event lake of {}", options.tenant);
    let written = with_rewards(&shown, &rewarded)?;
    write(&options.output, format, &written)?;
    let rewards = rewards(&written)?;
    say!("{} positions, {} of them rewarded, in {}", grouped(rows as u64), grouped(rewards), options.output.display());
    Ok(())
}

fn format(path: &Path) -> Result<Format> {
    match path.extension().and_then(|end| end.to_str()) {
        Some("parquet") => Ok(Format::Parquet),
        Some("jsonl" | "ndjson") => Ok(Format::JsonLines),
        _ => bail!("{} is to end in .parquet or .jsonl, which says how it is written", path.display()),
    }
}

async fn read(
    options: &Options,
    log: Option<&dyn EventLog>,
    objects: &dyn Objects,
) -> Result<(Vec<RecordBatch>, Rewarded)> {
    let tenant = &options.tenant;
    let lists = Reading { log, objects, tenant, dataset: Dataset::Exposures, columns: &LISTS, rows_max: options.rows };
    let start = |_| Shown { pipeline: options.pipeline.clone(), surface: options.surface.clone(), batches: Vec::new() };
    let (shown, _) = fold(lists, start, Shown::take).await?;
    let events = Reading { dataset: Dataset::Events, columns: &EVENTS, rows_max: EVENTS_MAX, ..lists };
    let start = |_| Rewarded { kinds: options.reward.clone(), places: HashSet::new() };
    let (rewarded, _) = fold(events, start, Rewarded::take).await?;
    Ok((shown.batches, rewarded))
}

impl Shown {
    /// What was never likely says nothing, and cannot be: it is left out.
    fn take(&mut self, rows: &RecordBatch) -> Result<(), LakeError> {
        let (pipelines, surfaces) = (texts(rows, "pipeline")?, texts(rows, "surface")?);
        let propensities = numbers::<Float32Type>(rows, "propensity")?;
        let is_asked = |row: usize| {
            let surface = surfaces.is_valid(row).then(|| surfaces.value(row));
            self.pipeline.as_ref().is_none_or(|name| name == pipelines.value(row))
                && self.surface.as_ref().is_none_or(|name| surface == Some(name))
                && propensities.value(row) > 0.0
        };
        let asked: BooleanArray = (0..rows.num_rows()).map(|row| Some(is_asked(row))).collect();
        self.batches.push(filter_record_batch(rows, &asked)?);
        Ok(())
    }
}

impl Rewarded {
    fn take(&mut self, rows: &RecordBatch) -> Result<(), LakeError> {
        let [kinds, items, lists] = ["type", "item_id", "request_id"].map(|name| texts(rows, name));
        let (kinds, items, lists) = (kinds?, items?, lists?);
        for row in 0..rows.num_rows() {
            let has_place = items.is_valid(row) && lists.is_valid(row);
            if has_place && self.kinds.iter().any(|kind| kind == kinds.value(row)) {
                self.places.insert(place(lists.value(row), items.value(row)));
            }
        }
        Ok(())
    }
}

fn place(list: &str, item: &str) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one((list, item))
}

/// The columns of the file.
fn columns() -> SchemaRef {
    let lake = exposures_schema();
    let as_it_is = |name: &str| lake.field_with_name(name).expect("a column of the lake").clone();
    let own = [
        Field::new("list_id", DataType::Utf8, false),
        Field::new("position", DataType::UInt32, false),
        Field::new("item_id", DataType::Utf8, false),
        Field::new("propensity", DataType::Float32, false),
        Field::new("reward", DataType::Float64, false),
    ];
    Arc::new(Schema::new(own.into_iter().chain(AS_THEY_ARE.map(as_it_is)).collect::<Vec<_>>()))
}

/// One batch of the file's columns.
fn with_rewards(shown: &[RecordBatch], rewarded: &Rewarded) -> Result<RecordBatch> {
    let rows = concat_batches(&shown[0].schema(), shown)?;
    let (lists, items) = (texts(&rows, "request_id")?, texts(&rows, "item_id")?);
    let is_rewarded = |row: usize| rewarded.places.contains(&place(lists.value(row), items.value(row)));
    let rewards: Float64Array = (0..rows.num_rows()).map(|row| Some(f64::from(u8::from(is_rewarded(row))))).collect();
    let positions: UInt32Array = numbers::<UInt32Type>(&rows, "rank")?.unary(|rank| rank + 1);
    let column = |name: &str| rows.column_by_name(name).cloned().with_context(|| format!("there is no {name}"));
    let mut all: Vec<ArrayRef> =
        vec![column("request_id")?, Arc::new(positions), column("item_id")?, column("propensity")?, Arc::new(rewards)];
    for name in AS_THEY_ARE {
        all.push(column(name)?);
    }
    Ok(RecordBatch::try_new(columns(), all)?)
}

fn rewards(rows: &RecordBatch) -> Result<u64> {
    let rewards = numbers::<Float64Type>(rows, "reward")?;
    Ok(rewards.values().iter().filter(|reward| **reward > 0.0).count() as u64)
}

/// Writes beside the file and puts it in its place, so that there is never half of one.
fn write(path: &Path, format: Format, rows: &RecordBatch) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || {
        fs::create_dir_all(folder)?;
        let mut file = NamedTempFile::new_in(folder)?;
        let mut writer = PartWriter::new(format, &mut file, &rows.schema())?;
        writer.write(rows)?;
        writer.finish()?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        anyhow::Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
