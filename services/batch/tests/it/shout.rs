//! A task without a model: texts in capitals, so that a test is about the job alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use attune_batch::read::{Batch, Rejected, Text};
use attune_batch::task::{About, OutputBatch, Task, TaskError};
use attune_inference::InferenceError;

/// The text that the task rejects.
pub const UNSAYABLE: &str = "unsayable";
/// The text that the task fails at.
pub const FATAL: &str = "fatal";

/// Makes `row` and `loud` of texts.
pub struct Shout {
    /// The version that it says it has.
    pub version: &'static str,
}

impl Task for Shout {
    type Row = Text;

    fn about(&self) -> About {
        About {
            task: "shout",
            model: "lungs".into(),
            model_version: self.version.into(),
            engine: "test".into(),
            instruction_set: "none".into(),
            precision: "f32".into(),
            tokens_max: Some(8),
            settings: BTreeMap::new(),
        }
    }

    fn columns(&self) -> SchemaRef {
        let fields = vec![Field::new("row", DataType::UInt64, false), Field::new("loud", DataType::Utf8, false)];
        Arc::new(Schema::new(fields))
    }

    fn run(&mut self, batch: &Batch<Text>, _: &mut dyn FnMut(usize)) -> Result<OutputBatch, TaskError> {
        if batch.rows.iter().any(|row| row.row.text == FATAL) {
            return Err(InferenceError::Engine("out of breath".into()).into());
        }
        let (bad, good): (Vec<_>, Vec<_>) = batch.rows.iter().partition(|row| row.row.text == UNSAYABLE);
        let numbers: UInt64Array = good.iter().map(|row| row.number).collect::<Vec<_>>().into();
        let loud: StringArray = good.iter().map(|row| Some(row.row.text.to_uppercase())).collect();
        let rows = RecordBatch::try_new(self.columns(), vec![Arc::new(numbers), Arc::new(loud)])?;
        let rejected = bad.iter().map(|row| Rejected { row: row.number, reason: "nobody says that".into() });
        Ok(OutputBatch { rows, answered: good.len(), rejected: rejected.collect() })
    }
}
