//! The search index of a tenant: its entries, and another index when the schema has grown.
//!
//! An index of more attributes is filled beside the one that is searched, while that goes on. Meanwhile every write goes
//! to both, and the attributes that the old one lacks are found when the new one takes its place.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use attune_api::ApiError;
use attune_ranking::attributes::Value;
use attune_store::documents::Document;
use attune_store::search::{CHANGES_MAX, Change, Entry, WRITE_BYTES_MAX};
use attune_store::{ErrorKind, PAGE_ROWS_MAX, PageRequest, StoreError};

use crate::document::{ITEMS, Stored};
use crate::schema::Attributes;
use crate::shared::{OfTenant, Shared, is_conflict};

/// Writes of an index are cut below the store's bound, since its bytes are counted a little differently.
const WRITE_BYTES: usize = WRITE_BYTES_MAX / 2;

/// What the index has of an item.
pub(crate) fn entry(stored: &Stored, schema: &Attributes) -> Change {
    let body = &stored.body;
    Change::Put(Entry {
        id: stored.id.clone(),
        version: stored.version.0,
        title: body.title.clone(),
        text: body.text.clone().unwrap_or_default(),
        attributes: body.values(schema),
    })
}

/// What it has after a deletion of that version of the document: newer than what is deleted, and older than whatever is
/// made under the same id afterwards.
pub(crate) fn tombstone(id: &str, deleted: u64) -> Change {
    Change::Delete { id: id.to_owned(), version: deleted + 1 }
}

impl Shared {
    /// Writes changes to the index, within the store's bounds.
    ///
    /// # Errors
    /// As [`Search::write`](attune_store::search::Search::write); what was written before stays.
    pub async fn write_index(&self, of: &OfTenant, changes: &[Change]) -> Result<(), StoreError> {
        for part in parts(changes) {
            self.stores.search.write(&of.tenant, part).await?;
        }
        Ok(())
    }

    /// Makes sure that there is an index to write to, and that it has the attributes of `schema` soon: the first one is
    /// made now, another one beside it.
    pub async fn provide_index(self: &Arc<Self>, of: &Arc<OfTenant>, schema: &Attributes) -> Result<(), ApiError> {
        let wanted = schema.schema();
        {
            let mut indexed = of.indexed.lock().await;
            if indexed.is_none() {
                *indexed = self.stores.search.indices(&of.tenant).await?.live;
            }
            match &*indexed {
                Some(live) if *live == wanted => return Ok(()),
                Some(_) => {}
                None => {
                    self.make_index(of).await?;
                    *indexed = self.stores.search.indices(&of.tenant).await?.live;
                    return Ok(());
                }
            }
        }
        if !of.is_growing.swap(true, Ordering::AcqRel) {
            let (shared, of) = (Arc::clone(self), Arc::clone(of));
            tokio::spawn(async move {
                if let Err(error) = shared.grow_index(&of).await {
                    // The next write, or the next search for a new attribute, tries again.
                    tracing::warn!(tenant = %of.tenant, %error, "an index with more attributes could not be made");
                }
                of.is_growing.store(false, Ordering::Release);
            });
        }
        Ok(())
    }

    async fn grow_index(self: &Arc<Self>, of: &OfTenant) -> Result<(), ApiError> {
        // Another replica may have done it.
        let wanted = self.schemas.read(self.stores.relational.as_ref(), &of.tenant).await?.schema();
        let live = self.stores.search.indices(&of.tenant).await?.live;
        if live.as_ref() == Some(&wanted) {
            *of.indexed.lock().await = live;
            return Ok(());
        }
        let mut stopping = self.stopping.subscribe();
        tokio::select! {
            made = self.make_index(of) => made?,
            _ = stopping.wait_for(|stopping| *stopping) => return Ok(()),
        }
        let live = self.stores.search.indices(&of.tenant).await?.live;
        *of.indexed.lock().await = live;
        Ok(())
    }

    /// Makes the index anew, whatever is there: what somebody deleted or damaged is derived again.
    pub async fn remake_index(&self, of: &OfTenant) -> Result<(), ApiError> {
        let mut indexed = of.indexed.lock().await;
        self.make_index(of).await?;
        *indexed = self.stores.search.indices(&of.tenant).await?.live;
        Ok(())
    }

    /// Fills a new index with all items and puts it in the place of the old one. One that a crash left half filled is
    /// gone on with, if its schema is the one that is wanted.
    async fn make_index(&self, of: &OfTenant) -> Result<(), ApiError> {
        let (search, tenant) = (&self.stores.search, &of.tenant);
        let schema = self.schemas.read(self.stores.relational.as_ref(), tenant).await?;
        let wanted = schema.schema();
        let building = search.indices(tenant).await?.building;
        if building.as_ref().is_some_and(|building| *building != wanted) {
            search.abandon(tenant).await?;
        }
        if building.as_ref() != Some(&wanted) {
            match search.begin(tenant, &wanted).await {
                Err(error) if !is_conflict(&error) => return Err(error.into()),
                // Another replica has begun the same: both fill it, with the same.
                _ => {}
            }
        }
        let mut page = PageRequest::first(PAGE_ROWS_MAX);
        loop {
            let found = self.stores.documents.scan(tenant, ITEMS, page.clone()).await?;
            let changes = entries(found.rows, &schema)?;
            self.write_index(of, &changes).await?;
            page.after = found.next;
            if page.after.is_none() {
                break;
            }
        }
        match search.publish(tenant).await {
            Err(error) if error.kind != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

fn entries(documents: Vec<Document>, schema: &Attributes) -> Result<Vec<Change>, ApiError> {
    documents.into_iter().map(|document| Ok(entry(&Stored::of(document)?, schema))).collect()
}

/// Cuts changes into writes within the bounds.
fn parts(changes: &[Change]) -> Vec<&[Change]> {
    let (mut parts, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (place, change) in changes.iter().enumerate() {
        let more = weight(change);
        if place > start && (place - start == CHANGES_MAX || bytes + more > WRITE_BYTES) {
            parts.push(&changes[start..place]);
            (start, bytes) = (place, 0);
        }
        bytes += more;
    }
    if start < changes.len() {
        parts.push(&changes[start..]);
    }
    parts
}

fn weight(change: &Change) -> usize {
    let Change::Put(entry) = change else { return 0 };
    let value = |value: &Value| match value {
        Value::Keyword(text) => text.len(),
        Value::Keywords(texts) => texts.iter().map(String::len).sum(),
        _ => size_of::<i64>(),
    };
    entry.title.len()
        + entry.text.len()
        + entry.attributes.iter().map(|(name, of)| name.len() + value(of)).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_stay_within_the_bounds_and_lose_nothing() {
        let change = |bytes: usize| Change::Put(Entry { id: "a".into(), title: "x".repeat(bytes), ..Entry::default() });
        let large: Vec<Change> = (0..20).map(|_| change(WRITE_BYTES / 3)).collect();
        let sizes = |changes: &[Change]| parts(changes).iter().map(|part| part.len()).collect::<Vec<_>>();
        assert_eq!(sizes(&large), [3, 3, 3, 3, 3, 3, 2]);
        let many: Vec<Change> = (0..CHANGES_MAX + 1).map(|_| change(1)).collect();
        assert_eq!(sizes(&many), [CHANGES_MAX, 1]);
        assert!(parts(&[]).is_empty());
    }
}
