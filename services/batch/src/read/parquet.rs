//! Parquet: the columns that are wanted and no others, a page of each at a time.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    StructArray, TimestampMillisecondArray, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Fields, TimeUnit};
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use serde_json::{Map, Number, Value as Json};

use super::ReadError;
use super::columns::{ColumnMap, Field};
use super::source::{Found, Source};
use super::value::Value;

/// Rows that are decoded at once.
const DECODED_ROWS: usize = 256;
/// What can be read, for errors: by fields of any type, and by the others.
const ANY_TYPE: &str = "text, numbers, times, truth values, and lists of these or of structs of them";
const PLAIN: &str = "text, numbers and times";

/// The rows of a Parquet file.
pub(super) struct ParquetSource {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
    /// For each of our fields: its place among the columns that are read, and the type that it is read as.
    columns: Vec<Option<(usize, DataType)>>,
    decoded: Vec<Option<Column>>,
    /// Rows of `decoded`, and how many of them were given.
    rows: usize,
    given: usize,
    rows_read: u64,
    rows_total: u64,
    bytes_total: u64,
}

impl ParquetSource {
    /// Opens a file behind its first `skip` rows.
    pub(super) fn open(path: &Path, fields: &[Field<'_>], map: &ColumnMap, skip: u64) -> Result<Self, ReadError> {
        let unreadable = |source| ReadError::File { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        let bytes_total = file.metadata().map_err(unreadable)?.len();
        let damaged = |error| damaged(path, error);
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(damaged)?;
        let schema = builder.schema().clone();
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let places = map.places(path, fields, &names)?;

        // The reader gives the columns that are read in the order of the file.
        let mut read: Vec<usize> = places.iter().flatten().copied().collect();
        read.sort_unstable();
        read.dedup();
        let column = |(field, place): (&Field<'_>, &Option<usize>)| {
            let Some(place) = *place else { return Ok(None) };
            let found = schema.field(place).data_type();
            let Some(target) = read_as(found, field.any_type) else {
                let (theirs, found) = (names[place].as_str().into(), found.to_string().into());
                return Err(ReadError::ColumnType {
                    path: path.to_owned(),
                    ours: field.name.to_owned(),
                    theirs,
                    found,
                    takes: if field.any_type { ANY_TYPE } else { PLAIN },
                });
            };
            Ok(Some((read.binary_search(&place).expect("it is among those that are read"), target)))
        };
        let columns = fields.iter().zip(&places).map(column).collect::<Result<Vec<_>, _>>()?;

        let rows_total = builder.metadata().file_metadata().num_rows().max(0) as u64;
        let mask = ProjectionMask::roots(builder.parquet_schema(), read);
        let reader = builder.with_projection(mask).with_batch_size(DECODED_ROWS).with_offset(skip as usize);
        let reader = reader.build().map_err(damaged)?;
        let (path, decoded, rows_read) = (path.to_owned(), Vec::new(), skip.min(rows_total));
        Ok(Self { path, reader, columns, decoded, rows: 0, given: 0, rows_read, rows_total, bytes_total })
    }

    fn decode(&mut self, batch: &RecordBatch) -> Result<(), ReadError> {
        let column = |column: &Option<(usize, DataType)>| match column {
            Some((place, target)) => Column::new(batch.column(*place), target).map(Some),
            None => Ok(None),
        };
        let decoded: Result<Vec<_>, _> = self.columns.iter().map(column).collect();
        self.decoded = decoded.map_err(|error| damaged(&self.path, error))?;
        (self.rows, self.given) = (batch.num_rows(), 0);
        Ok(())
    }
}

impl Source for ParquetSource {
    fn next(&mut self) -> Result<Option<Found<'_>>, ReadError> {
        while self.given == self.rows {
            match self.reader.next() {
                None => return Ok(None),
                Some(batch) => self.decode(&batch.map_err(|error| damaged(&self.path, error))?)?,
            }
        }
        let row = self.given;
        self.given += 1;
        self.rows_read += 1;
        let values = self.decoded.iter().map(|column| match column {
            Some(column) => column.value(row),
            None => Value::Absent,
        });
        Ok(Some(Ok(values.collect())))
    }

    fn file_bytes(&self) -> u64 {
        let share = self.rows_read as f64 / self.rows_total.max(1) as f64;
        (self.bytes_total as f64 * share) as u64
    }

    fn rows_total(&self) -> Option<u64> {
        Some(self.rows_total)
    }
}

/// A column of decoded rows.
enum Column {
    Text(StringArray),
    Integer(Int64Array),
    Unsigned(UInt64Array),
    /// Whole numbers, as databases without integers keep ids.
    Whole(Decimal128Array),
    Number(Float64Array),
    Time(TimestampMillisecondArray),
    Flag(BooleanArray),
    /// A list for each row that has one.
    Lists(Vec<Option<Vec<Json>>>),
}

impl Column {
    fn new(array: &ArrayRef, target: &DataType) -> Result<Self, ArrowError> {
        if let DataType::List(item) = target {
            return Ok(Self::Lists(lists(&cast(array, target)?, item.data_type())?));
        }
        let data = cast(array, target)?.to_data();
        Ok(match target {
            DataType::Utf8 => Self::Text(data.into()),
            DataType::Int64 => Self::Integer(data.into()),
            DataType::UInt64 => Self::Unsigned(data.into()),
            DataType::Decimal128(..) => Self::Whole(data.into()),
            DataType::Float64 => Self::Number(data.into()),
            DataType::Boolean => Self::Flag(data.into()),
            _ => Self::Time(data.into()),
        })
    }

    fn value(&self, row: usize) -> Value<'_> {
        match self {
            Self::Text(array) if array.is_valid(row) => Value::Text(array.value(row)),
            Self::Integer(array) if array.is_valid(row) => Value::Integer(array.value(row).into()),
            Self::Unsigned(array) if array.is_valid(row) => Value::Integer(array.value(row).into()),
            Self::Whole(array) if array.is_valid(row) => Value::Integer(array.value(row)),
            Self::Number(array) if array.is_valid(row) => Value::Number(array.value(row)),
            Self::Flag(array) if array.is_valid(row) => Value::Flag(array.value(row)),
            Self::Lists(lists) => lists[row].as_ref().map_or(Value::Absent, |list| Value::List(list)),
            Self::Time(array) if array.is_valid(row) => Value::TimeMs(array.value(row)),
            _ => Value::Absent,
        }
    }
}

/// The values of each row's list.
fn lists(array: &ArrayRef, item: &DataType) -> Result<Vec<Option<Vec<Json>>>, ArrowError> {
    let lists = array.as_list::<i32>();
    let list = |row| match item {
        DataType::Struct(fields) => objects(lists.value(row).as_struct(), fields),
        _ => {
            let values = Column::new(&lists.value(row), item)?;
            Ok((0..lists.value_length(row) as usize).map(|at| json(values.value(at))).collect())
        }
    };
    (0..lists.len()).map(|row| lists.is_valid(row).then(|| list(row)).transpose()).collect()
}

/// Structs as objects of what is not null in them. Times are Unix seconds, which is what a number is where a time is
/// wanted.
fn objects(structs: &StructArray, fields: &Fields) -> Result<Vec<Json>, ArrowError> {
    let mut objects = vec![Map::new(); structs.len()];
    for (field, column) in fields.iter().zip(structs.columns()) {
        let column = Column::new(column, field.data_type())?;
        for (row, object) in objects.iter_mut().enumerate() {
            let value = match column.value(row) {
                Value::Absent => continue,
                Value::TimeMs(ms) => (ms as f64 / 1_000.0).into(),
                value => json(value),
            };
            object.insert(field.name().clone(), value);
        }
    }
    let or_null = |(row, object)| if structs.is_valid(row) { Json::Object(object) } else { Json::Null };
    Ok(objects.into_iter().enumerate().map(or_null).collect())
}

fn json(value: Value<'_>) -> Json {
    match value {
        Value::Text(text) => text.into(),
        Value::Integer(number) => Number::from_i128(number).map_or_else(|| number.to_string().into(), Json::Number),
        Value::Number(number) => number.into(),
        Value::Flag(flag) => flag.into(),
        _ => Json::Null,
    }
}

/// The type that a column is read as; `None` where no field can be made of it. Times without a zone are UTC.
fn read_as(found: &DataType, any_type: bool) -> Option<DataType> {
    use DataType::{
        Boolean, Date32, Date64, Decimal128, Dictionary, FixedSizeList, Float16, Float32, Float64, Int8, Int16, Int32,
        Int64, LargeList, LargeUtf8, List, Null, Struct, Timestamp, UInt8, UInt16, UInt32, UInt64, Utf8, Utf8View,
    };
    match found {
        Utf8 | LargeUtf8 | Utf8View => Some(Utf8),
        Int8 | Int16 | Int32 | Int64 => Some(Int64),
        UInt8 | UInt16 | UInt32 | UInt64 => Some(UInt64),
        Decimal128(_, 0) => Some(found.clone()),
        Float16 | Float32 | Float64 | Decimal128(..) => Some(Float64),
        // A column that nobody filled.
        Null => Some(Utf8),
        Timestamp(_, zone) => Some(Timestamp(TimeUnit::Millisecond, zone.clone())),
        Date32 | Date64 => Some(Timestamp(TimeUnit::Millisecond, None)),
        Dictionary(_, inner) => read_as(inner, any_type),
        Boolean if any_type => Some(Boolean),
        List(item) | LargeList(item) | FixedSizeList(item, _) if any_type => {
            let item = match item.data_type() {
                Struct(fields) => Struct(read_fields_as(fields)?),
                item => read_as(item, false)?,
            };
            Some(DataType::new_list(item, true))
        }
        _ => None,
    }
}

fn read_fields_as(fields: &Fields) -> Option<Fields> {
    let field = |field: &FieldRef| {
        let target = read_as(field.data_type(), false)?;
        Some(field.as_ref().clone().with_data_type(target).with_nullable(true))
    };
    fields.iter().map(field).collect()
}

fn damaged(path: &Path, error: impl std::fmt::Display) -> ReadError {
    ReadError::Damaged { path: path.to_owned(), format: "Parquet", detail: error.to_string() }
}
