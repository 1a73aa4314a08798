//! Long work: who has it, how far it is, what came of it.

use std::time::Duration;

use async_trait::async_trait;
use attune_api::rest::Timestamp;
use attune_api::rest::users::{JobStatus, JobView};
use serde_json::Value;

use crate::{Page, PageRequest, StoreError, Tenant, Version};

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It waits for a worker.
    Queued,
    /// A worker has it, or had it when it was last heard of.
    Running,
    /// It did what it should.
    Done,
    /// It did not.
    Failed,
    /// Somebody ended it.
    Cancelled,
}

/// A job as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Whose it is.
    pub tenant: Tenant,
    /// Its id.
    pub id: String,
    /// What is to be done.
    pub kind: String,
    /// To what.
    pub spec: Value,
    /// Where it stands.
    pub state: JobState,
    /// How far it is; null before the first word of its worker.
    pub progress: Value,
    /// What came of it; null before it ended.
    pub report: Value,
    /// Who has it, or had it last.
    pub worker: Option<String>,
    /// How often it was claimed. The worker gives it along with each write, and one whose job went over to another is
    /// refused.
    pub fence: u64,
    /// Until when nobody else takes it, in Unix milliseconds.
    pub lease_until_ms: i64,
    /// When it was entered.
    pub created_ms: i64,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// Which state of it this is.
    pub version: Version,
}

/// Reads jobs, and gives them to workers.
#[async_trait]
pub trait Jobs {
    /// The job of that id.
    async fn job(&self, tenant: &Tenant, id: &str) -> Result<Option<Job>, StoreError>;

    /// All jobs by id.
    async fn jobs(&self, tenant: &Tenant, page: PageRequest) -> Result<Page<Job>, StoreError>;

    /// Gives the oldest job of a kind that waits, or whose worker has let its lease run out, to `worker` for the time of
    /// `lease`; whoever's the job is, which it says.
    async fn claim(&self, kind: &str, worker: &str, lease: Duration) -> Result<Option<Job>, StoreError>;
}

impl From<Job> for JobView {
    fn from(job: Job) -> Self {
        Self {
            id: job.id,
            kind: job.kind,
            status: match job.state {
                JobState::Queued => JobStatus::Queued,
                JobState::Running => JobStatus::Running,
                JobState::Done => JobStatus::Done,
                JobState::Failed => JobStatus::Failed,
                JobState::Cancelled => JobStatus::Cancelled,
            },
            progress: job.progress,
            report: job.report,
            created: Timestamp(job.created_ms).text(),
            ended: job.ended_ms.map(|ms| Timestamp(ms).text()),
        }
    }
}

impl JobState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Done, Self::Failed, Self::Cancelled];

    /// As it is kept and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}
