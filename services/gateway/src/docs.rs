//! `/openapi.json`, made from the code, and `/docs`, which shows it without the internet.

mod refusals;

use attune_api::{
    dialect::{OpenAiErrorBody, Problem, TeiErrorBody},
    rest,
};
use axum::Router;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_swagger_ui::SwaggerUi;

use self::refusals::Errors;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Attune",
        description = "A personalization engine: items, people and what they do in; lists for people, search, reports, \
                       embeddings and sentiment out. Most of it is also there over gRPC, on the same port (reflection is on).",
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

/// The OpenAPI 3.1 description of the REST routes.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(crate) fn routes() -> Router {
    SwaggerUi::new("/docs").url("/openapi.json", openapi()).into()
}

#[cfg(test)]
mod tests {
    use attune_api::Dialect;
    use http::Method;
    use serde_json::Value;

    use super::{
        refusals::{SIGNED, has_conditions, is_write},
        *,
    };
    use crate::{
        edge::dialect_of_path,
        routes::{Once, ROUTES},
    };

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

    /// Has an operation of the document such a header among its parameters?
    fn takes(operation: &Value, header: &str) -> bool {
        operation["parameters"].as_array().is_some_and(|all| {
            let named =
                all.iter().filter(|one| one["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(header)));
            named.filter(|one| one["in"] == "header").count() == 1
        })
    }

    #[test]
    fn every_route_says_what_it_refuses_and_what_headers_it_takes() {
        let document = serde_json::to_value(openapi()).unwrap();
        for route in ROUTES.iter().filter(|route| !route.is_grpc() && route.any_of().is_some()) {
            let (path, method) = (route.path.replace("{*", "{"), route.method.as_str().to_lowercase());
            let operation = &document["paths"][&path][&method];
            let (is_native, is_get) = (dialect_of_path(&path) == Dialect::Native, route.method == Method::GET);
            let has = |statuses: &[&str]| {
                for status in statuses {
                    assert!(operation["responses"][status].is_object(), "{method} {path} may answer {status}");
                }
            };
            has(&["401", "403", "404", "429"]);
            let has_body = operation["requestBody"].is_object();
            let needs = [
                (is_native, &["400", "500", "503", "504"][..]),
                (is_native && has_body, &["408", "413", "415", "422"]),
                (is_native && operation["parameters"].is_array(), &["422"]),
                (is_write(route), &["409", "507"]),
            ];
            needs.into_iter().filter(|(is_needed, _)| *is_needed).for_each(|(_, statuses)| has(statuses));
            if has_conditions(route, document["paths"][&path]["get"]["responses"]["304"].is_object()) {
                assert!(is_get || operation["responses"]["412"].is_object(), "{method} {path}");
                assert!(takes(operation, if is_get { "if-none-match" } else { "if-match" }), "{method} {path}");
            }
            assert_eq!(takes(operation, "idempotency-key"), route.once() == Once::Kept, "{method} {path}");
        }
        for (method, statuses) in [("get", &["403", "404"][..]), ("put", &["403", "408", "413", "507"])] {
            let responses = &document["paths"][SIGNED][method]["responses"];
            assert!(statuses.iter().all(|status| responses[status].is_object()), "{method}: {responses}");
            assert!(responses["401"].is_null(), "the address is the key");
        }
        assert!(document["paths"]["/v1/items:search"]["get"]["responses"]["409"].is_null());
        assert!(document["paths"]["/v1/items/{id}"]["delete"]["responses"]["415"].is_null(), "it has no body");
    }

    #[test]
    fn definitions_are_described_with_examples() {
        let document = serde_json::to_value(openapi()).unwrap();
        let schemas = &document["components"]["schemas"];
        for (path, body, spec) in [
            ("/v1/pipelines/{name}", "PipelineBody", "PipelineSpec"),
            ("/v1/rules/{name}", "RuleBody", "RuleSpec"),
            ("/v1/experiments/{name}", "ExperimentBody", "ExperimentSpec"),
        ] {
            let sent = &document["paths"][path]["put"]["requestBody"]["content"]["application/json"]["schema"]["$ref"];
            assert_eq!(sent, &format!("#/components/schemas/{body}"));
            let described = &schemas[body]["properties"]["spec"].to_string();
            assert!(described.contains(&format!("#/components/schemas/{spec}")), "{body}: {described}");
            assert!(!schemas[spec]["example"].is_null() || schemas[spec]["examples"].is_array(), "{spec}");
        }
        for schema in
            ["EffectSpec", "BlendSpec", "BandSpec", "ExplorationSpec", "LikenessSpec", "ArmSpec", "BanditSpec"]
        {
            assert!(schemas[schema].is_object(), "{schema}");
        }
        assert!(schemas["EffectSpec"]["oneOf"].to_string().contains("position"), "{}", schemas["EffectSpec"]);
    }
}
