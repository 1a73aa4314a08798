//! Items as they lie in the documents, for whoever looks at an installation from outside: no engine, no index and no log
//! are needed, and nothing is held in memory. It is a catalogue like that of the service, but for embeddings, which are
//! those of the present texts by whichever model.

use std::sync::Arc;

use async_trait::async_trait;
use attune_api::catalogue::{AttributeKind, Catalogue, Entries, Entry};
use attune_api::{ApiError, Call};
use attune_ranking::attributes::{Schema, Value};
use attune_store::documents::{DOCUMENTS_MAX, Document, Documents};
use attune_store::relational::Relational;
use attune_store::{Page, PageRequest, Tenant};

use crate::catalogue::{attributes, check_count, page};
use crate::document::{ITEMS, Stored, VECTORS};
use crate::schema::{Attributes, Schemas};
use crate::time::now_micros;
use crate::vectors::Vector;

/// The items of a tenant.
pub struct Inventory {
    documents: Arc<dyn Documents>,
    tenant: Tenant,
    attributes: Arc<Attributes>,
}

/// An item, as far as others depend on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Its id.
    pub id: String,
    /// To be shown now: not hidden, published, not expired.
    pub is_shown: bool,
    /// Its embedding is that of its present text, by whichever model.
    pub is_embedded: bool,
    /// What filters read.
    pub attributes: Vec<(String, Value)>,
}

impl Inventory {
    /// Reads what attributes there are.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn open(rows: &dyn Relational, documents: Arc<dyn Documents>, tenant: Tenant) -> Result<Self, ApiError> {
        let attributes = Schemas::default().read(rows, &tenant).await?;
        Ok(Self { documents, tenant, attributes })
    }

    /// The attributes of the items.
    pub fn schema(&self) -> Schema {
        self.attributes.schema()
    }

    /// Items in the order of their ids.
    ///
    /// # Errors
    /// The store does not answer, or an item cannot be read.
    pub async fn page(&self, page: PageRequest) -> Result<Page<Kept>, ApiError> {
        let found = self.documents.scan(&self.tenant, ITEMS, page).await?;
        let now = now_micros();
        let kept = |(Stored { id, body, .. }, vector): (Stored, Option<Vector>)| {
            let is_embedded = vector.is_some_and(|vector| vector.is_of(&body.embedded_text()));
            Kept { id, is_shown: body.is_shown(now), is_embedded, attributes: body.values(&self.attributes) }
        };
        let rows = self.with_vectors(found.rows).await?.into_iter().map(kept).collect();
        Ok(Page { rows, next: found.next })
    }

    /// Items with their embeddings, whatever those are of.
    async fn with_vectors(&self, items: Vec<Document>) -> Result<Vec<(Stored, Option<Vector>)>, ApiError> {
        let mut vectors = Vec::with_capacity(items.len());
        for items in items.chunks(DOCUMENTS_MAX) {
            let ids: Vec<&str> = items.iter().map(|document| document.id.as_str()).collect();
            vectors.extend(self.documents.get(&self.tenant, VECTORS, &ids).await?);
        }
        let vector = |document: Option<Document>| serde_json::from_value::<Vector>(document?.body).ok();
        items.into_iter().zip(vectors).map(|(item, found)| Ok((Stored::of(item)?, vector(found)))).collect()
    }

    async fn entries_of(&self, items: Vec<Document>) -> Result<Vec<Entry>, ApiError> {
        let now = now_micros();
        let entry = |(item, vector): (Stored, Option<Vector>)| Entry {
            version: item.version.0,
            attributes: attributes(&item, &self.attributes),
            vector: vector.and_then(|vector| vector.of_text(&item.body.embedded_text())),
            is_hidden: !item.body.is_shown(now),
            title: item.body.title,
            item_id: item.id,
        };
        Ok(self.with_vectors(items).await?.into_iter().map(entry).collect())
    }
}

/// Of its one tenant, whoever asks.
#[async_trait]
impl Catalogue for Inventory {
    async fn schema(&self, _: &Call) -> Result<Vec<(String, AttributeKind)>, ApiError> {
        Ok(self.attributes.all().into_iter().collect())
    }

    async fn entries(&self, _: &Call, ids: &[String]) -> Result<Vec<Option<Entry>>, ApiError> {
        check_count(ids)?;
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(DOCUMENTS_MAX) {
            found.extend(self.documents.get(&self.tenant, ITEMS, ids).await?);
        }
        let there: Vec<bool> = found.iter().map(Option::is_some).collect();
        let mut entries = self.entries_of(found.into_iter().flatten().collect()).await?.into_iter();
        Ok(there.into_iter().map(|is_there| is_there.then(|| entries.next()).flatten()).collect())
    }

    async fn scan(&self, _: &Call, from: Option<&str>, max: usize) -> Result<Entries, ApiError> {
        let found = self.documents.scan(&self.tenant, ITEMS, page(from, max)?).await?;
        Ok(Entries { entries: self.entries_of(found.rows).await?, next: found.next.map(|cursor| cursor.to_string()) })
    }
}
