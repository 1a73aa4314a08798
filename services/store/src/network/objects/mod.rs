//! The object store on S3, or a server that speaks its protocol.
//!
//! All tenants share a bucket; an object's key is `PREFIX/TENANT/KEY`. Every upload carries a CRC-32 that the server
//! checks, and whole objects are checked when they come back. What failed on the way is tried again by the client, but
//! for writes with a condition: the second try would meet the first one's object, and call it a conflict.

mod error;
mod options;
mod upload;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, EncodingType};
use bytes::Bytes;
use futures::stream;

use self::error::failed;
pub use self::options::S3Options;
use self::upload::S3Upload;
use crate::clock::wall_ms;
use crate::objects::check::{self, failure};
use crate::objects::{About, Access, Condition, OBJECT_BYTES_MAX, Objects, Page, Presigned, Reading, Upload};
use crate::{ErrorKind, Health, StoreError, Tenant};

/// The longest prefix, in bytes: S3 takes keys of 1,024.
const PREFIX_BYTES_MAX: usize = 256;

/// The object store on S3.
pub struct S3 {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    options: S3Options,
}

impl S3 {
    /// Connects, and returns when the bucket is there.
    ///
    /// # Errors
    /// `Unavailable`, `Timeout` or `Denied` where it cannot be reached; `Invalid` for options that cannot be.
    pub async fn open(options: S3Options) -> Result<Self, StoreError> {
        if options.prefix.len() > PREFIX_BYTES_MAX || options.prefix.contains(char::is_control) {
            let detail =
                format!("the prefix of keys has {} bytes, {PREFIX_BYTES_MAX} are allowed", options.prefix.len());
            return Err(failure("open", ErrorKind::Invalid, detail));
        }
        let client = options.client();
        let (bucket, host) = (&options.bucket, options.endpoint.as_deref().unwrap_or("Amazon S3"));
        let what = || format!("the bucket {bucket} at {host}");
        let there = client.head_bucket().bucket(bucket).send().await;
        match there.map_err(|error| failed("open", &what(), error)) {
            Ok(_) => {}
            Err(error) if error.kind == ErrorKind::NotFound => {
                let made = client.create_bucket().bucket(bucket).send().await;
                let made = made.map_err(|error| failed("open", &what(), error));
                // Somebody else was first.
                made.map(|_| ())
                    .or_else(|error| if error.kind == ErrorKind::Conflict { Ok(()) } else { Err(error) })?;
            }
            Err(error) => return Err(error),
        }
        Ok(Self { shared: Arc::new(Shared { client, options }) })
    }
}

impl Shared {
    /// What keys of a tenant begin with.
    fn base(&self, tenant: &Tenant) -> String {
        let prefix = self.options.prefix.trim_matches('/');
        if prefix.is_empty() { format!("{tenant}/") } else { format!("{prefix}/{tenant}/") }
    }

    fn full(&self, tenant: &Tenant, key: &str) -> String {
        self.base(tenant) + key
    }

    async fn put(
        &self,
        call: &'static str,
        tenant: &Tenant,
        key: &str,
        body: Bytes,
        condition: &Condition,
    ) -> Result<About, StoreError> {
        let bytes = body.len() as u64;
        let (absent, version) = headers(condition);
        let put = self.client.put_object().bucket(&self.options.bucket).key(self.full(tenant, key));
        let put = put.checksum_algorithm(ChecksumAlgorithm::Crc32).body(ByteStream::from(body));
        let put = put.set_if_none_match(absent).set_if_match(version).customize().config_override(once_if(condition));
        let answer = put.send().await.map_err(|error| refused(condition, key, failed(call, key, error)))?;
        Ok(about(key, bytes, answer.e_tag(), None))
    }
}

/// `If-None-Match` and `If-Match`.
fn headers(condition: &Condition) -> (Option<String>, Option<String>) {
    match condition {
        Condition::None => (None, None),
        Condition::Absent => (Some("*".to_owned()), None),
        Condition::Version(version) => (None, Some(version.clone())),
    }
}

/// No second try for a write with a condition.
fn once_if(condition: &Condition) -> config::Builder {
    let overridden = config::Builder::new();
    if *condition == Condition::None { overridden } else { overridden.retry_config(RetryConfig::disabled()) }
}

/// A condition that does not hold, said as such.
fn refused(condition: &Condition, key: &str, error: StoreError) -> StoreError {
    let detail = match (condition, error.kind) {
        (Condition::Absent, ErrorKind::Conflict) => format!("{key:?} exists already"),
        // There is no object to have a version.
        (Condition::Version(version), ErrorKind::Conflict | ErrorKind::NotFound) => {
            format!("{key:?} does not have the version {version} any more: read it again")
        }
        _ => return error,
    };
    StoreError { kind: ErrorKind::Conflict, detail, ..error }
}

fn about(key: &str, bytes: u64, etag: Option<&str>, modified: Option<&DateTime>) -> About {
    let modified_ms = modified.and_then(|time| time.to_millis().ok()).unwrap_or_else(wall_ms);
    About { key: key.to_owned(), bytes, version: etag.unwrap_or_default().to_owned(), modified_ms }
}

/// The first and the last byte of `bytes 0-9/100` and the size of the whole.
fn content_range(header: &str) -> Option<(Range<u64>, u64)> {
    let (range, whole) = header.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let last: u64 = last.parse().ok()?;
    Some((first.parse().ok()?..last + 1, whole.parse().ok()?))
}

#[async_trait]
impl Objects for S3 {
    async fn put(&self, tenant: &Tenant, key: &str, body: Bytes, condition: Condition) -> Result<About, StoreError> {
        check::key("put", key)?;
        check::body(body.len())?;
        self.shared.put("put", tenant, key, body, &condition).await
    }

    async fn upload(&self, tenant: &Tenant, key: &str) -> Result<Box<dyn Upload>, StoreError> {
        check::key("upload", key)?;
        Ok(Box::new(S3Upload::new(self.shared.clone(), tenant.clone(), key.to_owned())))
    }

    async fn get(&self, tenant: &Tenant, key: &str, range: Option<Range<u64>>) -> Result<Reading, StoreError> {
        check::key("get", key)?;
        // Beyond what an object can have, servers read numbers as they like.
        let range = range.map(|range| check::range(Some(range), OBJECT_BYTES_MAX)).transpose()?;
        let shared = &self.shared;
        let mut get = shared.client.get_object().bucket(&shared.options.bucket).key(shared.full(tenant, key));
        get = match range {
            Some(range) => get.range(format!("bytes={}-{}", range.start, range.end - 1)),
            None => get.checksum_mode(ChecksumMode::Enabled),
        };
        let answer = get.send().await.map_err(|error| failed("get", key, error))?;
        let sent = answer.content_length().unwrap_or(0).max(0) as u64;
        let (range, bytes) = answer.content_range().and_then(content_range).unwrap_or((0..sent, sent));
        let about = about(key, bytes, answer.e_tag(), answer.last_modified());
        let key = key.to_owned();
        let body = stream::unfold(Some(answer.body), move |body| next_piece(body, key.clone()));
        Ok(Reading { about, range, body: Box::pin(body) })
    }

    async fn head(&self, tenant: &Tenant, key: &str) -> Result<About, StoreError> {
        check::key("head", key)?;
        let shared = &self.shared;
        let head = shared.client.head_object().bucket(&shared.options.bucket).key(shared.full(tenant, key));
        let answer = head.send().await.map_err(|error| failed("head", key, error))?;
        let bytes = answer.content_length().unwrap_or(0).max(0) as u64;
        Ok(about(key, bytes, answer.e_tag(), answer.last_modified()))
    }

    async fn list(&self, tenant: &Tenant, prefix: &str, after: Option<&str>, limit: usize) -> Result<Page, StoreError> {
        check::list(prefix, limit)?;
        let (shared, base) = (&self.shared, self.shared.base(tenant));
        let list = shared.client.list_objects_v2().bucket(&shared.options.bucket).prefix(format!("{base}{prefix}"));
        let list = list.max_keys(limit as i32).encoding_type(EncodingType::Url);
        let list = list.set_start_after(after.map(|after| format!("{base}{after}")));
        let answer = list.send().await.map_err(|error| failed("list", prefix, error))?;
        let objects = answer.contents().iter().filter_map(|one| {
            let full = unescaped_key(one.key()?)?;
            let key = full.strip_prefix(&base)?;
            Some(about(key, one.size().unwrap_or(0).max(0) as u64, one.e_tag(), one.last_modified()))
        });
        let objects: Vec<About> = objects.collect();
        let is_more = answer.is_truncated().unwrap_or(false);
        let next = objects.last().filter(|_| is_more).map(|last| last.key.clone());
        Ok(Page { objects, next })
    }

    async fn delete(&self, tenant: &Tenant, key: &str) -> Result<(), StoreError> {
        check::key("delete", key)?;
        let shared = &self.shared;
        let delete = shared.client.delete_object().bucket(&shared.options.bucket).key(shared.full(tenant, key));
        match delete.send().await.map_err(|error| failed("delete", key, error)) {
            Err(error) if error.kind != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    async fn presign(
        &self,
        tenant: &Tenant,
        key: &str,
        access: Access,
        good_for: Duration,
    ) -> Result<Presigned, StoreError> {
        check::key("presign", key)?;
        check::good_for(good_for)?;
        let sorry =
            |error| failure("presign", ErrorKind::Internal, "the time cannot be signed").caused_by(Box::new(error));
        let config = PresigningConfig::expires_in(good_for).map_err(sorry)?;
        let expires_ms = wall_ms() + good_for.as_millis() as i64;
        let (shared, full) = (&self.shared, self.shared.full(tenant, key));
        let bucket = &shared.options.bucket;
        let signed = match access {
            Access::Get => {
                let signed = shared.client.get_object().bucket(bucket).key(full).presigned(config).await;
                signed.map_err(|error| failed("presign", key, error))?
            }
            Access::Put => {
                let signed = shared.client.put_object().bucket(bucket).key(full).presigned(config).await;
                signed.map_err(|error| failed("presign", key, error))?
            }
        };
        Ok(Presigned { url: signed.uri().to_owned(), expires_ms })
    }

    async fn health(&self) -> Result<Health, StoreError> {
        let options = &self.shared.options;
        let head = self.shared.client.head_bucket().bucket(&options.bucket).send().await;
        head.map_err(|error| failed("health", &format!("the bucket {}", options.bucket), error))?;
        // Its protocol does not tell the version of a server.
        Ok(Health::new("S3", format!("bucket {} in {}", options.bucket, options.region)))
    }
}

/// A key of a list, in which all that XML might not carry is escaped.
fn unescaped_key(key: &str) -> Option<String> {
    crate::network::unescaped(&key.replace('+', " "))
}

async fn next_piece(body: Option<ByteStream>, key: String) -> Option<(Result<Bytes, StoreError>, Option<ByteStream>)> {
    let mut body = body?;
    match body.next().await? {
        Ok(piece) => Some((Ok(piece), Some(body))),
        Err(error) => Some((Err(error::broken_off("get", &key, error)), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_lists_are_unescaped() {
        assert_eq!(unescaped_key("a/b+c%2Bd%20%C3%BC").as_deref(), Some("a/b c+d ü"));
    }

    #[test]
    fn ranges_are_read() {
        assert_eq!(content_range("bytes 5-9/100"), Some((5..10, 100)));
        assert_eq!(content_range("bytes */100"), None);
    }
}
