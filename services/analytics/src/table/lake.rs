//! Events, or positions of lists: the files of the lake whose rows may lie in a time, one after another, and then what the
//! log has beyond them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use attune_lake::{DataFile, Dataset, LakeError, Snapshot, load_file, read_columns, without};
use attune_store::Tenant;
use attune_store::objects::Objects;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt, stream};

use super::Source;
use crate::error::Failure;

/// The column by which rows of the forgotten are known.
const SUBJECT: &str = "subject";

/// The rows of a dataset.
pub(crate) struct LakeRows {
    pub objects: Arc<dyn Objects>,
    pub tenant: Tenant,
    pub snapshot: Arc<Snapshot>,
    pub dataset: Dataset,
    /// In Unix milliseconds, both ends included. Rows outside may come as well.
    pub time_ms: (i64, i64),
}

impl fmt::Debug for LakeRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.dataset.name(), self.tenant)
    }
}

impl Source for LakeRows {
    fn schema(&self) -> SchemaRef {
        self.dataset.schema()
    }

    fn rows(&self, columns: SchemaRef, context: &TaskContext) -> SendableRecordBatchStream {
        let (from_ms, to_ms) = self.time_ms;
        let files: Vec<DataFile> = self.snapshot.manifest.files_within(self.dataset, from_ms, to_ms).cloned().collect();
        let reading = Arc::new(Reading {
            objects: Arc::clone(&self.objects),
            tenant: self.tenant.clone(),
            snapshot: Arc::clone(&self.snapshot),
            pool: Arc::clone(context.memory_pool()),
            columns: Arc::clone(&columns),
        });
        let tail = selected(self.snapshot.tail(self.dataset), &columns);
        let files = stream::iter(files).then(move |file| {
            let reading = Arc::clone(&reading);
            async move { reading.open(file).await.map(stream::iter) }
        });
        let rows = files.try_flatten().chain(stream::iter([tail]));
        Box::pin(RecordBatchStreamAdapter::new(columns, rows))
    }
}

/// What reading a file takes.
struct Reading {
    objects: Arc<dyn Objects>,
    tenant: Tenant,
    snapshot: Arc<Snapshot>,
    pool: Arc<dyn MemoryPool>,
    columns: SchemaRef,
}

impl Reading {
    /// The rows of a file. Its bytes count as memory of the report until its last row is read.
    async fn open(self: Arc<Self>, file: DataFile) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
        let held = MemoryConsumer::new("a file of the lake").register(&self.pool);
        held.try_grow(file.bytes as usize)?;
        let bytes = load_file(&*self.objects, &self.tenant, &file).await.map_err(Failure::from)?;
        let mut names: Vec<&str> = self.columns.fields().iter().map(|field| field.name().as_str()).collect();
        if !self.snapshot.forgotten.is_empty() && !names.contains(&SUBJECT) {
            names.push(SUBJECT);
        }
        let batches = read_columns(bytes, file.dataset, &names).map_err(Failure::from)?;
        Ok(batches.map(move |batch| {
            let _until_read = &held;
            let rows = remembered(batch.map_err(Failure::from)?, &self.snapshot.forgotten).map_err(Failure::from)?;
            selected(&rows, &self.columns)
        }))
    }
}

/// The rows that are not of somebody who is forgotten.
fn remembered(rows: RecordBatch, forgotten: &BTreeSet<String>) -> Result<RecordBatch, LakeError> {
    if forgotten.is_empty() {
        return Ok(rows);
    }
    Ok(without(&rows, |subject| forgotten.contains(subject))?.unwrap_or(rows))
}

/// Those columns, in their order.
fn selected(rows: &RecordBatch, columns: &SchemaRef) -> Result<RecordBatch> {
    let place = |field: &arrow::datatypes::FieldRef| rows.schema().index_of(field.name());
    let places = columns.fields().iter().map(place).collect::<Result<Vec<usize>, _>>()?;
    let arrays = places.into_iter().map(|place| Arc::clone(rows.column(place))).collect();
    // A file's schema may carry notes of its writer; the table's has none.
    let count = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(columns), arrays, &count).map_err(DataFusionError::from)
}
