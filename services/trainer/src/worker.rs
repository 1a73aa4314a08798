//! Looks for turns that are due, and has them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use attune_api::moment::now_ms;
use attune_api::progress::{self, Sign};
use attune_batch::history::History;
use attune_batch::recommender::Model;
use attune_lake::{Dataset, load_manifest};
use attune_ranking::data::Worth;
use attune_ranking::evaluate::Task;
use attune_ranking::score::RankBand;
use attune_store::objects::Objects;
use attune_store::relational::{Job, Relational, Write, all_tenants};
use attune_store::{ErrorKind, StoreError, Tenant};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::run::{Done, RunError, known_events, run};
use crate::schedule::due;
use crate::{MODEL, TrainerConfig};

/// Lists that are further behind go before a run.
const LISTS_LAG_MAX: Duration = Duration::from_secs(2);
/// Where something is wrong with them, a run does not wait for ever.
const GIVE_WAY_MAX: Duration = Duration::from_secs(600);
/// The kind of its jobs.
pub const KIND: &str = "train";
/// A job that was claimed so often fails: something about it ends whoever has it.
const CLAIMS_MAX: u64 = 5;
/// Between two looks it waits at least so many times as long as the last one took.
const LOOK_SHARE: u32 = 10;

const RUNS: &str = "attune_trainer_runs_total";
const RUNNING: &str = "attune_trainer_running";
const LAST_RUN: &str = "attune_trainer_last_run_timestamp_seconds";
const LAST_SECONDS: &str = "attune_trainer_last_run_duration_seconds";
const WAITING: &str = "attune_trainer_events_waiting";

/// What a trainer stands on.
#[derive(Clone)]
pub struct Seams {
    /// Jobs, and which version is in service.
    pub relational: Arc<dyn Relational>,
    /// The lake, and what is published.
    pub objects: Arc<dyn Objects>,
    /// The data folder, where versions are made.
    pub data: PathBuf,
    /// What events are worth.
    pub worth: Worth,
    /// A tenant that has no row of its own, if there is one.
    pub first: Option<Tenant>,
    /// Who knows how lists are made; without it nothing is learned of what a recommender weighs in them.
    pub lists: Option<Arc<dyn MakesLists>>,
}

/// Who makes lists, as a trainer sees him.
pub trait MakesLists: Send + Sync {
    /// What the ranks of each source weigh best beside a recommender, by how much is known of a user. It takes as long as
    /// some thousand lists, and ends where `is_wanted` says that nobody waits any more.
    ///
    /// # Errors
    /// In words for the log.
    fn blend(&self, tried: Tried<'_>, is_wanted: &dyn Fn() -> bool) -> Result<Vec<RankBand>, String>;
}

/// A recommender that was trained without a part of what happened.
pub struct Tried<'a> {
    /// Whose.
    pub tenant: &'a Tenant,
    /// All that happened. Its users are subjects.
    pub history: &'a History,
    /// What the model learned from, and who is asked about.
    pub task: Task,
    /// The model.
    pub model: Model,
}

/// How patient a trainer is.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How often it looks for turns.
    pub look_every: Duration,
    /// For how long nobody else takes a job of one that says nothing.
    pub lease: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { look_every: Duration::from_secs(2), lease: Duration::from_secs(15) }
    }
}

/// What all steps share.
pub(crate) struct Shared {
    pub config: TrainerConfig,
    pub seams: Seams,
    timing: Timing,
    /// Who this is, in jobs.
    worker: String,
    sign: Sign,
}

/// Trains until it is stopped. Dropped without a stop, it ends as in a crash.
#[derive(Debug)]
pub struct Trainer {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Trainer {
    /// Starts.
    pub fn start(config: TrainerConfig, seams: Seams, timing: Timing) -> Self {
        let (stop, stopping) = watch::channel(false);
        let worker = format!("train-{:016x}", rand::random::<u64>());
        let shared = Shared { config, seams, timing, worker, sign: progress::enter(progress::TRAINER) };
        Self { stop, task: tokio::spawn(work(shared, stopping)) }
    }

    /// Ends at once. A run that is cut off is begun again by whoever claims its job, when the lease has run out.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the trainer ended");
        }
    }
}

impl Drop for Trainer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits while others start or are behind, after a start or beside an import: they need the processors and the memory now,
/// and what a run would learn from is not all there yet.
async fn give_way(to: &str, max: Duration) {
    progress::give_way(to, LISTS_LAG_MAX, max, tokio::time::sleep).await;
}

async fn work(shared: Shared, mut stopping: watch::Receiver<bool>) {
    metrics::gauge!(RUNNING).set(0.0);
    loop {
        let begun = Instant::now();
        let turn = async {
            give_way(progress::LISTS, GIVE_WAY_MAX).await;
            match enter_due(&shared).await.and(next(&shared).await) {
                Ok(is_any) => {
                    shared.sign.caught_up();
                    is_any
                }
                Err(error) => {
                    tracing::warn!(%error, "the trainer cannot look for work now");
                    false
                }
            }
        };
        let is_any = tokio::select! {
            is_any = turn => is_any,
            _ = stopping.wait_for(|stopping| *stopping) => break,
        };
        let pause = if is_any { Duration::ZERO } else { shared.timing.look_every.max(begun.elapsed() * LOOK_SHARE) };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stopping.wait_for(|stopping| *stopping) => break,
        }
    }
    shared.sign.leave();
}

/// Enters a job for each tenant whose turn it is. One that is there was entered by another trainer, or had before.
async fn enter_due(shared: &Shared) -> Result<(), StoreError> {
    let mut waiting = 0;
    for tenant in all_tenants(&*shared.seams.relational, shared.seams.first.clone()).await? {
        let manifest = match load_manifest(&*shared.seams.objects, &tenant).await {
            Ok(manifest) => manifest,
            Err(error) => {
                tracing::warn!(%tenant, %error, "the lake of a tenant cannot be looked at");
                continue;
            }
        };
        let events = manifest.rows(Dataset::Events);
        let live = shared.seams.relational.live_model(&tenant, MODEL).await?;
        let known = live.as_ref().and_then(known_events);
        waiting = waiting.max(events.saturating_sub(known.unwrap_or(0)));
        let Some(id) = due(&shared.config, now_ms(), events, known) else { continue };
        if shared.seams.relational.job(&tenant, &id).await?.is_some() {
            continue;
        }
        let spec = json!({"model": shared.config.model, "lake_events": events});
        let put = Write::PutJob { id, kind: KIND.to_owned(), spec };
        match shared.seams.relational.commit(&tenant, vec![put]).await {
            Err(error) if error.kind != ErrorKind::Conflict => return Err(error),
            _ => {}
        }
    }
    metrics::gauge!(WAITING).set(waiting as f64);
    Ok(())
}

/// Does the next job, if there is one; whether there was.
async fn next(shared: &Shared) -> Result<bool, StoreError> {
    let claimed = shared.seams.relational.claim(KIND, &shared.worker, shared.timing.lease).await?;
    let Some(job) = claimed else { return Ok(false) };
    if job.fence > CLAIMS_MAX {
        finish_failed(shared, &job, "whoever had it ended before it did").await?;
        return Ok(true);
    }
    metrics::gauge!(RUNNING).set(1.0);
    let begun = Instant::now();
    let ended = tokio::select! {
        ended = run(shared, &job) => Some(ended),
        () = keep(shared, &job) => None,
    };
    metrics::gauge!(RUNNING).set(0.0);
    match ended {
        Some(Ok(done)) => succeeded(shared, &job, &done, begun.elapsed()),
        Some(Err(error)) => failed(shared, &job, &error, begun.elapsed()).await?,
        None => tracing::warn!(tenant = %job.tenant, job = job.id, "another trainer has taken over this run"),
    }
    Ok(true)
}

/// Keeps a job for as long as it is this trainer's; ends when it is not any more.
async fn keep(shared: &Shared, job: &Job) {
    loop {
        tokio::time::sleep(shared.timing.lease / 3).await;
        let (id, fence, lease) = (job.id.clone(), job.fence, shared.timing.lease);
        let keep = Write::ProgressJob { id, fence, progress: json!({"worker": shared.worker}), lease };
        match shared.seams.relational.commit(&job.tenant, vec![keep]).await {
            Ok(_) => shared.sign.caught_up(),
            Err(error) if error.kind == ErrorKind::Conflict => return,
            Err(error) => tracing::warn!(tenant = %job.tenant, %error, "a run's lease cannot be renewed now"),
        }
    }
}

fn succeeded(shared: &Shared, job: &Job, done: &Done, took: Duration) {
    let Done { outcome, detail, label, lake_events } = done;
    tracing::info!(
        tenant = %job.tenant, version = label, outcome = outcome.name(), detail, lake_events,
        seconds = took.as_secs_f64(), "a recommender was trained"
    );
    told(shared, outcome.name(), detail, took);
}

async fn failed(shared: &Shared, job: &Job, error: &RunError, took: Duration) -> Result<(), StoreError> {
    tracing::warn!(tenant = %job.tenant, job = job.id, %error, "a recommender could not be trained");
    // Anybody may read the note: causes are for the log.
    told(shared, "failed", "the log says why", took);
    if error.may_pass() && job.fence < CLAIMS_MAX {
        // The lease runs out, and whoever claims it then tries again.
        return Ok(());
    }
    finish_failed(shared, job, &error.to_string()).await
}

async fn finish_failed(shared: &Shared, job: &Job, detail: &str) -> Result<(), StoreError> {
    let report = json!({"outcome": "failed", "detail": detail, "tries": job.fence});
    let finish = Write::FinishJob { id: job.id.clone(), fence: job.fence, is_done: false, report };
    match shared.seams.relational.commit(&job.tenant, vec![finish]).await {
        Err(error) if error.kind == ErrorKind::Conflict => Ok(()),
        ended => ended.map(drop),
    }
}

fn told(shared: &Shared, outcome: &'static str, detail: &str, took: Duration) {
    metrics::counter!(RUNS, "outcome" => outcome).increment(1);
    metrics::gauge!(LAST_RUN).set(now_ms() as f64 / 1e3);
    metrics::gauge!(LAST_SECONDS).set(took.as_secs_f64());
    shared.sign.note(&format!("the last run took {:.1} s and was {outcome}: {detail}", took.as_secs_f64()));
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_run_waits_for_who_starts_or_is_behind_and_not_for_ever() {
        let soon = LISTS_LAG_MAX / 8;
        let waits = async || timeout(soon, give_way("behind", GIVE_WAY_MAX)).await.is_err();
        assert!(give_way("behind", GIVE_WAY_MAX).now_or_never().is_some(), "nobody is there");
        let sign = progress::begin("behind");
        assert!(waits().await, "it has only just begun, and is behind by nothing");
        assert!(timeout(4 * LISTS_LAG_MAX, give_way("behind", soon)).await.is_ok());
        sign.started();
        assert!(!waits().await);
        tokio::time::sleep(LISTS_LAG_MAX + soon).await;
        assert!(waits().await, "it is behind");
        let catches_up = async {
            tokio::time::sleep(soon).await;
            sign.caught_up();
        };
        tokio::join!(give_way("behind", GIVE_WAY_MAX), catches_up);
        sign.leave();
    }
}
