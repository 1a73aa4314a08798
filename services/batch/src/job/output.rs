//! Where an output is: a folder of parts, what is kept beside them, and their names.
//!
//! ```text
//! scores.parquet/               named by --output; its end says the format of the parts
//!   part-00000.parquet          rows 1 to 20,000 of the input, less the rejected ones
//!   part-00001.parquet
//!   _manifest.json              what the parts were made of, and which are finished
//! scores.parquet.rejected.jsonl the rows that could not be scored, and why
//! ```
//!
//! A folder and not one file: a finished part is never touched again, so resuming costs nothing, and no second copy of
//! the output is ever needed. Everything that reads folders of Parquet (pandas, DuckDB, Spark) takes it as one table;
//! names that begin with `_` or `.` are skipped by them, hence the manifest's.

use std::path::{Path, PathBuf};

use crate::write::Format;

/// The manifest's name in the folder.
pub const MANIFEST: &str = "_manifest.json";
/// The lock's name in the folder.
pub(super) const LOCK: &str = ".lock";

/// Why an output cannot be where it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    /// Its name ends in a format that is not written.
    #[error("{path} ends in neither .parquet nor .jsonl: these are what can be written", path = path.display())]
    UnknownFormat {
        /// What was given.
        path: PathBuf,
    },
    /// It has no name of its own.
    #[error("{path} is no name for an output: give UTF-8 that ends in .parquet or .jsonl", path = path.display())]
    NoName {
        /// What was given.
        path: PathBuf,
    },
}

/// An output folder and its format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The folder that holds the output's.
    pub root: PathBuf,
    /// The name of the output's folder.
    pub name: String,
    /// The format of the parts.
    pub format: Format,
}

impl Output {
    /// The output at a path; its end says the format.
    ///
    /// # Errors
    /// [`OutputError`].
    pub fn new(path: &Path) -> Result<Self, OutputError> {
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(name) = name else { return Err(OutputError::NoName { path: path.to_owned() }) };
        let format = match path.extension().and_then(|end| end.to_str()) {
            Some("parquet") => Format::Parquet,
            Some("jsonl" | "ndjson") => Format::JsonLines,
            _ => return Err(OutputError::UnknownFormat { path: path.to_owned() }),
        };
        let root = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        Ok(Self { root, name: name.to_owned(), format })
    }

    /// The folder.
    pub fn folder(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    /// A part's name in the folder.
    pub fn part(&self, number: usize) -> String {
        format!("part-{number:05}.{}", self.format.extension())
    }

    /// Whether a file of the folder is a part, or was to become one.
    pub(super) fn is_part(name: &str) -> bool {
        name.strip_prefix('.').unwrap_or(name).starts_with("part-")
    }

    /// The name under which a file is written before it is whole.
    pub(super) fn unfinished(name: &str) -> String {
        format!(".{name}.tmp")
    }

    /// A file of the folder, below the root.
    pub(super) fn inside(&self, name: &str) -> String {
        format!("{}/{name}", self.name)
    }

    /// The side file of rejected rows, below the root.
    pub(super) fn rejected(&self) -> String {
        format!("{}.rejected.jsonl", self.name)
    }

    /// The path of the side file.
    pub fn rejected_path(&self) -> PathBuf {
        self.root.join(self.rejected())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_folder_format_and_side_file() {
        let output = Output::new(Path::new("out/scores.parquet")).unwrap();
        assert_eq!((output.root.as_path(), output.part(7).as_str()), (Path::new("out"), "part-00007.parquet"));
        assert_eq!(output.rejected_path(), Path::new("out/scores.parquet.rejected.jsonl"));
        let output = Output::new(Path::new("scores.jsonl")).unwrap();
        assert_eq!((output.folder(), output.part(123_456)), ("./scores.jsonl".into(), "part-123456.jsonl".into()));
    }

    #[test]
    fn other_names_are_refused_with_those_that_are_not() {
        for bad in ["scores", "scores.csv", "out.d/scores"] {
            assert!(Output::new(Path::new(bad)).unwrap_err().to_string().contains(".parquet nor .jsonl"), "{bad}");
        }
        assert!(matches!(Output::new(Path::new("..")), Err(OutputError::NoName { .. })));
    }
}
