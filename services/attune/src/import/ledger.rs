//! How far an import is, and which rows were left out: two files beside the input, so that the same command given again
//! goes on where the last one was.
//!
//! Rows are noted in order, after the server has acknowledged them. What a kill loses is the note, never the row: such
//! rows are sent once more, and the server knows them.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use attune_batch::read::Rejected;
use serde::{Deserialize, Serialize};

use crate::models::digest;

/// Digits of a hash that tell keys apart, in hexadecimal.
const CALLER_DIGITS: usize = 16;

/// What is imported, to where, and by whom.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// What the rows are: `events` or `items`.
    pub kind: &'static str,
    /// The server.
    pub url: &'a str,
    /// The API key, which says the tenant.
    pub key: &'a str,
    /// Columns as `ours=theirs`.
    pub columns: &'a [String],
}

/// What the file of progress says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What the rows are; empty in files of before it was noted.
    #[serde(default)]
    pub kind: String,
    /// The beginning of the SHA-256 of the API key, which tells tenants apart and gives no key away.
    #[serde(default)]
    pub caller: String,
    /// To which server.
    pub url: String,
    /// Columns as `ours=theirs`.
    pub columns: Vec<String>,
    /// The size of the input.
    pub bytes: u64,
    /// When the input was last changed, in Unix milliseconds.
    pub changed_ms: u64,
    /// Rows that are dealt with, from the first on.
    pub rows: u64,
    /// Rows of those that are kept now.
    pub accepted: u64,
    /// Rows of those that were kept before.
    pub duplicates: u64,
    /// Rows of those that were left out.
    pub rejected: u64,
    /// The input was read to its end.
    pub is_complete: bool,
}

/// The two files.
pub struct Ledger {
    /// As it stands on the disk after the last [`Ledger::note`].
    pub progress: Progress,
    path: PathBuf,
    rejects: PathBuf,
    side: Option<File>,
}

impl Ledger {
    /// Opens what an earlier import of this input left, or begins anew.
    ///
    /// # Errors
    /// The input cannot be read or is another one by now, or the files beside it cannot be written.
    pub fn open(input: &Path, target: Target<'_>, restart: bool) -> Result<Self> {
        let beside = |ending: &str| {
            let mut name = input.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        let (path, rejects) = (beside(".import.json"), beside(".rejected.jsonl"));
        let metadata = fs::metadata(input).with_context(|| format!("cannot read {}", input.display()))?;
        let changed = metadata.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        let fresh = Progress {
            kind: target.kind.to_owned(),
            caller: digest::of_bytes(target.key.as_bytes()).1[..CALLER_DIGITS].to_owned(),
            url: target.url.to_owned(),
            columns: target.columns.to_vec(),
            bytes: metadata.len(),
            changed_ms: changed.map_or(0, |since| since.as_millis() as u64),
            ..Progress::default()
        };
        let known = if restart { None } else { read(&path)? };
        let progress = match known {
            Some(known) => going_on(known, &fresh, &path)?,
            None => fresh,
        };
        let mut ledger = Self { progress, path, rejects, side: None };
        ledger.keep_noted()?;
        Ok(ledger)
    }

    /// The file with the rows that were left out.
    pub fn rejects(&self) -> &Path {
        &self.rejects
    }

    /// Notes rows that were left out, in their order, and then the progress that includes them.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn note(&mut self, progress: Progress, rejected: &[Rejected]) -> Result<()> {
        let cannot = |path: &Path| format!("cannot write {}", path.display());
        if !rejected.is_empty() {
            let side = match &mut self.side {
                Some(side) => side,
                none => none.insert(append(&self.rejects)?),
            };
            let lines: String = rejected.iter().map(line).collect::<Result<_>>()?;
            side.write_all(lines.as_bytes()).and_then(|()| side.sync_data()).with_context(|| cannot(&self.rejects))?;
        }
        let temporary = self.path.with_extension("json.tmp");
        let json = serde_json::to_vec_pretty(&progress)?;
        let written =
            File::create(&temporary).and_then(|mut file| file.write_all(&json).and_then(|()| file.sync_all()));
        written.with_context(|| cannot(&temporary))?;
        fs::rename(&temporary, &self.path).with_context(|| cannot(&self.path))?;
        self.progress = progress;
        Ok(())
    }

    /// Takes rows out of the side file that belong to what was not noted any more.
    fn keep_noted(&mut self) -> Result<()> {
        let Ok(file) = File::open(&self.rejects) else { return Ok(()) };
        let noted =
            |line: &String| serde_json::from_str::<Rejected>(line).is_ok_and(|one| one.row <= self.progress.rows);
        let kept: Vec<String> = BufReader::new(file).lines().map_while(Result::ok).filter(noted).collect();
        let text: String = kept.into_iter().map(|line| line + "\n").collect();
        fs::write(&self.rejects, text).with_context(|| format!("cannot write {}", self.rejects.display()))
    }
}

fn line(rejected: &Rejected) -> Result<String> {
    Ok(serde_json::to_string(rejected)? + "\n")
}

fn append(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.with_context(|| format!("cannot write {}, where the rows that are left out are listed", path.display()))
}

fn read(path: &Path) -> Result<Option<Progress>> {
    let Ok(text) = fs::read(path) else { return Ok(None) };
    let parsed = serde_json::from_slice(&text);
    parsed
        .map(Some)
        .with_context(|| format!("{} cannot be read: --restart sends all of the file again", path.display()))
}

/// An earlier import, if it was of the same thing to the same place.
fn going_on(known: Progress, fresh: &Progress, path: &Path) -> Result<Progress> {
    let target = |of: &Progress| (of.kind.clone(), of.caller.clone(), of.url.clone(), of.columns.clone());
    if target(&known) != target(fresh) {
        return Ok(fresh.clone());
    }
    let is_same_input = (known.bytes, known.changed_ms) == (fresh.bytes, fresh.changed_ms);
    ensure!(
        is_same_input || known.rows == 0,
        "the file has changed since row {} of it was imported: --restart sends all of it again, which is safe \
         ({} is how far it was)",
        known.rows,
        path.display()
    );
    Ok(if is_same_input { known } else { fresh.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Target<'static> = Target { kind: "events", url: "http://a", key: "att_secret", columns: &[] };

    fn rejected(row: u64) -> Rejected {
        Rejected { row, reason: "bad".to_owned() }
    }

    #[test]
    fn an_import_goes_on_where_it_was_noted() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("events.csv");
        fs::write(&input, "a").unwrap();
        let open = |url: &str, restart| Ledger::open(&input, Target { url, ..TARGET }, restart);
        let mut ledger = open("http://a", false).unwrap();
        let progress = Progress { rows: 10, rejected: 1, accepted: 9, ..ledger.progress.clone() };
        ledger.note(progress.clone(), &[rejected(7)]).unwrap();
        // Written and not noted: a kill between the two files.
        append(ledger.rejects()).unwrap().write_all(line(&rejected(12)).unwrap().as_bytes()).unwrap();

        let again = open("http://a", false).unwrap();
        assert_eq!(again.progress, progress);
        assert_eq!(fs::read_to_string(again.rejects()).unwrap(), line(&rejected(7)).unwrap());
        for (url, restart) in [("http://b", false), ("http://a", true)] {
            let anew = open(url, restart).unwrap();
            assert_eq!((anew.progress.rows, fs::read_to_string(anew.rejects()).unwrap()), (0, String::new()));
            ledger.note(progress.clone(), &[rejected(7)]).unwrap();
        }
        fs::write(&input, "ab").unwrap();
        assert!(open("http://a", false).err().unwrap().to_string().contains("--restart"));
        assert_eq!(open("http://a", true).unwrap().progress.rows, 0);
    }

    #[test]
    fn what_was_imported_as_something_else_or_for_somebody_else_was_not_imported() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("rows.jsonl");
        fs::write(&input, "{}").unwrap();
        let rows = |target| Ledger::open(&input, target, false).unwrap().progress.rows;
        let mut ledger = Ledger::open(&input, TARGET, false).unwrap();
        ledger.note(Progress { rows: 3, is_complete: true, ..ledger.progress.clone() }, &[]).unwrap();
        assert_eq!(rows(TARGET), 3);
        assert_eq!(rows(Target { kind: "items", ..TARGET }), 0);
        assert_eq!(rows(Target { key: "att_other", ..TARGET }), 0);
        let noted = fs::read_to_string(&ledger.path).unwrap();
        assert!(!noted.contains(TARGET.key), "{noted}");

        let mut old: serde_json::Value = serde_json::from_str(&noted).unwrap();
        old.as_object_mut().unwrap().retain(|name, _| name != "kind" && name != "caller");
        fs::write(&ledger.path, old.to_string()).unwrap();
        assert_eq!(rows(TARGET), 0, "nobody knows whose it was");
    }

    #[test]
    fn a_damaged_note_is_no_obstacle_to_beginning_again() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("rows.jsonl");
        fs::write(&input, "{}").unwrap();
        fs::write(folder.path().join("rows.jsonl.import.json"), "{\"rows\":").unwrap();
        let error = Ledger::open(&input, TARGET, false).err().unwrap();
        assert!(error.to_string().contains("--restart"), "{error}");
        assert_eq!(Ledger::open(&input, TARGET, true).unwrap().progress.rows, 0);
    }
}
