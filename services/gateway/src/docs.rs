//! `/openapi.json`, made from the code, and `/docs`, which shows it without the internet.

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
        crate::health::livez,
        crate::health::readyz,
        crate::metrics::scrape,
    ),
    components(schemas(Problem, OpenAiErrorBody, TeiErrorBody, rest::Truncate)),
    modifiers(&Keys),
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
        assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    }
}
