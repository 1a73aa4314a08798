//! Embeddings and sentiments by our own engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use attune_api::rest::sentiment::SentimentResult;
use attune_api::{ApiError, Call, ErrorCode};
use attune_inference::{
    CallContext, ClassifyRequest, EmbedRequest, Inference, InferenceError, Input, ModelInfo, Task, Truncate, WorkClass,
};

/// Which models are asked; the first of their kind where none is named.
#[derive(Clone, Debug, Default)]
pub struct Models {
    /// Name or alias of the embedding model.
    pub embedding: Option<String>,
    /// Name or alias of the classifier of reviews.
    pub sentiment: Option<String>,
}

/// What computes.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    inference: Inference,
    embedder: Option<Embedder>,
    /// A classifier with its name; reviews are not judged without one.
    classifier: Option<String>,
}

/// The model of embeddings.
#[derive(Clone, Debug)]
pub(crate) struct Embedder {
    name: String,
    /// Everything that decides what the numbers are. An embedding of another version is computed again.
    pub version: String,
    pub width: usize,
}

/// How far a text is positive rather than negative, by its labels.
pub(crate) fn polarity(scores: &BTreeMap<String, f32>) -> Option<f64> {
    let of = |label: &str| scores.iter().find(|(name, _)| name.eq_ignore_ascii_case(label)).map(|(_, score)| *score);
    Some(f64::from(of("positive")?) - f64::from(of("negative")?))
}

impl Engine {
    pub fn new(inference: Inference, models: &Models) -> Self {
        let is_wanted =
            |model: &ModelInfo, name: &Option<String>| name.as_deref().is_none_or(|name| model.answers_to(name));
        let all = inference.models();
        let embedder = all.iter().find_map(|model| match model.task {
            Task::Embed { dimensions } if is_wanted(model, &models.embedding) => Some(Embedder {
                name: model.name.clone(),
                version: format!("{} {} {}", model.name, model.version, model.engine.precision),
                width: dimensions,
            }),
            _ => None,
        });
        let classifier =
            all.iter().find(|model| matches!(model.task, Task::Classify { .. }) && is_wanted(model, &models.sentiment));
        Self { classifier: classifier.map(|model| model.name.clone()), embedder, inference }
    }

    pub fn embedder(&self) -> Option<&Embedder> {
        self.embedder.as_ref()
    }

    /// Embeddings of unit length, in the order of the texts; the end of a long text is cut off.
    pub async fn embed(&self, texts: Vec<String>, context: CallContext) -> Result<Vec<Vec<f32>>, ApiError> {
        let embedder = self.embedder.as_ref().ok_or_else(no_embedder)?;
        let request = EmbedRequest {
            model: embedder.name.clone(),
            inputs: texts.into_iter().map(Input::Text).collect(),
            truncate: Truncate::End,
            dimensions: None,
            normalize: true,
        };
        let answer = self.inference.embed(request, context).await.map_err(refused)?;
        Ok(answer.values.chunks_exact(answer.dimensions).map(<[f32]>::to_vec).collect())
    }

    /// What the classifier makes of a text; none where there is no classifier.
    pub async fn judge(&self, text: String, context: CallContext) -> Result<Option<SentimentResult>, ApiError> {
        let Some(model) = self.classifier.clone() else { return Ok(None) };
        let request = ClassifyRequest { model, inputs: vec![Input::Text(text)], truncate: Truncate::End };
        let answer = self.inference.classify(request, context).await.map_err(refused)?;
        let scores = || answer.labels.iter().zip(&answer.probabilities);
        let best = scores().reduce(|best, one| if one.1 > best.1 { one } else { best });
        Ok(best.map(|(label, score)| SentimentResult {
            label: label.clone(),
            score: *score,
            scores: scores().map(|(label, score)| (label.clone(), *score)).collect(),
            truncated: answer.truncated.first().copied().unwrap_or_default(),
        }))
    }
}

/// The context of a call of a client.
pub(crate) fn of_call(call: &Call) -> CallContext {
    let class = if call.is_bulk { WorkClass::Bulk } else { WorkClass::Interactive };
    CallContext { caller: Arc::clone(&call.caller), class, deadline: call.deadline }
}

/// The context of work that nobody waits for.
pub(crate) fn in_background(tenant: &str) -> CallContext {
    CallContext { caller: format!("content of {tenant}").into(), class: WorkClass::Bulk, deadline: None }
}

/// There is nothing that embeds.
pub(crate) fn no_embedder() -> ApiError {
    let detail = "this server has no embedding model, so it finds by text alone: load one, or leave out `mode`";
    ApiError::new(ErrorCode::ModelNotFound, detail)
}

fn refused(error: InferenceError) -> ApiError {
    match error {
        InferenceError::Overloaded { retry_after } => {
            ApiError::new(ErrorCode::Overloaded, "the queue of the engine is full; try again later")
                .retry_after(retry_after)
        }
        InferenceError::DeadlinePassed => {
            ApiError::new(ErrorCode::DeadlineExceeded, "the deadline passed before the text was computed")
        }
        InferenceError::Draining => ApiError::new(ErrorCode::Unavailable, "the server is shutting down"),
        InferenceError::Engine(cause) => {
            tracing::error!(%cause, "an engine failed");
            ApiError::internal()
        }
        other => ApiError::new(ErrorCode::Invalid, other.to_string()),
    }
}
