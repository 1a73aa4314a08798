//! `attune train als|ease|...`: events in, a verified folder out.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use attune_api::catalogue::SharedCatalogue;
use attune_batch::history::History;
use attune_batch::job::MANIFEST;
use attune_batch::names::Names;
use attune_batch::read::ColumnMap;
use attune_batch::recommender::{
    DataCard, InputFile, Kind, Measured, Place, Settings, Stored, Trained, search, train, train_without_people,
};
use attune_batch::write::digest;
use attune_content::Inventory;
use attune_gateway::DEFAULT_TENANT;
use attune_ranking::data::Worth;
use attune_ranking::evaluate::Protocol;
use attune_store::resolve::Stores;
use attune_store::{StoreKind, Tenant};
use attune_trainer::{MakesLists, Trying, read_lake};
use clap::Args;
use tokio::runtime::Runtime;

use crate::bench::workers;
use crate::config::Config;
use crate::keys::require_installation;
use crate::trained::Rehearsals;
use crate::worth::WorthFlag;
use crate::{keys, models, serve, term};

/// What can be typed after `attune train als` and the others.
#[derive(Debug, Args)]
#[command(after_help = "\
Reads CSV with a header, JSON lines or Parquet with the columns user_id, item_id,
type, timestamp and, where there is one, value; or RecBole's .inter. What an
event of each type is worth is the section [worth] of the configuration.

Writes a version, a folder named by the hash of its content: the same command on
the same file writes the same bytes. First, a model with the same options is
trained without a part of the events and asked about them (--protocol): the
folder's README.md has the figures.

With --lake a version holds nothing of single users: who they are is not in the
lake, and lists are made of what they did. What it weighs in lists beside other
sources is learned with it, as the trainer of a server learns it, if --protocol
holds anything out. It can be run beside a server.

Examples:
  attune train als --events events.csv
  attune train ease --events log.parquet --map user_id=visitor --map item_id=sku
  attune train als --events events.csv --set factors=128 --search 30
  attune train ease --lake && attune recommenders promote ease
  attune score --task recommend --model als --input users.csv --output lists.parquet")]
pub struct Options {
    /// Events to learn from
    #[arg(long, value_name = "FILE", required_unless_present = "lake")]
    events: Option<PathBuf>,
    /// Learn from what this server was told: the last trainer.events_max events of its event lake
    #[arg(long, conflicts_with_all = ["events", "columns"])]
    lake: bool,
    /// Whose lake
    // Not `requires = "lake"`: a parser takes that for given where something excludes it.
    #[arg(long, default_value = DEFAULT_TENANT, conflicts_with = "events")]
    tenant: Tenant,
    /// A column that has another name in the file
    #[arg(long = "map", value_name = "OURS=THEIRS")]
    columns: Vec<String>,
    /// What events are worth.
    #[command(flatten)]
    worth: WorthFlag,
    #[command(flatten)]
    place: PlaceFlags,
    /// Changes an option of the model; may be given for each
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Decides what is random: the first values of factors, and the splits
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Try so many settings first, and take the best on a validation part [default: none]
    #[arg(long, value_name = "TRIALS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    search: Option<u32>,
    /// How events are held out to measure, or `none` [default: user-90-10; leave-last-out-full for sequential; with
    /// --search recbole-811-full]
    #[arg(long, value_name = "NAME", value_parser = protocol_name)]
    protocol: Option<String>,
}

/// Where a recommender goes.
#[derive(Debug, Args)]
pub struct PlaceFlags {
    /// Its name: the versions are in DATA/recommenders/NAME [default: what is trained]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Write this folder instead, which must not be there
    #[arg(long, value_name = "DIR", conflicts_with = "name")]
    output: Option<PathBuf>,
}

const NO_PROTOCOL: &str = "none";

fn protocol_name(name: &str) -> Result<String, String> {
    match name {
        NO_PROTOCOL => Ok(name.to_owned()),
        _ => Protocol::named(name).map(|protocol| protocol.name.to_owned()).map_err(|error| error.to_string()),
    }
}

/// Trains, measures, and writes the folder.
///
/// # Errors
/// The events cannot be read or nothing can be learned from them, or the folder cannot be written.
pub fn run(config: &Config, kind: Kind, options: &Options) -> Result<()> {
    let start = Instant::now();
    let place = options.place.at(config, &kind.to_string())?;
    let (worth, map) = (options.worth.or(&config.worth, config)?, ColumnMap::parse(&options.columns)?);
    let mut settings = Settings::new(kind, options.seed).set(&options.set)?;
    let runtime = serve::runtime()?;
    let (mut history, input, lists) = options.read(config, &map, &worth, &runtime)?;
    told(&history);
    options.worth.tell_unknown(&worth, history.log.kinds());
    let threads = workers(config);
    let protocol = options.protocol(kind)?;
    if let Some(trials) = options.search {
        let protocol = protocol.context("--search needs a protocol with a validation part")?;
        settings = searched(settings, &history, &worth, (protocol, options.seed, trials as usize), threads)?;
    }
    let (measured, blend) = match protocol {
        Some(protocol) => {
            let lists = lists.as_ref().map(|lists| (lists as &dyn MakesLists, &options.tenant));
            let asked = (protocol, options.seed);
            Trying { settings: &settings, worth: &worth, asked, threads, lists }.measured(&history, &|| true)
        }
        None => (Measured::Not { reason: "it was not asked for (--protocol none)".to_owned() }, Vec::new()),
    };
    show(&measured);
    let train = if options.lake { train_without_people } else { train };
    let trained = train(&settings, &history, &worth)?;
    let command = options.command(kind, &settings, &input);
    let data = DataCard::new(vec![input], &history, worth, trained.unit);
    if options.lake {
        history.users = Names::default();
    }
    let name = options.place.name(&kind.to_string());
    let stored = Stored { blend, ..stored(name, command, settings, trained, history, data, measured) };
    let folder = stored.write(place.as_place())?;
    term::good(&format!("{kind} trained in {:.1} s, written to {}", start.elapsed().as_secs_f64(), folder.display()));
    say!("{}", folder.display());
    Ok(())
}

fn searched(
    settings: Settings,
    history: &History,
    worth: &Worth,
    asked: (&'static Protocol, u64, usize),
    threads: usize,
) -> Result<Settings> {
    let bar = term::count_bar("search", asked.2 as u64);
    let tried = |trial, _| bar.set_position(trial as u64);
    let found = search(&settings, &history.log, worth, asked, threads, tried)?;
    bar.finish_and_clear();
    let (best, found) = found.with_context(|| format!("{} has no settings to search for", settings.name()))?;
    let params: Vec<String> = found.best().params.iter().map(|(name, value)| format!("{name} {value:.3e}")).collect();
    term::detail(&format!("best of {} trials, ndcg {:.4}: {}", asked.2, found.best().value, params.join(", ")));
    Ok(best)
}

fn stored(
    name: String,
    command: String,
    settings: Settings,
    trained: Trained,
    history: History,
    data: DataCard,
    measured: Measured,
) -> Stored {
    let History { users, items, rejected, .. } = history;
    let Trained { model, histories, .. } = trained;
    Stored { name, command, settings, model, users, items, histories, data, measured, blend: Vec::new(), rejected }
}

/// What was read, and what was left out.
pub fn told(history: &History) {
    if let Some(first) = history.rejected.first() {
        let (count, row, reason) = (term::grouped(history.rejected_count as u64), first.row, &first.reason);
        term::warn(&format!("{count} rows were left out, the first is row {row}: {reason}"));
    }
    let [events, users, items] = [history.log.events().len(), history.users.len(), history.items.len()];
    let [events, users, items] = [events, users, items].map(|count| term::grouped(count as u64));
    term::detail(&format!("{events} events of {users} users with {items} items"));
}

fn show(measured: &Measured) {
    match measured {
        Measured::HeldOut(report) => say!("{report}"),
        Measured::Not { reason } => term::warn(&format!("not measured: {reason}")),
    }
}

/// What a file is, by its content.
pub fn input_file(role: &str, path: &Path, map: &ColumnMap) -> Result<InputFile> {
    // A folder of parts has a manifest with their hashes, if it is one of Attune's.
    let content = if path.is_dir() { path.join(MANIFEST) } else { path.to_owned() };
    let (bytes, sha256) =
        File::open(&content).and_then(digest).with_context(|| format!("cannot read {}", content.display()))?;
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(InputFile { role: role.to_owned(), file, bytes, sha256, columns: map.pairs().clone() })
}

/// A [`Place`] that owns its parts.
pub struct Target {
    data: PathBuf,
    name: String,
    folder: Option<PathBuf>,
}

impl Target {
    /// The place.
    pub fn as_place(&self) -> Place<'_> {
        match &self.folder {
            Some(folder) => Place::Folder(folder),
            None => Place::Named(&self.data, &self.name),
        }
    }
}

impl PlaceFlags {
    /// What it is called.
    pub fn name(&self, default: &str) -> String {
        let folder = self.output.as_ref().and_then(|folder| folder.file_name());
        let folder = folder.map(|name| name.to_string_lossy().into_owned());
        self.name.clone().or(folder).unwrap_or_else(|| default.to_owned())
    }

    /// Where it goes, before any work is done.
    ///
    /// # Errors
    /// The folder is there, or the name is none.
    pub fn at(&self, config: &Config, default: &str) -> Result<Target> {
        let name = self.name.clone().unwrap_or_else(|| default.to_owned());
        models::check_name(&name)?;
        if let Some(folder) = &self.output {
            ensure!(folder.file_name().is_some(), "--output {} names no folder", folder.display());
        }
        let target = Target { data: config.data.clone(), name, folder: self.output.clone() };
        target.as_place().check_free()?;
        Ok(target)
    }
}

impl Options {
    /// What there is to learn, what it is known by, and how lists are made where it is a server's.
    fn read(
        &self,
        config: &Config,
        map: &ColumnMap,
        worth: &Worth,
        runtime: &Runtime,
    ) -> Result<(History, InputFile, Option<Rehearsals>)> {
        if let Some(events) = &self.events {
            return Ok((History::read(events, map)?, input_file("events", events, map)?, None));
        }
        require_installation(config, &[StoreKind::Relational, StoreKind::Documents, StoreKind::Objects])?;
        runtime.block_on(async {
            let rows = Stores::relational(&config.stores, &config.data).await?;
            keys::require_tenant(&*rows, &self.tenant).await?;
            let objects = Stores::objects(&config.stores, &config.data).await?;
            let learned = read_lake(&*objects, &self.tenant, worth, config.trainer.events_max).await?;
            let lists =
                Rehearsals::new(self.catalogue(config).await?, None, config.recommendation.clone(), worth.clone());
            Ok((learned.history, learned.input, Some(lists)))
        })
    }

    /// The items of the server whose lake it is.
    async fn catalogue(&self, config: &Config) -> Result<SharedCatalogue> {
        let rows = Stores::relational(&config.stores, &config.data).await?;
        let documents = Stores::documents(&config.stores, &config.data).await?;
        let inventory = Inventory::open(&*rows, documents, self.tenant.clone()).await;
        let inventory = inventory.map_err(|error| anyhow!("the items cannot be read: {}", error.detail))?;
        Ok(Arc::new(inventory))
    }

    fn protocol(&self, kind: Kind) -> Result<Option<&'static Protocol>> {
        let default = match kind {
            Kind::Sequential => Settings::new(kind, 0).protocol(),
            _ if self.search.is_some() => "recbole-811-full",
            _ => Settings::new(kind, 0).protocol(),
        };
        match self.protocol.as_deref().unwrap_or(default) {
            NO_PROTOCOL => Ok(None),
            name => Ok(Some(Protocol::named(name)?)),
        }
    }

    /// The command that does it again: what differs from the defaults, with what a search found.
    fn command(&self, kind: Kind, settings: &Settings, input: &InputFile) -> String {
        let from = match self.lake {
            false => format!("--events {}", input.file),
            true if self.tenant.as_str() == DEFAULT_TENANT => "--lake".to_owned(),
            true => format!("--lake --tenant {}", self.tenant),
        };
        let mut command = format!("attune train {kind} {from} --seed {}", self.seed);
        let mut add = |flag: &str, value: &str| command.push_str(&format!(" --{flag} {value}"));
        self.columns.iter().for_each(|pair| add("map", pair));
        settings.changes(&Settings::new(kind, self.seed)).iter().for_each(|pair| add("set", pair));
        if let Some(file) = self.worth.file_name() {
            add("worth", &file);
        }
        if let Some(protocol) = &self.protocol {
            add("protocol", protocol);
        } else if self.search.is_some() && kind != Kind::Sequential {
            add("protocol", "recbole-811-full");
        }
        command
    }
}
