//! Read your writes: what was just acknowledged, where the next recommendation of the same person looks first.

use std::collections::BTreeMap;
use std::time::Duration;

use attune_api::log::{Event, Recent, recent_list};
use attune_store::cache::Cache;
use attune_store::events::Position;
use attune_store::{StoreError, Tenant};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};

/// Events that a person's list keeps.
pub const KEEP: usize = 100;
/// How long a list outlives its last event: far longer than any consumer lags.
pub const TTL: Duration = Duration::from_secs(3_600);
/// Lists that are written at once.
const WRITES_MAX: usize = 32;

const FAILED: &str = "attune_tracking_recent_failed_total";

/// What is to be written: a subject's events, the last of them the newest.
pub(crate) type Lists = BTreeMap<String, Vec<Bytes>>;

/// Adds an acknowledged event to what is to be written.
pub(crate) fn add(lists: &mut Lists, subject: &str, position: Position, event: &Event) {
    let recent = Recent { partition: position.partition, offset: position.offset, event: event.clone() };
    let entry = serde_json::to_vec(&recent).map(Bytes::from).ok();
    match lists.get_mut(subject) {
        Some(entries) => entries.extend(entry),
        None => drop(lists.insert(subject.to_owned(), entry.into_iter().collect())),
    }
}

/// Writes the lists. A cache that is away costs nobody an answer: readers then wait for their own consumer instead.
pub(crate) async fn push(cache: &dyn Cache, tenant: &Tenant, lists: Lists) {
    let write = |(subject, entries): (String, Vec<Bytes>)| {
        let write = async move {
            let newest = &entries[entries.len().saturating_sub(KEEP)..];
            cache.push(tenant, &recent_list(&subject), newest, KEEP, TTL).await
        };
        write.boxed()
    };
    let written: Vec<Result<(), StoreError>> =
        stream::iter(lists).map(write).buffer_unordered(WRITES_MAX).collect().await;
    let failures: Vec<StoreError> = written.into_iter().filter_map(Result::err).collect();
    if let Some(error) = failures.first() {
        metrics::counter!(FAILED).increment(failures.len() as u64);
        tracing::warn!(lists = failures.len(), %error, "recent events are not in the cache: they show when a consumer has them");
    }
}
