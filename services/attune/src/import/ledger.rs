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

/// What the file of progress says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
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
    pub fn open(input: &Path, url: &str, columns: &[String], restart: bool) -> Result<Self> {
        let beside = |ending: &str| {
            let mut name = input.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        let (path, rejects) = (beside(".import.json"), beside(".rejected.jsonl"));
        let metadata = fs::metadata(input).with_context(|| format!("cannot read {}", input.display()))?;
        let changed = metadata.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        let fresh = Progress {
            url: url.to_owned(),
            columns: columns.to_vec(),
            bytes: metadata.len(),
            changed_ms: changed.map_or(0, |since| since.as_millis() as u64),
            ..Progress::default()
        };
        let progress = match read(&path)? {
            Some(known) if !restart => going_on(known, &fresh, &path)?,
            _ => fresh,
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
    parsed.map(Some).with_context(|| format!("{} cannot be read: delete it to begin again", path.display()))
}

/// An earlier import, if it was of the same thing to the same place.
fn going_on(known: Progress, fresh: &Progress, path: &Path) -> Result<Progress> {
    let is_same_input = (known.bytes, known.changed_ms) == (fresh.bytes, fresh.changed_ms);
    ensure!(
        is_same_input || known.rows == 0,
        "the file has changed since row {} of it was imported: --restart sends all of it again, which is safe \
         ({} is how far it was)",
        known.rows,
        path.display()
    );
    let is_same = is_same_input && known.url == fresh.url && known.columns == fresh.columns;
    Ok(if is_same { known } else { fresh.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(row: u64) -> Rejected {
        Rejected { row, reason: "bad".to_owned() }
    }

    #[test]
    fn an_import_goes_on_where_it_was_noted() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("events.csv");
        fs::write(&input, "a").unwrap();
        let open = |url: &str, restart| Ledger::open(&input, url, &[], restart);
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
}
