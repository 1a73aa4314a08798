//! What an output was made of, and which of its parts are finished.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::output::{MANIFEST, Output};
use super::storage::Storage;
use crate::write::Format;

/// Raised when a manifest of an older program can no longer be read.
const VERSION: u32 = 1;

/// All that decides the bytes of an output. Two starts with one identity write the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Version of the program.
    pub attune: String,
    /// What is done with each row.
    pub task: String,
    /// By which model.
    pub model: String,
    /// Its version, a hash over all its files.
    pub model_version: String,
    /// What computes it.
    pub engine: String,
    /// With which instructions: another set sums in another order.
    pub instruction_set: String,
    /// In which number format.
    pub precision: String,
    /// Longest text in tokens; the rest of a longer one is cut off. Absent where no text is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_max: Option<usize>,
    /// What else decides the output, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// Size of the input.
    pub input_bytes: u64,
    /// SHA-256 of the whole input. Of its head and tail alone it would cost less, and would not see a row that was
    /// corrected in the middle without changing the length; scoring takes many times longer than hashing.
    pub input_sha256: String,
    /// Columns of the input that have another name than ours.
    pub columns: BTreeMap<String, String>,
    /// Format of the parts.
    pub format: Format,
    /// Rows of the input in a part, rejected ones included.
    pub part_rows: u64,
}

impl Identity {
    /// What differs, one sentence each: empty when nothing does.
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let fields = |identity: &Self| match serde_json::to_value(identity) {
            Ok(Value::Object(fields)) => fields,
            _ => unreachable!("a struct is an object"),
        };
        let (there, now) = (fields(self), fields(now));
        let names: BTreeSet<&String> = there.keys().chain(now.keys()).collect();
        let of = |fields: &Map<String, Value>, name: &str| fields.get(name).cloned().unwrap_or_default();
        let different = names.into_iter().map(|name| (name, of(&there, name), of(&now, name)));
        let different = different.filter(|(_, was, is)| was != is);
        different.map(|(name, was, is)| format!("{name} was {was} and is {is}")).collect()
    }
}

/// A finished part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its name in the folder.
    pub file: String,
    /// First row of the input in it, from 1.
    pub row_first: u64,
    /// Last row of the input in it.
    pub row_last: u64,
    /// Rows of the output.
    pub rows: u64,
    /// Rows of the input that are in the side file instead.
    pub rejected: u64,
    /// Its size.
    pub bytes: u64,
    /// Its hash.
    pub sha256: String,
}

/// The manifest of an output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Of this format.
    version: u32,
    /// What the output is made of.
    pub job: Identity,
    /// The finished parts, in order.
    pub parts: Vec<Part>,
    /// Size of the side file with the rejected rows of these parts.
    pub rejected_bytes: u64,
    /// Whether there are no more rows.
    pub is_finished: bool,
}

/// What a manifest file holds.
pub enum Found {
    /// There is none.
    Nothing,
    /// A manifest.
    Manifest(Box<Manifest>),
    /// Something else: why it is none.
    Damaged(String),
}

impl Manifest {
    /// An output without parts.
    pub fn new(job: Identity) -> Self {
        Self { version: VERSION, job, parts: Vec::new(), rejected_bytes: 0, is_finished: false }
    }

    /// Rows of the input that the finished parts stand for.
    pub fn rows_done(&self) -> u64 {
        self.parts.last().map_or(0, |part| part.row_last)
    }

    /// Rows that were rejected in the finished parts.
    pub fn rejected(&self) -> u64 {
        self.parts.iter().map(|part| part.rejected).sum()
    }

    /// Reads the manifest of an output.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read(storage: &dyn Storage, output: &Output) -> io::Result<Found> {
        let Some(bytes) = storage.read(&output.inside(MANIFEST))? else { return Ok(Found::Nothing) };
        // The version first: the rest of another one may look different.
        let version = serde_json::from_slice::<Value>(&bytes).ok().and_then(|json| json["version"].as_u64());
        Ok(match (version, serde_json::from_slice::<Self>(&bytes)) {
            (Some(version), _) if version != u64::from(VERSION) => {
                Found::Damaged(format!("it has version {version}, this program writes {VERSION}"))
            }
            (_, Ok(manifest)) => Found::Manifest(Box::new(manifest)),
            (_, Err(error)) => Found::Damaged(error.to_string()),
        })
    }

    /// Puts the manifest in the place of the one before it: whole, or not at all.
    ///
    /// # Errors
    /// The disk; what was there may or may not have been replaced.
    pub fn write(&self, storage: &dyn Storage, output: &Output) -> io::Result<()> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        bytes.push(b'\n');
        let unfinished = output.inside(&Output::unfinished(MANIFEST));
        let mut file = storage.create(&unfinished)?;
        file.write_all(&bytes)?;
        file.sync()?;
        storage.rename(&unfinished, &output.inside(MANIFEST))?;
        storage.sync_folder(&output.name)
    }
}
