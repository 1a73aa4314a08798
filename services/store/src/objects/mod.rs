//! Files: models, the event lake, inputs and outputs of jobs, pictures.
//!
//! An object is replaced as a whole and never seen half written. Its bytes are checked against checksums on their way
//! in and on their way out. Who must not overwrite what somebody else wrote says so with a [`Condition`].

pub(crate) mod check;
mod guarded;
mod token;

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::{ErrorKind, Health, StoreError, StoreKind, Tenant};

pub use token::{Grant, Signer};

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 512;
/// The longest part of a key between two `/`, in bytes: what a file system takes as a name, with room for a mark.
pub const KEY_PART_BYTES_MAX: usize = 200;
/// The most bytes that [`Objects::put`] takes at once; larger ones are uploaded.
pub const PUT_BYTES_MAX: usize = 64 << 20;
/// The most bytes of an object.
pub const OBJECT_BYTES_MAX: u64 = 64 << 30;
/// The most objects on a page.
pub const PAGE_MAX: usize = 1_000;
/// The longest that a presigned address is good for.
pub const PRESIGNED_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// What is known of an object without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// What it is called: up to [`KEY_BYTES_MAX`] bytes of UTF-8 without control characters, in parts between `/` of 1
    /// to [`KEY_PART_BYTES_MAX`] bytes each, none of them `.` or `..`.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// Changes whenever the object is replaced. Only good for comparing.
    pub version: String,
    /// When it was put, in milliseconds since 1970.
    pub modified_ms: i64,
}

/// What must be so for an object to be replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// There is no object of that key.
    Absent,
    /// It has this version.
    Version(String),
}

/// An object that is being read.
pub struct Reading {
    /// What is read.
    pub about: About,
    /// Which bytes of it come.
    pub range: Range<u64>,
    /// The bytes, in pieces. An error in the middle is one of the pieces, the last one.
    pub body: BoxStream<'static, Result<Bytes, StoreError>>,
}

/// Objects in the order of the bytes of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Up to as many as were asked for.
    pub objects: Vec<About>,
    /// The key after which the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// What somebody may do with a presigned address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read the object with `GET`.
    Get,
    /// Replace it with `PUT`.
    Put,
}

/// An address that needs no key, for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presigned {
    /// Where to go. Whoever has it has the access: it is not for logs.
    pub url: String,
    /// Until when, in milliseconds since 1970.
    pub expires_ms: i64,
}

/// The objects of all tenants.
#[async_trait]
pub trait Objects: Send + Sync {
    /// Stores an object, and returns when it would survive a loss of power. Nobody sees a part of it.
    ///
    /// # Errors
    /// `Invalid` for a key that cannot be one, `TooLarge` above [`PUT_BYTES_MAX`], `Conflict` where the condition does
    /// not hold, `Full`. After `Timeout` or `Unavailable` it may have been stored.
    async fn put(&self, tenant: &Tenant, key: &str, body: Bytes, condition: Condition) -> Result<About, StoreError>;

    /// Begins an object that comes in pieces. Nothing of it is seen before [`Upload::finish`].
    ///
    /// # Errors
    /// As [`Objects::put`].
    async fn upload(&self, tenant: &Tenant, key: &str) -> Result<Box<dyn Upload>, StoreError>;

    /// Reads an object or a range of it; a range that goes beyond the end ends there.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` where the range begins behind the end or is empty.
    async fn get(&self, tenant: &Tenant, key: &str, range: Option<Range<u64>>) -> Result<Reading, StoreError>;

    /// What is known of an object.
    ///
    /// # Errors
    /// `NotFound`.
    async fn head(&self, tenant: &Tenant, key: &str) -> Result<About, StoreError>;

    /// Up to `limit` objects whose keys begin with `prefix`, behind the key `after`. Objects that come or go meanwhile
    /// may be on the list or not; the others are, once.
    ///
    /// # Errors
    /// `Invalid` where `limit` is 0 or above [`PAGE_MAX`].
    async fn list(&self, tenant: &Tenant, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError>;

    /// Removes an object. One that is not there is gone already.
    ///
    /// # Errors
    /// The store cannot be reached.
    async fn delete(&self, tenant: &Tenant, key: &str) -> Result<(), StoreError>;

    /// An address for one kind of access to one object, which need not exist yet.
    ///
    /// # Errors
    /// `Invalid` for a time of zero or above [`PRESIGNED_MAX`].
    async fn presign(
        &self,
        tenant: &Tenant,
        key: &str,
        access: Access,
        good_for: Duration,
    ) -> Result<Presigned, StoreError>;

    /// What the token of a presigned address allows, for stores whose addresses are ours to serve.
    ///
    /// # Errors
    /// `Denied` where it was not signed here, was changed, or is too old.
    fn grant(&self, token: &str) -> Result<Grant, StoreError> {
        let _ = token;
        let detail = "the addresses of this store are served by the store itself";
        Err(StoreError::new(StoreKind::Objects, "grant", ErrorKind::Denied, detail))
    }

    /// Whether the store is there, and what will go wrong with it.
    ///
    /// # Errors
    /// It cannot be reached.
    async fn health(&self) -> Result<Health, StoreError>;
}

/// An object that comes in pieces. Dropped without a finish, it leaves nothing.
#[async_trait]
pub trait Upload: Send {
    /// Takes the next piece.
    ///
    /// # Errors
    /// `TooLarge` above [`OBJECT_BYTES_MAX`], `Full`; the upload cannot go on.
    async fn write(&mut self, piece: Bytes) -> Result<(), StoreError>;

    /// Makes an object of the pieces, as [`Objects::put`] does.
    ///
    /// # Errors
    /// As [`Objects::put`].
    async fn finish(self: Box<Self>, condition: Condition) -> Result<About, StoreError>;

    /// Drops the pieces.
    ///
    /// # Errors
    /// The store cannot be reached; it may keep the pieces for a while.
    async fn abort(self: Box<Self>) -> Result<(), StoreError>;
}
