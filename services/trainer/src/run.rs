//! One run: read, train, measure, judge, publish, put in service.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use attune_batch::recommender::{
    DataCard, GateError, Measured, Place, Recommender, RecommenderError, Settings, Stored, config, gate, prune,
    resolve, train_without_people,
};
use attune_lake::LakeError;
use attune_ranking::data::Worth;
use attune_ranking::evaluate::Protocol;
use attune_ranking::train::in_background;
use attune_store::relational::{Job, ModelVersion, Write};
use attune_store::{ErrorKind, Expect, StoreError, Tenant};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::lake::{LakeReadError, Learned, read_lake};
use crate::publish::{KEPT, PublishError, fetch, forget_old, publish};
use crate::tried::Trying;
use crate::worker::{MakesLists, Shared};
use crate::{ConfigError, MODEL, TAKEN_BACK, name_of};

/// Under which key a version's entry says how many events the lake had.
const LAKE_EVENTS: &str = "lake_events";

/// Why a run came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Lake(#[from] LakeError),
    #[error(transparent)]
    Read(#[from] LakeReadError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Recommender(#[from] RecommenderError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("the system refuses a thread: {0}")]
    Thread(std::io::Error),
    #[error("the training ended without a result")]
    Ended,
    #[error("nothing is trained any more: trainer.model is empty")]
    Off,
}

impl RunError {
    /// Whether the same may go well later: the job is then left to whoever claims it next.
    pub(crate) fn may_pass(&self) -> bool {
        let by_store = |error: &StoreError| !matches!(error.kind, ErrorKind::Invalid | ErrorKind::TooLarge);
        match self {
            Self::Store(error) | Self::Lake(LakeError::Store(error)) => by_store(error),
            Self::Publish(PublishError::Store(error)) => by_store(error),
            Self::Read(LakeReadError::Lake(LakeError::Store(error))) => by_store(error),
            Self::Read(LakeReadError::Lake(LakeError::Restless)) | Self::Thread(_) => true,
            _ => false,
        }
    }
}

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The version is in service.
    Promoted,
    /// It is worse than the one that is.
    Refused,
    /// It is the one that is, or one that somebody took back.
    Unchanged,
}

impl Outcome {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::Refused => "refused",
            Self::Unchanged => "unchanged",
        }
    }
}

/// A run that came to its end.
pub(crate) struct Done {
    pub outcome: Outcome,
    /// What a person is told, with the figures.
    pub detail: String,
    pub label: String,
    pub lake_events: u64,
}

/// The version in service, as far as it matters to the next one.
struct Old {
    version: ModelVersion,
    /// None, where its folder is nowhere.
    settings: Option<Settings>,
    measured: Measured,
}

/// A version that was trained, and whether it may be in service.
struct Candidate {
    folder: PathBuf,
    label: String,
    measured: Measured,
    verdict: Result<String, GateError>,
}

/// How many events the lake had when a version was trained.
pub fn known_events(version: &ModelVersion) -> Option<u64> {
    version.metrics.get(LAKE_EVENTS)?.as_u64()
}

/// Does a job, and ends it.
pub(crate) async fn run(shared: &Shared, job: &Job) -> Result<Done, RunError> {
    let tenant = &job.tenant;
    let old = old(shared, tenant).await?;
    let learned = read_lake(&*shared.seams.objects, tenant, &shared.seams.worth, shared.config.events_max).await?;
    let settings = shared.config.settings(learned.history.items.len())?.ok_or(RunError::Off)?;
    let lake_events = learned.lake_events;
    let training = Training {
        tenant: tenant.clone(),
        lists: shared.seams.lists.clone(),
        name: name_of(tenant),
        data: shared.seams.data.clone(),
        settings,
        worth: shared.seams.worth.clone(),
        threads: shared.config.threads,
        slack: shared.config.worse_max,
        by_size: shared.config.by_size(),
        old: old.as_ref().map(|old| (old.settings.clone(), old.measured.clone())),
    };
    let candidate = trained(training, learned).await?;
    let done = settle(shared, job, &candidate, old.map(|old| old.version), lake_events).await?;
    tidy(shared, tenant).await;
    Ok(done)
}

async fn old(shared: &Shared, tenant: &Tenant) -> Result<Option<Old>, RunError> {
    let seams = &shared.seams;
    let Some(version) = seams.relational.live_model(tenant, MODEL).await? else { return Ok(None) };
    let folder = match resolve(&seams.data, &version.uri) {
        Ok(folder) => Some(folder),
        Err(_) => match fetch(&*seams.objects, tenant, &seams.data, &version.uri).await {
            Ok(folder) => Some(folder),
            // Somebody put it in service from a folder of his own, and did not publish it.
            Err(PublishError::Absent(_)) => None,
            Err(error) => return Err(error.into()),
        },
    };
    let settings = folder.map(|folder| config(&folder)).transpose()?.map(|(settings, _)| settings);
    let measured = measured_of(&version.metrics);
    Ok(Some(Old { version, settings, measured }))
}

/// The figures of a version's entry.
fn measured_of(metrics: &Value) -> Measured {
    let mut metrics = metrics.clone();
    if let Some(metrics) = metrics.as_object_mut() {
        for key in [LAKE_EVENTS, TAKEN_BACK] {
            metrics.remove(key);
        }
    }
    serde_json::from_value(metrics).unwrap_or_else(|_| Measured::Not { reason: "it was not entered".to_owned() })
}

/// All that a training needs, to be handed to a thread.
struct Training {
    tenant: Tenant,
    lists: Option<Arc<dyn MakesLists>>,
    name: String,
    data: PathBuf,
    settings: Settings,
    worth: Worth,
    threads: usize,
    slack: f64,
    /// Settings that the size of the catalogue decides between: one of them in service must not block the other.
    by_size: Vec<Settings>,
    old: Option<(Option<Settings>, Measured)>,
}

/// Cleared when nobody waits for a training any more: it ends before its next step.
struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

async fn trained(training: Training, learned: Learned) -> Result<Candidate, RunError> {
    let wanted = Wanted(Arc::new(AtomicBool::new(true)));
    let is_wanted = Arc::clone(&wanted.0);
    let (sender, candidate) = oneshot::channel();
    in_background(move || {
        // Whoever waited may be gone.
        let _nobody = sender.send(training.candidate(learned, &|| is_wanted.load(Ordering::Relaxed)));
    })
    .map_err(RunError::Thread)?;
    candidate.await.map_err(|_| RunError::Ended)?
}

impl Training {
    fn candidate(self, learned: Learned, is_wanted: &dyn Fn() -> bool) -> Result<Candidate, RunError> {
        let check = || if is_wanted() { Ok(()) } else { Err(RunError::Ended) };
        let Learned { history, input, .. } = learned;
        let protocol = Protocol::named(self.settings.protocol()).expect("it is in the table");
        let asked = (protocol, 0);
        let measure = |settings: &Settings| Measured::new(settings, &history.log, &self.worth, asked, self.threads);
        let lists = self.lists.as_deref().map(|lists| (lists, &self.tenant));
        let trying = Trying { settings: &self.settings, worth: &self.worth, asked, threads: self.threads, lists };
        let (measured, blend) = trying.measured(&history, is_wanted);
        check()?;
        let verdict = self.verdict(&measured, measure);
        check()?;
        let trained = train_without_people(&self.settings, &history, &self.worth)?;
        check()?;
        let data = DataCard::new(vec![input], &history, self.worth.clone(), trained.unit);
        let stored = Stored {
            name: self.name.clone(),
            command: self.command(),
            settings: self.settings,
            model: trained.model,
            users: Default::default(),
            items: history.items,
            histories: trained.histories,
            data,
            measured: measured.clone(),
            blend,
            rejected: Vec::new(),
        };
        let folder = stored.write(Place::Named(&self.data, &self.name))?;
        // Loaded as replicas will: what cannot be loaded is never in service.
        let Recommender { name, version, .. } = Recommender::load(&folder)?;
        Ok(Candidate { folder, label: format!("{name}/{version}"), measured, verdict })
    }
}

impl Training {
    /// Whether the new version may be in service, by its figures and those of the one that is: as they were entered, where
    /// it is the same model, and else measured on the same events.
    fn verdict(&self, measured: &Measured, measure: impl Fn(&Settings) -> Measured) -> Result<String, GateError> {
        let Some((settings, entered)) = &self.old else { return Ok("there was none in service".to_owned()) };
        match settings {
            Some(old) if old.with_threads(self.threads) != self.settings => {
                let by_size = self.by_size.contains(&old.with_threads(self.threads));
                gate(measured, &measure(old), if by_size { self.slack } else { 0.0 })
            }
            Some(_) => match gate(measured, entered, self.slack) {
                Err(GateError::Differently { .. }) => Ok("the same model, which was measured otherwise".to_owned()),
                Err(GateError::NotMeasured) if matches!(entered, Measured::Not { .. }) => {
                    Ok("the same model, which was not measured".to_owned())
                }
                judged => judged,
            },
            None => gate(measured, entered, 0.0),
        }
    }

    /// The command that makes the same version of the same events.
    fn command(&self) -> String {
        let name = self.settings.name();
        let base = name.parse().map(|kind| Settings::new(kind, 0));
        let changes = base.map(|base| self.settings.changes(&base)).unwrap_or_default();
        changes.iter().fold(format!("attune train {name} --lake"), |command, pair| format!("{command} --set {pair}"))
    }
}

/// Puts a version in service that may be, and ends the job, all or nothing: by its fence, and by the version in service
/// being the one that it was held against.
async fn settle(
    shared: &Shared,
    job: &Job,
    candidate: &Candidate,
    live: Option<ModelVersion>,
    lake_events: u64,
) -> Result<Done, RunError> {
    let (tenant, relational) = (&job.tenant, &shared.seams.relational);
    let Candidate { folder, label, measured, verdict } = candidate;
    let mut metrics = serde_json::to_value(measured).unwrap_or_default();
    metrics[LAKE_EVENTS] = json!(lake_events);
    let known = relational.model_version(tenant, MODEL, label).await?;
    if let Some(mark) = known.as_ref().and_then(|known| known.metrics.get(TAKEN_BACK)) {
        metrics[TAKEN_BACK] = mark.clone();
    }
    let (outcome, detail) = match (verdict, known.and_then(|known| known.promoted_ms)) {
        (_, Some(_)) if live.as_ref().is_some_and(|live| live.label == *label) => {
            (Outcome::Unchanged, "it is the version in service".to_owned())
        }
        (_, Some(_)) => (Outcome::Unchanged, "it was in service before and was taken back".to_owned()),
        (Ok(told), None) => (Outcome::Promoted, told.clone()),
        (Err(refusal), None) => (Outcome::Refused, refusal.to_string()),
    };
    let entry = Write::PutModelVersion {
        model: MODEL.to_owned(),
        label: label.clone(),
        uri: label.clone(),
        metrics,
        expect: Expect::Any,
    };
    let mut writes = vec![entry];
    if outcome == Outcome::Promoted {
        publish(&*shared.seams.objects, tenant, folder, label).await?;
        // Nothing of it is changed: it has to be what it was.
        writes.extend(live.map(|live| Write::PutModelVersion {
            model: live.model,
            label: live.label,
            uri: live.uri,
            metrics: live.metrics,
            expect: Expect::Version(live.version),
        }));
        writes.push(Write::Promote { model: MODEL.to_owned(), label: label.clone() });
    }
    let report = json!({"outcome": outcome.name(), "version": label, "detail": detail, LAKE_EVENTS: lake_events});
    writes.push(Write::FinishJob { id: job.id.clone(), fence: job.fence, is_done: true, report });
    relational.commit(tenant, writes).await?;
    Ok(Done { outcome, detail, label: label.clone(), lake_events })
}

/// Removes versions that nobody goes back to. What fails is tried again after the next run.
async fn tidy(shared: &Shared, tenant: &Tenant) {
    let (seams, name) = (&shared.seams, name_of(tenant));
    let live = match seams.relational.live_model(tenant, MODEL).await {
        Ok(live) => live.map(|live| live.label),
        Err(error) => return tracing::warn!(%tenant, %error, "old versions are not removed now"),
    };
    let live = live.as_deref().and_then(|label| Path::new(label).file_name()?.to_str()).unwrap_or_default();
    if let Err(error) = prune(&seams.data, &name, &[live], KEPT) {
        tracing::warn!(%tenant, %error, "old versions are not removed from the data folder");
    }
    if let Err(error) = forget_old(&*seams.objects, tenant, &name, &[live], KEPT).await {
        tracing::warn!(%tenant, %error, "old versions are not removed from the objects");
    }
}
