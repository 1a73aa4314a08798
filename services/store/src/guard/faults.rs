//! Faults for tests: what a store does when it is not well, at the calls that a test names.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::{ErrorKind, StoreError, StoreKind};

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The store is not asked, and the call fails with this kind.
    Fail(ErrorKind),
    /// The store is asked so much later.
    Late(Duration),
    /// The store takes the call and never answers. It does nothing with it.
    Silent,
    /// The store does what was asked, and its answer is lost.
    AnswerLost,
}

/// Which calls go wrong, and how. Shared between a test and the guard.
#[derive(Debug, Default)]
pub struct Faults {
    planned: Mutex<VecDeque<Planned>>,
}

#[derive(Clone, Copy, Debug)]
struct Planned {
    /// Any call, if absent.
    call: Option<&'static str>,
    fault: Fault,
    /// For ever, if absent.
    times: Option<u32>,
}

impl Faults {
    /// The next `times` calls of this name go wrong; any call, if it has no name.
    pub fn plan(&self, call: Option<&'static str>, fault: Fault, times: u32) {
        self.planned().push_back(Planned { call, fault, times: Some(times) });
    }

    /// Every call goes wrong until [`clear`](Self::clear), as when the store is away.
    pub fn from_now_on(&self, fault: Fault) {
        self.planned().push_back(Planned { call: None, fault, times: None });
    }

    /// Nothing goes wrong any more.
    pub fn clear(&self) {
        self.planned().clear();
    }

    /// What goes wrong with a call that is made now.
    pub(super) fn next(&self, call: &'static str) -> Option<Fault> {
        let mut planned = self.planned();
        let place = planned.iter().position(|planned| planned.call.is_none_or(|name| name == call))?;
        let found = planned[place];
        match found.times {
            Some(0 | 1) => drop(planned.remove(place)),
            Some(times) => planned[place].times = Some(times - 1),
            None => {}
        }
        Some(found.fault)
    }

    fn planned(&self) -> std::sync::MutexGuard<'_, VecDeque<Planned>> {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fault {
    /// A call with this fault.
    pub(super) async fn around<T>(
        self,
        store: StoreKind,
        call: &'static str,
        attempt: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let error = |kind| StoreError::new(store, call, kind, "a fault of the test");
        match self {
            Self::Fail(kind) => Err(error(kind)),
            Self::Late(time) => {
                tokio::time::sleep(time).await;
                attempt.await
            }
            Self::Silent => std::future::pending().await,
            Self::AnswerLost => attempt.await.and(Err(error(ErrorKind::Timeout))),
        }
    }
}
