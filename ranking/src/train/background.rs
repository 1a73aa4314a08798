//! Training beside requests: on a thread that stands back for them, and so do those that it starts.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Runs `work` on a thread of its own with the lowest priority that the system knows. Models train on threads that they
/// start themselves, which inherit it.
///
/// # Errors
/// The system refuses a thread.
pub fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<JoinHandle<T>> {
    Builder::new().name("training".to_owned()).spawn(move || {
        // Where the system knows no such thing, few threads are all that can be done.
        let _stands_back = attune_kernels::stand_back();
        work()
    })
}
