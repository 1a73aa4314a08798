//! Services of the user's own as sources of a pipeline. How one is asked is somebody else's business
//! ([`Outside`](attune_api::outside::Outside)); here is what it is told, when, and what is made of its answer.
//!
//! A service that proposes is asked beside everything else that a list needs. One that scores is asked after that, about
//! what the others proposed, and its scores are ranks of one more source: whatever blends sources blends it, it is a
//! feature of the log like they are, and where it does not answer the others stand as if it were not there.

mod heard;
mod told;

pub use heard::judge;
pub use told::{Said, Telling};

use attune_api::outside::{ITEMS_MAX, OutsideError};
use attune_api::rest::outside::OutsideTask;
use attune_ranking::retrieve::{Batch, Checked, Outcome, Proposals, Reason, Scratch, Source, SourceError};
use serde::{Deserialize, Serialize};

use crate::ask::Ask;

/// Services that a pipeline may have.
pub const OUTSIDE_MAX: usize = 8;

/// A service of the user's own, as a pipeline names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutsideSpec {
    /// Where it is: an address of a host that the server's configuration names.
    pub url: String,
    /// What it does.
    #[serde(default)]
    pub task: OutsideTask,
    /// How long it is waited for, in milliseconds.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
}

fn timeout_ms() -> u64 {
    50
}

/// A source of a pipeline that is such a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outsider {
    /// Its number among the sources.
    pub place: usize,
    /// Its name.
    pub name: String,
    /// Items it proposes, or is asked about.
    pub candidates: usize,
    /// The service.
    pub spec: OutsideSpec,
}

impl Outsider {
    /// How many items it may answer: as a feed goes on, as many more as it has served, since a service does not know them.
    pub fn k(&self, ask: &Ask) -> usize {
        let served = ask.served.as_ref().map_or(0, |served| served.hashes.len());
        match self.spec.task {
            OutsideTask::Propose => (ask.k + served).max(self.candidates).min(ITEMS_MAX),
            OutsideTask::Score => self.candidates.min(ITEMS_MAX),
        }
    }
}

/// Stands for a service among the sources: it is not asked by ranking.
pub struct Elsewhere;

impl Source for Elsewhere {
    fn propose(&self, batch: &Batch<'_>, _: &mut Scratch) -> Result<Vec<Proposals>, SourceError> {
        Ok(vec![None; batch.requests.len()])
    }

    fn reason(&self, _: &Checked, _: u32) -> Reason {
        Reason::Outside
    }
}

/// How a service fared that had no say.
pub fn outcome(error: OutsideError) -> Outcome {
    match error {
        OutsideError::Late(_) => Outcome::Late,
        OutsideError::NotAsked(_) | OutsideError::Failed(_) => Outcome::Failed(SourceError::Outside(error.to_string())),
    }
}
