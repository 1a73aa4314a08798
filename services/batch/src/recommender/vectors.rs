//! Vectors that were made elsewhere: users and items in Parquet, an id and a list of numbers a row.
//!
//! All or nothing: a vector that is missing would be an item that is silently never recommended, so the first bad row
//! ends the reading, with its number.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, Float32Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type};
use attune_ranking::data::{History, Scorer};
use attune_ranking::index::{MAGNITUDE_MAX, Metric};
use attune_ranking::train::Popular;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::model::Factors;
use crate::names::Names;
use crate::read::{ColumnMap, Field, ID_BYTES_MAX, ReadError};

/// Rows that are decoded at once.
const DECODED_ROWS: usize = 1_024;
/// Ours for the column of numbers.
const VECTOR: &str = "vector";

/// Why vectors cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum VectorError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The column is no list of numbers.
    #[error(
        "column {column:?} of {path} is of type {found}: a list, or a list of fixed size, of floats is needed; say which \
         column it is with --map vector=COLUMN",
        path = path.display()
    )]
    Type {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its type.
        found: String,
    },
    /// A row that cannot be used.
    #[error("{path}, row {row}: {detail}", path = path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// From 1.
        row: u64,
        /// What is wrong.
        detail: String,
    },
    /// No row.
    #[error("{path} has no rows", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Users and items of two spaces.
    #[error("the users' vectors have {users} values and the items' {items}: they must come from one model")]
    Widths {
        /// Values of a user's vector.
        users: usize,
        /// Values of an item's vector.
        items: usize,
    },
}

/// A model of vectors.
#[derive(Clone, Debug)]
pub struct Vectors {
    /// Values a vector.
    pub(super) width: usize,
    /// What a score is.
    pub(super) metric: Metric,
    /// Users by width.
    pub(super) users: Vec<f32>,
    /// Items by width.
    pub(super) items: Vec<f32>,
    /// What everybody likes, where events told.
    pub(super) popular: Option<Popular>,
}

/// The rows of one file.
#[derive(Clone, Debug)]
pub struct Table {
    /// Whose vectors they are, by row.
    pub names: Names,
    /// Names by width.
    pub values: Vec<f32>,
    /// Values a vector.
    pub width: usize,
}

impl Table {
    /// Reads a Parquet file, or all parts of a folder, with the columns `id` (`user_id` or `item_id`) and `vector`; `--map`
    /// gives them other names.
    ///
    /// # Errors
    /// [`VectorError`] with the first row that cannot be used.
    pub fn read(path: &Path, id: &'static str, map: &ColumnMap, metric: Metric) -> Result<Self, VectorError> {
        let mut table = Self { names: Names::default(), values: Vec::new(), width: 0 };
        for file in files(path)? {
            let mut row = 0;
            for batch in open(&file, id, map)? {
                let batch = batch.map_err(|error| damaged(&file, error))?;
                table.add(&batch, &file, metric, &mut row)?;
            }
        }
        if table.names.is_empty() {
            return Err(VectorError::Empty { path: path.to_owned() });
        }
        Ok(table)
    }

    /// Adds decoded rows; the id is the first column.
    fn add(&mut self, batch: &RecordBatch, path: &Path, metric: Metric, row: &mut u64) -> Result<(), VectorError> {
        let ids = cast(batch.column(0), &DataType::Utf8).map_err(|error| damaged(path, error))?;
        let ids: &StringArray = ids.as_string();
        let lists = cast(batch.column(1), &DataType::new_list(DataType::Float32, true));
        let lists = lists.map_err(|error| damaged(path, error))?;
        let lists = lists.as_list::<i32>();
        for at in 0..batch.num_rows() {
            *row += 1;
            let id = if ids.is_valid(at) { ids.value(at) } else { "" };
            let vector = if lists.is_valid(at) { Some(lists.value(at)) } else { None };
            let vector = vector.as_ref().map(|values| values.as_primitive::<Float32Type>());
            self.add_row(id, vector, metric).map_err(|detail| VectorError::Row {
                path: path.to_owned(),
                row: *row,
                detail,
            })?;
        }
        Ok(())
    }

    fn add_row(&mut self, id: &str, vector: Option<&Float32Array>, metric: Metric) -> Result<(), String> {
        if id.is_empty() || id.len() > ID_BYTES_MAX || id.chars().any(char::is_control) {
            return Err(format!(
                "its id {id:?} is none: 1 to {ID_BYTES_MAX} bytes without control characters are needed"
            ));
        }
        if let Some(first) = self.names.row(id) {
            return Err(format!("its id {id:?} is that of vector {} too", first + 1));
        }
        let vector = vector.ok_or_else(|| format!("{id:?} has no vector"))?;
        if self.names.is_empty() {
            self.width = vector.len();
        }
        if vector.is_empty() || vector.len() != self.width {
            return Err(format!("the vector of {id:?} has {} values, the first one has {}", vector.len(), self.width));
        }
        if let Some(place) = vector.iter().position(|value| !value.is_some_and(|value| value.abs() <= MAGNITUDE_MAX)) {
            let value = if vector.is_valid(place) { vector.value(place).to_string() } else { "missing".to_owned() };
            return Err(format!(
                "value {} of the vector of {id:?} is {value}: a finite number of magnitude up to {MAGNITUDE_MAX:e} is \
                 needed",
                place + 1
            ));
        }
        if metric == Metric::Cosine && vector.values().iter().all(|value| *value == 0.0) {
            return Err(format!("the vector of {id:?} is zero: cosine needs a direction"));
        }
        self.names.row_or_new(id);
        self.values.extend_from_slice(vector.values());
        Ok(())
    }
}

/// The file, or the Parquet files of a folder in the order of their names, less hidden ones and those that begin with `_`.
fn files(path: &Path) -> Result<Vec<PathBuf>, VectorError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let unreadable = |source| ReadError::File { path: path.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let is_hidden = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(['.', '_']));
        if !is_hidden && file.extension().is_some_and(|end| end == "parquet") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// The two columns of a file, the id first.
fn open(
    path: &Path,
    id: &'static str,
    map: &ColumnMap,
) -> Result<impl Iterator<Item = Result<RecordBatch, arrow::error::ArrowError>>, VectorError> {
    let file = File::open(path).map_err(|source| ReadError::File { path: path.to_owned(), source })?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| damaged(path, error))?;
    let schema = builder.schema().clone();
    let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let fields = [Field::required(id), Field::required(VECTOR)];
    let places = map.places(path, &fields, &names)?;
    let [Some(id), Some(vector)] = places[..] else { unreachable!("both are required") };
    let found = schema.field(vector).data_type();
    let is_floats = |item: &arrow::datatypes::FieldRef| item.data_type().is_floating();
    if !matches!(found, DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) if is_floats(item))
    {
        let column = names[vector].clone();
        return Err(VectorError::Type { path: path.to_owned(), column, found: found.to_string() });
    }
    let mask = ProjectionMask::roots(builder.parquet_schema(), [id, vector]);
    let reader = builder.with_projection(mask).with_batch_size(DECODED_ROWS).build();
    let reader: ParquetRecordBatchReader = reader.map_err(|error| damaged(path, error))?;
    // The reader gives columns in the order of the file.
    let order = if id < vector { [0, 1] } else { [1, 0] };
    Ok(reader.map(move |batch| batch?.project(&order)))
}

fn damaged(path: &Path, error: impl std::fmt::Display) -> ReadError {
    ReadError::Damaged { path: path.to_owned(), format: "Parquet", detail: error.to_string() }
}

impl Vectors {
    /// A model of users and items from one space.
    ///
    /// # Errors
    /// [`VectorError::Widths`].
    pub fn new(users: Option<Table>, items: Table, metric: Metric) -> Result<(Self, Names, Names), VectorError> {
        let width = items.width;
        let (users, user_names) = match users {
            Some(users) if users.width != width => {
                return Err(VectorError::Widths { users: users.width, items: width });
            }
            Some(users) => (users.values, users.names),
            None => (Vec::new(), Names::default()),
        };
        let vectors = Self { width, metric, users, items: items.values, popular: None };
        Ok((vectors, user_names, items.names))
    }

    /// The same with what everybody likes.
    #[must_use]
    pub fn with_popular(self, popular: Popular) -> Self {
        Self { popular: Some(popular), ..self }
    }

    pub(super) fn factors(&self) -> Factors<'_> {
        Factors { width: self.width, users: &self.users, items: &self.items, metric: self.metric }
    }

    fn item(&self, row: u32) -> &[f32] {
        &self.items[row as usize * self.width..][..self.width]
    }

    /// The weighted mean of the vectors of a history's items: where the space was made for inner products of users with
    /// items, the direction of what a user likes.
    pub(super) fn fold_in(&self, history: History<'_>) -> Vec<f32> {
        let mut vector = vec![0.0; self.width];
        for (&item, &weight) in history.items.iter().zip(history.weights) {
            vector.iter_mut().zip(self.item(item)).for_each(|(sum, value)| *sum += weight * value);
        }
        let count = history.items.len().max(1) as f32;
        vector.iter_mut().for_each(|value| *value /= count);
        vector
    }
}

impl Scorer for Vectors {
    fn items(&self) -> usize {
        self.items.len() / self.width
    }

    fn score(&self, user: Option<u32>, history: History<'_>, scores: &mut [f32]) {
        assert_eq!(scores.len(), self.items(), "one score an item");
        let known = user.and_then(|row| self.factors().user(row).map(<[f32]>::to_vec));
        let vector = known.unwrap_or_else(|| self.fold_in(history));
        if vector.iter().all(|value| *value == 0.0) {
            return match &self.popular {
                Some(popular) => popular.score(None, history, scores),
                None => scores.fill(0.0),
            };
        }
        let length = |vector: &[f32]| match self.metric {
            Metric::Cosine => vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt(),
            Metric::InnerProduct => 1.0,
        };
        let own = length(&vector);
        for (score, item) in scores.iter_mut().zip(self.items.chunks_exact(self.width)) {
            let product: f64 = vector.iter().zip(item).map(|(left, right)| f64::from(*left) * f64::from(*right)).sum();
            *score = (product / (own * length(item))) as f32;
        }
    }
}

#[cfg(test)]
#[path = "vectors_tests.rs"]
mod tests;
