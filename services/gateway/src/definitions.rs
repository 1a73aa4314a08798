//! Pipelines, rules and experiments over REST. They differ in what they say, which their service checks, and not in how
//! they are kept, so that one set of handlers answers for all three.

use attune_api::{
    ApiError,
    definitions::{Defined, SharedDefinitions},
    pointer::is_of_shape,
    rest::{
        definitions::{Definition, DefinitionBody, DefinitionList, DefinitionQuery},
        specs::{ExperimentBody, PipelineBody, RuleBody, examples},
    },
};
use axum::{Extension, Router, extract::Path, response::Response, routing::get};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
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
    ($module:ident, $kind:expr, $body:ident, $all:literal, $one:literal, $put:literal) => {
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
                request_body = $body,
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
    PipelineBody,
    "/v1/pipelines",
    "/v1/pipelines/{name}",
    "Makes or replaces a pipeline: `sources`, `blend`, `rules`, `diversity`, `exploration`. It is served within seconds, \
     without a failed request; one of the name `default` serves requests that name none. What does not fit is refused \
     and leaves what was there."
);
handlers!(
    rules,
    Defined::Rule,
    RuleBody,
    "/v1/rules",
    "/v1/rules/{name}",
    "Makes or replaces a rule: an `effect` (`pin`, `boost`, `bury`, `quota`) on the items of a `filter`, of `item_ids`, or \
     of both, in the lists of `pipelines`, or in all lists."
);
handlers!(
    experiments,
    Defined::Experiment,
    ExperimentBody,
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
    if let Some(unchanged) = etag::unchanged(&headers, &tag) {
        return Ok(unchanged);
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
    let (condition, sent) = (etag::condition(&headers)?, json!({ "spec": &body.spec }));
    let saved = service.define(&call.service(), kind, &name, body, condition).await;
    let saved = saved.map_err(|error| explained(kind, &sent, error))?;
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

/// A refusal for whoever wrote the definition: at a place that what he sent has, unless that it lacks it is the fault,
/// and where something is not written so, with how it is.
fn explained(kind: Defined, sent: &Value, mut error: ApiError) -> ApiError {
    for field in &mut error.fields {
        let told = field.detail.clone();
        if is_of_shape(&told)
            && let Some(example) = example(kind, sent, &field.pointer)
        {
            field.detail = format!("{told}; for example {example}");
        }
        if !told.starts_with("missing field") {
            field.pointer.truncate(there(sent, &field.pointer));
        }
        if error.detail == told {
            error.detail = field.detail.clone();
        }
    }
    error
}

/// How much of a pointer there is, in bytes.
fn there(sent: &Value, pointer: &str) -> usize {
    let ends = pointer.match_indices('/').map(|(end, _)| end).chain([pointer.len()]);
    ends.take_while(|end| sent.pointer(&pointer[..*end]).is_some()).last().unwrap_or(0)
}

/// How the member that a pointer is in is written: as the one that was meant, where that is to be seen.
fn example(kind: Defined, sent: &Value, pointer: &str) -> Option<String> {
    let parts: Vec<&str> = pointer.split('/').collect();
    let leads_there = |place: &str| {
        let steps: Vec<&str> = place.split('/').collect();
        steps.len() <= parts.len() && steps.iter().zip(&parts).all(|(step, part)| *step == "*" || step == part)
    };
    let places = examples::of(kind).iter().filter(|(place, _)| leads_there(place));
    let (place, all) = places.max_by_key(|(place, _)| place.matches('/').count())?;
    let member = sent.pointer(&parts[..place.split('/').count()].join("/"));
    let name = member.and_then(|member| match member {
        Value::String(name) => Some(name.as_str()),
        Value::Object(members) if members.len() == 1 => members.keys().next().map(String::as_str),
        _ => None,
    });
    let is_meant =
        |example: &&&str| name.is_some_and(|name| example.trim_start_matches('{').starts_with(&format!("{name:?}")));
    Some(all.iter().find(is_meant).map_or_else(|| all.join(" or "), |example| (*example).to_owned()))
}

async fn answer(definition: Definition, status: StatusCode) -> Result<Response, Refusal> {
    let tag = etag::of(definition.version);
    let mut response = json::answer(definition, JSON_BYTES).await?;
    *response.status_mut() = status;
    response.headers_mut().insert(header::ETAG, tag);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use attune_api::{ErrorCode, pointer};

    use super::*;

    /// What is said of a member that the service reads as `T`.
    fn told<T: serde::de::DeserializeOwned>(kind: Defined, spec: Value) -> (String, String) {
        let mut error = pointer::from_value::<T>(spec.clone()).err().expect("a fault");
        error.fields[0].pointer.insert_str(0, "/spec");
        let error = explained(kind, &json!({ "spec": spec }), error);
        assert_eq!(error.detail, error.fields[0].detail);
        (error.fields[0].pointer.clone(), error.detail)
    }

    #[test]
    fn a_refusal_shows_how_it_is_written() {
        use attune_api::rest::specs::{PipelineSpec, RuleSpec};
        let rule = |effect: Value| told::<RuleSpec>(Defined::Rule, json!({"effect": effect, "item_ids": ["p9"]}));
        let (place, detail) = rule(json!("pin"));
        assert_eq!(place, "/spec/effect");
        assert!(detail.ends_with(r#"expected an object; for example {"pin": {"position": 1}}"#), "{detail}");
        let (place, detail) = rule(json!({"pin": {}}));
        assert_eq!(place, "/spec/effect/pin/position");
        assert!(
            detail.contains("missing field `position`") && detail.contains(r#"{"pin": {"position": 1}}"#),
            "{detail}"
        );
        let (place, detail) = rule(json!({"bury": {}}));
        assert!(place == "/spec/effect/bury" && detail.ends_with(r#"for example "bury""#), "{place} {detail}");
        for effect in [json!("hide"), json!(5), json!({})] {
            let (place, detail) = rule(effect);
            assert!(place == "/spec/effect" && detail.contains("`quota`"), "{place} {detail}");
            assert!(detail.contains(r#"or "bury" or"#) && detail.contains(r#""at_most": 2"#), "{detail}");
        }
        let (place, detail) = told::<RuleSpec>(Defined::Rule, json!({"item_ids": ["p9"]}));
        assert!(place == "/spec/effect" && detail.contains("missing field `effect`"), "{place} {detail}");

        let spec = json!({"sources": [], "diversity": 5});
        let (place, detail) = told::<PipelineSpec>(Defined::Pipeline, spec);
        assert_eq!(place, "/spec/diversity");
        assert!(detail.ends_with(r#"integer `5`, expected an object; for example {"amount": 0.2}"#), "{detail}");
        let spec = json!({"sources": [], "blend": {"ranks": {"weights": {"a": "much"}}}});
        let (place, detail) = told::<PipelineSpec>(Defined::Pipeline, spec);
        assert_eq!(place, "/spec/blend/ranks/weights/a");
        assert!(detail.ends_with(r#"for example {"ranks": {"weights": {"related": 1}}}"#), "{detail}");
    }

    #[test]
    fn a_place_is_one_that_was_sent() {
        let sent = json!({"spec": {"arms": [{"name": "a"}]}});
        let at = |pointer: &str| {
            let error = ApiError::at(ErrorCode::Invalid, pointer, "experiment x has this pipeline already");
            let error = explained(Defined::Experiment, &sent, error);
            assert_eq!(error.detail, "experiment x has this pipeline already");
            error.fields[0].pointer.clone()
        };
        assert_eq!(at("/spec/pipeline"), "/spec");
        assert_eq!(at("/spec/arms/0/name"), "/spec/arms/0/name");
        assert_eq!(at("/spec/arms/3/name"), "/spec/arms");
        assert_eq!(at(""), "");
    }
}
