//! Threads that make lists, so that the async threads never do.
//!
//! Work waits in two bounded queues, interactive and bulk; a thread takes bulk work only where nothing interactive waits.
//! A full queue is told at once. What is wanted by nobody any more is not begun.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use attune_api::{ApiError, Call, ErrorCode};
use attune_ranking::retrieve::Scratch;
use tokio::sync::oneshot;

/// When a full queue is worth another try.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a thread does.
type Work = Box<dyn FnOnce(&mut Scratch) + Send>;

/// The threads. They end when the last handle is dropped.
#[derive(Clone)]
pub struct Pool(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    queue_max: usize,
}

struct Shared {
    queues: Mutex<Queues>,
    work: Condvar,
}

#[derive(Default)]
struct Queues {
    interactive: VecDeque<Work>,
    bulk: VecDeque<Work>,
    is_over: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Work> {
        let mut queues = self.lock();
        loop {
            let next = queues.interactive.pop_front();
            if let Some(work) = next.or_else(|| queues.bulk.pop_front()) {
                return Some(work);
            }
            if queues.is_over {
                return None;
            }
            queues = self.work.wait(queues).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.work.notify_all();
    }
}

impl Pool {
    /// Starts threads; 0 is one for each core.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(threads: usize, queue_max: usize) -> std::io::Result<Self> {
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        let shared = Arc::new(Shared { queues: Mutex::default(), work: Condvar::new() });
        let pool = Self(Arc::new(Handle { shared: shared.clone(), queue_max }));
        for number in 0..if threads == 0 { cores() } else { threads } {
            let shared = shared.clone();
            thread::Builder::new().name(format!("lists-{number}")).spawn(move || {
                let mut scratch = Scratch::default();
                while let Some(work) = shared.next() {
                    if catch_unwind(AssertUnwindSafe(|| work(&mut scratch))).is_err() {
                        tracing::error!("making a list panicked");
                        scratch = Scratch::default();
                    }
                }
            })?;
        }
        Ok(pool)
    }

    /// Does work on one of the threads.
    ///
    /// # Errors
    /// `Overloaded` where too much is waiting, `DeadlineExceeded` where it waited too long.
    pub async fn run<T: Send + 'static>(
        &self,
        call: &Call,
        work: impl FnOnce(&mut Scratch) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let (sender, answer) = oneshot::channel();
        let deadline = call.deadline;
        let work: Work = Box::new(move |scratch| {
            if sender.is_closed() {
                return;
            }
            let is_late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            let answer = if is_late { Err(late()) } else { work(scratch) };
            // Who waits no more needs no answer.
            let _gone = sender.send(answer);
        });
        self.push(work, call.is_bulk)?;
        answer.await.unwrap_or_else(|_| Err(ApiError::internal()))
    }

    fn push(&self, work: Work, is_bulk: bool) -> Result<(), ApiError> {
        let Handle { shared, queue_max } = &*self.0;
        let mut queues = shared.lock();
        let queue = if is_bulk { &mut queues.bulk } else { &mut queues.interactive };
        if queue.len() >= *queue_max {
            metrics::counter!("attune_recommendation_refused_total").increment(1);
            let detail = format!("{queue_max} lists are waiting, which is the limit; try again later");
            return Err(ApiError::new(ErrorCode::Overloaded, detail).retry_after(RETRY_AFTER));
        }
        queue.push_back(work);
        drop(queues);
        shared.work.notify_one();
        Ok(())
    }
}

fn late() -> ApiError {
    ApiError::new(ErrorCode::DeadlineExceeded, "the deadline passed before the list was begun")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn call(is_bulk: bool, deadline: Option<Instant>) -> Call {
        Call { tenant: "t".into(), caller: "c".into(), request_id: "r".into(), deadline, is_bulk }
    }

    #[tokio::test]
    async fn what_is_too_much_is_told_at_once_and_bulk_waits() {
        let pool = Pool::start(1, 2).unwrap();
        let (release, gate) = mpsc::channel::<()>();
        let (began, begun) = mpsc::channel();
        let first = tokio::spawn({
            let pool = pool.clone();
            async move {
                let wait = move |_: &mut Scratch| {
                    began.send(()).unwrap();
                    gate.recv().unwrap();
                    Ok("first")
                };
                pool.run(&call(false, None), wait).await
            }
        });
        tokio::task::spawn_blocking(move || begun.recv().unwrap()).await.unwrap();
        let (order, done) = mpsc::channel();
        let say = |word: &'static str| {
            let order = order.clone();
            move |_: &mut Scratch| order.send(word).map_err(|_| ApiError::internal())
        };
        let (bulk, late, interactive) = (call(true, None), call(false, Some(Instant::now())), call(false, None));
        let others = async {
            tokio::join!(
                pool.run(&bulk, say("bulk")),
                pool.run(&late, say("late")),
                pool.run(&interactive, say("interactive")),
                async {
                    let refused = pool.run(&interactive, say("refused")).await;
                    release.send(()).unwrap();
                    refused
                }
            )
        };
        let (bulk, late, interactive, refused) = others.await;
        assert_eq!((bulk, interactive), (Ok(()), Ok(())));
        assert_eq!(late.unwrap_err().code, ErrorCode::DeadlineExceeded);
        assert_eq!(refused.unwrap_err().code, ErrorCode::Overloaded);
        assert_eq!(first.await.unwrap(), Ok("first"));
        assert_eq!(done.try_iter().collect::<Vec<_>>(), ["interactive", "bulk"]);
    }

    #[tokio::test]
    async fn a_panic_costs_one_list() {
        let pool = Pool::start(1, 2).unwrap();
        let panics = |_: &mut Scratch| -> Result<(), ApiError> { panic!("on purpose") };
        assert_eq!(pool.run(&call(false, None), panics).await, Err(ApiError::internal()));
        assert_eq!(pool.run(&call(false, None), |_: &mut Scratch| Ok(7)).await, Ok(7));
    }
}
