//! From a configuration to what the other crates take: checked model folders, limits, listeners.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, Result};
use attune_analytics::{AnalyticsService, Bandits};
use attune_api::catalogue::SharedCatalogue;
use attune_api::users::{KeepsOfPeople, KeepsOfTenants};
use attune_content::{ContentService, Models, Workers};
use attune_gateway::{DEFAULT_TENANT, GatewayConfig, Role, Services, Tls, TlsError, TlsFiles, Upstreams};
use attune_inference::schedule::Limits;
use attune_inference::{EngineChoice, Inference, InferenceConfig, ModelSpec, PrecisionChoice, TextLimits};
use attune_lake::LakeWriter;
use attune_outside::HttpOutside;
use attune_recommendation::{Following, Recommender, Seams};
use attune_store::StoreKind;
use attune_store::resolve::Stores;
use attune_tracking::TrackingService;
use attune_trainer::Trainer;
use attune_users::{EventsKept, UsersService, Workers as Erasures};

use crate::background::Background;
use crate::config::{Config, Engine, Model, Precision};
use crate::models::install::{self, Damage};
use crate::models::{catalogue, install_embedded};
use crate::trained::{Recommenders, Rehearsals};

/// The limits of the inference side.
pub fn inference(config: &Config) -> InferenceConfig {
    let from = &config.inference;
    InferenceConfig {
        workers: (from.workers > 0).then_some(from.workers),
        queue: Limits {
            batch_time_max: Duration::from_secs_f64(from.batch_ms_max / 1e3),
            batch_tokens_max: from.batch_tokens_max,
            batch_texts_max: from.batch_texts_max,
            queue_tokens_max: from.queue_tokens_max,
            queue_texts_max: from.queue_texts_max,
            queue_wait_max: Duration::from_millis(from.queue_wait_ms_max),
            ..Limits::default()
        },
        engine: match from.engine {
            Engine::Cpu => EngineChoice::Cpu,
            Engine::Reference => EngineChoice::Reference,
        },
        precision: precision(from.precision),
        device: from.device.0,
        limits: TextLimits { texts_max: from.texts_max, text_bytes_max: from.text_bytes_max },
    }
}

/// The same choice, in the words of the inference side.
pub fn precision(from: Precision) -> PrecisionChoice {
    match from {
        Precision::Auto => PrecisionChoice::Auto,
        Precision::F32 => PrecisionChoice::F32,
        Precision::Bf16 => PrecisionChoice::Bf16,
        Precision::Int8 => PrecisionChoice::Int8,
    }
}

/// The limits of the wire side, and its certificate.
///
/// # Errors
/// A sentence with the key that makes no sense, or with the file that cannot be used.
pub fn gateway(config: &Config) -> Result<GatewayConfig> {
    let from = &config.server;
    let (limits, proxies) = (config.limits.rates(), config.front.proxies().map_err(Error::msg)?);
    let mut gateway = GatewayConfig { limits, proxies, ..GatewayConfig::default() };
    gateway.requests.body_bytes_max = from.body_bytes_max;
    gateway.requests.in_flight_max = from.in_flight_max;
    gateway.requests.streams_max = from.streams_max;
    gateway.requests.deadline_default = Duration::from_millis(from.deadline_ms);
    gateway.requests.deadline_max = Duration::from_millis(from.deadline_ms_max);
    gateway.connections.connections_max = from.connections_max;
    gateway.connections.head_max = Duration::from_secs(from.head_s_max);
    gateway.connections.idle_max = Duration::from_secs(from.idle_s_max);
    gateway.cors_origins.clone_from(&from.cors_origins);
    gateway.tls = tls(config)?;
    gateway.drain.notice = Duration::from_millis(from.drain_notice_ms);
    gateway.drain.drain_max = Duration::from_secs(from.drain_s_max);
    Ok(gateway)
}

/// What the port offers to whoever connects, where it is not plain.
///
/// # Errors
/// A file that cannot be used.
pub fn tls(config: &Config) -> Result<Option<Tls>, TlsError> {
    let from = &config.server.tls;
    let files = || TlsFiles { certificate: from.certificate.clone(), key: from.key.clone() };
    from.is_set().then(|| Tls::open(files())).transpose()
}

/// Whom those who make lists may ask; nobody where none are made.
///
/// # Errors
/// A host's token cannot be read.
pub fn outside(config: &Config) -> Result<Option<Arc<HttpOutside>>, attune_outside::ConfigError> {
    let makes_lists = config.roles.has(Role::Recommendation);
    makes_lists.then(|| HttpOutside::new(&config.outside).map(Arc::new)).transpose()
}

/// The services that this process has, over its stores and models, what they do besides answering, and where the others
/// are. What lists are made of is kept in `folder`, and rows of reports that are sorted. Whom `outside` knows may be
/// asked for a say in lists.
///
/// # Errors
/// A replica's address is none, or the system refuses threads.
pub fn services(
    config: &Config,
    stores: &Stores,
    inference: &Inference,
    outside: Option<Arc<HttpOutside>>,
    folder: &Path,
) -> Result<(Services, Background)> {
    let has = |role| config.roles.has(role);
    // Whoever forgets people needs their reviews and dead letters, wherever those are written; and who makes lists the
    // items.
    let content = Arc::new(content(stores, inference));
    let tracking = Arc::new(tracking(stores));
    let users = has(Role::Users).then(|| {
        let of_people: Vec<Arc<dyn KeepsOfPeople>> = vec![tracking.clone(), content.clone()];
        users(config, stores, of_people, vec![content.clone()])
    });
    let lists = has(Role::Recommendation).then(|| recommendation(config, stores, content.clone(), outside, folder));
    let (recommendation, following) = lists.transpose()?.unzip();
    let analytics = has(Role::Analytics).then(|| analytics(config, stores, content.clone(), folder)).transpose()?;
    let analytics = analytics.map(Arc::new);
    let background = Background {
        content: has(Role::Content).then(|| Workers::start(&content)),
        bandits: analytics.as_ref().map(|analytics| bandits(config, stores, analytics)),
        erasures: users.as_ref().map(Erasures::start),
        recommendation: following,
        lake: has(Role::Tracking).then(|| lake(config, stores)),
        trainer: (has(Role::Trainer) && !config.trainer.model.is_empty())
            .then(|| trainer(config, stores, content.clone(), recommendation.clone())),
    };
    let services = Services {
        upstreams: Upstreams::new(config.upstreams.addresses())?,
        analytics: analytics.map(|analytics| analytics as _),
        objects: has(Role::Content).then(|| Arc::clone(&stores.objects)),
        content: has(Role::Content).then_some(content as _),
        definitions: recommendation.clone().map(|recommendation| recommendation as _),
        recommendation: recommendation.map(|recommendation| recommendation as _),
        tracking: has(Role::Tracking).then_some(tracking as _),
        users: users.map(|users| Arc::new(users) as _),
    };
    Ok((services, background))
}

fn recommendation(
    config: &Config,
    stores: &Stores,
    catalogue: SharedCatalogue,
    outside: Option<Arc<HttpOutside>>,
    folder: &Path,
) -> Result<(Arc<Recommender>, Following)> {
    let seams = Seams {
        log: Arc::clone(&stores.events),
        cache: Arc::clone(&stores.cache),
        relational: Arc::clone(&stores.relational),
        catalogue,
        models: Some(Arc::new(recommenders(config, stores))),
        outside: outside.map(|outside| outside as _),
        folder: folder.join("recommendation"),
    };
    let started = Recommender::start(config.recommendation.clone(), config.worth.clone(), seams);
    started.context("the threads that make lists cannot start")
}

fn recommenders(config: &Config, stores: &Stores) -> Recommenders {
    Recommenders::new(Arc::clone(&stores.relational), Arc::clone(&stores.objects), config.data.clone())
}

fn trainer(config: &Config, stores: &Stores, catalogue: SharedCatalogue, lists: Option<Arc<Recommender>>) -> Trainer {
    let lists = Rehearsals::new(catalogue, lists, config.recommendation.clone(), config.worth.clone());
    let seams = attune_trainer::Seams {
        relational: Arc::clone(&stores.relational),
        objects: Arc::clone(&stores.objects),
        data: config.data.clone(),
        worth: config.worth.clone(),
        first: DEFAULT_TENANT.parse().ok(),
        lists: Some(Arc::new(lists)),
    };
    Trainer::start(config.trainer.clone(), seams, attune_trainer::Timing::default())
}

fn analytics(
    config: &Config,
    stores: &Stores,
    content: Arc<ContentService>,
    folder: &Path,
) -> Result<AnalyticsService> {
    let (events, objects) = (Arc::clone(&stores.events), Arc::clone(&stores.objects));
    let relational = Arc::clone(&stores.relational);
    let stores = attune_analytics::Stores { events, objects, reviews: content, relational };
    AnalyticsService::start(stores, config.analytics.settings(folder.join("analytics")))
        .context("the threads that make reports cannot start")
}

fn bandits(config: &Config, stores: &Stores, analytics: &Arc<AnalyticsService>) -> Bandits {
    let (relational, every) = (Arc::clone(&stores.relational), Duration::from_secs(config.analytics.bandits_s));
    Bandits::start(relational, analytics.clone(), DEFAULT_TENANT.parse().ok(), every)
}

fn content(stores: &Stores, inference: &Inference) -> ContentService {
    let stores = attune_content::Stores {
        relational: Arc::clone(&stores.relational),
        documents: Arc::clone(&stores.documents),
        search: Arc::clone(&stores.search),
        events: Arc::clone(&stores.events),
        objects: Arc::clone(&stores.objects),
    };
    ContentService::new(stores, inference.clone(), &Models::default(), attune_content::Options::default())
}

/// Whoever takes events writes the lake. Where several do, one of them at a time gets its files in.
fn lake(config: &Config, stores: &Stores) -> LakeWriter {
    let (events, objects) = (Arc::clone(&stores.events), Arc::clone(&stores.objects));
    let first = DEFAULT_TENANT.parse().ok();
    LakeWriter::start(Arc::clone(&stores.relational), events, objects, first, config.lake.settings())
}

fn tracking(stores: &Stores) -> TrackingService {
    TrackingService::new(attune_tracking::Stores {
        relational: Arc::clone(&stores.relational),
        cache: Arc::clone(&stores.cache),
        events: Arc::clone(&stores.events),
    })
}

fn users(
    config: &Config,
    stores: &Stores,
    others: Vec<Arc<dyn KeepsOfPeople>>,
    of_tenants: Vec<Arc<dyn KeepsOfTenants>>,
) -> UsersService {
    let is_ours = config.stores.uri(StoreKind::Events).scheme() == "log";
    UsersService::new(attune_users::Stores {
        relational: Arc::clone(&stores.relational),
        documents: Arc::clone(&stores.documents),
        cache: Arc::clone(&stores.cache),
        events: Arc::clone(&stores.events),
        events_kept: if is_ours { EventsKept::Forever } else { EventsKept::Elsewhere },
        objects: Arc::clone(&stores.objects),
        others,
        of_tenants,
    })
}

/// The models to load, every file of an installed one verified against its manifest.
///
/// # Errors
/// A model is not there, or not what was installed.
pub fn models(config: &Config) -> Result<Vec<ModelSpec>> {
    config.models.iter().map(|model| spec(config, model)).collect()
}

/// One model to load, verified.
///
/// # Errors
/// As [`models`].
pub fn spec(config: &Config, model: &Model) -> Result<ModelSpec> {
    let in_model = || format!("model {:?}", model.name);
    Ok(ModelSpec {
        name: model.name.clone(),
        aliases: model.aliases.clone(),
        path: checked(config, &model.model).with_context(in_model)?,
        adapter: model.adapter.as_deref().map(|name| checked(config, name)).transpose().with_context(in_model)?,
        precision: model.precision.map(precision),
        max_tokens: model.tokens_max,
    })
}

/// The folder of an installed model, verified, or of a path as it is.
fn checked(config: &Config, name: &str) -> Result<PathBuf> {
    let folder = config.model_folder(name);
    if folder == Path::new(name) {
        anyhow::ensure!(folder.is_dir(), "{} is not a folder", folder.display());
        return Ok(folder);
    }
    if let Some(entry) = catalogue::find(name) {
        install_embedded(&config.data, entry)?;
    }
    match install::verify(&folder) {
        // A folder that somebody put there by hand has no manifest, and nothing to be compared with.
        Ok(_) | Err(Damage::NoManifest(_)) => Ok(folder),
        Err(damage) => Err(damage).with_context(|| match catalogue::find(name) {
            Some(_) => format!("fetch it with `attune models pull {name}`"),
            None => {
                format!("{name:?} is not in the catalogue: `attune models pull file:PATH --name {name}` installs it")
            }
        }),
    }
}
