//! `attune train vectors`: a recommender of vectors that another program made.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use attune_batch::read::ColumnMap;
use attune_batch::recommender::vectors::{Table, Vectors};
use attune_batch::recommender::{DataCard, Histories, InputFile, Measured, Model, Settings, Stored, VectorSettings};
use attune_ranking::index::Metric;
use clap::{Args, ValueEnum};

use super::recommender::{PlaceFlags, input_file};
use crate::config::Config;
use crate::term;

/// What can be typed after `attune train vectors`.
#[derive(Debug, Args)]
#[command(after_help = "\
Both are Parquet, a file or a folder of parts that `attune score` wrote: a column
user_id or item_id, and a column vector, a list (of fixed size or not) of floats,
all of one length. A row that cannot be used ends the command with its number;
nothing is written.

A user who is not in the file is answered by the mean vector of the items of the
history that he is asked about with, and cannot be answered without one.

Examples:
  attune train vectors --users users.parquet --items items.parquet
  attune train vectors --items towers.parquet --map item_id=sku --map vector=embedding --metric cosine")]
pub struct Options {
    /// Vectors of users; without them every user is answered by a history
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// Vectors of items
    #[arg(long, value_name = "FILE")]
    items: PathBuf,
    /// A column that has another name in the files: user_id, item_id or vector
    #[arg(long = "map", value_name = "OURS=THEIRS")]
    columns: Vec<String>,
    /// What a score is
    #[arg(long, default_value = "inner-product")]
    metric: MetricName,
    #[command(flatten)]
    place: PlaceFlags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MetricName {
    /// The vectors as they are
    InnerProduct,
    /// Their directions alone
    Cosine,
}

const NAME: &str = "vectors";
const COLUMNS: [&str; 3] = ["user_id", "item_id", "vector"];

/// Reads the vectors, all or none, and writes the folder.
///
/// # Errors
/// A file or a row cannot be used, or the folder cannot be written.
pub fn run(config: &Config, options: &Options) -> Result<()> {
    let place = options.place.at(config, NAME)?;
    let map = ColumnMap::parse(&options.columns)?;
    let unknown = map.pairs().keys().find(|ours| !COLUMNS.contains(&ours.as_str()));
    ensure!(unknown.is_none(), "--map {}=...: the columns are {}", unknown.map_or("", |o| o), COLUMNS.join(", "));
    let metric = match options.metric {
        MetricName::InnerProduct => Metric::InnerProduct,
        MetricName::Cosine => Metric::Cosine,
    };
    let mut inputs = vec![input_file("items", &options.items, &map)?];
    let items = Table::read(&options.items, "item_id", &map, metric)?;
    let users = match &options.users {
        Some(path) => {
            inputs.push(input_file("users", path, &map)?);
            Some(Table::read(path, "user_id", &map, metric)?)
        }
        None => None,
    };
    let (vectors, users, items) = Vectors::new(users, items, metric)?;
    let data = DataCard { users: users.len(), items: items.len(), inputs, ..DataCard::without_events() };
    let stored = Stored {
        name: options.place.name(NAME),
        command: options.command(&data.inputs),
        settings: Settings::Vectors(VectorSettings { metric }),
        model: Model::Vectors(vectors),
        histories: Histories::empty(users.len()),
        users,
        items,
        data,
        measured: Measured::Not { reason: "what these vectors were trained on is not known here".to_owned() },
        blend: Vec::new(),
        rejected: Vec::new(),
    };
    let [users, items] = [stored.users.len(), stored.items.len()].map(|count| term::grouped(count as u64));
    let folder = stored.write(place.as_place())?;
    term::good(&format!("{users} users and {items} items written to {}", folder.display()));
    say!("{}", folder.display());
    Ok(())
}

impl Options {
    /// The command that does it again, with the files by their roles.
    fn command(&self, inputs: &[InputFile]) -> String {
        let mut command = "attune train vectors".to_owned();
        let mut add = |flag: &str, value: &str| command.push_str(&format!(" --{flag} {value}"));
        inputs.iter().for_each(|input| add(&input.role, &input.file));
        self.columns.iter().for_each(|pair| add("map", pair));
        if self.metric == MetricName::Cosine {
            add("metric", "cosine");
        }
        command
    }
}
