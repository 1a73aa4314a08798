//! Embeddings as they are kept.

use std::collections::HashMap;
use std::sync::Arc;

use attune_api::ApiError;
use attune_store::documents::{DOCUMENTS_MAX, Document, Documents, Put};
use attune_store::{Expect, PAGE_ROWS_MAX, PageRequest, Tenant};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use crate::document::{ITEMS, Stored, VECTORS};
use crate::live::{Change, State};
use crate::shared::{OfTenant, Shared, defect};
use crate::time::now_micros;

/// Items that are laid out at once when all are read: page by page each would be laid out again with every merge.
const LOADED_AT_ONCE: usize = 100_000;
/// Embeddings that are read by one task: taking them out of their documents takes longer than finding those, and a page of
/// items is shared among the processors.
const READ_AT_ONCE: usize = 250;
const _: () = assert!(READ_AT_ONCE <= DOCUMENTS_MAX);

/// The body of the document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Vector {
    /// Everything that decides what the numbers are.
    model: String,
    /// Of the text that it is the embedding of.
    digest: String,
    /// Floats of 32 bits, the lowest byte first, in base64.
    values: String,
}

impl Vector {
    pub fn new(model: &str, text: &str, values: &[f32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { model: model.to_owned(), digest: digest(text), values: STANDARD.encode(bytes) }
    }

    /// The numbers, if they are those of this text by this model.
    pub fn of(&self, model: &str, text: &str) -> Option<Vec<f32>> {
        if self.model == model { self.of_text(text) } else { None }
    }

    /// The numbers, if they are those of this text, by whichever model.
    pub fn of_text(&self, text: &str) -> Option<Vec<f32>> {
        if self.is_of(text) { self.values() } else { None }
    }

    /// Whether it is of this text, by whichever model.
    pub fn is_of(&self, text: &str) -> bool {
        self.digest == digest(text)
    }

    fn values(&self) -> Option<Vec<f32>> {
        let bytes = STANDARD.decode(&self.values).ok()?;
        let (values, rest) = bytes.as_chunks::<4>();
        rest.is_empty().then(|| values.iter().map(|value| f32::from_le_bytes(*value)).collect())
    }
}

/// Those embeddings that are of these texts, each with the id of its item, and by this model.
async fn read(
    documents: Arc<dyn Documents>,
    tenant: Tenant,
    texts: Vec<(String, String)>,
    model: String,
    width: usize,
) -> Result<Vec<(String, Vec<f32>)>, ApiError> {
    let ids: Vec<&str> = texts.iter().map(|(id, _)| id.as_str()).collect();
    let found = documents.get(&tenant, VECTORS, &ids).await?;
    let values = |((id, text), document): ((String, String), Option<Document>)| {
        // One that cannot be read is computed again.
        let vector: Vector = serde_json::from_value(document?.body).ok()?;
        Some((id, vector.of(&model, &text).filter(|values| values.len() == width)?))
    };
    Ok(texts.into_iter().zip(found).filter_map(values).collect())
}

/// The first half of a SHA-256.
fn digest(text: &str) -> String {
    STANDARD.encode(&Sha256::digest(text.as_bytes())[..16])
}

impl Shared {
    /// Those embeddings of items that are of their present text and by the present model.
    pub async fn vectors(&self, tenant: &Tenant, items: &[Stored]) -> Result<HashMap<String, Vec<f32>>, ApiError> {
        let Some(model) = self.engine.embedder() else { return Ok(HashMap::new()) };
        let (mut reading, mut vectors) = (JoinSet::new(), HashMap::with_capacity(items.len()));
        for items in items.chunks(READ_AT_ONCE) {
            let texts = items.iter().map(|item| (item.id.clone(), item.body.embedded_text())).collect();
            let (documents, tenant) = (Arc::clone(&self.stores.documents), tenant.clone());
            reading.spawn(read(documents, tenant, texts, model.version.clone(), model.width));
        }
        while let Some(read) = reading.join_next().await {
            vectors.extend(read.map_err(defect)??);
        }
        Ok(vectors)
    }

    /// Keeps the embeddings of texts, each with the id of its item.
    pub async fn keep_vectors(
        &self,
        tenant: &Tenant,
        texts: &[(String, String)],
        values: &[Vec<f32>],
    ) -> Result<(), ApiError> {
        let Some(model) = self.engine.embedder() else { return Ok(()) };
        let put = |((id, text), values): (&(String, String), &Vec<f32>)| Put {
            id: id.clone(),
            body: json!(Vector::new(&model.version, text, values)),
            expect: Expect::Any,
        };
        let puts: Vec<Put> = texts.iter().zip(values).map(put).collect();
        for written in self.stores.documents.put(tenant, VECTORS, puts).await? {
            written?;
        }
        Ok(())
    }

    /// What is held of a tenant, read from the stores the first time. Items whose embedding is lacking or of another model
    /// are entered for the worker.
    pub async fn loaded(&self, of: &OfTenant) -> Result<(), ApiError> {
        of.loaded.get_or_try_init(|| self.load(of)).await.map(drop)
    }

    async fn load(&self, of: &OfTenant) -> Result<(), ApiError> {
        let tenant = &of.tenant;
        let schema = self.schema(tenant).await?;
        if of.live.is_some() {
            // From before the scan: what changes meanwhile comes again.
            let follower = self.follower(of).await?;
            *of.follower.lock().await = Some(follower);
        }
        let (mut page, mut changes) = (PageRequest::first(PAGE_ROWS_MAX), Vec::new());
        loop {
            let found = self.stores.documents.scan(tenant, ITEMS, page.clone()).await?;
            let items = found.rows.into_iter().map(Stored::of).collect::<Result<Vec<_>, _>>()?;
            let now = now_micros();
            items.iter().for_each(|item| of.note_turns(&item.id, &item.body, now));
            if self.engine.embedder().is_some() {
                let mut vectors = self.vectors(tenant, &items).await?;
                let lacking: Vec<String> =
                    items.iter().filter(|item| !vectors.contains_key(&item.id)).map(|item| item.id.clone()).collect();
                changes.extend(items.iter().filter_map(|item| {
                    let state = State::Whole(vectors.remove(&item.id)?, item.body.values(&schema));
                    Some(Change { id: item.id.clone(), version: item.version.0, state })
                }));
                self.enter_lacking(tenant, lacking).await?;
            }
            page.after = found.next;
            if page.after.is_none() || changes.len() >= LOADED_AT_ONCE {
                of.apply(&schema, std::mem::take(&mut changes)).await?;
            }
            if page.after.is_none() {
                return Ok(());
            }
        }
    }

    /// Enters items for the worker that embeds. Nothing is written besides.
    async fn enter_lacking(&self, tenant: &Tenant, ids: Vec<String>) -> Result<(), ApiError> {
        if ids.is_empty() {
            return Ok(());
        }
        tracing::info!(%tenant, items = ids.len(), "items without an embedding by the present model: computing them");
        let entry = self.ledger.begin();
        let row = entry.row(crate::outbox::Topic::Embed, ids, None, false);
        let entered = self.stores.relational.commit(tenant, vec![row]).await;
        entry.end(&entered);
        entered?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_that_of_one_text_by_one_model() {
        let values = [0.5_f32, -1e-20, 3.0];
        let vector = Vector::new("m 1 f32", "a film", &values);
        let read: Vector = serde_json::from_value(json!(vector)).unwrap();
        assert_eq!(read.of("m 1 f32", "a film"), Some(values.to_vec()));
        assert_eq!(read.of("m 2 f32", "a film"), None);
        assert_eq!(read.of("m 1 f32", "another film"), None);
        assert_eq!(Vector { values: "AAA=".into(), ..read }.of("m 1 f32", "a film"), None);
    }
}
