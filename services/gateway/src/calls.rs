//! The one implementation behind REST and gRPC.

use attune_api::{ApiError, ErrorCode};
use attune_inference::{
    CallContext, Classifications, ClassifyRequest, EmbedRequest, Embeddings, InferenceError, ModelInfo, Task,
};

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
            request.model = self.default_model(Task::Embed)?.name;
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
            request.model = self.default_model(Task::Classify)?.name;
        }
        let answer = self.inference.classify(request, context).await;
        answer.map_err(|error| self.refuse(error, field))
    }

    /// The model of a call that names none.
    pub fn default_model(&self, task: Task) -> Result<ModelInfo, ApiError> {
        let (configured, what) = match task {
            Task::Embed => (self.config.default_embedding_model.as_deref(), "embedding model"),
            Task::Classify => (self.config.default_sentiment_model.as_deref(), "classifier"),
        };
        let models = self.inference.models();
        let found = match configured {
            Some(name) => models.into_iter().find(|model| model.answers_to(name)),
            None => models.into_iter().find(|model| model.task == task),
        };
        found.ok_or_else(|| {
            ApiError::at(ErrorCode::ModelNotFound, "/model", format!("this server has no {what}; name a model"))
        })
    }

    /// # Errors
    /// A configured default model is not loaded, or is of the other task.
    pub fn check_defaults(&self) -> Result<(), ServeError> {
        let defaults = [
            ("embedding", Task::Embed, &self.config.default_embedding_model),
            ("sentiment", Task::Classify, &self.config.default_sentiment_model),
        ];
        let models = self.inference.models();
        for (task, wanted, name) in defaults {
            let Some(name) = name else { continue };
            if !models.iter().any(|model| model.task == wanted && model.answers_to(name)) {
                let known = models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>().join(", ");
                return Err(ServeError::UnknownDefault { task, name: name.clone(), known });
            }
        }
        Ok(())
    }

    /// Whether `model` is what a call gets that names none.
    pub fn is_default(&self, model: &ModelInfo) -> bool {
        self.default_model(model.task).is_ok_and(|default| default.name == model.name)
    }

    fn refuse(&self, error: InferenceError, field: InputField) -> ApiError {
        let error = errors::from_inference(error, field);
        crate::metrics::refused(error.code.row().code);
        error
    }
}
