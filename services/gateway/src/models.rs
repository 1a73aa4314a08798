//! `GET /v1/models`.

use attune_api::{
    ApiError, ErrorCode,
    error::quoted,
    rest::models::{Model, ModelList, Task},
};
use attune_inference::{ModelInfo, Task as ModelTask};
use axum::extract::{Path, State};

use crate::{app::App, errors::Refusal};

/// The models that are loaded.
#[utoipa::path(
    get, path = "/v1/models", tag = "OpenAI",
    responses((status = 200, body = ModelList)),
)]
pub(crate) async fn list(State(app): State<App>) -> axum::Json<ModelList> {
    let models = app.inference.models();
    let data = models.iter().map(|model| describe(&app, model)).collect();
    axum::Json(ModelList { object: "list".to_owned(), data })
}

/// One model, by name or alias.
#[utoipa::path(
    get, path = "/v1/models/{id}", tag = "OpenAI", params(("id" = String, Path, description = "Name or alias")),
    responses((status = 200, body = Model)),
)]
pub(crate) async fn get(State(app): State<App>, Path(id): Path<String>) -> Result<axum::Json<Model>, Refusal> {
    let model = app.inference.models().into_iter().find(|model| model.answers_to(&id));
    let model = model.ok_or_else(|| {
        ApiError::new(ErrorCode::ModelNotFound, format!("there is no model {}; GET /v1/models lists them", quoted(&id)))
    })?;
    Ok(axum::Json(describe(&app, &model)))
}

fn describe(app: &App, model: &ModelInfo) -> Model {
    let (task, dimensions, labels) = match &model.task {
        ModelTask::Embed { dimensions } => (Task::Embed, Some(*dimensions), None),
        ModelTask::Classify { labels } => (Task::Classify, None, Some(labels.to_vec())),
    };
    Model {
        id: model.name.clone(),
        object: "model".to_owned(),
        created: app.started_unix_s,
        owned_by: "attune".to_owned(),
        aliases: model.aliases.clone(),
        version: model.version.clone(),
        task,
        dimensions,
        labels,
        max_tokens: model.max_tokens,
        engine: model.engine.name.to_owned(),
        instruction_set: model.engine.instruction_set.to_owned(),
        precision: model.engine.precision.to_string(),
        base_model: model.adapted.then(|| model.base.clone()),
        is_default: app.is_default(model),
    }
}
