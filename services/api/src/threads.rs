//! Threads that a runtime is about to start, tried first: it says nothing, or panics, where the system refuses one.

use std::io;
use std::sync::RwLock;
use std::thread;

/// Starts that many threads, all there at once, and ends them.
///
/// # Errors
/// The system refuses one, in words that say which limits to look at.
pub fn try_start(threads: usize, stack_bytes: Option<usize>) -> io::Result<()> {
    let gate = RwLock::new(());
    thread::scope(|scope| {
        let closed = gate.write();
        let mut started = Vec::with_capacity(threads);
        let tried: io::Result<()> = (0..threads).try_for_each(|_| {
            let thread = thread::Builder::new();
            let thread = stack_bytes.into_iter().fold(thread, thread::Builder::stack_size);
            started.push(thread.spawn_scoped(scope, || drop(gate.read()))?);
            Ok(())
        });
        drop(closed);
        // The scope alone waits for what they do and not for their end: they would count beside those of the runtime.
        started.into_iter().for_each(|thread| drop(thread.join()));
        tried.map_err(|error| refused(&error))
    })
}

fn refused(error: &io::Error) -> io::Error {
    let detail = format!(
        "the system refuses threads ({error}): raise the limit of tasks (TasksMax of a systemd unit, pids of a \
         container, `ulimit -u`) or of memory"
    );
    io::Error::new(error.kind(), detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_refused_is_an_error_that_says_what_to_raise() {
        try_start(4, None).unwrap();
        let error = try_start(2, Some(1 << 60)).unwrap_err().to_string();
        assert!(error.contains("refuses threads") && error.contains("TasksMax"), "{error}");
    }
}
