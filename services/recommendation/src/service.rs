//! The service: a request, what has to be known for it, a list.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use attune_api::catalogue::SharedCatalogue;
use attune_api::log::{Exposure, Shown as ShownItem};
use attune_api::moment::now_ms;
use attune_api::recommendation::Recommendation;
use attune_api::rest::recommendation::{
    RankRequest, RecommendRequest, RecommendResponse, SimilarRequest, TrendingRequest,
};
use attune_api::{ApiError, Call, ErrorCode};
use attune_ranking::data::Worth;
use attune_ranking::retrieve::Scratch;
use attune_store::cache::Cache;
use attune_store::events::EventLog;
use attune_store::relational::{Relational, Subject};
use attune_store::{PageRequest, Tenant};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::RecommendationConfig;
use crate::answer::{Lacks, response};
use crate::ask::{Ask, Who};
use crate::departed;
use crate::exposures::{self, Exposures, Shown};
use crate::fold::{Rules, key_of};
use crate::follow::{Ended, Follower};
use crate::fresh::{Fresh, fresh};
use crate::model::TrainedModels;
use crate::people::People;
use crate::pool::{Pool, Work};
use crate::replica::Replica;
use crate::stage::{self, Known, Made, Settings};
use crate::world::MoreSources;

/// How long a request waits for a replica that has just begun to read.
const READY_WAIT: Duration = Duration::from_secs(2);
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the service stands on.
#[derive(Clone)]
pub struct Seams {
    /// What happened.
    pub log: Arc<dyn EventLog>,
    /// What happened a moment ago.
    pub cache: Arc<dyn Cache>,
    /// Who is who, and the pipelines.
    pub relational: Arc<dyn Relational>,
    /// What there is to show.
    pub catalogue: SharedCatalogue,
    /// Trained models, where somebody keeps them.
    pub models: Option<Arc<dyn TrainedModels>>,
    /// Where snapshots are kept.
    pub folder: PathBuf,
}

/// Makes lists for all tenants of this process.
pub struct Recommender {
    config: Arc<RecommendationConfig>,
    rules: Arc<Rules>,
    seams: Seams,
    pool: Pool<Listing>,
    people: People,
    exposures: Exposures,
    replicas: Arc<Mutex<HashMap<Tenant, Arc<Replica>>>>,
    followers: Mutex<Vec<JoinHandle<()>>>,
    stop: watch::Sender<bool>,
}

/// What runs beside the requests.
pub struct Following {
    recommender: Arc<Recommender>,
    writer: JoinHandle<()>,
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Following").finish_non_exhaustive()
    }
}

impl Following {
    /// Ends it: snapshots are written, and the lists that were shown.
    pub async fn stop(self) {
        self.recommender.stop.send_replace(true);
        let followers = std::mem::take(&mut *self.recommender.lock_followers());
        for follower in followers {
            if let Err(error) = follower.await {
                tracing::error!(%error, "a follower of the log ended badly");
            }
        }
        if let Err(error) = self.writer.await {
            tracing::error!(%error, "the writer of exposures ended badly");
        }
    }
}

impl Recommender {
    /// Begins to follow the log for the tenants that there are; others are followed from their first request on.
    ///
    /// # Errors
    /// The system refuses threads.
    pub fn start(config: RecommendationConfig, worth: Worth, seams: Seams) -> std::io::Result<(Arc<Self>, Following)> {
        let pool = Pool::start(config.threads, config.queue_max)?;
        let (exposures, lists) = Exposures::new();
        let stop = watch::Sender::new(false);
        let writer = tokio::spawn(exposures::write(lists, seams.log.clone(), stop.subscribe()));
        let recommender = Arc::new(Self {
            rules: Arc::new(Rules::new(&config, worth)),
            config: Arc::new(config),
            people: People::new(seams.relational.clone()),
            seams,
            pool,
            exposures,
            replicas: Arc::default(),
            followers: Mutex::default(),
            stop,
        });
        let warming = tokio::spawn(warm(recommender.clone()));
        recommender.lock_followers().push(warming);
        Ok((recommender.clone(), Following { recommender, writer }))
    }

    fn lock_followers(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The replica of a tenant, which begins to follow the log if it is new.
    fn replica(&self, tenant: Tenant) -> Result<Arc<Replica>, ApiError> {
        let mut replicas = self.replicas.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(replica) = replicas.get(&tenant) {
            return Ok(replica.clone());
        }
        if replicas.len() >= self.config.tenants_max {
            let detail = format!("this server makes lists for {} tenants, which is its limit", replicas.len());
            return Err(ApiError::new(ErrorCode::Overloaded, detail).retry_after(RETRY_AFTER));
        }
        let replica = Arc::new(Replica::new(tenant.clone(), self.rules.clone(), &self.config));
        replicas.insert(tenant.clone(), replica.clone());
        drop(replicas);
        let Seams { log, relational, catalogue, models, folder, .. } = self.seams.clone();
        let follower = Follower {
            replica: replica.clone(),
            config: self.config.clone(),
            log,
            catalogue,
            relational,
            folder,
            pending: Default::default(),
            in_force: Default::default(),
            more: MoreSources::default(),
            models,
            was_there: false,
        };
        let (replicas, stop) = (Arc::clone(&self.replicas), self.stop.subscribe());
        self.lock_followers().push(tokio::spawn(async move {
            if follower.run(stop).await == Ended::Gone {
                replicas.lock().unwrap_or_else(PoisonError::into_inner).remove(&tenant);
            }
        }));
        Ok(replica)
    }

    /// Where definitions are kept.
    pub(crate) fn relational(&self) -> &dyn Relational {
        &*self.seams.relational
    }

    /// The replica of a call's tenant, as soon as it can answer.
    pub(crate) async fn ready(&self, call: &Call) -> Result<Arc<Replica>, ApiError> {
        let replica = self.replica(tenant(call)?)?;
        let mut ready = replica.ready();
        if !*ready.borrow() && !matches!(timeout(READY_WAIT, ready.wait_for(|ready| *ready)).await, Ok(Ok(_))) {
            let detail = "this replica still reads what happened before it started; use another, or try again later";
            return Err(ApiError::new(ErrorCode::Unavailable, detail).retry_after(RETRY_AFTER));
        }
        Ok(replica)
    }

    async fn serve(&self, call: &Call, ask: Ask) -> Result<RecommendResponse, ApiError> {
        let began = Instant::now();
        let replica = self.ready(call).await?;
        let (subject, fresh, lacks) = self.look_up(&replica, &ask.who).await;
        let wait = Duration::from_millis(self.config.sources_ms_max);
        let deadline = call.deadline.map_or(began + wait, |deadline| deadline.min(began + wait));
        let known = Known { subject: subject.and_then(|subject| key_of(&subject.to_string())), fresh, deadline };
        let settings = Settings { seen_days: self.config.seen_days };
        let list_id = format!("{:032x}", rand::random::<u128>());
        let exposures = self.exposures.clone();
        self.pool.run(call, Listing { replica, settings, ask, known, subject, lacks, list_id, exposures }).await
    }

    /// Whom the list is for, and what he did a moment ago. Where a store is away the list is made without.
    async fn look_up(&self, replica: &Replica, who: &Who) -> (Option<Subject>, Fresh, Lacks) {
        let Who::Person(id) = who else { return (None, Fresh::default(), Lacks::default()) };
        let subject = match self.people.subject(replica, id.clone()).await {
            Ok(Some(subject)) => subject,
            Ok(None) => return (None, Fresh::default(), Lacks::default()),
            Err(error) => {
                tracing::warn!(tenant = %replica.tenant, %error, "a user could not be looked up");
                return (None, Fresh::default(), Lacks { person: true, ..Lacks::default() });
            }
        };
        let wait = Duration::from_millis(self.config.catch_up_ms_max);
        let fresh = fresh(replica, &*self.seams.log, &*self.seams.cache, &subject.to_string(), wait).await;
        let lacks = Lacks { events: fresh.is_behind, ..Lacks::default() };
        (Some(subject), fresh, lacks)
    }
}

/// Whose call it is.
pub(crate) fn tenant(call: &Call) -> Result<Tenant, ApiError> {
    let wrong = |error: attune_store::TenantError| ApiError::new(ErrorCode::Invalid, error.to_string());
    call.tenant.parse().map_err(wrong)
}

/// Follows every tenant that there is, and forgets those that were deleted while nobody followed them.
async fn warm(recommender: Arc<Recommender>) {
    let Seams { folder, relational, models, .. } = &recommender.seams;
    departed::sweep(folder, &**relational, models.clone()).await;
    let mut after = None;
    loop {
        let request = PageRequest { after, rows: attune_store::PAGE_ROWS_MAX };
        let page = match recommender.seams.relational.tenants(request).await {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(%error, "tenants cannot be listed: each is followed from its first request on");
                return;
            }
        };
        for record in page.rows {
            if let Err(error) = recommender.replica(record.tenant.clone()) {
                tracing::warn!(tenant = %record.tenant, %error, "this tenant gets no lists here");
                return;
            }
        }
        after = page.next;
        if after.is_none() {
            return;
        }
    }
}

/// A list that is wanted, with all that has to be known to make it.
struct Listing {
    replica: Arc<Replica>,
    settings: Settings,
    ask: Ask,
    known: Known,
    subject: Option<Subject>,
    lacks: Lacks,
    list_id: String,
    exposures: Exposures,
}

impl Work for Listing {
    type Made = RecommendResponse;

    fn goes_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.replica, &other.replica)
    }

    fn done(together: &[&Self], scratch: &mut Scratch) -> Vec<Result<RecommendResponse, ApiError>> {
        let Some(first) = together.first() else { return Vec::new() };
        let asked: Vec<(&Ask, &Known)> = together.iter().map(|listing| (&listing.ask, &listing.known)).collect();
        let made = stage::make(&first.replica, &first.settings, &asked, scratch);
        together.iter().zip(made).map(|(listing, made)| Ok(listing.shown(&made?))).collect()
    }
}

impl Listing {
    /// The list as it is answered; that it was shown goes into the log.
    fn shown(&self, made: &Made) -> RecommendResponse {
        let list = response(self.list_id.clone(), &self.ask, made, self.lacks);
        let exposure = exposure(&self.ask, made, &list);
        // Nobody's lists stand under their own name.
        let subject = self.subject.map_or_else(|| format!("list/{}", list.request_id), |subject| subject.to_string());
        self.exposures.take(Shown { tenant: self.replica.tenant.clone(), subject, exposure });
        list
    }
}

fn exposure(ask: &Ask, made: &Made, list: &RecommendResponse) -> Exposure {
    let item = |(answered, item): (
        &attune_ranking::pipeline::Answered,
        &attune_api::rest::recommendation::RecommendedItem,
    )| {
        ShownItem {
            item_id: item.item_id.clone(),
            score: item.score,
            propensity: answered.propensity as f32,
            features: answered.features.clone(),
        }
    };
    Exposure {
        request_id: list.request_id.clone(),
        time_ms: now_ms(),
        surface: ask.surface.clone(),
        pipeline: list.pipeline.clone(),
        model_version: list.model_version.clone(),
        experiment: made.arm.clone(),
        feature_names: made.pipeline.features().to_vec(),
        items: made.answer.items.iter().zip(&list.items).map(item).collect(),
    }
}

#[async_trait::async_trait]
impl Recommendation for Recommender {
    async fn recommend(&self, call: &Call, request: RecommendRequest) -> Result<RecommendResponse, ApiError> {
        self.serve(call, request.try_into()?).await
    }

    async fn rank(&self, call: &Call, request: RankRequest) -> Result<RecommendResponse, ApiError> {
        self.serve(call, request.try_into()?).await
    }

    async fn similar(&self, call: &Call, request: SimilarRequest) -> Result<RecommendResponse, ApiError> {
        self.serve(call, request.try_into()?).await
    }

    async fn trending(&self, call: &Call, request: TrendingRequest) -> Result<RecommendResponse, ApiError> {
        self.serve(call, request.try_into()?).await
    }
}
