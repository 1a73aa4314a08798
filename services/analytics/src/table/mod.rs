//! What reports read, as DataFusion sees it: rows that come one batch after another from a source.

mod lake;
mod reviews;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};

pub(crate) use lake::LakeRows;
pub(crate) use reviews::ReviewRows;

/// Where rows come from. They may be read several times at once.
pub(crate) trait Source: fmt::Debug + Send + Sync + 'static {
    /// All columns.
    fn schema(&self) -> SchemaRef;

    /// The rows with some of the columns, in any order.
    fn rows(&self, columns: SchemaRef, context: &TaskContext) -> SendableRecordBatchStream;
}

/// A source as a table. It reads no column that nobody asked for.
#[derive(Debug)]
pub(crate) struct SourceTable(pub Arc<dyn Source>);

#[async_trait]
impl TableProvider for SourceTable {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns = match projection {
            Some(places) => Arc::new(self.schema().project(places)?),
            None => self.schema(),
        };
        let rows: Arc<dyn PartitionStream> = Arc::new(Rows { source: Arc::clone(&self.0), columns: columns.clone() });
        Ok(Arc::new(StreamingTableExec::try_new(columns, vec![rows], None, [], false, limit)?))
    }
}

/// The one partition of a source: one file after another takes less memory than several at once.
#[derive(Debug)]
struct Rows {
    source: Arc<dyn Source>,
    columns: SchemaRef,
}

impl PartitionStream for Rows {
    fn schema(&self) -> &SchemaRef {
        &self.columns
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        self.source.rows(Arc::clone(&self.columns), &context)
    }
}
