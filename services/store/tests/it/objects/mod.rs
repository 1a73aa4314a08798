//! The object store: one suite for every backend, and the faults of each.

// First: the others are stamped by its macro.
#[macro_use]
mod suite;

mod embedded;
mod s3;

use attune_store::StoreError;
use attune_store::objects::{Objects, Reading};
use attune_store::{Tenant, objects};
use bytes::Bytes;
use futures::StreamExt;

/// All bytes of a body.
pub async fn body(reading: Reading) -> Result<Vec<u8>, StoreError> {
    let mut all = Vec::new();
    let mut pieces = reading.body;
    while let Some(piece) = pieces.next().await {
        all.extend_from_slice(&piece?);
    }
    Ok(all)
}

/// An object's bytes.
pub async fn read(objects: &dyn Objects, tenant: &Tenant, key: &str) -> Result<Vec<u8>, StoreError> {
    body(objects.get(tenant, key, None).await?).await
}

/// Puts without a condition.
pub async fn put(
    objects: &dyn Objects,
    tenant: &Tenant,
    key: &str,
    bytes: impl Into<Bytes>,
) -> Result<objects::About, StoreError> {
    objects.put(tenant, key, bytes.into(), objects::Condition::None).await
}

/// Bytes in which a block, a page or a part in the wrong place shows.
pub fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at / 251 + at % 251) as u8).collect()
}

/// All keys of a tenant that begin so, by pages of this size.
pub async fn keys(objects: &dyn Objects, tenant: &Tenant, prefix: &str, page: usize) -> Vec<String> {
    let (mut found, mut after): (Vec<String>, Option<String>) = (Vec::new(), None);
    loop {
        let some = objects.list(tenant, prefix, after.as_deref(), page).await.unwrap();
        assert!(some.objects.len() <= page);
        found.extend(some.objects.into_iter().map(|about| about.key));
        after = some.next;
        if after.is_none() {
            return found;
        }
    }
}
