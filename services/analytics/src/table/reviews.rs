//! Reviews, page by page, from the newest back to the first moment that is asked about.

use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use attune_api::Call;
use attune_api::analytics::{JudgedReview, KeepsReviews};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream;

use super::Source;
use crate::error::Failure;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("item_id", DataType::Utf8, false),
        Field::new("time", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), false),
        Field::new("rating", DataType::Float64, true),
        Field::new("sentiment", DataType::Float64, true),
    ]))
});

/// The reviews of a tenant.
pub(crate) struct ReviewRows {
    pub keeper: Arc<dyn KeepsReviews>,
    pub call: Call,
    /// Earlier ones need not come, in Unix milliseconds.
    pub from_ms: i64,
}

impl fmt::Debug for ReviewRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reviews of {}", self.call.tenant)
    }
}

/// Where the next page begins.
#[derive(Clone)]
enum Page {
    First,
    After(String),
    None,
}

impl Source for ReviewRows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&SCHEMA)
    }

    fn rows(&self, columns: SchemaRef, _context: &TaskContext) -> SendableRecordBatchStream {
        let (keeper, call, from_ms) = (Arc::clone(&self.keeper), self.call.clone(), self.from_ms);
        let places: Vec<usize> =
            columns.fields().iter().filter_map(|field| SCHEMA.index_of(field.name()).ok()).collect();
        let rows = stream::try_unfold(Page::First, move |page| {
            let (keeper, call, places) = (Arc::clone(&keeper), call.clone(), places.clone());
            async move {
                let from = match &page {
                    Page::None => return Ok(None),
                    Page::First => None,
                    Page::After(cursor) => Some(cursor.as_str()),
                };
                let found = keeper.judged(&call, from).await.map_err(Failure::from)?;
                let is_over = found.reviews.last().is_some_and(|review| review.time_ms < from_ms);
                let next = found.next.filter(|_| !is_over).map_or(Page::None, Page::After);
                Ok::<_, DataFusionError>(Some((batch(&found.reviews)?.project(&places)?, next)))
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(columns, rows))
    }
}

fn batch(reviews: &[JudgedReview]) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(reviews.iter().map(|review| &review.item_id))),
        Arc::new(
            TimestampMillisecondArray::from_iter_values(reviews.iter().map(|review| review.time_ms))
                .with_timezone("UTC"),
        ),
        Arc::new(reviews.iter().map(|review| review.rating).collect::<Float64Array>()),
        Arc::new(reviews.iter().map(|review| review.sentiment).collect::<Float64Array>()),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
}
