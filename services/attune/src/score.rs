//! `attune score`: embed or judge every text of a file, or recommend to every user, in a job that can be killed and
//! given again.

mod recommend;

use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use attune_batch::job::{self, JobOptions, Output, PART_ROWS_DEFAULT, Progress, Summary};
use attune_batch::read::{ColumnMap, Row, Text};
use attune_batch::task::{Embed, Sentiment, Task};
use attune_batch::uri::local_path;
use attune_inference::Inference;
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use tokio::runtime::Runtime;

use crate::config::{Config, EngineFlags, Model};
use crate::{belongs, compose, serve, term};

/// What can be typed after `attune score`.
#[derive(Debug, Args)]
#[command(after_help = "\
Reads CSV with a header, JSON lines or Parquet (.csv, .jsonl, .ndjson, .parquet;
the text formats also with .gz): a column text, and an id where there is one.
Writes a folder of parts that pandas, DuckDB and Spark read as one table, with
the columns row, id, then embedding, or label, score and scores, then truncated.
Rows that cannot be read are listed in OUTPUT.rejected.jsonl, with the reason;
where that is all of them, the command fails.

recommend reads a column user_id and, where there is one, history: a list of item
ids (in CSV in JSON, or with spaces between), or of objects with item_id and any
of type, value, timestamp. A history stands in the place of what the model knows
of the user. It writes a row for each item of each list: row, user_id, rank,
item_id, score, based_on, model_version. based_on is user, history, or popular:
nothing is known of the user, and he gets what everybody likes.

Killed or out of disk, the same command goes on behind the last finished part,
and the output is the same to the byte.

Examples:
  attune score --task embed --input items.parquet --output items-embedded.parquet
  attune score --task sentiment --input reviews.csv --map text=review \\
               --output opinions.jsonl --precision int8
  attune score --task recommend --model als --input users.csv --output lists.parquet
  attune score --task recommend --model als --input users.csv --output cheap.parquet \\
               --items items.csv --filter 'price < 20 and not hidden' --k 20")]
pub struct Options {
    /// Flags of the engine.
    #[command(flatten)]
    pub flags: EngineFlags,
    /// What is made of each text or user
    #[arg(long)]
    task: TaskName,
    /// The file of texts or users
    #[arg(long, value_name = "URI")]
    input: PathBuf,
    /// The folder for the parts; ends in .parquet or .jsonl
    #[arg(long, value_name = "URI")]
    output: PathBuf,
    /// The configured model [default: the first for embed, sentiment for sentiment]; a recommender by its name,
    /// NAME/VERSION or folder
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// A column that has another name in the file; may be given for each
    #[arg(long = "map", value_name = "OURS=THEIRS")]
    columns: Vec<String>,
    /// Rows of the input in a part: what a kill loses at most
    #[arg(long, value_name = "N", default_value_t = PART_ROWS_DEFAULT)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    part_rows: u64,
    /// Delete what is there and begin again
    #[arg(long)]
    restart: bool,
    #[command(flatten)]
    recommend: recommend::Flags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TaskName {
    /// A vector of unit length
    Embed,
    /// Negative, neutral or positive, and how probable each is
    Sentiment,
    /// The best items for each user
    Recommend,
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.to_possible_value().expect("no task is hidden");
        write!(f, "--task {}", name.get_name())
    }
}

/// Scores the file, shows a bar, and prints what it came to.
///
/// # Errors
/// An option is of another task, the model is missing, the input cannot be read or the output cannot be written.
pub fn run(config: &Config, options: &Options) -> Result<()> {
    const OF_LISTS: &[TaskName] = &[TaskName::Recommend];
    belongs::check(options.task, &options.recommend.given().map(|(flag, is_given)| (flag, is_given, OF_LISTS)))?;
    let (job, label) = (options.job()?, options.input.display().to_string());
    if options.task == TaskName::Recommend {
        let mut task = recommend::load(config, options.model.as_deref(), &options.recommend)?;
        return complete(&mut task, &job, &label);
    }
    let model = options.model(config)?;
    let runtime = serve::runtime()?;
    complete(options.load(config, model, &runtime)?.as_mut(), &job, &label)
}

fn complete<R: Row>(task: &mut dyn Task<Row = R>, job: &JobOptions, label: &str) -> Result<()> {
    let start = Instant::now();
    let mut bar = Bar::new(label);
    let summary = job::run(task, job, |progress| bar.show(progress));
    bar.finish();
    let summary = summary?;
    report(job, summary, start.elapsed().as_secs_f64());
    ensure!(
        summary.rows == 0 || summary.rejected < summary.rows,
        "no row of {label} could be used: {} says why",
        job.output.rejected_path().display()
    );
    Ok(())
}

impl Options {
    fn job(&self) -> Result<JobOptions> {
        Ok(JobOptions {
            input: local_path(&self.input).context("--input")?,
            output: Output::new(&local_path(&self.output).context("--output")?).context("--output")?,
            columns: ColumnMap::parse(&self.columns)?,
            part_rows: self.part_rows,
            restart: self.restart,
        })
    }

    fn model<'a>(&self, config: &'a Config) -> Result<&'a Model> {
        let name = match (&self.model, self.task) {
            (Some(name), _) => name.as_str(),
            (None, TaskName::Sentiment) => "sentiment",
            (None, _) => return config.models.first().context("no model is configured"),
        };
        let model = config.models.iter().find(|model| model.name == name || model.aliases.iter().any(|a| a == name));
        model.with_context(|| {
            let known: Vec<&str> = config.models.iter().map(|model| model.name.as_str()).collect();
            format!("no configured model is called {name:?}; there are: {}", known.join(", "))
        })
    }

    /// Loads the one model. Nothing else runs in this process, so the job has all engines.
    fn load(&self, config: &Config, model: &Model, runtime: &Runtime) -> Result<Box<dyn Task<Row = Text>>> {
        let inference = Inference::start(compose::inference(config), vec![compose::spec(config, model)?])?;
        let handle = runtime.handle().clone();
        Ok(match self.task {
            TaskName::Sentiment => Box::new(Sentiment::new(inference, handle, &model.name)?),
            _ => Box::new(Embed::new(inference, handle, &model.name)?),
        })
    }
}

/// A bar over the bytes of the input, with the rows done and their rate in this process.
struct Bar {
    bar: ProgressBar,
    started: Option<(Instant, u64)>,
}

impl Bar {
    fn new(label: &str) -> Self {
        Self { bar: term::file_bar(label), started: None }
    }

    fn show(&mut self, progress: Progress) {
        let (start, rows_before) = *self.started.get_or_insert_with(|| {
            if progress.rows > 0 {
                term::detail(&format!("going on behind row {}", term::grouped(progress.rows)));
            }
            self.bar.set_length(progress.bytes_total);
            // What an earlier start has done says nothing about the time that is left.
            self.bar.set_position(progress.bytes);
            self.bar.reset_eta();
            (Instant::now(), progress.rows)
        });
        let rate = (progress.rows - rows_before) as f64 / start.elapsed().as_secs_f64().max(1e-3);
        self.bar.set_message(format!("{} rows, {}/s", term::grouped(progress.rows), term::grouped(rate as u64)));
        self.bar.set_position(progress.bytes);
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn report(job: &JobOptions, summary: Summary, seconds: f64) {
    let Summary { rows, rejected, rows_before, parts } = summary;
    let (done, rate) = (rows - rows_before, (rows - rows_before) as f64 / seconds.max(1e-3));
    let folder = job.output.folder();
    let parts = format!("{parts} {} in {}", if parts == 1 { "part" } else { "parts" }, folder.display());
    let (rows, rejected_rows) = (term::grouped(rows), term::grouped(rejected));
    if done == 0 && rows_before > 0 {
        say!("{rows} rows, {rejected_rows} rejected, nothing left to do, {parts}");
    } else {
        say!("{rows} rows, {rejected_rows} rejected, {seconds:.1} s, {} rows/s, {parts}", term::grouped(rate as u64));
    }
    if done > 0 && rows_before > 0 {
        term::detail(&format!("{} of them were done by an earlier start", term::grouped(rows_before)));
    }
    if rejected > 0 {
        term::warn(&format!("why rows were rejected: {}", job.output.rejected_path().display()));
    }
}
