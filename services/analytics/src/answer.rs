//! Rows of DataFusion as a table of the wire.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, SchemaRef, TimeUnit, TimestampMillisecondType};
use attune_api::analytics::ROWS_MAX;
use attune_api::rest::Timestamp;
use attune_api::rest::analytics::{Column, ColumnType, Table};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;
use serde_json::Value;

use crate::error::Failure;

/// Reads an answer to its end.
///
/// # Errors
/// [`Failure::Rows`] where it has more than [`ROWS_MAX`].
pub(crate) async fn collect(mut rows: SendableRecordBatchStream) -> Result<Table, Failure> {
    let mut table = Table { columns: columns(&rows.schema())?, rows: Vec::new() };
    while let Some(batch) = rows.try_next().await? {
        if table.rows.len() + batch.num_rows() > ROWS_MAX {
            return Err(Failure::Rows);
        }
        append(&mut table, &batch)?;
    }
    Ok(table)
}

fn columns(schema: &SchemaRef) -> Result<Vec<Column>, Failure> {
    let column = |field: &arrow::datatypes::FieldRef| {
        let r#type = match field.data_type() {
            DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => ColumnType::String,
            kind if kind.is_integer() => ColumnType::Integer,
            kind if kind.is_floating() => ColumnType::Number,
            DataType::Timestamp(..) => ColumnType::Time,
            other => return Err(Failure::Plan(DataFusionError::NotImplemented(format!("an answer of {other}")))),
        };
        Ok(Column::new(field.name(), r#type))
    };
    schema.fields().iter().map(column).collect()
}

fn append(table: &mut Table, batch: &RecordBatch) -> Result<(), Failure> {
    let first = table.rows.len();
    table.rows.resize_with(first + batch.num_rows(), || Vec::with_capacity(batch.num_columns()));
    for (column, array) in table.columns.iter().zip(batch.columns()) {
        let values = values(column.r#type, array)?;
        table.rows[first..].iter_mut().zip(values).for_each(|(row, value)| row.push(value));
    }
    Ok(())
}

fn values(r#type: ColumnType, array: &ArrayRef) -> Result<Vec<Value>, Failure> {
    let wanted = match r#type {
        ColumnType::String => DataType::Utf8,
        ColumnType::Integer => DataType::Int64,
        ColumnType::Number => DataType::Float64,
        ColumnType::Time => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
    };
    let array = cast(array, &wanted).map_err(DataFusionError::from)?;
    let value = |row: usize| match r#type {
        ColumnType::String => Value::from(array.as_string::<i32>().value(row)),
        ColumnType::Integer => Value::from(array.as_primitive::<Int64Type>().value(row)),
        // What is not finite is no number in JSON, and becomes null.
        ColumnType::Number => Value::from(array.as_primitive::<Float64Type>().value(row)),
        ColumnType::Time => Value::from(Timestamp(array.as_primitive::<TimestampMillisecondType>().value(row)).text()),
    };
    Ok((0..array.len()).map(|row| if array.is_null(row) { Value::Null } else { value(row) }).collect())
}
