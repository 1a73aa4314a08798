//! The one thread that changes indices.
//!
//! A commit costs a sync of several files, whether it has one change or a thousand. So the thread takes all the writes
//! that are waiting, gives them to tantivy, commits once, and answers them all: the more callers, the cheaper each write.
//!
//! Writers cost threads and memory, so there is one set of them: for the tenant that was written last, opened when it is
//! needed and closed when nothing has come for a while.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use attune_ranking::attributes::Schema;
use tantivy::IndexWriter;
use tokio::sync::oneshot;

use super::catalogue::Catalogue;
use super::error::fault;
use super::generation::Generation;
use crate::search::{Change, Written};
use crate::{StoreError, Tenant};

/// After this time without a write the writers are closed.
const IDLE: Duration = Duration::from_secs(10);
/// How many writes are answered by one commit at most.
const COMMIT_JOBS_MAX: usize = 64;

/// What the thread is asked to do, and where the answer goes.
pub(super) struct Job {
    pub(super) tenant: Tenant,
    pub(super) task: Task,
    pub(super) answer: Answer,
}

pub(super) type Answer = oneshot::Sender<Result<Written, StoreError>>;

pub(super) enum Task {
    Write(Vec<Change>),
    Begin(Schema),
    Publish,
    Abandon,
    Erase,
}

/// Runs until nobody can ask any more.
pub(super) fn run(catalogue: &Catalogue, jobs: &Receiver<Job>) {
    let mut warm: Option<Warm> = None;
    loop {
        let first = match jobs.recv_timeout(IDLE) {
            Ok(job) => job,
            Err(RecvTimeoutError::Timeout) => {
                close(&mut warm);
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut waiting = Vec::new();
        for job in std::iter::once(first).chain(jobs.try_iter().take(COMMIT_JOBS_MAX - 1)) {
            work(catalogue, &mut warm, &mut waiting, job);
        }
        commit(&mut warm, &mut waiting);
    }
}

/// Writes that wait for the next commit.
type Waiting = Vec<(Answer, Written)>;

fn work(catalogue: &Catalogue, warm: &mut Option<Warm>, waiting: &mut Waiting, job: Job) {
    let Job { tenant, task, answer } = job;
    if let Task::Write(changes) = &task {
        match write(catalogue, warm, waiting, &tenant, changes) {
            Ok(written) => waiting.push((answer, written)),
            Err(error) => {
                // What the writers have got of this write must not be committed with others.
                fail(warm, waiting, &error);
                let _gone = answer.send(Err(error));
            }
        }
        return;
    }
    commit(warm, waiting);
    // Writers hold the indices that are about to change.
    if warm.as_ref().is_some_and(|warm| warm.tenant == tenant) {
        close(warm);
    }
    let result = match task {
        Task::Begin(schema) => catalogue.begin(&tenant, &schema),
        Task::Publish => catalogue.publish(&tenant),
        Task::Abandon => catalogue.abandon(&tenant),
        Task::Erase | Task::Write(_) => catalogue.erase(&tenant),
    };
    let _gone = answer.send(result.map(|()| Written::default()));
}

fn write(
    catalogue: &Catalogue,
    warm: &mut Option<Warm>,
    waiting: &mut Waiting,
    tenant: &Tenant,
    changes: &[Change],
) -> Result<Written, StoreError> {
    if warm.as_ref().is_none_or(|warm| warm.tenant != *tenant) {
        commit(warm, waiting);
        close(warm);
        *warm = Some(Warm::open(catalogue, tenant)?);
    }
    match warm {
        Some(warm) => warm.apply(changes),
        None => Ok(Written::default()),
    }
}

fn commit(warm: &mut Option<Warm>, waiting: &mut Waiting) {
    let Some(open) = warm else { return };
    if let Err(error) = open.commit() {
        fail(warm, waiting, &error);
        return;
    }
    for (answer, written) in waiting.drain(..) {
        let _gone = answer.send(Ok(written));
    }
}

/// Closes the writers, if any are open.
fn close(warm: &mut Option<Warm>) {
    if let Some(warm) = warm.take() {
        warm.close();
    }
}

/// Why a writer does not take what it is given. Its threads end at a fault of the disk, and whoever adds something then
/// hears only that they did; the fault itself is told to who joins them. What they have is not to be kept.
fn cause(writer: &mut IndexWriter) -> Option<StoreError> {
    writer.prepare_commit().err().map(|error| fault("write", error))
}

/// Nothing since the last commit is kept: those who wait for it are told, and the writers are opened anew.
fn fail(warm: &mut Option<Warm>, waiting: &mut Waiting, error: &StoreError) {
    *warm = None;
    for (answer, _) in waiting.drain(..) {
        let _gone = answer.send(Err(StoreError::new(error.store, error.call, error.kind, error.detail.clone())));
    }
}

/// Open writers of one tenant: for the live index first, and for the new one.
struct Warm {
    tenant: Tenant,
    open: Vec<Open>,
}

struct Open {
    generation: Arc<Generation>,
    writer: IndexWriter,
    /// Versions since the last commit.
    pending: HashMap<String, u64>,
    has_changes: bool,
}

impl Warm {
    fn open(catalogue: &Catalogue, tenant: &Tenant) -> Result<Self, StoreError> {
        let generations = catalogue.of(tenant)?;
        let ready = [&generations.live, &generations.building].into_iter().filter_map(|slot| slot.ready());
        let open = ready.map(|generation| {
            let (writer, generation) = (generation.writer()?, Arc::clone(generation));
            Ok(Open { generation, writer, pending: HashMap::new(), has_changes: false })
        });
        let open = open.collect::<Result<Vec<Open>, StoreError>>()?;
        if open.is_empty() {
            generations.live.usable("write", tenant)?;
        }
        Ok(Self { tenant: tenant.clone(), open })
    }

    fn apply(&mut self, changes: &[Change]) -> Result<Written, StoreError> {
        let mut first = None;
        for Open { generation, writer, pending, has_changes } in &mut self.open {
            let applied = generation.apply(writer, pending, changes);
            let written = applied.map_err(|error| cause(writer).unwrap_or(error))?;
            *has_changes |= written.applied > 0;
            first.get_or_insert(written);
        }
        Ok(first.unwrap_or_default())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        for Open { generation, writer, pending, has_changes } in &mut self.open {
            if std::mem::take(has_changes) {
                writer.commit().map_err(|error| fault("write", error))?;
                generation.reload()?;
                pending.clear();
            }
        }
        Ok(())
    }

    /// Lets merges end.
    fn close(self) {
        for Open { writer, .. } in self.open {
            if let Err(error) = writer.wait_merging_threads() {
                tracing::warn!(tenant = %self.tenant, %error, "segments were not merged; the next write tries again");
            }
        }
    }
}
