//! Where the generator runs: on a thread of its own, so that it may be called from wherever.

use std::future::Future;
use std::thread;

use crate::LoadError;

/// Runs `work` on a thread and an async runtime of its own, and blocks until it is done.
pub(crate) fn apart<T: Send>(work: impl Future<Output = Result<T, LoadError>> + Send) -> Result<T, LoadError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(LoadError::Runtime)?;
    thread::scope(|scope| {
        let working = scope.spawn(|| runtime.block_on(work));
        working.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
