//! What every handler shares, and which handler answers what.

use std::{ops::Deref, sync::Arc};

use attune_api::{rest::operations::ReadyTables, v1::inference_server::InferenceServer};
use attune_inference::Inference;
use attune_store::cache::Cache;
use axum::{
    Router, middleware,
    routing::{get, post},
};
use tokio::sync::{Semaphore, watch};
use tonic::{codec::CompressionEncoding, server::NamedService};
use tower_http::decompression::RequestDecompressionLayer;

use crate::{
    admin, admission, analytics, auth,
    config::GatewayConfig,
    content, cors, definitions, docs, edge,
    grpc::{self, Grpc},
    health,
    idempotency::InWork,
    keys::KeyStore,
    limits::Limiter,
    metrics, models, objects, openai, path, recommendation, sentiment,
    serve::{Front, TablesNow},
    services::Services,
    tei,
    tokens::Tokens,
    tracking,
    upstream::{self, Role},
    users,
};

/// What every handler shares. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

/// The inside of [`App`].
pub(crate) struct Inner {
    pub config: GatewayConfig,
    pub inference: Inference,
    pub keys: KeyStore,
    pub tokens: Option<Tokens>,
    pub limiter: Limiter,
    /// What gateways of one installation know together, where there are several.
    pub shared: Option<Arc<dyn Cache>>,
    /// How the segments are that GPUs search, where there are GPUs.
    pub tables: Option<Arc<TablesNow>>,
    /// Writes with an idempotency key in work.
    pub in_work: InWork,
    pub services: Services,
    /// One for each request to a model in work.
    pub places: Arc<Semaphore>,
    /// One for each request of an admin in work.
    pub admin_places: Arc<Semaphore>,
    /// One for each open gRPC stream.
    pub streams: Arc<Semaphore>,
    /// Turns true when the server is told to stop.
    pub draining: watch::Receiver<bool>,
    pub started_unix_s: u64,
}

impl App {
    pub fn new(
        config: GatewayConfig,
        inference: Inference,
        front: Front,
        services: Services,
        draining: watch::Receiver<bool>,
    ) -> Self {
        let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self(Arc::new(Inner {
            places: Arc::new(Semaphore::new(config.requests.in_flight_max)),
            admin_places: Arc::new(Semaphore::new(admission::ADMIN_IN_FLIGHT_MAX)),
            streams: Arc::new(Semaphore::new(config.requests.streams_max)),
            started_unix_s: started.map_or(0, |age| age.as_secs()),
            limiter: Limiter::new(config.limits.clone(), front.shared.clone()),
            config,
            inference,
            keys: front.keys,
            tokens: front.tokens,
            shared: front.shared,
            tables: front.tables,
            in_work: InWork::default(),
            services,
            draining,
        }))
    }

    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Whether a role's requests have nobody to answer them, neither here nor in a process that is known.
    pub fn lacks(&self, role: Role) -> bool {
        let services = &self.services;
        let is_here = match role {
            // Routes of models are there without any, and the trainer has none.
            Role::Inference | Role::Trainer => true,
            Role::Recommendation => services.recommendation.is_some(),
            Role::Tracking => services.tracking.is_some(),
            Role::Content => services.content.is_some(),
            Role::Users => services.users.is_some(),
            Role::Analytics => services.analytics.is_some(),
        };
        !is_here && !services.upstreams.has(role)
    }

    /// How the segments are that GPUs search.
    pub fn card_tables(&self) -> Vec<ReadyTables> {
        self.tables.iter().map(|now| now()).collect()
    }
}

impl Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// Every route of the server. Who may call which stands in [`routes`](crate::routes) and nowhere else: one that is not
/// there as well cannot be reached.
pub(crate) fn router(app: &App, health: Router) -> Router {
    Router::new()
        .merge(inference_routes(app))
        .merge(recommendation_routes(app))
        .merge(definitions_routes(app))
        .merge(admin::routes(app))
        .merge(tracking_routes(app))
        .merge(upstream::routes(app))
        .merge(content_routes(app))
        .merge(users_routes(app))
        .merge(analytics_routes(app))
        .merge(open_routes(app))
        .merge(health)
        .layer(middleware::from_fn(path::require_text))
        .layer(middleware::from_fn_with_state(app.clone(), auth::gate))
        .layer(cors::layer(&app.config.cors_origins))
        .layer(middleware::from_fn(edge::edge))
}

/// Routes about models, where these are here.
fn inference_routes(app: &App) -> Router {
    match app.services.upstreams.pool(Role::Inference) {
        None => model_routes(app).merge(listing_routes(app)),
        Some(_) => Router::new(),
    }
}

/// Routes that run models. Layers run from the last to the first.
fn model_routes(app: &App) -> Router {
    let grpc = grpc_service(app);
    let service = |method: &str| format!("/{}/{method}", <InferenceServer<Grpc> as NamedService>::NAME);
    let rest = Router::new()
        .route("/v1/embeddings", post(openai::embeddings))
        .route("/embed", post(tei::embed))
        .route("/v1/sentiment", post(sentiment::sentiment))
        .route_layer(RequestDecompressionLayer::new().pass_through_unaccepted(true));
    let grpc = Router::new()
        .route_service(&service("Embed"), grpc.clone())
        .route_service(&service("Classify"), grpc.clone())
        .route_service(&service("EmbedStream"), grpc.clone())
        .route_service(&service("ClassifyStream"), grpc)
        .route_layer(middleware::from_fn(grpc::require_grpc));
    rest.merge(grpc).route_layer(middleware::from_fn_with_state(app.clone(), admission::admit)).with_state(app.clone())
}

/// Routes that say what there is to run.
fn listing_routes(app: &App) -> Router {
    let list_models = format!("/{}/ListModels", <InferenceServer<Grpc> as NamedService>::NAME);
    let grpc = Router::new()
        .route_service(&list_models, grpc_service(app))
        .route_layer(middleware::from_fn(grpc::require_grpc));
    Router::new()
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::get))
        .route("/info", get(tei::info))
        .merge(grpc)
        .with_state(app.clone())
}

/// Routes that make lists.
fn recommendation_routes(app: &App) -> Router {
    let Some(routes) = recommendation::routes(app) else { return Router::new() };
    routes.route_layer(middleware::from_fn_with_state(app.clone(), admission::admit)).with_state(app.clone())
}

/// Routes of what lists are made by.
fn definitions_routes(app: &App) -> Router {
    let Some(routes) = definitions::routes(app) else { return Router::new() };
    routes.route_layer(middleware::from_fn_with_state(app.clone(), admission::admit_admin)).with_state(app.clone())
}

/// Routes that take what people do.
fn tracking_routes(app: &App) -> Router {
    let Some(routes) = tracking::routes(app) else { return Router::new() };
    routes.route_layer(middleware::from_fn_with_state(app.clone(), admission::admit)).with_state(app.clone())
}

/// Routes of items, and of the files that presigned addresses lead to.
fn content_routes(app: &App) -> Router {
    let items = content::routes(app).map(|routes| {
        routes.route_layer(middleware::from_fn_with_state(app.clone(), admission::admit)).with_state(app.clone())
    });
    let files = objects::routes(app).map(|routes| routes.with_state(app.clone()));
    [items, files].into_iter().flatten().fold(Router::new(), Router::merge)
}

/// Routes about people.
fn users_routes(app: &App) -> Router {
    let Some(routes) = users::routes(app) else { return Router::new() };
    routes.route_layer(middleware::from_fn_with_state(app.clone(), admission::admit)).with_state(app.clone())
}

/// Routes of questions about what happened.
fn analytics_routes(app: &App) -> Router {
    let Some(routes) = analytics::routes(app) else { return Router::new() };
    routes.route_layer(middleware::from_fn_with_state(app.clone(), admission::admit)).with_state(app.clone())
}

/// Routes about the server itself.
fn open_routes(app: &App) -> Router {
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/healthz", get(health::readyz))
        .route("/metrics", get(metrics::scrape))
        .with_state(app.clone())
        .merge(docs::routes())
}

fn grpc_service(app: &App) -> InferenceServer<Grpc> {
    InferenceServer::new(Grpc::new(app.clone()))
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(app.config.requests.body_bytes_max)
        .max_encoding_message_size(usize::MAX)
}
