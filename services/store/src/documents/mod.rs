//! Documents of free shape: content, reviews, profiles.
//!
//! A document is a JSON object under a key, with a version for compare-and-set: what is right under concurrency rests on
//! that and on nothing else, because one document is what every document store changes atomically.
//!
//! Documents are found by key, in the order of their keys, and by the fields that their [`Collection`] names. Everything
//! else is the business of search and analytics.

mod guarded;
mod limits;
mod patch;

use std::fmt::Debug;

use async_trait::async_trait;
use serde_json::Value;

pub(crate) use limits::{absent, check_body, check_count, check_find, check_puts, conflict, fits, lookups};
pub use patch::merge_patch;

use crate::{Expect, Health, Page, PageRequest, StoreError, Tenant, Version};

/// The largest document, as JSON, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// The most documents of a call.
pub const DOCUMENTS_MAX: usize = 1_000;
/// The deepest nesting of a document.
pub const DEPTH_MAX: usize = 64;

/// A kind of document, described once by the service that owns it.
///
/// ```
/// use attune_store::documents::Collection;
///
/// pub const REVIEWS: Collection = Collection { name: "reviews", lookups: &["item_id", "user_id"] };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Collection {
    /// Its name: lower-case letters and `_`.
    pub name: &'static str,
    /// Fields of the document itself, not of what is nested in it, by whose text documents are found. A document that
    /// lacks one, or has something other than a text of 1 to [`KEY_BYTES_MAX`](crate::KEY_BYTES_MAX) bytes there, is not
    /// found by it.
    pub lookups: &'static [&'static str],
}

/// A document as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Its key, unique in the tenant's collection.
    pub id: String,
    /// Which state of it this is.
    pub version: Version,
    /// A JSON object.
    pub body: Value,
}

/// A document to keep.
#[derive(Clone, Debug, PartialEq)]
pub struct Put {
    /// Its key.
    pub id: String,
    /// A JSON object.
    pub body: Value,
    /// What must be there for it to be kept.
    pub expect: Expect,
}

/// Keeps documents. Every call is about one collection of one tenant.
#[async_trait]
pub trait Documents: Debug + Send + Sync {
    /// Keeps documents, at most [`DOCUMENTS_MAX`], each for itself: the answer has the version of each, or why it was
    /// not kept, in the order of `puts`. When the call as a whole fails, any of them may have been kept.
    ///
    /// # Errors
    /// As a whole: the store cannot be reached, or a document or the batch is above its limit, and then none is kept.
    /// Of one document: [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when something else is there than expected.
    async fn put(
        &self,
        tenant: &Tenant,
        collection: Collection,
        puts: Vec<Put>,
    ) -> Result<Vec<Result<Version, StoreError>>, StoreError>;

    /// Documents by key, at most [`DOCUMENTS_MAX`], in the order of `ids`.
    async fn get(
        &self,
        tenant: &Tenant,
        collection: Collection,
        ids: &[&str],
    ) -> Result<Vec<Option<Document>>, StoreError>;

    /// Changes a document by a JSON merge patch (RFC 7396), and gives what it has become.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), and [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when
    /// another version is there than expected, or when others write it all the time.
    async fn patch(
        &self,
        tenant: &Tenant,
        collection: Collection,
        id: &str,
        patch: &Value,
        expect: Expect,
    ) -> Result<Document, StoreError>;

    /// Deletes a document. Whether there was one.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when another version is there than expected.
    async fn delete(
        &self,
        tenant: &Tenant,
        collection: Collection,
        id: &str,
        expect: Expect,
    ) -> Result<bool, StoreError>;

    /// All documents, in the order of the bytes of their keys.
    async fn scan(
        &self,
        tenant: &Tenant,
        collection: Collection,
        page: PageRequest,
    ) -> Result<Page<Document>, StoreError>;

    /// The documents whose field `lookup`, one that the collection names, is `text`; in the order of their keys.
    async fn find(
        &self,
        tenant: &Tenant,
        collection: Collection,
        lookup: &'static str,
        text: &str,
        page: PageRequest,
    ) -> Result<Page<Document>, StoreError>;

    /// Deletes all documents of the tenant's collection. How many there were.
    async fn clear(&self, tenant: &Tenant, collection: Collection) -> Result<u64, StoreError>;

    /// Asks the store how it is.
    async fn health(&self) -> Result<Health, StoreError>;
}
