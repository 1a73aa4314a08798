//! Threads for reports alone: decoding and counting would hold up the threads that answer everybody else.

use std::future::Future;
use std::io;
use std::time::Instant;

use attune_api::{ApiError, threads};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use crate::error::{defect, late};

/// Plans are walked by recursion, and a filter may be deep.
const STACK_BYTES: usize = 8 << 20;

/// A runtime of its own. Dropped, it leaves what it is at.
pub(crate) struct Workers {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Workers {
    /// # Errors
    /// The system refuses threads.
    pub fn start(workers: usize) -> io::Result<Self> {
        let workers = workers.max(1);
        threads::try_start(workers, Some(STACK_BYTES))?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_name("attune-reports")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Runs work there until it is done or nobody waits for it: when `until` passes, or whoever called gives up.
    ///
    /// # Errors
    /// `DeadlineExceeded`, or what the work failed with.
    pub async fn run<T: Send + 'static>(
        &self,
        until: Instant,
        work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
    ) -> Result<T, ApiError> {
        // A set that is dropped ends its tasks.
        let mut tasks = JoinSet::new();
        tasks.spawn_on(work, &self.handle);
        match timeout_at(until.into(), tasks.join_next()).await {
            Ok(Some(Ok(done))) => done,
            Ok(Some(Err(error))) => Err(defect(&error)),
            Ok(None) => Err(ApiError::internal()),
            Err(_) => Err(late()),
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // Waiting for threads is not allowed where a service is dropped.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
