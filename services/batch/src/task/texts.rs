//! Texts through the models: many calls in flight, so that every engine finds a full batch whenever it is free.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, BooleanArray, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field};
use attune_inference::{CallContext, Inference, InferenceError, Input, ModelInfo, WorkClass};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::runtime::Handle;

use super::About;
use crate::read::{Numbered, Rejected, Text};

/// Texts of one call.
const CALL_TEXTS: usize = 64;
/// Calls in flight for each worker of the engine: what it computes, what waits for it, and what is being tokenised.
const WORKER_CALLS: usize = 4;
/// Bounds on the wait for a queue that is full.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// A loaded model, and the runtime to ask it on.
pub(super) struct Texts {
    pub(super) inference: Inference,
    pub(super) model: ModelInfo,
    runtime: Handle,
}

/// The answer to the texts of one call that have one.
pub(super) struct Answered<'a, A> {
    pub(super) rows: Vec<&'a Numbered<Text>>,
    pub(super) answer: Option<A>,
    pub(super) rejected: Vec<Rejected>,
}

impl Texts {
    pub(super) fn new(inference: Inference, runtime: Handle, name: &str) -> Result<Self, InferenceError> {
        let models = inference.models();
        let model = models.iter().find(|model| model.answers_to(name)).cloned();
        let known = || models.iter().map(|model| model.name.clone()).collect();
        let model = model.ok_or_else(|| InferenceError::UnknownModel { name: name.to_owned(), known: known() })?;
        Ok(Self { inference, model, runtime })
    }

    pub(super) fn about(&self, task: &'static str) -> About {
        let engine = &self.model.engine;
        About {
            task,
            model: self.model.name.clone(),
            model_version: self.model.version.clone(),
            engine: engine.name.to_string(),
            instruction_set: engine.instruction_set.to_string(),
            precision: engine.precision.to_string(),
            tokens_max: Some(self.model.max_tokens),
            settings: BTreeMap::new(),
        }
    }

    /// Asks about all rows; answers in their order. `answered` hears how many rows have one.
    pub(super) fn ask<'a, A, F, Answer>(
        &self,
        rows: &'a [Numbered<Text>],
        answered: &mut dyn FnMut(usize),
        ask: F,
    ) -> Result<Vec<Answered<'a, A>>, InferenceError>
    where
        F: Fn(Vec<Input>, CallContext) -> Answer,
        Answer: Future<Output = Result<A, InferenceError>>,
    {
        let in_flight = WORKER_CALLS * self.inference.stats().workers.max(1);
        let calls = rows.chunks(self.call_texts()).map(|rows| one_call(rows, &ask));
        let mut rows_answered = 0;
        let answers = stream::iter(calls).buffered(in_flight).inspect_ok(|call| {
            rows_answered += call.rows.len() + call.rejected.len();
            answered(rows_answered);
        });
        self.runtime.block_on(answers.try_collect())
    }

    /// A call as large as this configuration of the core takes.
    fn call_texts(&self) -> usize {
        CALL_TEXTS.min(self.inference.text_limits().texts_max).max(1)
    }
}

/// Asks until there is an answer to all texts but those that are refused for what they are.
async fn one_call<'a, A, F, Answer>(rows: &'a [Numbered<Text>], ask: &F) -> Result<Answered<'a, A>, InferenceError>
where
    F: Fn(Vec<Input>, CallContext) -> Answer,
    Answer: Future<Output = Result<A, InferenceError>>,
{
    let (mut rows, mut rejected): (Vec<_>, Vec<_>) = (rows.iter().collect(), Vec::new());
    let caller: Arc<str> = "batch".into();
    while !rows.is_empty() {
        let inputs = rows.iter().map(|row| Input::Text(row.row.text.clone())).collect();
        let call = CallContext { caller: Arc::clone(&caller), class: WorkClass::Bulk, deadline: None };
        match ask(inputs, call).await {
            Ok(answer) => return Ok(Answered { rows, answer: Some(answer), rejected }),
            // Half the time that the backlog takes: the queue does not run empty meanwhile.
            Err(InferenceError::Overloaded { retry_after }) => {
                tokio::time::sleep((retry_after / 2).clamp(PAUSE_MIN, PAUSE_MAX)).await;
            }
            Err(error) => {
                let Some(index) = text_at_fault(&error) else { return Err(error) };
                rejected.push(Rejected { row: rows.remove(index).number, reason: reason(&error) });
            }
        }
    }
    Ok(Answered { rows, answer: None, rejected })
}

fn text_at_fault(error: &InferenceError) -> Option<usize> {
    match error {
        InferenceError::TextTooLarge { index, .. }
        | InferenceError::TooManyTokens { index, .. }
        | InferenceError::NoTokens { index }
        | InferenceError::Untokenisable { index, .. } => Some(*index),
        _ => None,
    }
}

/// What is wrong with one text, without its number in a call that nobody knows of.
fn reason(error: &InferenceError) -> String {
    match error {
        InferenceError::TextTooLarge { bytes, max, .. } => format!("text has {bytes} bytes, the model takes {max}"),
        InferenceError::TooManyTokens { tokens, max, .. } => {
            format!("text has at least {tokens} tokens, the model takes {max}")
        }
        InferenceError::Untokenisable { detail, .. } => format!("text cannot be tokenised: {detail}"),
        other => other.to_string(),
    }
}

/// The columns that the output of every task begins with: the row's number in the input, and the id that it has there.
pub(super) fn row_fields() -> Vec<Field> {
    vec![Field::new("row", DataType::UInt64, false), Field::new("id", DataType::Utf8, true)]
}

/// Their values.
pub(super) fn row_columns(rows: &[&Numbered<Text>]) -> Vec<ArrayRef> {
    let numbers: UInt64Array = rows.iter().map(|row| row.number).collect::<Vec<_>>().into();
    let ids: StringArray = rows.iter().map(|row| row.row.id.as_deref()).collect();
    vec![Arc::new(numbers), Arc::new(ids)]
}

/// The column that every output ends with: whether only the beginning of the text was read.
pub(super) fn truncated_field() -> Field {
    Field::new("truncated", DataType::Boolean, false)
}

/// Its values.
pub(super) fn truncated_column(truncated: Vec<bool>) -> ArrayRef {
    Arc::new(BooleanArray::from(truncated))
}
