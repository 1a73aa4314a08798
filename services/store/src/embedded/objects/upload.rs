//! An object that comes in pieces.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::file::Draft;
use super::{Shared, blocking, failed};
use crate::objects::check::failure;
use crate::objects::{About, Condition, OBJECT_BYTES_MAX, Upload};
use crate::{ErrorKind, StoreError, Tenant};

/// An upload, which owns its temporary file.
pub(super) struct LocalUpload {
    shared: Arc<Shared>,
    tenant: Tenant,
    key: String,
    temporary: String,
    /// `None` while a piece is written, and when it is over.
    draft: Option<Draft>,
}

impl LocalUpload {
    pub(super) fn begin(shared: Arc<Shared>, tenant: Tenant, key: String) -> Result<Self, StoreError> {
        let draft = shared.draft(&tenant);
        let (temporary, draft) = draft.map_err(|error| failed("upload", &format!("{key:?} of {tenant}"), &error))?;
        Ok(Self { shared, tenant, key, temporary, draft: Some(draft) })
    }

    fn take(&mut self) -> Result<Draft, StoreError> {
        let over = || failure("upload", ErrorKind::Invalid, "this upload failed before: begin another one");
        self.draft.take().ok_or_else(over)
    }
}

#[async_trait]
impl Upload for LocalUpload {
    async fn write(&mut self, piece: Bytes) -> Result<(), StoreError> {
        let mut draft = self.take()?;
        if draft.bytes + piece.len() as u64 > OBJECT_BYTES_MAX {
            let detail = format!("an object above {OBJECT_BYTES_MAX} bytes");
            return Err(failure("upload", ErrorKind::TooLarge, detail));
        }
        let what = format!("{:?} of {}", self.key, self.tenant);
        let written = blocking("upload", move || match draft.write(&piece) {
            Ok(()) => Ok(draft),
            Err(error) => Err(failed("upload", &what, &error)),
        });
        self.draft = Some(written.await?);
        Ok(())
    }

    async fn finish(mut self: Box<Self>, condition: Condition) -> Result<About, StoreError> {
        let draft = self.take()?;
        let (shared, tenant, key) = (self.shared.clone(), self.tenant.clone(), self.key.clone());
        let temporary = self.temporary.clone();
        blocking("finish", move || shared.publish("finish", &tenant, &key, &temporary, draft, &condition)).await
    }

    async fn abort(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Drop for LocalUpload {
    /// After a finish there is nothing of that name. What a crash leaves is removed a day later.
    fn drop(&mut self) {
        let _ = self.shared.disk.remove(&self.temporary);
    }
}
