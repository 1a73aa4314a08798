//! The service: a request, what has to be known for it, a list.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use attune_api::catalogue::SharedCatalogue;
use attune_api::outside::{Outside, SharedOutside};
use attune_api::progress::{self, Sign};
use attune_api::recommendation::Recommendation;
use attune_api::rest::recommendation::{
    RankRequest, RecommendRequest, RecommendResponse, SimilarRequest, TrendingRequest,
};
use attune_api::{ApiError, Call, ErrorCode};
use attune_ranking::data::Worth;
use attune_store::cache::Cache;
use attune_store::events::EventLog;
use attune_store::relational::Relational;
use attune_store::{PageRequest, Tenant};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::RecommendationConfig;
use crate::departed;
use crate::exposures::{self, Exposures};
use crate::fold::Rules;
use crate::follow::{Ended, Follower};
use crate::layout::Layout;
use crate::model::TrainedModels;
use crate::people::People;
use crate::pool::Pool;
use crate::replica::Replica;
use crate::serve::Turn;
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
    /// Services of the users' own, where any may be asked.
    pub outside: Option<SharedOutside>,
    /// Where snapshots are kept.
    pub folder: PathBuf,
}

/// Makes lists for all tenants of this process.
pub struct Recommender {
    pub(crate) config: Arc<RecommendationConfig>,
    rules: Arc<Rules>,
    pub(crate) seams: Seams,
    pub(crate) pool: Pool<Turn>,
    pub(crate) people: People,
    pub(crate) exposures: Exposures,
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
        let warming = tokio::spawn(warm(recommender.clone(), progress::begin(progress::LISTS)));
        recommender.lock_followers().push(warming);
        Ok((recommender.clone(), Following { recommender, writer }))
    }

    fn lock_followers(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A tenant's catalogue as lists are made over it now; nothing where none are made yet.
    pub fn layout(&self, tenant: &Tenant) -> Option<Layout> {
        let replica = self.replicas.lock().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned()?;
        let is_ready = *replica.ready().borrow();
        is_ready.then(|| replica.layout())
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
            restoring: None,
        };
        let (replicas, stop) = (Arc::clone(&self.replicas), self.stop.subscribe());
        // From now on, not from when it first runs: who can wait looks for it.
        let sign = progress::begin(progress::LISTS);
        self.lock_followers().push(tokio::spawn(async move {
            if follower.run(sign, stop).await == Ended::Gone {
                replicas.lock().unwrap_or_else(PoisonError::into_inner).remove(&tenant);
            }
        }));
        Ok(replica)
    }

    /// Where definitions are kept.
    pub(crate) fn relational(&self) -> &dyn Relational {
        &*self.seams.relational
    }

    /// Whoever asks services of the users' own.
    pub(crate) fn outside(&self) -> Option<&dyn Outside> {
        self.seams.outside.as_deref()
    }

    /// How long a list waits for its sources.
    pub(crate) fn sources_wait(&self) -> Duration {
        Duration::from_millis(self.config.sources_ms_max)
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
}

/// Whose call it is.
pub(crate) fn tenant(call: &Call) -> Result<Tenant, ApiError> {
    let wrong = |error: attune_store::TenantError| ApiError::new(ErrorCode::Invalid, error.to_string());
    call.tenant.parse().map_err(wrong)
}

/// Follows every tenant that there is, and forgets those that were deleted while nobody followed them. `sign` stands for
/// tenants that are not known yet.
async fn warm(recommender: Arc<Recommender>, sign: Sign) {
    follow_all(&recommender).await;
    sign.leave();
}

async fn follow_all(recommender: &Arc<Recommender>) {
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
