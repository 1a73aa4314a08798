//! How far behind this process is: whoever does something in the background says here how far it has come, and health and
//! metrics read it.
//!
//! What ends without a word says nothing any more, and its lag grows by the clock: nobody has to notice the end for it to
//! be seen. That is why a sign is a moment up to which all is done, and not a number of records that are left. Like the
//! recorder of metrics, the board is one a process: a consumer is told of by its name, whichever service it belongs to.
//!
//! ```
//! let sign = attune_api::progress::enter("trends");
//! sign.caught_up();
//! assert!(attune_api::progress::board().iter().any(|line| line.name == "trends" && line.lag.as_secs() < 60));
//! sign.leave();
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::moment::now_ms;

/// What lists are made from, as far as it follows the log, is called this: whoever can wait lets it go first.
pub const LISTS: &str = "lists";
/// What writes the log down as files.
pub const LAKE: &str = "lake";
/// What follows writes of items.
pub const CONTENT: &str = "content";
/// What forgets people.
pub const ERASURES: &str = "erasures";
/// What shares people out among the arms of bandits.
pub const BANDITS: &str = "bandits";
/// What trains recommenders.
pub const TRAINER: &str = "trainer";

/// Everything that has entered and not left.
static BOARD: Mutex<Vec<Entry>> = Mutex::new(Vec::new());
/// What moments are counted from: a clock that nobody sets.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);
/// How often who gives way looks whether he still has to.
const GIVE_WAY_TICK: Duration = Duration::from_millis(50);
/// The longest note, in characters; what is beyond it is cut off.
const NOTE_CHARS_MAX: usize = 500;

#[derive(Clone)]
struct Entry {
    name: &'static str,
    state: Arc<State>,
}

struct State {
    /// Everything before this moment is done, in milliseconds from [`START`] on.
    done_ms: AtomicI64,
    /// It reads what was before it, and is of no use yet.
    is_starting: AtomicBool,
    /// Records of the log that it has dealt with.
    records: AtomicU64,
    note: Mutex<String>,
}

/// One consumer's sign. Dropped without [`Sign::leave`], it stays on the board, and its lag grows.
pub struct Sign(Arc<State>);

/// What is known of all consumers of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What they are called.
    pub name: &'static str,
    /// How far behind the last of them is.
    pub lag: Duration,
    /// Whether one of them still reads what was before it.
    pub is_starting: bool,
    /// Records of the log that they have dealt with in this process.
    pub records: u64,
    /// What one of them said last, in a sentence.
    pub note: Option<String>,
}

/// Puts a consumer on the board; everything before this moment counts as done.
pub fn enter(name: &'static str) -> Sign {
    put(name, false)
}

/// Puts a consumer on the board that reads what was before it, until it says that it has [started](Sign::started).
pub fn begin(name: &'static str) -> Sign {
    put(name, true)
}

fn put(name: &'static str, is_starting: bool) -> Sign {
    let (done_ms, is_starting) = (AtomicI64::new(uptime_ms()), AtomicBool::new(is_starting));
    let state = Arc::new(State { done_ms, is_starting, records: AtomicU64::new(0), note: Mutex::default() });
    entries().push(Entry { name, state: state.clone() });
    Sign(state)
}

/// All that is known of the consumers of a name; nothing where there is none in this process.
pub fn line(name: &str) -> Option<Line> {
    board().into_iter().find(|line| line.name == name)
}

/// Waits while a consumer of a name reads what was before it, or is further behind than `lag_max`, but no longer than
/// `max`: what can wait leaves it the processors and the memory. `sleep` is that of the caller's runtime.
pub async fn give_way<S: Future<Output = ()>>(
    to: &str,
    lag_max: Duration,
    max: Duration,
    mut sleep: impl FnMut(Duration) -> S,
) {
    let begun = Instant::now();
    let goes_first = || line(to).is_some_and(|line| line.is_starting || line.lag > lag_max);
    while goes_first() && begun.elapsed() < max {
        sleep(GIVE_WAY_TICK).await;
    }
}

/// All consumers, by name.
pub fn board() -> Vec<Line> {
    let (now, mut lines) = (uptime_ms(), BTreeMap::new());
    for Entry { name, state } in entries().iter() {
        let lag_ms = now.saturating_sub(state.done_ms.load(Ordering::Relaxed)).max(0);
        let note = Some(lock(&state.note).clone()).filter(|note| !note.is_empty());
        let none = || Line { name, lag: Duration::ZERO, is_starting: false, records: 0, note: None };
        let line = lines.entry(*name).or_insert_with(none);
        line.lag = line.lag.max(Duration::from_millis(lag_ms as u64));
        line.is_starting |= state.is_starting.load(Ordering::Relaxed);
        line.records += state.records.load(Ordering::Relaxed);
        line.note = note.or(line.note.take());
    }
    lines.into_values().collect()
}

impl Sign {
    /// What was before it is read.
    pub fn started(&self) {
        self.0.is_starting.store(false, Ordering::Relaxed);
    }

    /// Everything until now is done.
    pub fn caught_up(&self) {
        self.done_until(now_ms());
    }

    /// Everything before a moment is done, in Unix milliseconds. A sign never goes back.
    pub fn done_until(&self, moment_ms: i64) {
        let ago_ms = now_ms().saturating_sub(moment_ms).max(0);
        self.0.done_ms.fetch_max(uptime_ms().saturating_sub(ago_ms), Ordering::Relaxed);
    }

    /// A poll brought what was appended at these moments, and it is done; nothing means that the end was reached.
    pub fn done_with(&self, appended_ms: impl Iterator<Item = i64>) {
        let mut records = 0;
        let oldest = appended_ms.inspect(|_| records += 1).min();
        self.0.records.fetch_add(records, Ordering::Relaxed);
        match oldest {
            Some(oldest) => self.done_until(oldest),
            None => self.caught_up(),
        }
    }

    /// Says something that a person may want to know, in a sentence; it names no tenant and nobody.
    pub fn note(&self, note: &str) {
        *lock(&self.0.note) = note.chars().take(NOTE_CHARS_MAX).collect();
    }

    /// Ends in an orderly way: nothing is expected of it any more.
    pub fn leave(&self) {
        entries().retain(|entry| !Arc::ptr_eq(&entry.state, &self.0));
    }
}

fn uptime_ms() -> i64 {
    START.elapsed().as_millis() as i64
}

fn entries() -> MutexGuard<'static, Vec<Entry>> {
    lock(&BOARD)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    /// Whether something comes to its end without anybody who wakes it.
    fn ends(future: impl Future<Output = ()>) -> bool {
        pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn the_last_of_a_name_counts_and_who_ends_without_a_word_falls_behind() {
        let (quick, slow) = (enter("pair"), enter("pair"));
        quick.0.done_ms.store(uptime_ms() - 90_000, Ordering::Relaxed);
        slow.0.done_ms.store(uptime_ms() - 400_000, Ordering::Relaxed);
        slow.note("a word");
        quick.caught_up();
        let behind = line("pair").unwrap();
        assert!((400..460).contains(&behind.lag.as_secs()), "{behind:?}");
        assert_eq!(behind.note.as_deref(), Some("a word"));
        drop(slow);
        assert!(line("pair").unwrap().lag.as_secs() >= 400, "it is still expected");
        quick.leave();
        assert!(line("pair").unwrap().lag.as_secs() >= 400);
    }

    #[test]
    fn a_sign_never_goes_back_nor_into_the_future() {
        let sign = enter("alone");
        sign.done_until(now_ms() + 1_000_000);
        sign.done_with([5, 9].into_iter());
        assert!(line("alone").unwrap().lag.as_secs() < 60);
        assert_eq!(line("alone").unwrap().records, 2);
        sign.leave();
        assert_eq!(line("alone"), None);
    }

    #[test]
    fn who_gives_way_does_so_until_the_other_has_started_and_caught_up_and_not_for_ever() {
        const LAG_MAX: Duration = Duration::from_secs(90);
        const FOR_EVER: Duration = Duration::MAX;
        assert!(ends(give_way("first", LAG_MAX, FOR_EVER, |_| std::future::pending())), "nobody is there");
        let sign = begin("first");
        sign.0.done_ms.store(uptime_ms() - 400_000, Ordering::Relaxed);
        assert!(!ends(give_way("first", FOR_EVER, FOR_EVER, |_| std::future::pending())), "it starts");
        assert!(ends(give_way("first", LAG_MAX, GIVE_WAY_TICK, |_| ready(()))), "not for ever");
        let mut looks = 0;
        let comes_on = |_| {
            looks += 1;
            match looks {
                3 => sign.started(),
                5 => sign.caught_up(),
                _ => {}
            }
            ready(())
        };
        assert!(ends(give_way("first", LAG_MAX, FOR_EVER, comes_on)));
        assert_eq!(looks, 5);
        sign.leave();
    }

    #[test]
    fn one_that_starts_is_told_until_all_of_its_name_have_started() {
        let is_starting = |name| line(name).is_some_and(|line| line.is_starting);
        let signs = [begin("late"), enter("late"), begin("late")];
        for sign in &signs {
            assert!(is_starting("late"));
            sign.started();
        }
        assert!(!is_starting("late") && !is_starting("nobody"));
        signs.iter().for_each(Sign::leave);
    }
}
