//! The state made again from the log alone, in the place of what was written down.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use attune_ranking::data::Worth;
use attune_store::events::{Bounds, EventLog, Stretch};
use attune_store::{StoreError, Tenant};
use tokio::task::spawn_blocking;

use crate::RecommendationConfig;
use crate::fold::Rules;
use crate::replica::Replica;
use crate::snapshot::{self, SnapshotError};

/// Records that are applied at once.
const BATCH: usize = 2_000;

/// What a replay has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Events that had an effect.
    pub events: u64,
    /// People who are known.
    pub users: usize,
    /// The same for the same state.
    pub digest: u64,
    /// That of the state which was written down, with what the log has beyond it; or why there is none.
    pub before: Result<u64, String>,
}

/// Why there is no replay. What was written down stays.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The log cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log has lost its beginning.
    #[error("the log begins at record {first}: what was before that is in the snapshot alone, and would be lost")]
    Begins {
        /// The first record that is kept.
        first: u64,
    },
    /// The state cannot be written down.
    #[error("{path} cannot be written: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A thread ended.
    #[error("a thread ended: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

/// Where the state of a tenant is written down, in the folder of all.
pub(crate) fn path(folder: &Path, tenant: &Tenant) -> PathBuf {
    folder.join(tenant.as_str()).join("state.bin")
}

/// Folds all of a tenant's log and writes the state down, in the `folder` of [`Seams`](crate::Seams). Nobody else may be at
/// work there.
///
/// # Errors
/// [`ReplayError`].
pub async fn replay(
    log: &dyn EventLog,
    tenant: &Tenant,
    config: &RecommendationConfig,
    worth: Worth,
    folder: &Path,
) -> Result<Replayed, ReplayError> {
    let first = log.bounds(tenant).await?.into_iter().map(|bounds| bounds.first).max().unwrap_or(0);
    if first > 0 {
        return Err(ReplayError::Begins { first });
    }
    let (rules, path) = (Arc::new(Rules::new(config, worth)), path(folder, tenant));
    let replica = || Arc::new(Replica::new(tenant.clone(), rules.clone(), config));
    let before = match snapshot::read(&path, &rules) {
        Ok(state) => {
            let old = replica();
            old.restore(state);
            fold(log, &old).await?;
            Ok(old.state().digest())
        }
        Err(error @ (SnapshotError::Absent | SnapshotError::Outdated | SnapshotError::Foreign)) => {
            Err(error.to_string())
        }
        Err(error) => Err(format!("{}: {error}", path.display())),
    };
    let new = replica();
    fold(log, &new).await?;
    let written = Arc::clone(&new);
    let target = path.clone();
    let write = move || snapshot::write(&target, &written.still(), &written.rules);
    spawn_blocking(write).await?.map_err(|source| ReplayError::Write { path, source })?;
    let state = new.state();
    Ok(Replayed { events: state.events(), users: state.users(), digest: state.digest(), before })
}

/// Applies what the log has beyond a state.
async fn fold(log: &dyn EventLog, replica: &Arc<Replica>) -> Result<(), ReplayError> {
    let next = replica.state().next().clone();
    let from = |bounds: &Bounds| next.get(&bounds.partition).copied().unwrap_or(0);
    let mut stretch = Stretch::open(log, &replica.tenant, from).await?;
    while let Some(events) = stretch.next(BATCH).await? {
        let (positions, replica) = (stretch.positions(), Arc::clone(replica));
        spawn_blocking(move || replica.consume(events, &positions)).await?;
    }
    Ok(())
}
