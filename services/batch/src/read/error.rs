//! Why a file cannot be read at all. What is wrong with one row is a [`Rejected`](super::Rejected), not an error.

use std::io;
use std::path::PathBuf;

/// Columns that an error names; a wide file has more.
const COLUMNS_NAMED_MAX: usize = 30;

/// Why a file cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Its name does not say what it is.
    #[error("{path} ends in none of {known}: rename it after its format", path = path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// How names of what can be read end.
        known: &'static str,
    },
    /// A folder where one file is wanted.
    #[error("{path} is a folder: name one of the files in it", path = path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// Items in a format that has no place for attributes of any name.
    #[error("items cannot be Parquet, as {path} is by its name: write them as CSV or JSON lines (.csv, .jsonl, \
             .ndjson, each also with .gz)",
        path = path.display())]
    ParquetItems {
        /// The file.
        path: PathBuf,
    },
    /// The system cannot read it, or it ends early.
    #[error("cannot read {path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not the format that its name says, or damaged.
    #[error("{path} is not valid {format}: {detail}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it should be.
        format: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// A column that has to be there is not.
    #[error("{path} has no column {theirs:?}; it has {found}: say which one is {ours} with {flag} {ours}=COLUMN",
        path = path.display(), found = named(found))]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// What we call it.
        ours: String,
        /// What it should be called there.
        theirs: String,
        /// The columns there are.
        found: Vec<String>,
        /// The flag that renames columns of this file.
        flag: &'static str,
    },
    /// Two columns have the name that is asked for.
    #[error("{path} has two columns called {theirs:?}: rename one, and say which is {ours} with {flag} {ours}=COLUMN",
        path = path.display())]
    TwoColumns {
        /// The file.
        path: PathBuf,
        /// What we call it.
        ours: String,
        /// Their name.
        theirs: String,
        /// The flag that renames columns of this file.
        flag: &'static str,
    },
    /// A column of a type that nothing can be made of.
    #[error("column {theirs:?} of {path} is of type {found}, which cannot be read as {ours}: {takes} can",
        path = path.display())]
    ColumnType {
        /// The file.
        path: PathBuf,
        /// What we call it.
        ours: String,
        /// What it is called there.
        theirs: Box<str>,
        /// Its type.
        found: Box<str>,
        /// What can be read as that.
        takes: &'static str,
    },
    /// `--map` names a column that these rows do not have.
    #[error("{flag} {ours}=...: there is no {ours:?} among {}", known.join(", "))]
    UnknownMapping {
        /// What was typed.
        ours: String,
        /// What there is.
        known: Vec<String>,
        /// The flag.
        flag: &'static str,
    },
}

fn named(columns: &[String]) -> String {
    if columns.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<String> = columns.iter().take(COLUMNS_NAMED_MAX).map(|name| format!("{name:?}")).collect();
    let more = columns.len() - names.len();
    if more == 0 { names.join(", ") } else { format!("{} and {more} more", names.join(", ")) }
}
