//! Services of the user's own, as who makes lists sees whoever asks them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::rest::outside::{OutsideItem, OutsideRequest};

/// The most items of an answer, and the most that a service is asked about.
pub const ITEMS_MAX: usize = 1_000;
/// The most events, and the most items of a session, that a service is told.
pub const HISTORY_MAX: usize = 100;
/// As much of a reason is kept, in bytes.
pub const REASON_BYTES_MAX: usize = 256;

/// Why a service has no say in a list, in words for whoever reads the list: nothing of an answer is repeated in them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutsideError {
    /// It did not answer in time.
    #[error("it did not answer within {ms} ms", ms = .0.as_millis())]
    Late(Duration),
    /// Its address may not be asked, so many calls to its host are under way that there was no place in time, or it failed
    /// so often that it is left alone for a while.
    #[error("it {0}")]
    NotAsked(String),
    /// It could not be reached, or its answer was none.
    #[error("it {0}")]
    Failed(String),
}

/// How long a service may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// By itself.
    pub at_most: Duration,
    /// And nobody waits longer than this.
    pub until: Instant,
}

/// Whoever asks services of the user's own.
#[async_trait]
pub trait Outside: Send + Sync {
    /// Whether an address may be asked for a tenant.
    ///
    /// # Errors
    /// A sentence that says why not, and what to do.
    fn check(&self, tenant: &str, url: &str) -> Result<(), String>;

    /// Asks, and ends in time whatever the service does. At most [`ITEMS_MAX`] items come, in the order of the answer, all
    /// with finite scores; who they are is for the caller to see.
    ///
    /// # Errors
    /// [`OutsideError`]; the list is made without.
    async fn ask(&self, url: &str, request: &OutsideRequest, wait: Wait) -> Result<Vec<OutsideItem>, OutsideError>;
}

/// Whoever asks, shared.
pub type SharedOutside = Arc<dyn Outside>;
