//! `/openapi.json`, made from the code, and `/docs`, which shows it without the internet.

use std::collections::BTreeMap;

use attune_api::{
    ApiError, Dialect, ErrorCode,
    dialect::{OpenAiErrorBody, Problem, TeiErrorBody},
    rest,
};
use axum::Router;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        Content, Ref, RefOr, Response, ResponseBuilder,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_swagger_ui::SwaggerUi;

use crate::edge::dialect_of_path;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Attune",
        description = "Embeddings and sentiment over REST; the same over gRPC on the same port (reflection is on).",
    ),
    paths(
        crate::openai::embeddings,
        crate::models::list,
        crate::models::get,
        crate::tei::embed,
        crate::tei::info,
        crate::sentiment::sentiment,
        crate::content::item,
        crate::content::put,
        crate::content::change,
        crate::content::remove,
        crate::content::batch,
        crate::content::schema,
        crate::content::extend_schema,
        crate::content::search,
        crate::content::reviews,
        crate::content::add_review,
        crate::content::moderate,
        crate::content::assets,
        crate::content::add_asset,
        crate::content::delete_asset,
        crate::objects::read,
        crate::objects::put,
        crate::recommendation::recommend,
        crate::recommendation::rank,
        crate::recommendation::similar,
        crate::recommendation::trending,
        crate::definitions::pipelines::list,
        crate::definitions::pipelines::one,
        crate::definitions::pipelines::put,
        crate::definitions::pipelines::delete,
        crate::definitions::rules::list,
        crate::definitions::rules::one,
        crate::definitions::rules::put,
        crate::definitions::rules::delete,
        crate::definitions::experiments::list,
        crate::definitions::experiments::one,
        crate::definitions::experiments::put,
        crate::definitions::experiments::delete,
        crate::admin::keys::create,
        crate::admin::keys::list,
        crate::admin::keys::get,
        crate::admin::keys::revoke,
        crate::admin::keys::rotate,
        crate::admin::tenants::list,
        crate::admin::tenants::get,
        crate::admin::tenants::put,
        crate::admin::tenants::delete,
        crate::admin::audit::list,
        crate::tracking::track,
        crate::tracking::identify,
        crate::tracking::dead_letters,
        crate::tracking::replay,
        crate::users::profile,
        crate::users::put,
        crate::users::change,
        crate::users::remove,
        crate::users::export,
        crate::users::erase,
        crate::users::job,
        crate::analytics::top_items,
        crate::analytics::ctr,
        crate::analytics::timeseries,
        crate::analytics::active_users,
        crate::analytics::funnel,
        crate::analytics::sessions,
        crate::analytics::sentiment,
        crate::analytics::experiments,
        crate::health::livez,
        crate::health::readyz,
        crate::metrics::scrape,
    ),
    components(schemas(Problem, OpenAiErrorBody, TeiErrorBody, rest::Truncate, rest::tracking::EventInput, rest::outside::OutsideRequest,
        rest::outside::OutsideAnswer)),
    modifiers(&Keys, &Errors),
    security(("bearer" = []), ("api_key" = [])),
)]
struct Document;

struct Keys;

impl Modify for Keys {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("att_...").build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        let header = ApiKey::Header(ApiKeyValue::new("x-api-key"));
        components.add_security_scheme("api_key", SecurityScheme::ApiKey(header));
    }
}

/// What every route behind a key may answer.
const ERRORS: [ErrorCode; 6] = [
    ErrorCode::Malformed,
    ErrorCode::Unauthenticated,
    ErrorCode::Forbidden,
    ErrorCode::ModelNotFound,
    ErrorCode::Internal,
    ErrorCode::Unavailable,
];

/// And what one that takes texts may answer besides.
const CALL_ERRORS: [ErrorCode; 8] = [
    ErrorCode::RequestTimeout,
    ErrorCode::BodyTooLarge,
    ErrorCode::TextTooLarge,
    ErrorCode::UnsupportedMediaType,
    ErrorCode::Invalid,
    ErrorCode::Empty,
    ErrorCode::Overloaded,
    ErrorCode::DeadlineExceeded,
];

/// Adds the errors of each route, from the table that the answers themselves are made from.
struct Errors;

impl Modify for Errors {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        for (path, item) in &mut openapi.paths.paths {
            let dialect = dialect_of_path(path);
            let calls = item
                .post
                .iter_mut()
                .chain(&mut item.put)
                .chain(&mut item.delete)
                .map(|call| (call, [&ERRORS[..], &CALL_ERRORS].concat()));
            let keyed = item.get.iter_mut().filter(|get| get.security.is_none()).map(|get| (get, ERRORS.to_vec()));
            for (operation, codes) in calls.chain(keyed) {
                operation.responses.responses.extend(error_responses(dialect, &codes));
            }
        }
    }
}

/// A response for each status, described by the titles of all that it stands for.
fn error_responses(dialect: Dialect, codes: &[ErrorCode]) -> BTreeMap<String, RefOr<Response>> {
    let schema = match dialect {
        Dialect::OpenAi => "OpenAiErrorBody",
        Dialect::Tei => "TeiErrorBody",
        Dialect::Native | Dialect::Grpc => "Problem",
    };
    let mut titles: BTreeMap<String, (&str, Vec<&str>)> = BTreeMap::new();
    for code in codes {
        let written = dialect.http(&ApiError::new(*code, ""), "");
        let (_, titles) =
            titles.entry(written.status.as_str().to_owned()).or_insert((written.content_type, Vec::new()));
        if !titles.contains(&code.row().title) {
            titles.push(code.row().title);
        }
    }
    let response = |(status, (content_type, titles)): (String, (&str, Vec<&str>))| {
        let content = Content::new(Some(Ref::from_schema_name(schema)));
        let described = ResponseBuilder::new().description(titles.join("; "));
        (status, described.content(content_type, content).build().into())
    };
    titles.into_iter().map(response).collect()
}

/// The OpenAPI 3.1 description of the REST routes.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(crate) fn routes() -> Router {
    SwaggerUi::new("/docs").url("/openapi.json", openapi()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_openapi_3_1_and_names_every_route() {
        let document = serde_json::to_value(openapi()).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        for path in
            ["/v1/embeddings", "/embed", "/info", "/v1/sentiment", "/v1/models", "/livez", "/readyz", "/metrics"]
        {
            assert!(document["paths"][path].is_object(), "{path}");
        }
        for (path, method, status, schema) in [
            ("/v1/embeddings", "post", "415", "OpenAiErrorBody"),
            ("/embed", "post", "424", "TeiErrorBody"),
            ("/v1/sentiment", "post", "408", "Problem"),
            ("/v1/models/{id}", "get", "401", "OpenAiErrorBody"),
        ] {
            let content = &document["paths"][path][method]["responses"][status]["content"];
            let media = content.as_object().unwrap_or_else(|| panic!("{path} {status}")).values().next().unwrap();
            assert_eq!(media["schema"]["$ref"], format!("#/components/schemas/{schema}"), "{path} {status}");
        }
        assert!(document["paths"]["/livez"]["get"]["responses"]["401"].is_null(), "it needs no key");
        assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
        for schema in ["OutsideRequest", "OutsideAnswer", "OutsideItem", "OutsideTask"] {
            assert!(document["components"]["schemas"][schema].is_object(), "{schema} is what services are held to");
        }
    }
}
