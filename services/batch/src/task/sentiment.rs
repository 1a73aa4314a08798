//! Texts into what people think: the most probable label, and the probability of each.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use attune_inference::{ClassifyRequest, Inference, InferenceError, Task as Does, Truncate};
use tokio::runtime::Handle;

use super::texts::{Texts, row_columns, row_fields, truncated_column, truncated_field};
use super::{About, OutputBatch, Task, TaskError};
use crate::read::{Batch, Text};

/// Classifies texts. Columns: `row`, `id`, `label`, `score` (the label's probability), `scores` (one probability for
/// each of the model's labels), `truncated`: the names of the REST answer.
pub struct Sentiment {
    texts: Texts,
    labels: Arc<[String]>,
    scores: Fields,
    columns: SchemaRef,
}

impl Sentiment {
    /// Classifies with the loaded model of that name or alias.
    ///
    /// # Errors
    /// There is none, or it does something else.
    pub fn new(inference: Inference, runtime: Handle, model: &str) -> Result<Self, InferenceError> {
        let texts = Texts::new(inference, runtime, model)?;
        let Does::Classify { labels } = texts.model.task.clone() else {
            let name = texts.model.name;
            return Err(InferenceError::WrongTask { name, asked: "classify", task: "embedding" });
        };
        let scores: Fields = labels.iter().map(|label| Field::new(label, DataType::Float32, false)).collect();
        let mut fields = row_fields();
        fields.extend([
            Field::new("label", DataType::Utf8, false),
            Field::new("score", DataType::Float32, false),
            Field::new("scores", DataType::Struct(scores.clone()), false),
            truncated_field(),
        ]);
        Ok(Self { texts, labels, scores, columns: Arc::new(Schema::new(fields)) })
    }

    /// The columns `label`, `score` and `scores` of probabilities, rows x labels.
    fn judged(&self, probabilities: &[f32]) -> Result<[ArrayRef; 3], TaskError> {
        let rows = || probabilities.chunks_exact(self.labels.len());
        let best: Vec<usize> = rows().map(most_probable).collect();
        let label: StringArray = best.iter().map(|&place| Some(self.labels[place].as_str())).collect();
        let score: Float32Array = rows().zip(&best).map(|(row, &place)| row[place]).collect::<Vec<_>>().into();
        let each = |place| Arc::new(Float32Array::from_iter_values(rows().map(|row| row[place]))) as ArrayRef;
        let each: Vec<ArrayRef> = (0..self.labels.len()).map(each).collect();
        let scores = StructArray::try_new(self.scores.clone(), each, None)?;
        Ok([Arc::new(label), Arc::new(score), Arc::new(scores)])
    }
}

/// The place of the largest; the lower one where two are equal.
fn most_probable(row: &[f32]) -> usize {
    (1..row.len()).fold(0, |best, place| if row[place] > row[best] { place } else { best })
}

impl Task for Sentiment {
    type Row = Text;

    fn about(&self) -> About {
        self.texts.about("sentiment")
    }

    fn columns(&self) -> SchemaRef {
        Arc::clone(&self.columns)
    }

    fn run(&mut self, batch: &Batch<Text>, answered: &mut dyn FnMut(usize)) -> Result<OutputBatch, TaskError> {
        let (inference, model) = (&self.texts.inference, &self.texts.model.name);
        let answers = self.texts.ask(&batch.rows, answered, |inputs, call| {
            let request = ClassifyRequest { model: model.clone(), inputs, truncate: Truncate::End };
            async move { inference.classify(request, call).await }
        })?;
        let (mut rows, mut rejected) = (Vec::with_capacity(batch.rows.len()), Vec::new());
        let (mut probabilities, mut truncated) = (Vec::new(), Vec::new());
        for call in answers {
            rejected.extend(call.rejected);
            if let Some(answer) = call.answer {
                rows.extend(call.rows);
                probabilities.extend(answer.probabilities);
                truncated.extend(answer.truncated);
            }
        }
        let mut columns = row_columns(&rows);
        columns.extend(self.judged(&probabilities)?);
        columns.push(truncated_column(truncated));
        let answered = rows.len();
        Ok(OutputBatch { rows: RecordBatch::try_new(self.columns(), columns)?, answered, rejected })
    }
}
