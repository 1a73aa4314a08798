//! Pipelines, rules and experiments over REST. They differ in what they say, which their service checks, and not in how
//! they are kept, so that one set of handlers answers for all three.

use attune_api::{
    definitions::{Defined, SharedDefinitions},
    rest::definitions::{Definition, DefinitionBody, DefinitionList, DefinitionQuery},
};
use axum::{
    Extension, Router,
    extract::Path,
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderMap, StatusCode, header};
use tower_http::decompression::RequestDecompressionLayer;

use crate::{
    admission::Call,
    app::App,
    errors::Refusal,
    etag,
    json::{self, Json},
    query::Query,
};

/// Bytes of one in JSON, for the size of an answer.
const JSON_BYTES: usize = 1_000;

type Service = Extension<SharedDefinitions>;

/// The routes, where this process has the service. Who may use them is the caller's to say.
pub(crate) fn routes(app: &App) -> Option<Router<App>> {
    let service = app.services.definitions.clone()?;
    let routes = pipelines::routes()
        .merge(rules::routes())
        .merge(experiments::routes())
        .route_layer(RequestDecompressionLayer::new().pass_through_unaccepted(true))
        .layer(Extension(service));
    Some(routes)
}

/// The handlers of one kind, under the paths that the OpenAPI document gives them.
macro_rules! handlers {
    ($module:ident, $kind:expr, $all:literal, $one:literal, $put:literal) => {
        pub(crate) mod $module {
            use super::*;

            pub(super) fn routes() -> Router<App> {
                Router::new().route($all, get(list)).route($one, get(one).put(put).delete(delete))
            }

            /// Those of the tenant's own, by name.
            #[utoipa::path(
                get, path = $all, tag = "Recommendation", params(DefinitionQuery),
                responses((status = 200, body = DefinitionList)),
            )]
            pub(crate) async fn list(
                service: Service,
                call: Call,
                query: Query<DefinitionQuery>,
            ) -> Result<Response, Refusal> {
                super::list(service, call, $kind, query).await
            }

            /// One of them, with its ETag.
            #[utoipa::path(
                get, path = $one, tag = "Recommendation", params(("name" = String, Path, description = "Its name")),
                responses(
                    (status = 200, body = Definition),
                    (status = 304, description = "It is still what `if-none-match` names"),
                ),
            )]
            pub(crate) async fn one(
                service: Service,
                call: Call,
                name: Path<String>,
                headers: HeaderMap,
            ) -> Result<Response, Refusal> {
                super::one(service, call, $kind, name, headers).await
            }

            #[doc = $put]
            #[utoipa::path(
                put, path = $one, tag = "Recommendation", params(("name" = String, Path, description = "Its name")),
                request_body = DefinitionBody,
                responses((status = 200, body = Definition), (status = 201, body = Definition)),
            )]
            pub(crate) async fn put(
                service: Service,
                call: Call,
                name: Path<String>,
                headers: HeaderMap,
                body: Json<DefinitionBody>,
            ) -> Result<Response, Refusal> {
                super::put(service, call, $kind, name, headers, body).await
            }

            /// Deletes one of them.
            #[utoipa::path(
                delete, path = $one, tag = "Recommendation", params(("name" = String, Path, description = "Its name")),
                responses((status = 204, description = "It is gone")),
            )]
            pub(crate) async fn delete(
                service: Service,
                call: Call,
                name: Path<String>,
                headers: HeaderMap,
            ) -> Result<StatusCode, Refusal> {
                super::delete(service, call, $kind, name, headers).await
            }
        }
    };
}

handlers!(
    pipelines,
    Defined::Pipeline,
    "/v1/pipelines",
    "/v1/pipelines/{name}",
    "Makes or replaces a pipeline: `sources`, `blend`, `rules`, `diversity`, `exploration`. It is served within seconds, \
     without a failed request; one of the name `default` serves requests that name none. What does not fit is refused \
     and leaves what was there."
);
handlers!(
    rules,
    Defined::Rule,
    "/v1/rules",
    "/v1/rules/{name}",
    "Makes or replaces a rule: an `effect` (`pin`, `boost`, `bury`, `quota`) on the items of a `filter`, of `item_ids`, or \
     of both, in the lists of `pipelines`, or in all lists."
);
handlers!(
    experiments,
    Defined::Experiment,
    "/v1/experiments",
    "/v1/experiments/{name}",
    "Makes or replaces an experiment: each of its `arms` has a `name`, a `share` of the people and a `pipeline`, which makes \
     their lists instead of the experiment's `pipeline`. Who is in an arm stays there. Shares add up to 1. With a \
     `bandit`, they are what it begins with: after that each arm gets the chance that it is the best, and none less than \
     its `floor`."
);

async fn list(
    Extension(service): Service,
    call: Call,
    kind: Defined,
    Query(query): Query<DefinitionQuery>,
) -> Result<Response, Refusal> {
    let list = service.list(&call.service(), kind, query.cursor.as_deref(), query.limit).await?;
    let bytes = list.definitions.len() * JSON_BYTES;
    Ok(json::answer(list, bytes).await?)
}

async fn one(
    Extension(service): Service,
    call: Call,
    kind: Defined,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let definition = service.definition(&call.service(), kind, &name).await?;
    let tag = etag::of(definition.version);
    if etag::is_known(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    answer(definition, StatusCode::OK).await
}

async fn put(
    Extension(service): Service,
    call: Call,
    kind: Defined,
    Path(name): Path<String>,
    headers: HeaderMap,
    Json(body): Json<DefinitionBody>,
) -> Result<Response, Refusal> {
    let saved = service.define(&call.service(), kind, &name, body, etag::condition(&headers)?).await?;
    let status = if saved.is_new { StatusCode::CREATED } else { StatusCode::OK };
    answer(saved.definition, status).await
}

async fn delete(
    Extension(service): Service,
    call: Call,
    kind: Defined,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    service.undefine(&call.service(), kind, &name, etag::condition(&headers)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn answer(definition: Definition, status: StatusCode) -> Result<Response, Refusal> {
    let tag = etag::of(definition.version);
    let mut response = json::answer(definition, JSON_BYTES).await?;
    *response.status_mut() = status;
    response.headers_mut().insert(header::ETAG, tag);
    Ok(response)
}
