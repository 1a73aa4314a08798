//! Rows of CSV, JSON lines and Parquet, in bounded batches, bad rows set aside.
//!
//! A row that cannot be read never ends a run over a million others: it becomes a [`Rejected`] with its number and the
//! reason. What concerns the file as a whole (it is not there, a column is missing) is a [`ReadError`], found before
//! the first row where that is possible.
//!
//! Rows count from 1, without the header and without blank lines.

mod attributes;
mod columns;
mod csv;
mod error;
mod items;
mod json;
mod parquet;
mod rows;
mod source;
mod text;
mod value;

use std::marker::PhantomData;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use attributes::{ItemAttributes, ItemAttributesError, KindFlag};
pub use columns::{ColumnMap, Field, MapError};
pub use error::ReadError;
pub use items::{Items, Odd};
pub use rows::{Done, Event, HISTORY_MAX, Row, Text, User};
pub use text::ROW_BYTES_MAX;
pub(crate) use value::present;
pub use value::{ID_BYTES_MAX, TEXT_BYTES_MAX, Value};

use csv::{CsvSource, Form};
use source::Source;

/// A row and its number in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbered<R> {
    /// From 1.
    pub number: u64,
    /// The row.
    pub row: R,
}

/// A row that was left out: a line of the side file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Its number in the file, from 1.
    pub row: u64,
    /// What is wrong with it, for a person.
    pub reason: String,
}

/// Rows that follow each other in the file, less those that were rejected.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch<R> {
    /// The rows.
    pub rows: Vec<Numbered<R>>,
    /// The rejected ones among them.
    pub rejected: Vec<Rejected>,
}

impl<R> Batch<R> {
    /// Rows of the file that it stands for.
    pub fn rows_read(&self) -> u64 {
        (self.rows.len() + self.rejected.len()) as u64
    }
}

/// Bounds on a batch; one row may always be in it.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// Rows, rejected ones included.
    pub rows_max: u64,
    /// Memory that the rows take, roughly.
    pub bytes_max: usize,
}

/// Opens a file behind its first `skip` rows, and says how many were skipped. Its name says the format.
fn open(path: &Path, fields: &[Field<'_>], map: &ColumnMap, skip: u64) -> Result<(Box<dyn Source>, u64), ReadError> {
    map.check(fields)?;
    if path.is_dir() {
        return Err(ReadError::Folder { path: path.to_owned() });
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let plain = name.strip_suffix(".gz").unwrap_or(&name);
    if name.ends_with(".parquet") {
        return Ok((Box::new(parquet::ParquetSource::open(path, fields, map, skip)?), skip));
    }
    let mut source: Box<dyn Source> = if plain.ends_with(".csv") {
        Box::new(CsvSource::open(path, Form::Csv, fields, map)?)
    } else if plain.ends_with(".jsonl") || plain.ends_with(".ndjson") {
        Box::new(json::JsonSource::open(path, fields, map)?)
    } else {
        let known = ".csv, .jsonl, .ndjson (each also with .gz) and .parquet";
        return Err(ReadError::UnknownFormat { path: path.to_owned(), known });
    };
    let mut rows_read = 0;
    while rows_read < skip && source.next()?.is_some() {
        rows_read += 1;
    }
    Ok((source, rows_read))
}

/// Reads the rows of one file.
pub struct Reader<R> {
    source: Box<dyn Source>,
    rows_read: u64,
    rows: PhantomData<fn() -> R>,
}

impl<R: Row> Reader<R> {
    /// Opens a file behind its first `skip` rows. Its name says the format.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn open(path: &Path, map: &ColumnMap, skip: u64) -> Result<Self, ReadError> {
        let (source, rows_read) = open(path, R::FIELDS, map, skip)?;
        Ok(Self { source, rows_read, rows: PhantomData })
    }

    /// Opens a file in RecBole's form: tabs, and a header of `name:type`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn recbole(path: &Path, map: &ColumnMap) -> Result<Self, ReadError> {
        map.check(R::FIELDS)?;
        let source = Box::new(CsvSource::open(path, Form::Recbole, R::FIELDS, map)?);
        Ok(Self { source, rows_read: 0, rows: PhantomData })
    }

    /// The next rows, or `None` at the end. The same rows come in the same batches wherever the reading began, as long
    /// as the limits are the same.
    ///
    /// # Errors
    /// The file cannot be read on.
    pub fn next_batch(&mut self, limits: BatchLimits) -> Result<Option<Batch<R>>, ReadError> {
        let mut batch = Batch { rows: Vec::new(), rejected: Vec::new() };
        let mut bytes = 0;
        while batch.rows_read() < limits.rows_max && bytes < limits.bytes_max {
            let Some(found) = self.source.next()? else { break };
            self.rows_read += 1;
            match found.and_then(|values| R::from_values(&values)) {
                Ok(row) => {
                    bytes += row.bytes();
                    batch.rows.push(Numbered { number: self.rows_read, row });
                }
                Err(reason) => {
                    bytes += reason.len();
                    batch.rejected.push(Rejected { row: self.rows_read, reason });
                }
            }
        }
        Ok((batch.rows_read() > 0).then_some(batch))
    }

    /// Rows read so far, skipped and rejected ones included.
    pub fn rows_read(&self) -> u64 {
        self.rows_read
    }

    /// Rows in the file, where its format says so.
    pub fn rows_total(&self) -> Option<u64> {
        self.source.rows_total()
    }

    /// How far into the file the reading is, in bytes; what lies in buffers counts as read.
    pub fn file_bytes(&self) -> u64 {
        self.source.file_bytes()
    }
}
