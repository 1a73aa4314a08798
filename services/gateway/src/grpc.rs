//! `attune.v1.Inference`: messages in, calls, messages out; and what all gRPC services share.

use std::convert::Infallible;

use attune_api::{
    ApiError, ErrorCode, dialect,
    v1::{self, inference_server},
};
use attune_inference::{
    CallContext, Classifications, ClassifyRequest, EmbedRequest, Embeddings, Input, ModelInfo, Task, Timing, Truncate,
};
use axum::{
    Router,
    extract::Request as HttpRequest,
    middleware::{self, Next},
    response::{IntoResponse, Response as HttpResponse},
};
use http::header::CONTENT_TYPE;
use tonic::{Request, Response, Status, Streaming, async_trait, server::NamedService};
use tower::Service;

use crate::{
    admission::Call,
    app::App,
    edge::{RequestId, milliseconds},
    errors::{InputField, Refusal},
    grpc_stream::{self, Answers},
    sentiment::most_probable,
};

/// The gRPC face of [`App`].
#[derive(Clone)]
pub(crate) struct Grpc {
    app: App,
}

impl Grpc {
    pub fn new(app: App) -> Self {
        Self { app }
    }
}

/// A gRPC route answers gRPC only: a browser that posts JSON here is told so.
pub(crate) async fn require_grpc(request: HttpRequest, next: Next) -> Result<HttpResponse, Refusal> {
    let kind = request.headers().get(CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
        return Ok(next.run(request).await);
    }
    let detail = "this route speaks gRPC (`content-type: application/grpc`); the JSON routes are at /docs";
    Err(ApiError::new(ErrorCode::UnsupportedMediaType, detail).into())
}

#[async_trait]
impl inference_server::Inference for Grpc {
    type EmbedStreamStream = Answers<v1::EmbedStreamResponse>;
    type ClassifyStreamStream = Answers<v1::ClassifyStreamResponse>;

    async fn embed(&self, request: Request<v1::EmbedRequest>) -> Result<Response<v1::EmbedResponse>, Status> {
        let call = call_of(&request)?;
        let answer = embed(&self.app, request.into_inner(), call.unary()).await;
        answer.map(|answer| timed(embed_response(&answer), answer.timing)).map_err(|error| status(&error, &call.id))
    }

    async fn classify(&self, request: Request<v1::ClassifyRequest>) -> Result<Response<v1::ClassifyResponse>, Status> {
        let call = call_of(&request)?;
        let answer = classify(&self.app, request.into_inner(), call.unary()).await;
        answer.map(|answer| timed(classify_response(&answer), answer.timing)).map_err(|error| status(&error, &call.id))
    }

    async fn embed_stream(
        &self,
        request: Request<Streaming<v1::EmbedStreamRequest>>,
    ) -> Result<Response<Self::EmbedStreamStream>, Status> {
        let call = call_of(&request)?;
        let (app, context) = (self.app.clone(), call.item());
        let answer = move |item: v1::EmbedStreamRequest| {
            let (app, context) = (app.clone(), context.clone());
            let work = async move { embed(&app, item.request.unwrap_or_default(), context).await };
            grpc_stream::settle(work, move |answer| v1::EmbedStreamResponse {
                id: item.id,
                outcome: Some(match answer {
                    Ok(answer) => v1::embed_stream_response::Outcome::Response(embed_response(&answer)),
                    Err(error) => v1::embed_stream_response::Outcome::Error(v1::ItemError::from(&error)),
                }),
            })
        };
        grpc_stream::open(&self.app, &call, request.into_inner(), answer).map_err(|error| status(&error, &call.id))
    }

    async fn classify_stream(
        &self,
        request: Request<Streaming<v1::ClassifyStreamRequest>>,
    ) -> Result<Response<Self::ClassifyStreamStream>, Status> {
        let call = call_of(&request)?;
        let (app, context) = (self.app.clone(), call.item());
        let answer = move |item: v1::ClassifyStreamRequest| {
            let (app, context) = (app.clone(), context.clone());
            let work = async move { classify(&app, item.request.unwrap_or_default(), context).await };
            grpc_stream::settle(work, move |answer| v1::ClassifyStreamResponse {
                id: item.id,
                outcome: Some(match answer {
                    Ok(answer) => v1::classify_stream_response::Outcome::Response(classify_response(&answer)),
                    Err(error) => v1::classify_stream_response::Outcome::Error(v1::ItemError::from(&error)),
                }),
            })
        };
        grpc_stream::open(&self.app, &call, request.into_inner(), answer).map_err(|error| status(&error, &call.id))
    }

    async fn list_models(
        &self,
        _request: Request<v1::ListModelsRequest>,
    ) -> Result<Response<v1::ListModelsResponse>, Status> {
        let models = self.app.inference.models();
        let models = models.iter().map(|model| describe(&self.app, model)).collect();
        Ok(Response::new(v1::ListModelsResponse { models }))
    }
}

async fn embed(app: &App, request: v1::EmbedRequest, context: CallContext) -> Result<Embeddings, ApiError> {
    let truncate = truncate(request.truncate)?;
    let (inputs, field) = inputs(request.inputs, request.token_ids)?;
    let embed = EmbedRequest {
        model: request.model,
        inputs,
        truncate,
        dimensions: request.dimensions.map(|dimensions| dimensions as usize),
        normalize: request.normalize.unwrap_or(true),
    };
    app.embed(embed, context, field).await
}

async fn classify(app: &App, request: v1::ClassifyRequest, context: CallContext) -> Result<Classifications, ApiError> {
    let truncate = truncate(request.truncate)?;
    let (inputs, field) = inputs(request.inputs, request.token_ids)?;
    app.classify(ClassifyRequest { model: request.model, inputs, truncate }, context, field).await
}

/// One list of the two, and its name.
fn inputs(texts: Vec<String>, token_ids: Vec<v1::TokenIds>) -> Result<(Vec<Input>, InputField), ApiError> {
    match (texts.is_empty(), token_ids.is_empty()) {
        (false, false) => {
            let detail = "give texts in `inputs` or token ids in `token_ids`, not both";
            Err(ApiError::at(ErrorCode::Invalid, "/token_ids", detail))
        }
        (true, false) => {
            let inputs = token_ids.into_iter().map(|tokens| Input::Tokens(tokens.ids)).collect();
            Ok((inputs, InputField::list("token_ids")))
        }
        _ => Ok((texts.into_iter().map(Input::Text).collect(), InputField::list("inputs"))),
    }
}

fn truncate(number: i32) -> Result<Truncate, ApiError> {
    match v1::Truncate::try_from(number) {
        Ok(v1::Truncate::Unspecified | v1::Truncate::End) => Ok(Truncate::End),
        Ok(v1::Truncate::Refuse) => Ok(Truncate::Refuse),
        Err(_) => {
            Err(ApiError::at(ErrorCode::Invalid, "/truncate", format!("there is no Truncate of number {number}")))
        }
    }
}

fn embed_response(answer: &Embeddings) -> v1::EmbedResponse {
    let rows = answer.values.chunks_exact(answer.dimensions).zip(&answer.tokens).zip(&answer.truncated);
    let embeddings = rows.map(|((values, &tokens), &truncated)| v1::Embedding {
        values: values.to_vec(),
        tokens: count(tokens),
        truncated,
    });
    v1::EmbedResponse {
        model: answer.model.clone(),
        version: answer.version.clone(),
        dimensions: count(answer.dimensions),
        embeddings: embeddings.collect(),
        usage: Some(usage(&answer.tokens)),
        timing: Some(timing(answer.timing)),
    }
}

fn classify_response(answer: &Classifications) -> v1::ClassifyResponse {
    let rows = answer.probabilities.chunks_exact(answer.labels.len()).zip(&answer.tokens).zip(&answer.truncated);
    let results = rows.map(|((probabilities, &tokens), &truncated)| {
        let (best, score) = most_probable(probabilities);
        v1::Classification {
            label: answer.labels[best].clone(),
            score,
            probabilities: probabilities.to_vec(),
            tokens: count(tokens),
            truncated,
        }
    });
    v1::ClassifyResponse {
        model: answer.model.clone(),
        version: answer.version.clone(),
        labels: answer.labels.to_vec(),
        results: results.collect(),
        usage: Some(usage(&answer.tokens)),
        timing: Some(timing(answer.timing)),
    }
}

fn usage(tokens: &[usize]) -> v1::Usage {
    v1::Usage { tokens: tokens.iter().sum::<usize>() as u64, texts: count(tokens.len()) }
}

fn timing(timing: Timing) -> v1::Timing {
    v1::Timing {
        tokenize_ms: milliseconds(timing.tokenize),
        queue_ms: milliseconds(timing.queue),
        infer_ms: milliseconds(timing.infer),
    }
}

fn describe(app: &App, model: &ModelInfo) -> v1::Model {
    let (task, dimensions, labels) = match &model.task {
        Task::Embed { dimensions } => (v1::Task::Embed, Some(count(*dimensions)), Vec::new()),
        Task::Classify { labels } => (v1::Task::Classify, None, labels.to_vec()),
    };
    v1::Model {
        name: model.name.clone(),
        aliases: model.aliases.clone(),
        version: model.version.clone(),
        task: task.into(),
        dimensions,
        labels,
        max_tokens: count(model.max_tokens),
        engine: model.engine.name.to_owned(),
        instruction_set: model.engine.instruction_set.to_owned(),
        precision: model.engine.precision.to_string(),
        base_model: model.adapted.then(|| model.base.clone()),
        is_default: app.is_default(model),
    }
}

/// Counts are bounded far below 2^32 by the request's limits.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The layer around every method has put it there.
pub(crate) fn call_of<T>(request: &Request<T>) -> Result<Call, Status> {
    let call = request.extensions().get::<Call>().cloned();
    call.ok_or_else(|| dialect::grpc_status(&ApiError::internal(), None))
}

pub(crate) fn status(error: &ApiError, id: &RequestId) -> Status {
    dialect::grpc_status(error, Some(&id.0))
}

/// What a service said, to who called.
pub(crate) fn answered<T>(call: &Call, answer: Result<T, ApiError>) -> Result<Response<T>, Status> {
    answer.map(Response::new).map_err(|error| status(&error, &call.id))
}

/// The methods of one service, as routes that answer gRPC alone.
pub(crate) fn methods<S>(names: &[&str], server: S) -> Router<App>
where
    S: Service<HttpRequest, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
{
    let path = |name: &&str| format!("/{}/{name}", S::NAME);
    let routes = names.iter().fold(Router::new(), |routes, name| routes.route_service(&path(name), server.clone()));
    routes.route_layer(middleware::from_fn(require_grpc))
}

/// The edge turns the extension into `server-timing`.
fn timed<T>(message: T, timing: Timing) -> Response<T> {
    let mut response = Response::new(message);
    response.extensions_mut().insert(timing);
    response
}
