//! Items as other services see them.

use async_trait::async_trait;
use attune_api::catalogue::{AttributeKind, Catalogue, Entries, Entry, ITEMS_MAX};
use attune_api::{ApiError, Call, ErrorCode};
use attune_store::{Cursor, PageRequest, Tenant};
use serde_json::{Map, Value};

use crate::document::{ITEMS, Stored};
use crate::schema::Attributes;
use crate::service::ContentService;
use crate::shared::{Shared, tenant_of};
use crate::{attribute, time};

#[async_trait]
impl Catalogue for ContentService {
    async fn schema(&self, call: &Call) -> Result<Vec<(String, AttributeKind)>, ApiError> {
        let shared = self.shared();
        let schema = shared.schemas.read(shared.stores.relational.as_ref(), &tenant_of(call)?).await?;
        Ok(schema.all().into_iter().collect())
    }

    async fn entries(&self, call: &Call, ids: &[String]) -> Result<Vec<Option<Entry>>, ApiError> {
        check_count(ids)?;
        let (shared, tenant) = (self.shared(), tenant_of(call)?);
        let items = shared.items(&tenant, ids).await?;
        let mut entries = shared.catalogue(&tenant, items.iter().flatten().cloned().collect()).await?.into_iter();
        Ok(items.iter().map(|item| item.as_ref().and_then(|_| entries.next())).collect())
    }

    async fn scan(&self, call: &Call, from: Option<&str>, max: usize) -> Result<Entries, ApiError> {
        let (shared, tenant) = (self.shared(), tenant_of(call)?);
        let found = shared.stores.documents.scan(&tenant, ITEMS, page(from, max)?).await?;
        let items = found.rows.into_iter().map(Stored::of).collect::<Result<_, _>>()?;
        let entries = shared.catalogue(&tenant, items).await?;
        Ok(Entries { entries, next: found.next.map(|cursor| cursor.to_string()) })
    }
}

impl Shared {
    async fn catalogue(&self, tenant: &Tenant, items: Vec<Stored>) -> Result<Vec<Entry>, ApiError> {
        let schema = self.schema(tenant).await?;
        let mut vectors = self.vectors(tenant, &items).await?;
        let now = time::now_micros();
        let entries = items.into_iter().map(|item| Entry {
            version: item.version.0,
            attributes: attributes(&item, &schema),
            vector: vectors.remove(&item.id),
            is_hidden: !item.body.is_shown(now),
            title: item.body.title,
            item_id: item.id,
        });
        Ok(entries.collect())
    }
}

/// Refuses more ids than a call takes.
pub(crate) fn check_count(ids: &[String]) -> Result<(), ApiError> {
    if ids.len() > ITEMS_MAX {
        let detail = format!("{} items, a call takes {ITEMS_MAX}", ids.len());
        return Err(ApiError::new(ErrorCode::Invalid, detail));
    }
    Ok(())
}

/// The page that begins where another ended.
pub(crate) fn page(from: Option<&str>, max: usize) -> Result<PageRequest, ApiError> {
    let after = from.map(str::parse::<Cursor>).transpose();
    let after = after.map_err(|error| ApiError::new(ErrorCode::Invalid, error.to_string()))?;
    Ok(PageRequest { after, rows: max.min(ITEMS_MAX) })
}

/// What ranking and filters read of an item.
pub(crate) fn attributes(item: &Stored, schema: &Attributes) -> Map<String, Value> {
    let values = item.body.values(schema);
    values.iter().map(|(name, value)| (name.clone(), attribute::write(value))).collect()
}
