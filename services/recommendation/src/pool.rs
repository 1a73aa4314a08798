//! Threads that make lists, so that the async threads never do.
//!
//! Work waits in two bounded queues, interactive and bulk; a thread takes bulk work only where nothing interactive waits.
//! A thread that is free takes what has waited longest, and with it what can be done together: nothing ever waits for
//! company. A full queue is told at once. What is wanted by nobody any more is not begun.

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
/// Work that is done together: a pass over all vectors costs the same for one and for several, and the first of them waits
/// for what the last one needs besides.
const TOGETHER_MAX: usize = 8;
/// So much of the queue is looked through for more of the same.
const LOOKED_AT: usize = 64;

/// Something that is made on a thread of the pool, and costs less together with others of its kind.
pub trait Work: Send + 'static {
    /// What comes of it.
    type Made: Send + 'static;

    /// Whether the two can be done together.
    fn goes_with(&self, other: &Self) -> bool;

    /// Does some that go with each other; one answer each, which does not depend on the others.
    fn done(together: &[&Self], scratch: &mut Scratch) -> Vec<Result<Self::Made, ApiError>>;
}

/// The threads. They end when the last handle is dropped.
pub struct Pool<W: Work>(Arc<Handle<W>>);

impl<W: Work> Clone for Pool<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Handle<W: Work> {
    shared: Arc<Shared<W>>,
    queue_max: usize,
}

struct Shared<W: Work> {
    queues: Mutex<Queues<W>>,
    work: Condvar,
    threads: usize,
}

struct Queues<W: Work> {
    interactive: VecDeque<Waiting<W>>,
    bulk: VecDeque<Waiting<W>>,
    is_over: bool,
}

/// Work that is wanted, by a moment, by whoever holds the other end.
struct Waiting<W: Work> {
    work: W,
    deadline: Option<Instant>,
    sender: oneshot::Sender<Result<W::Made, ApiError>>,
}

impl<W: Work> Shared<W> {
    fn lock(&self) -> MutexGuard<'_, Queues<W>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What to do next, all of it together; nothing when it is over.
    fn next(&self) -> Vec<Waiting<W>> {
        let mut queues = self.lock();
        loop {
            let queue = if queues.interactive.is_empty() { &mut queues.bulk } else { &mut queues.interactive };
            if let Some(first) = queue.pop_front() {
                return with_company(first, queue, self.threads);
            }
            if queues.is_over {
                return Vec::new();
            }
            queues = self.work.wait(queues).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The first, and this thread's share of what goes with it: others are free, or soon will be.
fn with_company<W: Work>(first: Waiting<W>, queue: &mut VecDeque<Waiting<W>>, threads: usize) -> Vec<Waiting<W>> {
    let company = |waiting: &Waiting<W>| first.work.goes_with(&waiting.work);
    let mut places: Vec<usize> = (0..queue.len().min(LOOKED_AT)).filter(|place| company(&queue[*place])).collect();
    places.truncate(((1 + places.len()).div_ceil(threads) - 1).min(TOGETHER_MAX - 1));
    let mut others: Vec<Waiting<W>> = places.iter().rev().filter_map(|place| queue.remove(*place)).collect();
    others.push(first);
    others.reverse();
    others
}

/// Does what is still wanted and can still be in time, and tells everybody.
fn carry_out<W: Work>(waiting: Vec<Waiting<W>>, scratch: &mut Scratch) {
    let now = Instant::now();
    let (late_ones, waiting): (Vec<_>, Vec<_>) = waiting
        .into_iter()
        .filter(|waiting| !waiting.sender.is_closed())
        .partition(|waiting| waiting.deadline.is_some_and(|deadline| now >= deadline));
    // Who waits no more needs no answer, here and below.
    late_ones.into_iter().for_each(|waiting| drop(waiting.sender.send(Err(late()))));
    let together: Vec<&W> = waiting.iter().map(|waiting| &waiting.work).collect();
    let made = attempt(&together, scratch).unwrap_or_else(|| {
        // One of them panics: it costs itself, and not the others.
        let alone = |work: &&W| attempt(&[*work], scratch).and_then(|mut made| made.pop());
        together.iter().map(alone).map(|made| made.unwrap_or_else(|| Err(ApiError::internal()))).collect()
    });
    waiting.into_iter().zip(made).for_each(|(waiting, made)| drop(waiting.sender.send(made)));
}

/// Nothing where it panics.
fn attempt<W: Work>(together: &[&W], scratch: &mut Scratch) -> Option<Vec<Result<W::Made, ApiError>>> {
    let done = catch_unwind(AssertUnwindSafe(|| W::done(together, scratch)));
    if done.is_err() {
        tracing::error!("making a list panicked");
        *scratch = Scratch::default();
    }
    done.ok()
}

impl<W: Work> Drop for Handle<W> {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.work.notify_all();
    }
}

impl<W: Work> Pool<W> {
    /// Starts threads; 0 is one for each core.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(threads: usize, queue_max: usize) -> std::io::Result<Self> {
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        let threads = if threads == 0 { cores() } else { threads };
        let queues = Queues { interactive: VecDeque::new(), bulk: VecDeque::new(), is_over: false };
        let shared = Arc::new(Shared { queues: Mutex::new(queues), work: Condvar::new(), threads });
        let pool = Self(Arc::new(Handle { shared: shared.clone(), queue_max }));
        for number in 0..threads {
            let shared = shared.clone();
            thread::Builder::new().name(format!("lists-{number}")).spawn(move || {
                let mut scratch = Scratch::default();
                loop {
                    let waiting = shared.next();
                    if waiting.is_empty() {
                        return;
                    }
                    carry_out(waiting, &mut scratch);
                }
            })?;
        }
        Ok(pool)
    }

    /// Does work on one of the threads.
    ///
    /// # Errors
    /// `Overloaded` where too much is waiting, `DeadlineExceeded` where it waited too long.
    pub async fn run(&self, call: &Call, work: W) -> Result<W::Made, ApiError> {
        let (sender, answer) = oneshot::channel();
        self.push(Waiting { work, deadline: call.deadline, sender }, call.is_bulk)?;
        answer.await.unwrap_or_else(|_| Err(ApiError::internal()))
    }

    fn push(&self, waiting: Waiting<W>, is_bulk: bool) -> Result<(), ApiError> {
        let Handle { shared, queue_max } = &*self.0;
        let mut queues = shared.lock();
        let queue = if is_bulk { &mut queues.bulk } else { &mut queues.interactive };
        if queue.len() >= *queue_max {
            metrics::counter!("attune_recommendation_refused_total").increment(1);
            let detail = format!("{queue_max} lists are waiting, which is the limit; try again later");
            return Err(ApiError::new(ErrorCode::Overloaded, detail).retry_after(RETRY_AFTER));
        }
        queue.push_back(waiting);
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

    /// Work that says when it is done, or waits, or panics.
    struct Said {
        word: &'static str,
        says: mpsc::Sender<Vec<&'static str>>,
        gate: Option<Mutex<mpsc::Receiver<()>>>,
    }

    impl Work for Said {
        type Made = &'static str;

        fn goes_with(&self, other: &Self) -> bool {
            self.word.len() == other.word.len()
        }

        fn done(together: &[&Self], _: &mut Scratch) -> Vec<Result<&'static str, ApiError>> {
            let words: Vec<&'static str> = together.iter().map(|said| said.word).collect();
            assert!(!words.contains(&"panics"), "on purpose");
            together[0].says.send(words).unwrap();
            if let Some(gate) = &together[0].gate {
                gate.lock().unwrap().recv().unwrap();
            }
            together.iter().map(|said| Ok(said.word)).collect()
        }
    }

    fn call(is_bulk: bool, deadline: Option<Instant>) -> Call {
        Call { tenant: "t".into(), caller: "c".into(), request_id: "r".into(), deadline, is_bulk }
    }

    /// A pool of one thread, that is kept busy until the gate opens.
    async fn busy(
        queue_max: usize,
    ) -> (Pool<Said>, mpsc::Receiver<Vec<&'static str>>, impl Fn(&'static str) -> Said, mpsc::Sender<()>) {
        let pool = Pool::start(1, queue_max).unwrap();
        let (says, said) = mpsc::channel();
        let (release, gate) = mpsc::channel();
        let (first, gate) = (pool.clone(), Some(Mutex::new(gate)));
        let work = Said { word: "busy", says: says.clone(), gate };
        tokio::spawn(async move { first.run(&call(false, None), work).await });
        let said = tokio::task::spawn_blocking(move || {
            assert_eq!(said.recv().unwrap(), ["busy"]);
            said
        });
        let say = move |word| Said { word, says: says.clone(), gate: None };
        (pool, said.await.unwrap(), say, release)
    }

    #[tokio::test]
    async fn what_is_too_much_is_told_at_once_and_bulk_waits() {
        let (pool, said, say, release) = busy(2).await;
        let (bulk, late, interactive) = (call(true, None), call(false, Some(Instant::now())), call(false, None));
        let (bulk, late, interactive, refused) = tokio::join!(
            pool.run(&bulk, say("bulk")),
            pool.run(&late, say("late")),
            pool.run(&interactive, say("interactive")),
            async {
                let refused = pool.run(&interactive, say("refused")).await;
                release.send(()).unwrap();
                refused
            }
        );
        assert_eq!((bulk, interactive), (Ok("bulk"), Ok("interactive")));
        assert_eq!(late.unwrap_err().code, ErrorCode::DeadlineExceeded);
        assert_eq!(refused.unwrap_err().code, ErrorCode::Overloaded);
        assert_eq!(said.try_iter().collect::<Vec<_>>(), [["interactive"], ["bulk"]]);
    }

    #[tokio::test]
    async fn what_goes_together_is_done_together_in_its_order() {
        let (pool, said, say, release) = busy(100).await;
        let call = call(false, None);
        let all = ["a1", "long", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9"];
        let answers = all.map(|word| pool.run(&call, say(word)));
        let (answers, ()) = tokio::join!(futures::future::join_all(answers), async { release.send(()).unwrap() });
        assert_eq!(answers.into_iter().map(Result::unwrap).collect::<Vec<_>>(), all);
        let together = ["a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8"];
        assert_eq!(said.try_iter().collect::<Vec<_>>(), [&together[..], &["long"], &["a9"]]);
    }

    #[tokio::test]
    async fn a_panic_costs_one_list() {
        let (pool, _said, say, release) = busy(100).await;
        let call = call(false, None);
        let (one, bad, two, ()) = tokio::join!(
            pool.run(&call, say("before")),
            pool.run(&call, say("panics")),
            pool.run(&call, say("beside")),
            async { release.send(()).unwrap() }
        );
        assert_eq!((one, bad, two), (Ok("before"), Err(ApiError::internal()), Ok("beside")));
        assert_eq!(pool.run(&call, say("after")).await, Ok("after"));
    }

    #[test]
    fn threads_share_what_waits() {
        let (says, _said) = mpsc::channel();
        let waiting = |word| {
            let (sender, _answer) = oneshot::channel();
            Waiting { work: Said { word, says: says.clone(), gate: None }, deadline: None, sender }
        };
        let mut queue: VecDeque<Waiting<Said>> = ["b", "c", "d", "e"].map(waiting).into();
        let taken = with_company(waiting("a"), &mut queue, 2);
        let words =
            |waiting: &mut dyn Iterator<Item = &Waiting<Said>>| waiting.map(|one| one.work.word).collect::<Vec<_>>();
        assert_eq!(words(&mut taken.iter()), ["a", "b", "c"]);
        assert_eq!(words(&mut queue.iter()), ["d", "e"]);
    }
}
