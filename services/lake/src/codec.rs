//! Batches of rows to the bytes of a file, and back.

use arrow::array::{Array, AsArray, BooleanArray, PrimitiveArray, RecordBatch, StringArray};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::ArrowPrimitiveType;
use arrow::error::ArrowError;
use attune_store::StoreError;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

/// Rows of a batch.
const BATCH_ROWS: usize = 8_192;
/// Rows that a writer keeps until it knows how to encode them.
const GROUP_ROWS: usize = 128 << 10;

/// Why the lake cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// A store does not do what it should.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Columns that do not fit.
    #[error("rows of the lake: {0}")]
    Rows(#[from] ArrowError),
    /// A file that is none.
    #[error("a file of the lake: {0}")]
    File(#[from] ParquetError),
    /// The manifest cannot be read.
    #[error("the manifest of the lake cannot be read: {0}")]
    Manifest(String),
    /// The log does not go back to its beginning.
    #[error("the log begins at record {first}: what was before that is in the lake alone, and would be lost")]
    Begins {
        /// The first record that is kept.
        first: u64,
    },
    /// Somebody else writes.
    #[error("the lake was written meanwhile: stop the servers first")]
    Busy,
    /// The writer of the lake stands still, or is far behind.
    #[error("the lake is more than {records} records behind the log")]
    Behind {
        /// So many were read.
        records: usize,
    },
    /// Its files are replaced faster than they are read.
    #[error("the files of the lake changed again and again while they were read: try again")]
    Restless,
    /// A thread ended.
    #[error("work on a file of the lake ended: {0}")]
    Ended(#[from] tokio::task::JoinError),
}

/// How files are written.
fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_created_by(concat!("attune ", env!("CARGO_PKG_VERSION")).to_owned())
        .build()
}

/// The bytes of a file with these rows.
pub(crate) fn encode(rows: &RecordBatch) -> Result<Bytes, LakeError> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), Some(properties()))?;
    writer.write(rows)?;
    writer.close()?;
    Ok(bytes.into())
}

/// The bytes of one file with the rows of several, which have the same columns. They go over a batch at a time, so that it
/// takes as much memory as the bytes.
pub(crate) fn join(files: Vec<Bytes>) -> Result<Bytes, LakeError> {
    let mut joined = Vec::new();
    let mut files = files.into_iter().peekable();
    let no_rows = || ArrowError::SchemaError("no files to join".to_owned());
    let first = files.peek().ok_or_else(no_rows)?.clone();
    let schema = ParquetRecordBatchReaderBuilder::try_new(first)?.schema().clone();
    let mut writer = ArrowWriter::try_new(&mut joined, schema, Some(properties()))?;
    for file in files {
        for rows in ParquetRecordBatchReaderBuilder::try_new(file)?.with_batch_size(BATCH_ROWS).build()? {
            writer.write(&rows?)?;
        }
    }
    writer.close()?;
    Ok(joined.into())
}

/// The rows of a file.
///
/// # Errors
/// It is no Parquet, or damaged.
pub fn read(bytes: Bytes) -> Result<RecordBatch, LakeError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()?;
    let schema = arrow::array::RecordBatchReader::schema(&reader);
    let batches: Vec<RecordBatch> = reader.collect::<Result<_, ArrowError>>()?;
    Ok(concat_batches(&schema, &batches)?)
}

/// Some columns of a file in the order of the file, a batch of rows at a time: decoded when they are asked for, so that a
/// file takes no more memory than its bytes and one batch.
///
/// # Errors
/// It is no Parquet, or damaged.
pub fn read_columns(
    bytes: Bytes,
    names: &[&str],
) -> Result<impl Iterator<Item = Result<RecordBatch, LakeError>> + use<>, LakeError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?.with_batch_size(BATCH_ROWS);
    let mask = ProjectionMask::columns(builder.parquet_schema(), names.iter().copied());
    Ok(builder.with_projection(mask).build()?.map(|batch| batch.map_err(LakeError::from)))
}

/// A column of texts.
///
/// # Errors
/// There is none of that name.
pub fn texts<'r>(rows: &'r RecordBatch, name: &str) -> Result<&'r StringArray, LakeError> {
    column(rows, name, |column| column.as_string_opt::<i32>())
}

/// A column of numbers or moments.
///
/// # Errors
/// There is none of that name and type.
pub fn numbers<'r, T: ArrowPrimitiveType>(
    rows: &'r RecordBatch,
    name: &str,
) -> Result<&'r PrimitiveArray<T>, LakeError> {
    column(rows, name, |column| column.as_primitive_opt::<T>())
}

fn column<'r, C>(
    rows: &'r RecordBatch,
    name: &str,
    typed: fn(&'r dyn Array) -> Option<&'r C>,
) -> Result<&'r C, LakeError> {
    let column = rows.column_by_name(name).and_then(|column| typed(&**column));
    column.ok_or_else(|| ArrowError::SchemaError(format!("there is no {name:?} of the lake's type")).into())
}

/// The rows whose subject is not one of those; `None` where that is all of them.
pub fn without(rows: &RecordBatch, is_gone: impl Fn(&str) -> bool) -> Result<Option<RecordBatch>, LakeError> {
    let subjects = texts(rows, "subject")?;
    let keep: BooleanArray = (0..subjects.len()).map(|row| Some(!is_gone(subjects.value(row)))).collect();
    if keep.true_count() == rows.num_rows() {
        return Ok(None);
    }
    Ok(Some(filter_record_batch(rows, &keep)?))
}
