//! Read your writes: what a user did before he asked, and this replica has not consumed yet.
//!
//! Whoever acknowledges an event has put it into the user's recent list in the cache before. Where the cache does not
//! answer, or has lost something a moment ago that may be what is sought, the replica waits for itself, for as long as
//! nobody minds, to reach what was the end of the user's partition when the request came. Only where it does not get
//! there is the list `degraded`.

use std::time::Duration;

use attune_api::log::{Recent, recent_list};
use attune_store::cache::Cache;
use attune_store::events::{EventLog, partition_of};
use bytes::Bytes;
use tokio::time::timeout;

use crate::fold::State;
use crate::replica::Replica;

/// Entries of the recent list that are read; more than are in one.
const ENTRIES: usize = 200;
/// How long the cache is waited for.
const CACHE_WAIT: Duration = Duration::from_millis(10);
/// For so long after the cache has lost something its lists may lack what the log has not brought either.
const DOUBT: Duration = Duration::from_secs(10);

/// What a list has to be made with besides the state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fresh {
    /// Acknowledged events, oldest first, that the state had not consumed when it was asked. Now it may have some of them.
    pub recent: Vec<Recent>,
    /// Whether there may be more that nobody could say.
    pub is_behind: bool,
}

/// Asks the cache, and waits where that is not enough.
pub async fn fresh(replica: &Replica, log: &dyn EventLog, cache: &dyn Cache, subject: &str, wait: Duration) -> Fresh {
    let list = recent_list(subject);
    let entries = match timeout(CACHE_WAIT, cache.recent(&replica.tenant, &list, ENTRIES)).await {
        Ok(Ok(entries)) => Some(entries),
        Ok(Err(_)) | Err(_) => None,
    };
    let is_sure = entries.is_some() && cache.lost_ago().is_none_or(|ago| ago > DOUBT);
    let is_behind = !is_sure && timeout(wait, reach_the_end(replica, log, subject)).await != Ok(true);
    Fresh { recent: ahead(&replica.state(), &entries.unwrap_or_default()), is_behind }
}

/// Those of the entries, the newest foremost, that the state has not consumed: of most people it has all, so that only where
/// an event stands is read of it.
fn ahead(state: &State, entries: &[Bytes]) -> Vec<Recent> {
    // What cannot be read was written by a newer program, and comes by the log all the same.
    let is_ahead =
        |entry: &&Bytes| Recent::place(entry).is_some_and(|(partition, offset)| !state.has_consumed(partition, offset));
    entries.iter().rev().filter(is_ahead).filter_map(|entry| serde_json::from_slice(entry).ok()).collect()
}

/// Waits until all that the log had of a subject is in the state; false where the log does not say how much that is.
async fn reach_the_end(replica: &Replica, log: &dyn EventLog, subject: &str) -> bool {
    let mut progress = replica.progress();
    let Ok(bounds) = log.bounds(&replica.tenant).await else { return false };
    let partition = partition_of(&replica.tenant, subject, bounds.len() as u32);
    let Some(end) = bounds.iter().find(|bound| bound.partition == partition) else { return false };
    loop {
        progress.borrow_and_update();
        if end.next == 0 || replica.state().has_consumed(partition, end.next - 1) {
            return true;
        }
        if progress.changed().await.is_err() {
            return false;
        }
    }
}

#[cfg(test)]
#[path = "fresh_tests.rs"]
mod tests;
