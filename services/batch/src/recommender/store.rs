//! The folder of a recommender: written once, verified whenever it is read.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use attune_ranking::data::{Scorer, Worth};
use attune_ranking::score::RankBand;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::card::card;
use super::tensors::Tensors;
use super::{Histories, Measured, Model, RecommenderError, Settings};
use crate::folder::{self, FileEntry, Staging};
use crate::history::History;
use crate::names::Names;
use crate::read::Rejected;

/// What the manifest says it is of.
const FORMAT: &str = "attune recommender";
/// Raised when older folders can no longer be read.
const FORMAT_VERSION: u32 = 1;
/// Hexadecimal digits of a version.
const VERSION_CHARS: usize = 12;
/// The file that says which version a name means.
const CURRENT: &str = "current";

const CONFIG: &str = "config.json";
const MODEL: &str = "model.safetensors";
const HISTORIES: &str = "histories.safetensors";
const USERS: &str = "users.txt";
const ITEMS: &str = "items.txt";
const DATA: &str = "data.json";
const METRICS: &str = "metrics.json";
const BLEND: &str = "blend.json";
const REJECTED: &str = "rejected.jsonl";
const CARD: &str = "README.md";

/// The manifest of a recommender's folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    format: String,
    format_version: u32,
    files: Vec<FileEntry>,
}

impl Manifest {
    pub(super) fn new(files: Vec<FileEntry>) -> Self {
        Self { format: FORMAT.into(), format_version: FORMAT_VERSION, files }
    }
}

/// A file that a recommender was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputFile {
    /// `events`, `users` or `items`.
    pub role: String,
    /// Its name, without the folder.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// Its hash.
    pub sha256: String,
    /// Columns that have another name than ours.
    pub columns: BTreeMap<String, String>,
}

/// What a recommender was trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataCard {
    /// The files.
    pub inputs: Vec<InputFile>,
    /// Events that were read.
    pub events: usize,
    /// Rows that were left out.
    pub rejected: usize,
    /// Events of each type.
    pub kinds: BTreeMap<String, usize>,
    /// Users.
    pub users: usize,
    /// Items.
    pub items: usize,
    /// Unix seconds of the first event.
    pub first: Option<i64>,
    /// Unix seconds of the last event; half-lives are counted back from here.
    pub last: Option<i64>,
    /// What events were worth.
    pub worth: Worth,
    /// What every worth was multiplied with, so that the mean liked event is worth 1.
    pub unit: f32,
}

impl DataCard {
    /// Of a recommender that learned from these files, which became this history.
    pub fn new(inputs: Vec<InputFile>, history: &History, worth: Worth, unit: f32) -> Self {
        let log = &history.log;
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for event in log.events() {
            *kinds.entry(log.kinds()[usize::from(event.kind)].clone()).or_default() += 1;
        }
        Self {
            inputs,
            events: log.events().len(),
            rejected: history.rejected_count,
            kinds,
            users: history.users.len(),
            items: history.items.len(),
            first: log.events().iter().map(|event| event.time).min(),
            last: log.latest(),
            worth,
            unit,
        }
    }

    /// Of a recommender that learned from no events.
    pub fn without_events() -> Self {
        Self {
            inputs: Vec::new(),
            events: 0,
            rejected: 0,
            kinds: BTreeMap::new(),
            users: 0,
            items: 0,
            first: None,
            last: None,
            worth: Worth::alike(),
            unit: 1.0,
        }
    }
}

/// Everything that is written.
pub struct Stored {
    /// What it is called in its card.
    pub name: String,
    /// The command that makes it again, for the card.
    pub command: String,
    /// Which model, with which options.
    pub settings: Settings,
    /// The model.
    pub model: Model,
    /// Names of the users, by row.
    pub users: Names,
    /// Names of the items, by row.
    pub items: Names,
    /// What each user did.
    pub histories: Histories,
    /// What it was trained on.
    pub data: DataCard,
    /// How good it is.
    pub measured: Measured,
    /// What its ranks weigh beside other sources of lists, by how much is known of a user; none where that was not learned.
    pub blend: Vec<RankBand>,
    /// Rows that were left out, the first of them.
    pub rejected: Vec<Rejected>,
}

/// Where a recommender is put.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// As a version of a name in a data folder; the name means it from then on.
    Named(&'a Path, &'a str),
    /// As this folder, which must not be there.
    Folder(&'a Path),
}

impl Place<'_> {
    /// Refuses a folder that is there.
    ///
    /// # Errors
    /// [`RecommenderError::Exists`].
    pub fn check_free(self) -> Result<(), RecommenderError> {
        match self {
            Place::Folder(folder) if fs::symlink_metadata(folder).is_ok() => {
                Err(RecommenderError::Exists { folder: folder.to_owned() })
            }
            _ => Ok(()),
        }
    }
}

/// Where the recommenders of a data folder are.
pub(super) fn recommenders(data: &Path) -> PathBuf {
    data.join("recommenders")
}

impl Stored {
    /// Writes the folder, whole or not at all, and gives its path. A version that is there already is left as it is if it
    /// is whole.
    ///
    /// # Errors
    /// The folder is there or cannot be written; nothing is left of what was begun.
    pub fn write(self, place: Place<'_>) -> Result<PathBuf, RecommenderError> {
        place.check_free()?;
        let mut staging = match place {
            Place::Named(data, name) => Staging::begin(&recommenders(data).join(name))?,
            Place::Folder(folder) => match folder.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => Staging::beside(parent)?,
                _ => Staging::beside(Path::new("."))?,
            },
        };
        self.stage(&mut staging)?;
        let sealed = staging.seal(Manifest::new)?;
        match place {
            Place::Folder(folder) => {
                // Somebody may have made it meanwhile.
                place.check_free()?;
                sealed.commit(folder.file_name().unwrap_or_default())?;
                Ok(folder.to_owned())
            }
            Place::Named(data, name) => {
                let parent = recommenders(data).join(name);
                let version = version_of(sealed.sha256()).to_owned();
                let folder = parent.join(&version);
                if whole(&folder).is_err() {
                    sealed.commit(&version)?;
                }
                folder::replace_file(&parent.join(CURRENT), format!("{version}\n").as_bytes())?;
                Ok(folder)
            }
        }
    }

    fn stage(self, staging: &mut Staging) -> Result<(), RecommenderError> {
        let card = card(&self);
        let Self { settings, model, users, items, histories, data, measured, blend, rejected, .. } = self;
        let mut tensors = Tensors::default();
        model.into_tensors("", &mut tensors);
        staging.add_written(MODEL, |path| tensors.write(path))?;
        drop(tensors);
        let histories = histories.into_tensors();
        staging.add_written(HISTORIES, |path| histories.write(path))?;
        let mut add = |name: &str, text: String| staging.add(name, &mut text.as_bytes());
        add(USERS, users.to_lines())?;
        add(ITEMS, items.to_lines())?;
        add(CONFIG, json(&settings))?;
        add(DATA, json(&data))?;
        add(METRICS, json(&measured))?;
        if !blend.is_empty() {
            add(BLEND, json(&blend))?;
        }
        add(REJECTED, rejected.iter().map(|row| serde_json::to_string(row).expect("plain data") + "\n").collect())?;
        add(CARD, card)?;
        Ok(())
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("plain data") + "\n"
}

/// Reads every byte of a folder and compares it.
pub(super) fn whole(folder: &Path) -> Result<(), RecommenderError> {
    Ok(folder::verify(folder, &Files::open(folder)?.entries)?)
}

/// The folder that a name or a path means: a path as it is, `NAME` its current version, `NAME/VERSION` that one.
///
/// # Errors
/// [`RecommenderError::Unknown`].
pub fn resolve(data: &Path, name: &str) -> Result<PathBuf, RecommenderError> {
    let as_path = Path::new(name);
    if as_path.join(folder::MANIFEST).is_file() {
        return Ok(as_path.to_owned());
    }
    let below = recommenders(data).join(name);
    if below.join(folder::MANIFEST).is_file() {
        return Ok(below);
    }
    let version = fs::read_to_string(below.join(CURRENT)).ok().filter(|version| !version.trim().is_empty());
    version.map(|version| below.join(version.trim())).ok_or_else(|| {
        // A folder that is there and has no manifest is told as such when it is read.
        let names = names(data);
        let known = if names.is_empty() { String::new() } else { format!("; there are {}", names.join(", ")) };
        RecommenderError::Unknown { name: name.to_owned(), path: below, known }
    })
}

fn names(data: &Path) -> Vec<String> {
    let entries = fs::read_dir(recommenders(data)).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.path().join(CURRENT).is_file());
    let mut names: Vec<String> = named.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The files of a folder by name, each verified when it is read.
pub(super) struct Files {
    folder: PathBuf,
    pub(super) entries: Vec<FileEntry>,
    version: String,
}

impl Files {
    pub(super) fn open(folder: &Path) -> Result<Self, RecommenderError> {
        let bytes = folder::manifest_bytes(folder)?;
        let Manifest { format, format_version, files } = folder::manifest(folder)?;
        let files = Self { folder: folder.to_owned(), entries: files, version: version(&bytes) };
        match format.as_str() {
            FORMAT if format_version == FORMAT_VERSION => Ok(files),
            FORMAT => {
                let detail = format!("it has format version {format_version}, this program reads {FORMAT_VERSION}");
                Err(files.wrong(detail))
            }
            other => Err(files.wrong(format!("its manifest is of {other:?}"))),
        }
    }

    fn wrong(&self, detail: impl Into<String>) -> RecommenderError {
        RecommenderError::Contents { folder: self.folder.clone(), detail: detail.into() }
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>, RecommenderError> {
        let entry = self.entries.iter().find(|entry| entry.path == name);
        let entry = entry.ok_or_else(|| self.wrong(format!("its manifest names no {name}")))?;
        Ok(folder::read(&self.folder, entry)?)
    }

    fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, RecommenderError> {
        serde_json::from_slice(&self.bytes(name)?).map_err(|error| self.wrong(format!("{name}: {error}")))
    }

    fn tensors(&self, name: &str) -> Result<Tensors, RecommenderError> {
        Tensors::parse(&self.bytes(name)?).map_err(|why| self.wrong(format!("{name}: {why}")))
    }

    fn names(&self, name: &str) -> Result<Names, RecommenderError> {
        let text = String::from_utf8(self.bytes(name)?).map_err(|error| self.wrong(format!("{name}: {error}")))?;
        Names::from_lines(&text).ok_or_else(|| self.wrong(format!("{name} has an id twice")))
    }
}

fn version(manifest: &[u8]) -> String {
    let (_, sha256) = crate::write::digest(manifest).expect("memory can be read");
    version_of(&sha256).to_owned()
}

/// What a version is called whose manifest has this hash.
pub(super) fn version_of(sha256: &str) -> &str {
    &sha256[..VERSION_CHARS]
}

/// The settings of a recommender, and what it was trained on.
///
/// # Errors
/// The folder is damaged or foreign.
pub fn config(folder: &Path) -> Result<(Settings, DataCard), RecommenderError> {
    let files = Files::open(folder)?;
    Ok((files.json(CONFIG)?, files.json(DATA)?))
}

/// How good a recommender is, as it was measured when it was trained.
///
/// # Errors
/// The folder is damaged or foreign.
pub fn measured(folder: &Path) -> Result<Measured, RecommenderError> {
    Files::open(folder)?.json(METRICS)
}

/// A recommender in memory.
pub struct Recommender {
    /// What its folder is called, less the version.
    pub name: String,
    /// The hash of its manifest.
    pub version: String,
    /// Which model, with which options.
    pub settings: Settings,
    /// The model.
    pub model: Model,
    /// Names of the users, by row.
    pub users: Names,
    /// Names of the items, by row.
    pub items: Names,
    /// What each user did.
    pub histories: Histories,
    /// What it was trained on.
    pub data: DataCard,
    /// What its ranks weigh beside other sources of lists, by how much is known of a user; none where that was not learned.
    pub blend: Vec<RankBand>,
}

impl Recommender {
    /// Loads a folder and verifies every byte that is used.
    ///
    /// # Errors
    /// It is damaged, cut, foreign, or contradicts itself.
    pub fn load(folder: &Path) -> Result<Self, RecommenderError> {
        let files = Files::open(folder)?;
        let settings: Settings = files.json(CONFIG)?;
        let data: DataCard = files.json(DATA)?;
        let (users, items) = (files.names(USERS)?, files.names(ITEMS)?);
        let wrong = |why: String| files.wrong(why);
        let model = Model::from_tensors(&settings, "", &mut files.tensors(MODEL)?).map_err(wrong)?;
        let mut histories = files.tensors(HISTORIES)?;
        let histories = Histories::from_tensors(&mut histories, users.len(), items.len()).map_err(wrong)?;
        if model.items() != items.len() {
            return Err(wrong(format!("its model knows {} items, {ITEMS} has {}", model.items(), items.len())));
        }
        if let Some(factors) = model.factors()
            && factors.users.len() != users.len() * factors.width
        {
            return Err(wrong(format!("its model has not one vector for each line of {USERS}")));
        }
        let has_blend = files.entries.iter().any(|entry| entry.path == BLEND);
        let blend = if has_blend { files.json(BLEND)? } else { Vec::new() };
        let name = name_of(folder, &files.version);
        Ok(Self { name, version: files.version, settings, model, users, items, histories, data, blend })
    }
}

/// `NAME` of `.../NAME/VERSION`, else what the folder is called.
fn name_of(folder: &Path, version: &str) -> String {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    match (name(folder), folder.parent().and_then(name)) {
        (Some(own), Some(parent)) if own == version => parent,
        (Some(own), _) => own,
        (None, _) => folder.display().to_string(),
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
pub(super) mod tests;
