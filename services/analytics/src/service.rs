//! The service: a place, a snapshot, a plan, an answer.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use attune_api::analytics::{Analytics, KeepsReviews, Report};
use attune_api::moment::now_ms;
use attune_api::rest::analytics::{Question, Table};
use attune_api::{ApiError, Call};
use attune_lake::{Dataset, LakeError, Snapshot};
use attune_store::Tenant;
use attune_store::events::EventLog;
use attune_store::objects::Objects;
use attune_store::relational::Relational;
use datafusion::execution::TaskContext;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, MemoryConsumer, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use tokio::sync::Semaphore;

use crate::answer::collect;
use crate::ask::Ask;
use crate::defined::defined;
use crate::error::{Failure, busy, defect};
use crate::report::{LISTS_BEFORE_MS, Tables, of_lake, of_reviews, with_shares};
use crate::table::{LakeRows, ReviewRows, Source, SourceTable};
use crate::workers::Workers;

/// How often a report is begun again because files were replaced while it read them.
const ROUNDS_MAX: usize = 5;
const SECONDS: &str = "attune_analytics_report_seconds";

/// Bounds of reports.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Reports in work at once, each of which has a thread. The next one is refused.
    pub reports_max: usize,
    /// The most memory that one report takes, in bytes: groups, sorted rows, the file that is being read, the tail.
    pub report_bytes_max: usize,
    /// The longest time of a report, whatever its caller would wait.
    pub time_max: Duration,
    /// Where rows wait that have to be sorted and are too many for the memory; emptied at the start. Without it such a
    /// report is refused.
    pub spill: Option<PathBuf>,
    /// The most bytes there.
    pub spill_bytes_max: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            reports_max: 2,
            report_bytes_max: 192 << 20,
            time_max: Duration::from_secs(300),
            spill: None,
            spill_bytes_max: 4 << 30,
        }
    }
}

/// What reports read.
#[derive(Clone)]
pub struct Stores {
    /// The tail.
    pub events: Arc<dyn EventLog>,
    /// The lake.
    pub objects: Arc<dyn Objects>,
    /// What is said of items.
    pub reviews: Arc<dyn KeepsReviews>,
    /// Which experiments there are.
    pub relational: Arc<dyn Relational>,
}

/// Answers questions about what happened.
pub struct AnalyticsService {
    shared: Arc<Shared>,
    places: Arc<Semaphore>,
    workers: Workers,
}

struct Shared {
    stores: Stores,
    settings: Settings,
}

impl AnalyticsService {
    /// Over these stores.
    ///
    /// # Errors
    /// The system refuses threads, or the folder for rows that wait cannot be made.
    pub fn start(stores: Stores, settings: Settings) -> io::Result<Self> {
        if let Some(folder) = &settings.spill {
            // What a process that was killed had there.
            match std::fs::remove_dir_all(folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => std::fs::create_dir_all(folder)?,
            }
        }
        let (places, workers) = (Semaphore::new(settings.reports_max), Workers::start(settings.reports_max)?);
        Ok(Self { shared: Arc::new(Shared { stores, settings }), places: Arc::new(places), workers })
    }
}

#[async_trait]
impl Analytics for AnalyticsService {
    async fn report(&self, call: &Call, report: Report, question: Question) -> Result<Table, ApiError> {
        let tenant: Tenant = call.tenant.parse().map_err(|error| defect(&error))?;
        let ask = Ask::check(report, question, now_ms())?;
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| busy(self.shared.settings.reports_max))?;
        let latest = Instant::now() + self.shared.settings.time_max;
        let until = call.deadline.map_or(latest, |deadline| deadline.min(latest));
        let (shared, call, started) = (Arc::clone(&self.shared), call.clone(), Instant::now());
        let answer = self.workers.run(until, async move {
            let _place = place;
            shared.answer(&tenant, &call, &ask).await
        });
        let answer = answer.await;
        metrics::histogram!(SECONDS, "report" => report.name()).record(started.elapsed().as_secs_f64());
        answer
    }
}

impl Shared {
    async fn answer(&self, tenant: &Tenant, call: &Call, ask: &Ask) -> Result<Table, ApiError> {
        let mut rounds = 1;
        loop {
            match self.once(tenant, call, ask).await {
                Err(failure) if failure.is_replaced() && rounds < ROUNDS_MAX => rounds += 1,
                answer => return answer.map_err(|failure| failure.within(self.settings.report_bytes_max).into()),
            }
        }
    }

    async fn once(&self, tenant: &Tenant, call: &Call, ask: &Ask) -> Result<Table, Failure> {
        let session = self.session()?;
        let (plan, _held) = match ask.report {
            Report::Sentiment => (of_reviews(ask, self.reviews(&session, call, ask)?)?, None),
            _ => {
                let (tables, held) = self.lake(&session, tenant, ask).await?;
                (of_lake(ask, tables)?, Some(held))
            }
        };
        let rows = plan.frame.execute_stream().await?;
        let table = (plan.finish)(ask, collect(rows).await?);
        if ask.report != Report::Experiments {
            return Ok(table);
        }
        let experiments = defined(&*self.stores.relational, tenant).await.map_err(LakeError::Store)?.0;
        Ok(with_shares(ask, table, &experiments))
    }

    /// What a report may take, and how it is carried out: in one stream, since reports give way to everything else.
    fn session(&self) -> Result<SessionContext, Failure> {
        let Settings { report_bytes_max, spill, spill_bytes_max, .. } = &self.settings;
        let disk = match spill {
            Some(folder) => DiskManagerMode::Directories(vec![folder.clone()]),
            None => DiskManagerMode::Disabled,
        };
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(*report_bytes_max)))
            .with_disk_manager_builder(
                DiskManagerBuilder::default().with_mode(disk).with_max_temp_directory_size(*spill_bytes_max),
            );
        // A sort sets so much aside for its last step, which is not to be most of what there is.
        let config =
            SessionConfig::new().with_target_partitions(1).with_sort_spill_reservation_bytes(report_bytes_max / 16);
        Ok(SessionContext::new_with_config_rt(config, runtime.build_arc()?))
    }

    fn reviews(&self, session: &SessionContext, call: &Call, ask: &Ask) -> Result<DataFrame, Failure> {
        let keeper = Arc::clone(&self.stores.reviews);
        table(session, ReviewRows { keeper, call: call.clone(), from_ms: ask.from_ms })
    }

    /// The tables of the lake as of now, and the memory that they hold.
    async fn lake(
        &self,
        session: &SessionContext,
        tenant: &Tenant,
        ask: &Ask,
    ) -> Result<(Tables, MemoryReservation), Failure> {
        let Stores { events, objects, .. } = &self.stores;
        let snapshot = Arc::new(Snapshot::take(&**events, &**objects, tenant).await?);
        let context: Arc<TaskContext> = session.task_ctx();
        let held = MemoryConsumer::new("the tail of the log").register(context.memory_pool());
        held.try_grow(snapshot.bytes())?;
        let rows = |dataset, from_ms| {
            let (objects, tenant, snapshot) = (Arc::clone(objects), tenant.clone(), Arc::clone(&snapshot));
            table(session, LakeRows { objects, tenant, snapshot, dataset, time_ms: (from_ms, ask.to_ms) })
        };
        let tables = Tables {
            events: rows(Dataset::Events, ask.from_ms)?,
            exposures: rows(Dataset::Exposures, ask.from_ms)?,
            lists: rows(Dataset::Exposures, ask.from_ms - LISTS_BEFORE_MS)?,
        };
        Ok((tables, held))
    }
}

fn table(session: &SessionContext, source: impl Source) -> Result<DataFrame, Failure> {
    Ok(session.read_table(Arc::new(SourceTable(Arc::new(source))))?)
}
