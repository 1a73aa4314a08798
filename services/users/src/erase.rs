//! Forgetting somebody: a job that goes on after any crash, and says what it found in every store.
//!
//! The job names a subject, as the log does, so that nothing of it says afterwards who was forgotten. The row that makes
//! a person of the subject goes last, in the same transaction that ends the job: as long as the job has not ended, a
//! worker that takes it over still knows whom it is about, and what was deleted already is none to delete.

use std::sync::Arc;
use std::time::Duration;

use attune_api::log::{Record, recent_list};
use attune_api::moment::now_ms;
use attune_api::rest::Timestamp;
use attune_api::rest::users::Erased;
use attune_api::users::{ERASE_TENANT, Someone};
use attune_api::{ApiError, Call, ErrorCode, progress};
use attune_store::events::NewEvent;
use attune_store::relational::{Job, Person, Subject, Write};
use attune_store::{ErrorKind, Expect, StoreError, Tenant};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::export;
use crate::profile::USERS;
use crate::service::{EventsKept, Shared, UsersService};
use crate::tenants;

/// The kind of these jobs.
pub(crate) const KIND: &str = "erase";
/// How long a worker that says nothing keeps a job.
const LEASE: Duration = Duration::from_secs(15);
/// How often it is looked for jobs that somebody else entered.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A job that was claimed so often fails.
const CLAIMS_MAX: u64 = 20;
/// What is said of files.
const LAKE: &str = "no file names a person; the writer of the event lake takes the subjects out of its files when it \
                    comes to the tombstones";
/// How often the last step is made again because the person was joined to an anonymous id meanwhile.
const ROUNDS_MAX: usize = 10;

/// Whom a job is about.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub subject: String,
}

/// Carries out erasures until it is stopped.
#[derive(Debug)]
pub struct Workers {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Workers {
    /// Starts one worker.
    pub fn start(service: &UsersService) -> Self {
        let (stop, stopping) = watch::channel(false);
        Self { task: tokio::spawn(run(Arc::clone(&service.0), stopping)), stop }
    }

    /// Lets it end the job that it is at. The others wait for the next start.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the worker of erasures ended");
        }
    }
}

async fn run(shared: Arc<Shared>, mut stopping: watch::Receiver<bool>) {
    let worker = format!("erase-{:016x}", rand::random::<u64>());
    let sign = progress::enter(progress::ERASURES);
    while !*stopping.borrow() {
        let next = claimed(&shared, &worker).await;
        if next.is_ok() {
            sign.caught_up();
        }
        match next {
            Ok(Some(job)) => complete(&shared, job, &stopping).await,
            Ok(None) => {
                tokio::select! {
                    () = shared.entered.notified() => {}
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                    _ = stopping.changed() => {}
                }
            }
            Err(error) => {
                tracing::warn!(%error, "no job could be claimed");
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }
    sign.leave();
}

/// The next job: of a person, or of a tenant.
async fn claimed(shared: &Shared, worker: &str) -> Result<Option<Job>, StoreError> {
    for kind in [KIND, ERASE_TENANT] {
        if let Some(job) = shared.stores.relational.claim(kind, worker, LEASE).await? {
            return Ok(Some(job));
        }
    }
    Ok(None)
}

/// Carries out one job. What fails is left to the next claim, when the lease has run out.
async fn complete(shared: &Shared, job: Job, stopping: &watch::Receiver<bool>) {
    let (id, fence) = (job.id.clone(), job.fence);
    let ended = match job.kind.as_str() {
        ERASE_TENANT => tenants::erase(shared, &job, stopping.clone()).await,
        _ => forget(shared, &job).await,
    };
    let Err(error) = ended else { return };
    tracing::warn!(job = id, fence, %error, "an erasure could not be completed yet");
    if fence >= CLAIMS_MAX {
        let report = json!({"error": error.detail, "tries": fence});
        let finish = Write::FinishJob { id, fence, is_done: false, report };
        if let Err(error) = shared.stores.relational.commit(&job.tenant, vec![finish]).await {
            tracing::warn!(%error, "an erasure that failed could not be ended");
        }
    }
}

async fn forget(shared: &Shared, job: &Job) -> Result<(), ApiError> {
    let tenant = &job.tenant;
    let mut lines: Vec<Erased> = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let person = person(shared, job).await?;
        let Some(person) = person else { return finish(shared, job, None, lines).await.map_err(Into::into) };
        let someone = shared.someone(tenant, &person).await?;
        let found = erase_all(shared, job, &someone).await?;
        lines = if lines.is_empty() { found } else { added(lines, found) };
        match finish(shared, job, Some((&person, &someone)), lines.clone()).await {
            // An anonymous id was joined meanwhile: it is to be forgotten too.
            Err(error) if error.kind == ErrorKind::Conflict && is_ours(shared, job).await? => {}
            ended => return ended.map_err(Into::into),
        }
    }
    Err(ApiError::new(ErrorCode::Conflict, "the person is joined to new anonymous ids all the time"))
}

/// Whom the job is about; nobody, if he is forgotten already.
async fn person(shared: &Shared, job: &Job) -> Result<Option<Person>, ApiError> {
    let spec: Option<Spec> = serde_json::from_value(job.spec.clone()).ok();
    let Some(subject) = spec.and_then(|spec| spec.subject.parse::<Subject>().ok()) else {
        return Err(ApiError::new(ErrorCode::Invalid, "the job names no subject"));
    };
    Ok(shared.stores.relational.person_of(&job.tenant, subject).await?)
}

/// Whether this worker still has the job.
async fn is_ours(shared: &Shared, job: &Job) -> Result<bool, StoreError> {
    let now = shared.stores.relational.job(&job.tenant, &job.id).await?;
    Ok(now.is_some_and(|now| now.fence == job.fence && now.ended_ms.is_none()))
}

/// Everything but the row that says who it is.
async fn erase_all(shared: &Shared, job: &Job, someone: &Someone) -> Result<Vec<Erased>, ApiError> {
    let (stores, tenant) = (&shared.stores, &job.tenant);
    // First of all: what consumers derived goes from here on.
    tombstones(shared, tenant, someone).await?;
    progress(shared, job, "tombstones").await?;
    for subject in &someone.subjects {
        stores.cache.clear(tenant, &recent_list(subject)).await?;
    }
    let mut lines = vec![line("cache", "lists of recent events", someone.subjects.len() as u64, None)];
    let profiles = stores.documents.delete(tenant, USERS, &someone.user_id, Expect::Any).await?;
    lines.push(line("documents", "profile and preferences", u64::from(profiles), None));
    let call = call(job);
    for other in &stores.others {
        lines.push(other.erase(&call, someone).await?);
        progress(shared, job, other.what()).await?;
    }
    lines.push(events(shared, job, someone).await?);
    lines.push(line("search", "anything of people", 0, Some("it holds items only".to_owned())));
    lines.push(line("objects", "anything of people", 0, Some(LAKE.to_owned())));
    Ok(lines)
}

async fn tombstones(shared: &Shared, tenant: &Tenant, someone: &Someone) -> Result<(), StoreError> {
    let payload = serde_json::to_vec(&Record::Tombstone).unwrap_or_default();
    let tombstone = |subject: &String| NewEvent { subject: subject.clone(), payload: payload.clone().into() };
    shared.stores.events.append(tenant, someone.subjects.iter().map(tombstone).collect()).await.map(drop)
}

/// What the log still holds, which is nobody's, and when it goes.
async fn events(shared: &Shared, job: &Job, someone: &Someone) -> Result<Erased, ApiError> {
    let mut records = 0_u64;
    for subject in &someone.subjects {
        export::scan(&*shared.stores.events, &job.tenant, subject, 0, |_| {
            records += 1;
            true
        })
        .await?;
        progress(shared, job, "events").await?;
    }
    let when = match shared.stores.events_kept {
        EventsKept::Forever => "no retention is set, so they stay".to_owned(),
        EventsKept::For(age) => {
            let until = Timestamp(now_ms().saturating_add(age.as_millis() as i64));
            format!("the log's retention removes them by {}", until.text())
        }
        EventsKept::Elsewhere => "the retention of the Kafka topic removes them".to_owned(),
    };
    let note = format!(
        "{records} records stay under random numbers that stand for nobody any more, the tombstones among them; \
         consumers and replay leave them out; {when}"
    );
    Ok(line("events", "records", 0, Some(note)))
}

/// Deletes the row that says who it is and ends the job, both or neither. The version of the row that was read guards
/// against an anonymous id that was joined since.
async fn finish(
    shared: &Shared,
    job: &Job,
    whom: Option<(&Person, &Someone)>,
    mut lines: Vec<Erased>,
) -> Result<(), StoreError> {
    let mut writes = Vec::new();
    if let Some((person, someone)) = whom {
        let user = person.id.as_str().to_owned();
        let expect = Expect::Version(person.version);
        writes.push(Write::SetConsent { user: user.clone(), consent: person.consent, expect });
        writes.push(Write::Forget { user });
        lines.push(line("relational", "rows that say who is behind a subject", someone.subjects.len() as u64, None));
    }
    let note = lines.is_empty().then_some("nothing was left: an earlier job has forgotten this person");
    let report = json!({"stores": lines, "note": note});
    writes.push(Write::FinishJob { id: job.id.clone(), fence: job.fence, is_done: true, report });
    shared.stores.relational.commit(&job.tenant, writes).await.map(drop)
}

pub(crate) async fn progress(shared: &Shared, job: &Job, done: &str) -> Result<(), StoreError> {
    let progress: Value = json!({"done": done});
    let write = Write::ProgressJob { id: job.id.clone(), fence: job.fence, progress, lease: LEASE };
    shared.stores.relational.commit(&job.tenant, vec![write]).await.map(drop)
}

pub(crate) fn line(store: &str, what: &str, deleted: u64, note: Option<String>) -> Erased {
    Erased { store: store.to_owned(), what: what.to_owned(), deleted, note }
}

/// What two rounds deleted; the later one knows what is left.
pub(crate) fn added(before: Vec<Erased>, after: Vec<Erased>) -> Vec<Erased> {
    let sum = |(before, after): (Erased, Erased)| Erased { deleted: before.deleted + after.deleted, ..after };
    before.into_iter().zip(after).map(sum).collect()
}

/// A call of the job's own, to whoever else keeps something.
fn call(job: &Job) -> Call {
    Call {
        tenant: job.tenant.as_str().into(),
        caller: KIND.into(),
        request_id: job.id.as_str().into(),
        deadline: None,
        is_bulk: true,
    }
}
