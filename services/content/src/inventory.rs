//! Items as they lie in the documents, for whoever looks at an installation from outside: no engine, no index and no log
//! are needed, and nothing is held in memory.

use std::sync::Arc;

use attune_api::ApiError;
use attune_ranking::attributes::{Schema, Value};
use attune_store::documents::Documents;
use attune_store::relational::Relational;
use attune_store::{Page, PageRequest, Tenant};

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
        let ids: Vec<&str> = found.rows.iter().map(|document| document.id.as_str()).collect();
        let vectors = match ids.is_empty() {
            true => Vec::new(),
            false => self.documents.get(&self.tenant, VECTORS, &ids).await?,
        };
        let now = now_micros();
        let rows = found.rows.into_iter().zip(vectors).map(|(document, vector)| {
            let Stored { id, body, .. } = Stored::of(document)?;
            let vector = vector.and_then(|document| serde_json::from_value::<Vector>(document.body).ok());
            let is_embedded = vector.is_some_and(|vector| vector.is_of(&body.embedded_text()));
            Ok(Kept { id, is_shown: body.is_shown(now), is_embedded, attributes: body.values(&self.attributes) })
        });
        Ok(Page { rows: rows.collect::<Result<_, ApiError>>()?, next: found.next })
    }
}
