//! Keys that were looked up, for a short time: a request costs no call to a store.
//!
//! What the store said holds for [`Lives::fresh`]: that is how long a key may go on after another process revoked it. In
//! the second half of that time it is asked again behind the back of whoever calls. When the store does not answer, what
//! it said last holds for [`Lives::stale_max`], since a database that is away for a minute should lock nobody out.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use attune_store::relational::KeyHash;
use moka::sync::Cache;

use crate::auth::Caller;

/// Keys that are remembered, and wrong ones. Those used least go first.
const KEYS_MAX: u64 = 10_000;
const UNKNOWN_MAX: u64 = 10_000;
/// How soon a store that did not answer is asked again about the same key.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How long what the store said is believed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lives {
    /// Without asking again.
    pub fresh: Duration,
    /// When it does not answer.
    pub stale_max: Duration,
}

impl Default for Lives {
    fn default() -> Self {
        Self { fresh: Duration::from_secs(5), stale_max: Duration::from_secs(15 * 60) }
    }
}

/// What is known of one key.
#[derive(Debug)]
pub(super) struct Known {
    pub caller: Caller,
    pub expires_ms: Option<i64>,
    pub is_revoked: bool,
    /// When its last use was noted, in Unix milliseconds.
    noted_ms: AtomicI64,
    /// Until when it is believed, in milliseconds since the cache was made.
    fresh_until_ms: AtomicU64,
    /// Somebody is asking behind our back.
    is_asked: AtomicBool,
}

impl Known {
    pub fn new(caller: Caller, expires_ms: Option<i64>, is_revoked: bool, used_ms: Option<i64>) -> Self {
        Self {
            caller,
            expires_ms,
            is_revoked,
            noted_ms: AtomicI64::new(used_ms.unwrap_or(0)),
            fresh_until_ms: AtomicU64::new(0),
            is_asked: AtomicBool::new(false),
        }
    }

    /// Whether this use is the first for `pause_ms` and worth a note.
    pub fn is_worth_a_note(&self, now_ms: i64, pause_ms: i64) -> bool {
        let noted_ms = self.noted_ms.load(Ordering::Relaxed);
        now_ms.saturating_sub(noted_ms) >= pause_ms
            && self.noted_ms.compare_exchange(noted_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// What the cache says of a key.
pub(super) enum Found {
    /// It can be believed.
    Fresh(Arc<Known>),
    /// It can be believed, and should be asked for in the background; whoever gets this has to.
    Ageing(Arc<Known>),
    /// It was so some time ago.
    Stale(Arc<Known>),
    /// There was no such key a moment ago.
    Unknown,
    /// Nothing.
    Nothing,
}

/// The cache.
pub(super) struct Verified {
    lives: Lives,
    since: Instant,
    known: Cache<KeyHash, Arc<Known>>,
    unknown: Cache<KeyHash, ()>,
    /// Grows when keys are changed here, so that what was read before is not entered after.
    generation: Mutex<u64>,
}

impl Verified {
    pub fn new(lives: Lives) -> Self {
        Self {
            lives,
            since: Instant::now(),
            known: Cache::builder().max_capacity(KEYS_MAX).time_to_live(lives.stale_max).build(),
            unknown: Cache::builder().max_capacity(UNKNOWN_MAX).time_to_live(lives.fresh).build(),
            generation: Mutex::default(),
        }
    }

    pub fn find(&self, hash: &KeyHash) -> Found {
        let Some(known) = self.known.get(hash) else {
            return if self.unknown.contains_key(hash) { Found::Unknown } else { Found::Nothing };
        };
        let (now_ms, fresh_until_ms) = (self.now_ms(), known.fresh_until_ms.load(Ordering::Relaxed));
        if now_ms >= fresh_until_ms {
            Found::Stale(known)
        } else if fresh_until_ms - now_ms < self.fresh_ms() / 2 && !known.is_asked.swap(true, Ordering::Relaxed) {
            Found::Ageing(known)
        } else {
            Found::Fresh(known)
        }
    }

    /// What a lookup that begins now gives back to [`enter`](Self::enter).
    pub fn generation(&self) -> u64 {
        *self.changing()
    }

    /// Enters what the store said, unless keys were changed since it was asked.
    pub fn enter(&self, hash: KeyHash, said: Option<&Arc<Known>>, generation: u64) {
        let current = self.changing();
        if generation != *current {
            return;
        }
        match said {
            Some(known) => {
                known.fresh_until_ms.store(self.now_ms() + self.fresh_ms(), Ordering::Relaxed);
                self.known.insert(hash, Arc::clone(known));
            }
            None => {
                self.known.invalidate(&hash);
                self.unknown.insert(hash, ());
            }
        }
    }

    /// Believes a key a little longer: the store did not answer.
    pub fn postpone(&self, known: &Known) {
        known.fresh_until_ms.store(self.now_ms() + ASK_AGAIN.as_millis() as u64, Ordering::Relaxed);
        known.is_asked.store(false, Ordering::Relaxed);
    }

    /// Forgets a key that was changed here: it holds so from now on.
    pub fn forget(&self, hash: &KeyHash) {
        *self.changing() += 1;
        self.known.invalidate(hash);
    }

    /// Forgets all keys of a tenant.
    pub fn forget_tenant(&self, tenant: &str) {
        *self.changing() += 1;
        for (hash, _) in self.known.iter().filter(|(_, known)| &*known.caller.tenant == tenant) {
            self.known.invalidate(&*hash);
        }
    }

    fn changing(&self) -> MutexGuard<'_, u64> {
        self.generation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fresh_ms(&self) -> u64 {
        self.lives.fresh.as_millis() as u64
    }

    fn now_ms(&self) -> u64 {
        self.since.elapsed().as_millis() as u64
    }
}
