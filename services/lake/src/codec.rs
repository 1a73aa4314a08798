//! Batches of rows to the bytes of a file, and back.

use std::sync::Arc;

use arrow::array::{
    Array, AsArray, BooleanArray, PrimitiveArray, RecordBatch, RecordBatchOptions, StringArray, new_null_array,
};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{ArrowPrimitiveType, FieldRef, SchemaRef};
use arrow::error::ArrowError;
use attune_store::events::LostEnd;
use attune_store::{ErrorKind, StoreError, StoreKind};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use crate::manifest::Dataset;

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
    /// The log has lost its end, of which the lake still knows.
    #[error(
        "{0} by the lake: restore the log, or stop the servers and make the lake anew of what the log has by \
         `attune replay --accept-loss`"
    )]
    Ends(#[from] LostEnd),
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

impl LakeError {
    /// What to do, behind what was wrong: where a file is damaged or gone, which does not pass by itself; else empty.
    pub fn remedy(&self) -> &'static str {
        let is_lost = match self {
            Self::Store(error) => {
                error.store == StoreKind::Objects && matches!(error.kind, ErrorKind::Corrupt | ErrorKind::NotFound)
            }
            Self::File(_) => true,
            _ => false,
        };
        if is_lost { "; stop the servers and make the lake again from the log: attune replay --only lake" } else { "" }
    }
}

fn path(parts: &[&str]) -> ColumnPath {
    ColumnPath::new(parts.iter().map(|part| (*part).to_owned()).collect())
}

/// How files are written.
fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        // Hardly one is like another, and each would be looked up.
        .set_column_dictionary_enabled(path(&["score"]), false)
        .set_column_dictionary_enabled(path(&["feature_values", "list", "item"]), false)
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

/// The bytes of one file with the rows of several of a dataset. They go over a batch at a time, so that it takes as much
/// memory as the bytes.
pub(crate) fn join(files: Vec<Bytes>, dataset: Dataset) -> Result<Bytes, LakeError> {
    let (mut joined, schema) = (Vec::new(), dataset.schema());
    let mut writer = ArrowWriter::try_new(&mut joined, schema.clone(), Some(properties()))?;
    for file in files {
        for rows in ParquetRecordBatchReaderBuilder::try_new(file)?.with_batch_size(BATCH_ROWS).build()? {
            writer.write(&conformed(&rows?, &schema)?)?;
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

/// Rows of a file with these columns. One that a file lacks, which is older than the column is, has no values there.
fn conformed(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, LakeError> {
    let column = |field: &FieldRef| match rows.column_by_name(field.name()) {
        Some(column) => Ok(Arc::clone(column)),
        None if field.is_nullable() => Ok(new_null_array(field.data_type(), rows.num_rows())),
        None => Err(ArrowError::SchemaError(format!("there is no column {}", field.name()))),
    };
    let columns = schema.fields().iter().map(column).collect::<Result<_, _>>()?;
    let count = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &count)?)
}

/// Some columns of a file in the order of its dataset, a batch of rows at a time: decoded when they are asked for, so that a
/// file takes no more memory than its bytes and one batch.
///
/// # Errors
/// It is no Parquet, or damaged.
pub fn read_columns(
    bytes: Bytes,
    dataset: Dataset,
    names: &[&str],
) -> Result<impl Iterator<Item = Result<RecordBatch, LakeError>> + use<>, LakeError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?.with_batch_size(BATCH_ROWS);
    let mask = ProjectionMask::columns(builder.parquet_schema(), names.iter().copied());
    let schema = dataset.schema();
    let is_asked = |place: &usize| names.contains(&schema.field(*place).name().as_str());
    let asked: Vec<usize> = (0..schema.fields().len()).filter(is_asked).collect();
    let asked = Arc::new(schema.project(&asked)?);
    Ok(builder.with_projection(mask).build()?.map(move |batch| conformed(&batch?, &asked)))
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

#[cfg(test)]
mod tests {
    use arrow::datatypes::Float64Type;
    use attune_api::log::{Arm, Exposure, Shown};

    use super::*;
    use crate::rows::{Row, exposures};

    fn shown(request_id: &str) -> RecordBatch {
        let experiment = Some(Arm { experiment: "e".into(), arm: "a".into(), chance: 0.25 });
        let items = vec![Shown { item_id: "i".into(), ..Shown::default() }; 2];
        let record = Exposure { request_id: request_id.into(), experiment, items, ..Exposure::default() };
        exposures(&[Row { subject: "s".into(), offset: 7, record }]).unwrap()
    }

    /// As a program wrote it that did not know the column yet.
    fn older(rows: &RecordBatch, column: &str) -> Bytes {
        let schema = rows.schema();
        let places: Vec<usize> = (0..schema.fields().len()).filter(|at| schema.field(*at).name() != column).collect();
        encode(&rows.project(&places).unwrap()).unwrap()
    }

    #[test]
    fn a_file_that_is_older_than_a_column_is_read_and_joined() {
        let (old, new) = (older(&shown("l-1"), "arm_chance"), encode(&shown("l-2")).unwrap());
        let chances = |file: &Bytes| {
            let batches = read_columns(file.clone(), Dataset::Exposures, &["arm_chance", "arm"]).unwrap();
            let batches: Vec<RecordBatch> = batches.map(|batch| batch.unwrap()).collect();
            assert!(batches.iter().all(|batch| texts(batch, "arm").unwrap().iter().all(|arm| arm == Some("a"))));
            let of =
                |batch: &RecordBatch| numbers::<Float64Type>(batch, "arm_chance").unwrap().iter().collect::<Vec<_>>();
            batches.iter().flat_map(of).collect::<Vec<Option<f64>>>()
        };
        assert_eq!((chances(&old), chances(&new)), (vec![None; 2], vec![Some(0.25); 2]));
        let joined = join(vec![old.clone(), new], Dataset::Exposures).unwrap();
        assert_eq!(chances(&joined), [None, None, Some(0.25), Some(0.25)]);
        assert_eq!(read(joined).unwrap().schema().fields(), Dataset::Exposures.schema().fields());
        let none = read_columns(old, Dataset::Exposures, &[]).unwrap();
        assert_eq!(none.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 2);
        let broken = older(&shown("l-3"), "item_id");
        assert!(join(vec![broken], Dataset::Exposures).unwrap_err().to_string().contains("item_id"));
    }

    #[test]
    fn what_older_files_alone_have_is_not_lost_when_they_are_joined() {
        let new = shown("l-1");
        let mut columns = new.columns().to_vec();
        let said = [Some(r#"{"a":0.5}"#), None];
        columns[new.schema().index_of("features").unwrap()] = Arc::new(StringArray::from(said.to_vec()));
        let old = encode(&RecordBatch::try_new(new.schema(), columns).unwrap()).unwrap();
        let joined = join(vec![old, encode(&new).unwrap()], Dataset::Exposures).unwrap();
        let joined = read(joined).unwrap();
        let features: Vec<Option<&str>> = texts(&joined, "features").unwrap().iter().collect();
        assert_eq!(features, [said[0], None, None, None]);
    }
}
