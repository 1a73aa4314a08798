//! An object that comes in pieces: a multipart upload, or a plain one where it is small.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::{Bytes, BytesMut};

use super::error::failed;
use super::{Shared, about, headers, once_if, refused};
use crate::objects::check::failure;
use crate::objects::{About, Condition, OBJECT_BYTES_MAX, Upload};
use crate::{ErrorKind, StoreError, Tenant};

/// Bytes of a part. S3 wants 5 MiB, and takes 10,000 parts: more than the largest object has.
const PART_BYTES: usize = 8 << 20;

/// An upload.
pub(super) struct S3Upload {
    shared: Arc<Shared>,
    tenant: Tenant,
    key: String,
    waiting: BytesMut,
    bytes: u64,
    /// What the server calls it, once there is a part.
    id: Option<String>,
    parts: Vec<CompletedPart>,
    /// A part is on its way, or was lost there: without it, what is finished would have a hole.
    is_broken: bool,
}

impl S3Upload {
    pub(super) fn new(shared: Arc<Shared>, tenant: Tenant, key: String) -> Self {
        Self { shared, tenant, key, waiting: BytesMut::new(), bytes: 0, id: None, parts: Vec::new(), is_broken: false }
    }

    fn full(&self) -> String {
        self.shared.full(&self.tenant, &self.key)
    }

    async fn begun(&mut self) -> Result<String, StoreError> {
        if let Some(id) = &self.id {
            return Ok(id.clone());
        }
        let begin = self.shared.client.create_multipart_upload().bucket(&self.shared.options.bucket).key(self.full());
        let begin = begin.checksum_algorithm(ChecksumAlgorithm::Crc32);
        let answer = begin.send().await.map_err(|error| failed("upload", &self.key, error))?;
        let nameless = || failure("upload", ErrorKind::Internal, "S3: an upload without an id");
        let id = answer.upload_id().ok_or_else(nameless)?.to_owned();
        self.id = Some(id.clone());
        Ok(id)
    }

    async fn send_part(&mut self, part: Bytes) -> Result<(), StoreError> {
        if std::mem::replace(&mut self.is_broken, true) {
            return Err(failure("upload", ErrorKind::Invalid, "this upload failed before: begin another one"));
        }
        let id = self.begun().await?;
        let number = self.parts.len() as i32 + 1;
        let send = self.shared.client.upload_part().bucket(&self.shared.options.bucket).key(self.full()).upload_id(id);
        let send = send.part_number(number).checksum_algorithm(ChecksumAlgorithm::Crc32).body(ByteStream::from(part));
        let answer = send.send().await.map_err(|error| failed("upload", &self.key, error))?;
        let part = CompletedPart::builder().part_number(number).set_e_tag(answer.e_tag().map(str::to_owned));
        self.parts.push(part.set_checksum_crc32(answer.checksum_crc32().map(str::to_owned)).build());
        self.is_broken = false;
        Ok(())
    }

    async fn complete(&mut self, id: String, condition: &Condition) -> Result<About, StoreError> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(self.parts.clone())).build();
        let (absent, version) = headers(condition);
        let complete = self.shared.client.complete_multipart_upload().bucket(&self.shared.options.bucket);
        let complete = complete.key(self.full()).upload_id(id).multipart_upload(parts);
        let complete = complete.set_if_none_match(absent).set_if_match(version);
        let answer = complete.customize().config_override(once_if(condition)).send().await;
        let answer = answer.map_err(|error| refused(condition, &self.key, failed("finish", &self.key, error)))?;
        Ok(about(&self.key, self.bytes, answer.e_tag(), None))
    }
}

#[async_trait]
impl Upload for S3Upload {
    async fn write(&mut self, piece: Bytes) -> Result<(), StoreError> {
        self.bytes += piece.len() as u64;
        if self.bytes > OBJECT_BYTES_MAX {
            return Err(failure("upload", ErrorKind::TooLarge, format!("an object above {OBJECT_BYTES_MAX} bytes")));
        }
        self.waiting.extend_from_slice(&piece);
        while self.waiting.len() >= PART_BYTES {
            let part = self.waiting.split_to(PART_BYTES).freeze();
            self.send_part(part).await?;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>, condition: Condition) -> Result<About, StoreError> {
        let rest = self.waiting.split().freeze();
        if self.is_broken {
            return Err(failure("finish", ErrorKind::Invalid, "this upload failed before: begin another one"));
        }
        let Some(id) = self.id.clone() else {
            return self.shared.put("finish", &self.tenant, &self.key, rest, &condition).await;
        };
        if !rest.is_empty() {
            self.send_part(rest).await?;
        }
        let about = self.complete(id, &condition).await?;
        self.id = None;
        Ok(about)
    }

    async fn abort(mut self: Box<Self>) -> Result<(), StoreError> {
        let Some(id) = self.id.take() else { return Ok(()) };
        abort(&self.shared, self.full(), id).await
    }
}

async fn abort(shared: &Shared, full: String, id: String) -> Result<(), StoreError> {
    let abort = shared.client.abort_multipart_upload().bucket(&shared.options.bucket).key(&full).upload_id(id);
    match abort.send().await.map_err(|error| failed("abort", &full, error)) {
        Err(error) if error.kind != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Drop for S3Upload {
    /// The server keeps the parts of what is neither finished nor aborted. A bucket's own rule catches those of a crash.
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current()) else { return };
        let (shared, full) = (self.shared.clone(), self.full());
        runtime.spawn(async move { abort(&shared, full, id).await });
    }
}
