//! Texts into embeddings of unit length.

use std::sync::Arc;

use arrow::array::{FixedSizeListArray, Float32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use attune_inference::{EmbedRequest, Inference, InferenceError, Task as Does, Truncate};
use tokio::runtime::Handle;

use super::texts::{Texts, row_columns, row_fields, truncated_column, truncated_field};
use super::{About, OutputBatch, Task, TaskError};
use crate::read::{Batch, Text};

/// Embeds texts. Columns: `row`, `id`, `embedding` (a list of as many floats as the model has dimensions), `truncated`.
pub struct Embed {
    texts: Texts,
    dimensions: usize,
    item: Arc<Field>,
    columns: SchemaRef,
}

impl Embed {
    /// Embeds with the loaded model of that name or alias.
    ///
    /// # Errors
    /// There is none, or it does something else.
    pub fn new(inference: Inference, runtime: Handle, model: &str) -> Result<Self, InferenceError> {
        let texts = Texts::new(inference, runtime, model)?;
        let Does::Embed { dimensions } = texts.model.task else {
            let name = texts.model.name;
            return Err(InferenceError::WrongTask { name, asked: "embed", task: "classification" });
        };
        let item = Arc::new(Field::new("item", DataType::Float32, false));
        let list = DataType::FixedSizeList(Arc::clone(&item), dimensions as i32);
        let mut fields = row_fields();
        fields.extend([Field::new("embedding", list, false), truncated_field()]);
        Ok(Self { texts, dimensions, item, columns: Arc::new(Schema::new(fields)) })
    }
}

impl Task for Embed {
    type Row = Text;

    fn about(&self) -> About {
        self.texts.about("embed")
    }

    fn columns(&self) -> SchemaRef {
        Arc::clone(&self.columns)
    }

    fn run(&mut self, batch: &Batch<Text>, answered: &mut dyn FnMut(usize)) -> Result<OutputBatch, TaskError> {
        let (inference, model) = (&self.texts.inference, &self.texts.model.name);
        let answers = self.texts.ask(&batch.rows, answered, |inputs, call| {
            let (model, truncate) = (model.clone(), Truncate::End);
            let request = EmbedRequest { model, inputs, truncate, dimensions: None, normalize: true };
            async move { inference.embed(request, call).await }
        })?;
        let (mut rows, mut rejected) = (Vec::with_capacity(batch.rows.len()), Vec::new());
        let (mut values, mut truncated) = (Vec::with_capacity(batch.rows.len() * self.dimensions), Vec::new());
        for call in answers {
            rejected.extend(call.rejected);
            if let Some(answer) = call.answer {
                rows.extend(call.rows);
                values.extend(answer.values);
                truncated.extend(answer.truncated);
            }
        }
        let values = Arc::new(Float32Array::from(values));
        let lists = FixedSizeListArray::try_new(Arc::clone(&self.item), self.dimensions as i32, values, None)?;
        let mut columns = row_columns(&rows);
        columns.push(Arc::new(lists));
        columns.push(truncated_column(truncated));
        let answered = rows.len();
        Ok(OutputBatch { rows: RecordBatch::try_new(self.columns(), columns)?, answered, rejected })
    }
}
