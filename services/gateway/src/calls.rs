//! The one implementation behind REST and gRPC.

use attune_api::{ApiError, ErrorCode};
use attune_inference::{
    CallContext, Classifications, ClassifyRequest, EmbedRequest, Embeddings, InferenceError, ModelInfo, Task,
};

/// What a call that names no model wants one for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Embedder,
    Classifier,
}

impl Kind {
    /// The kind of a model.
    pub fn of(model: &ModelInfo) -> Self {
        match model.task {
            Task::Embed { .. } => Self::Embedder,
            Task::Classify { .. } => Self::Classifier,
        }
    }
}

use crate::{
    app::App,
    errors::{self, InputField},
    serve::ServeError,
};

impl App {
    /// Embeds the texts of `request`; `field` says where they were in the caller's request.
    pub async fn embed(
        &self,
        mut request: EmbedRequest,
        context: CallContext,
        field: InputField,
    ) -> Result<Embeddings, ApiError> {
        if request.model.is_empty() {
            request.model = self.default_model(Kind::Embedder)?.name;
        }
        let answer = self.inference.embed(request, context).await;
        answer.map_err(|error| self.refuse(error, field))
    }

    /// Classifies the texts of `request`; `field` says where they were in the caller's request.
    pub async fn classify(
        &self,
        mut request: ClassifyRequest,
        context: CallContext,
        field: InputField,
    ) -> Result<Classifications, ApiError> {
        if request.model.is_empty() {
            request.model = self.default_model(Kind::Classifier)?.name;
        }
        let answer = self.inference.classify(request, context).await;
        answer.map_err(|error| self.refuse(error, field))
    }

    /// The model of a call that names none.
    pub fn default_model(&self, kind: Kind) -> Result<ModelInfo, ApiError> {
        let (configured, what) = match kind {
            Kind::Embedder => (self.config.default_embedding_model.as_deref(), "embedding model"),
            Kind::Classifier => (self.config.default_sentiment_model.as_deref(), "classifier"),
        };
        let models = self.inference.models();
        let found = match configured {
            Some(name) => models.into_iter().find(|model| model.answers_to(name)),
            None => models.into_iter().find(|model| Kind::of(model) == kind),
        };
        found.ok_or_else(|| {
            ApiError::at(ErrorCode::ModelNotFound, "/model", format!("this server has no {what}; name a model"))
        })
    }

    /// # Errors
    /// A configured default model is not loaded, or is of the other task.
    pub fn check_defaults(&self) -> Result<(), ServeError> {
        let defaults = [
            ("embedding", Kind::Embedder, &self.config.default_embedding_model),
            ("sentiment", Kind::Classifier, &self.config.default_sentiment_model),
        ];
        let models = self.inference.models();
        for (task, wanted, name) in defaults {
            let Some(name) = name else { continue };
            if !models.iter().any(|model| Kind::of(model) == wanted && model.answers_to(name)) {
                let known = models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>().join(", ");
                return Err(ServeError::UnknownDefault { task, name: name.clone(), known });
            }
        }
        Ok(())
    }

    /// Whether `model` is what a call gets that names none.
    pub fn is_default(&self, model: &ModelInfo) -> bool {
        self.default_model(Kind::of(model)).is_ok_and(|default| default.name == model.name)
    }

    fn refuse(&self, error: InferenceError, field: InputField) -> ApiError {
        let error = errors::from_inference(error, field);
        crate::metrics::refused(error.code.row().code);
        error
    }
}
