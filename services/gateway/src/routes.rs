//! The one table of routes: what can be reached, and by whom.
//!
//! A route that is not here cannot be reached, whatever a router says; tests hold the table against the OpenAPI document
//! and the gRPC descriptors, both ways. Reading needs `read`, changing `write`, models `infer`, and what is about others'
//! rights or leaves the house `admin`.

use std::{collections::HashMap, sync::LazyLock};

use http::Method;

use crate::auth::{Scope, Scopes};

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anybody, without a key.
    Open,
    /// Who has one of these scopes.
    Needs(Scopes),
}

/// One route: a method on a path.
#[derive(Clone, Debug)]
pub struct Route {
    /// The method; of gRPC always POST.
    pub method: Method,
    /// The pattern that the router matches: `/v1/models/{id}`, `/attune.v1.Inference/Embed`.
    pub path: &'static str,
    access: Access,
}

const READ: Access = needs(&[Scope::Read]);
const WRITE: Access = needs(&[Scope::Write]);
const ADMIN: Access = needs(&[Scope::Admin]);
const INFER: Access = needs(&[Scope::Infer]);
const READ_OR_INFER: Access = needs(&[Scope::Read, Scope::Infer]);

/// The table.
#[rustfmt::skip]
pub const ROUTES: &[Route] = &[
    // Operations
    get("/livez", Access::Open),
    get("/readyz", Access::Open),
    get("/healthz", Access::Open),
    get("/metrics", Access::Open),
    get("/openapi.json", Access::Open),
    get("/docs", Access::Open),
    get("/docs/", Access::Open),
    get("/docs/{*rest}", Access::Open),
    grpc("/grpc.health.v1.Health/{method}", Access::Open),
    grpc("/grpc.reflection.v1.ServerReflection/{method}", Access::Open),
    grpc("/grpc.reflection.v1alpha.ServerReflection/{method}", Access::Open),

    // Inference
    post("/v1/embeddings", INFER),
    post("/embed", INFER),
    post("/v1/sentiment", INFER),
    get("/info", READ_OR_INFER),
    get("/v1/models", READ_OR_INFER),
    get("/v1/models/{*id}", READ_OR_INFER),
    grpc("/attune.v1.Inference/Embed", INFER),
    grpc("/attune.v1.Inference/EmbedStream", INFER),
    grpc("/attune.v1.Inference/Classify", INFER),
    grpc("/attune.v1.Inference/ClassifyStream", INFER),
    grpc("/attune.v1.Inference/ListModels", READ_OR_INFER),

    // Administration
    get("/v1/api-keys", ADMIN),
    post("/v1/api-keys", ADMIN),
    get("/v1/api-keys/{id}", ADMIN),
    delete("/v1/api-keys/{id}", ADMIN),
    post("/v1/api-keys/{id}/rotate", ADMIN),
    get("/v1/tenants", ADMIN),
    get("/v1/tenants/{id}", ADMIN),
    put("/v1/tenants/{id}", ADMIN),
    delete("/v1/tenants/{id}", ADMIN),
    get("/v1/audit", ADMIN),

    // Content
    get("/v1/items/{id}", READ),
    put("/v1/items/{id}", WRITE),
    patch("/v1/items/{id}", WRITE),
    delete("/v1/items/{id}", WRITE),
    post("/v1/items:batch", WRITE),
    get("/v1/items:schema", READ),
    put("/v1/items:schema", WRITE),
    get("/v1/items:search", READ),
    get("/v1/items/{id}/reviews", READ),
    post("/v1/items/{id}/reviews", WRITE),
    patch("/v1/items/{id}/reviews/{review_id}", WRITE),
    get("/v1/items/{id}/assets", READ),
    post("/v1/items/{id}/assets", WRITE),
    delete("/v1/items/{id}/assets/{name}", WRITE),
    grpc("/attune.v1.Content/PutItem", WRITE),
    grpc("/attune.v1.Content/PutItems", WRITE),
    grpc("/attune.v1.Content/GetItem", READ),
    grpc("/attune.v1.Content/PatchItem", WRITE),
    grpc("/attune.v1.Content/DeleteItem", WRITE),
    grpc("/attune.v1.Content/GetSchema", READ),
    grpc("/attune.v1.Content/ExtendSchema", WRITE),
    grpc("/attune.v1.Content/Search", READ),
    grpc("/attune.v1.Content/AddReview", WRITE),
    grpc("/attune.v1.Content/ListReviews", READ),
    grpc("/attune.v1.Content/ModerateReview", WRITE),
    grpc("/attune.v1.Content/AddAsset", WRITE),
    grpc("/attune.v1.Content/ListAssets", READ),
    grpc("/attune.v1.Content/DeleteAsset", WRITE),
    // The token is the key.
    get("/v1/objects/{token}", Access::Open),
    put("/v1/objects/{token}", Access::Open),

    // Analytics: questions, which change nothing.
    post("/v1/analytics/top-items", READ),
    post("/v1/analytics/ctr", READ),
    post("/v1/analytics/timeseries", READ),
    post("/v1/analytics/active-users", READ),
    post("/v1/analytics/funnel", READ),
    post("/v1/analytics/sessions", READ),
    post("/v1/analytics/sentiment", READ),
    post("/v1/analytics/experiments", READ),

    // Recommendation
    post("/v1/recommend", READ),
    post("/v1/rank", READ),
    post("/v1/similar", READ),
    get("/v1/trending", READ),
    grpc("/attune.v1.Recommendation/Recommend", READ),
    grpc("/attune.v1.Recommendation/RecommendBatch", READ),
    grpc("/attune.v1.Recommendation/Rank", READ),
    grpc("/attune.v1.Recommendation/Similar", READ),
    grpc("/attune.v1.Recommendation/Trending", READ),

    get("/v1/pipelines", READ),
    get("/v1/pipelines/{name}", READ),
    put("/v1/pipelines/{name}", ADMIN),
    delete("/v1/pipelines/{name}", ADMIN),
    get("/v1/rules", READ),
    get("/v1/rules/{name}", READ),
    put("/v1/rules/{name}", ADMIN),
    delete("/v1/rules/{name}", ADMIN),
    get("/v1/experiments", READ),
    get("/v1/experiments/{name}", READ),
    put("/v1/experiments/{name}", ADMIN),
    delete("/v1/experiments/{name}", ADMIN),

    // Tracking
    post("/v1/events", WRITE),
    post("/v1/identify", WRITE),
    get("/v1/dead-letters", ADMIN),
    post("/v1/dead-letters:replay", ADMIN),
    grpc("/attune.v1.Tracking/Track", WRITE),
    grpc("/attune.v1.Tracking/TrackStream", WRITE),
    grpc("/attune.v1.Tracking/Identify", WRITE),

    // Users
    get("/v1/users/{id}", READ),
    put("/v1/users/{id}", WRITE),
    patch("/v1/users/{id}", WRITE),
    delete("/v1/users/{id}", WRITE),
    get("/v1/users/{id}/export", ADMIN),
    post("/v1/users/{id}/erase", ADMIN),
    get("/v1/jobs/{id}", ADMIN),
    grpc("/attune.v1.Users/PutUser", WRITE),
    grpc("/attune.v1.Users/GetUser", READ),
    grpc("/attune.v1.Users/PatchUser", WRITE),
    grpc("/attune.v1.Users/DeleteUser", WRITE),
    grpc("/attune.v1.Users/ExportUser", ADMIN),
    grpc("/attune.v1.Users/EraseUser", ADMIN),
    grpc("/attune.v1.Users/GetJob", ADMIN),
];

const fn needs(any_of: &[Scope]) -> Access {
    Access::Needs(Scopes::of(any_of))
}

const fn get(path: &'static str, access: Access) -> Route {
    Route { method: Method::GET, path, access }
}

const fn post(path: &'static str, access: Access) -> Route {
    Route { method: Method::POST, path, access }
}

const fn put(path: &'static str, access: Access) -> Route {
    Route { method: Method::PUT, path, access }
}

const fn patch(path: &'static str, access: Access) -> Route {
    Route { method: Method::PATCH, path, access }
}

const fn delete(path: &'static str, access: Access) -> Route {
    Route { method: Method::DELETE, path, access }
}

const fn grpc(path: &'static str, access: Access) -> Route {
    post(path, access)
}

impl Route {
    /// The scopes of which a caller needs one; `None` when he needs no key.
    pub fn any_of(&self) -> Option<Vec<Scope>> {
        let Access::Needs(any_of) = self.access else { return None };
        let names = |scope: &Scope| *scope != Scope::Admin && Scopes::of(&[*scope]).allow(any_of);
        let scopes: Vec<Scope> = Scope::ALL.into_iter().filter(names).collect();
        Some(if scopes.is_empty() { vec![Scope::Admin] } else { scopes })
    }
}

impl Route {
    /// Whether it is gRPC.
    pub fn is_grpc(&self) -> bool {
        self.path.starts_with("/attune.v1.") || self.path.starts_with("/grpc.")
    }

    /// What becomes of an `Idempotency-Key`.
    pub fn once(&self) -> Once {
        let is_write = self.method != Method::GET && [WRITE, ADMIN].contains(&self.access);
        if !is_write || self.is_grpc() {
            return Once::Ignored;
        }
        match (self.method == Method::POST, self.path) {
            (true, "/v1/api-keys" | "/v1/api-keys/{id}/rotate") => Once::Refused,
            // An address to upload to; a second one does no harm.
            (true, path) if path.ends_with("/assets") => Once::Ignored,
            _ => Once::Kept,
        }
    }
}

/// What becomes of a request that says by an `Idempotency-Key` that it is to be carried out once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Once {
    /// Its answer is kept and given again: every write over REST.
    Kept,
    /// To do it twice would be wrong, and its answer has what lets somebody in, which is kept nowhere.
    Refused,
    /// Doing it again changes nothing, or its protocol has no such thing.
    Ignored,
}

/// The routes of one path.
#[derive(Debug)]
pub(crate) struct Line(Vec<&'static Route>);

impl Line {
    /// Who may call it with this method; `None` when it takes only others. HEAD is GET.
    pub fn access(&self, method: &Method) -> Option<Access> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        self.0.iter().find(|route| route.method == *method).map(|route| route.access)
    }

    /// What becomes of an `Idempotency-Key` with this method.
    pub fn once(&self, method: &Method) -> Once {
        self.0.iter().find(|route| route.method == *method).map_or(Once::Ignored, |route| route.once())
    }

    /// The methods that it takes.
    pub fn methods(&self) -> impl Iterator<Item = Method> {
        self.0.iter().map(|route| route.method.clone())
    }
}

/// What the table says of the path that a request was matched to.
pub(crate) fn find(matched: &str) -> Option<&'static Line> {
    static LINES: LazyLock<HashMap<&'static str, Line>> = LazyLock::new(|| {
        let mut lines: HashMap<&'static str, Line> = HashMap::new();
        for route in ROUTES {
            lines.entry(route.path).or_insert_with(|| Line(Vec::new())).0.push(route);
        }
        lines
    });
    LINES.get(matched)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use attune_api::FILE_DESCRIPTOR_SET;
    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;
    use crate::docs;

    /// Open routes that the document, being itself one, does not describe.
    const UNDESCRIBED: [&str; 5] = ["/healthz", "/openapi.json", "/docs", "/docs/", "/docs/{*rest}"];

    fn described() -> BTreeSet<(String, String)> {
        let document = serde_json::to_value(docs::openapi()).unwrap();
        let paths = document["paths"].as_object().unwrap().iter();
        let methods = |(path, item): (&String, &serde_json::Value)| {
            let methods = item.as_object().unwrap().keys().filter(|key| key.parse::<Method>().is_ok());
            methods.map(|method| (method.to_uppercase(), path.clone())).collect::<Vec<_>>()
        };
        paths.flat_map(methods).collect()
    }

    #[test]
    fn the_table_and_the_openapi_document_name_the_same_routes() {
        let rest = ROUTES.iter().filter(|route| !route.is_grpc() && !UNDESCRIBED.contains(&route.path));
        let table: BTreeSet<_> = rest.map(|one| (one.method.to_string(), one.path.replace("{*", "{"))).collect();
        assert_eq!(table, described());
    }

    #[test]
    fn the_table_and_the_descriptors_name_the_same_methods() {
        let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file;
        let services = files.iter().flat_map(|file| file.service.iter().map(move |service| (file.package(), service)));
        let methods: BTreeSet<String> = services
            .flat_map(|(package, service)| {
                service.method.iter().map(move |method| format!("/{package}.{}/{}", service.name(), method.name()))
            })
            .collect();
        let ours = ROUTES.iter().filter(|route| route.path.starts_with("/attune.v1."));
        assert_eq!(ours.map(|route| route.path.to_owned()).collect::<BTreeSet<_>>(), methods);
    }

    #[test]
    fn no_route_is_there_twice_and_only_operations_are_open() {
        let mut seen = BTreeSet::new();
        for route in ROUTES {
            assert!(seen.insert((route.method.to_string(), route.path)), "{} {}", route.method, route.path);
            let is_operation = UNDESCRIBED.contains(&route.path)
                || ["/livez", "/readyz", "/metrics", "/v1/objects/{token}"].contains(&route.path)
                || route.path.starts_with("/grpc.");
            assert_eq!(route.access == Access::Open, is_operation, "{}", route.path);
        }
    }
}
