//! What S3's errors mean to a caller.

use std::error::Error;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStreamError;

use crate::objects::check::failure;
use crate::{ErrorKind, StoreError};

/// The error of a call.
pub(super) fn failed<E>(call: &'static str, what: &str, error: SdkError<E, HttpResponse>) -> StoreError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let kind = kind_of(&error);
    let said = match (&error, error.code()) {
        (SdkError::ServiceError(context), code) => {
            let status = context.raw().status().as_u16();
            format!("{status} {} {}", code.unwrap_or_default(), error.message().unwrap_or_default())
        }
        _ => format!("{}; is the server started?", DisplayErrorContext(&error)),
    };
    failure(call, kind, format!("S3: {what}: {}", said.trim_end())).caused_by(Box::new(error))
}

/// A body that ended before its end.
pub(super) fn broken_off(call: &'static str, what: &str, error: ByteStreamError) -> StoreError {
    let detail = format!("S3: {what}: the answer broke off: {}", DisplayErrorContext(&error));
    let kind = if detail.contains("hecksum") { ErrorKind::Corrupt } else { ErrorKind::Unavailable };
    failure(call, kind, detail).caused_by(Box::new(error))
}

fn kind_of<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> ErrorKind {
    match error {
        SdkError::ConstructionFailure(_) => ErrorKind::Invalid,
        SdkError::TimeoutError(_) => ErrorKind::Timeout,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => ErrorKind::Timeout,
        SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => ErrorKind::Unavailable,
        SdkError::ServiceError(context) => of_status(context.raw().status().as_u16(), error.code()),
        _ => ErrorKind::Internal,
    }
}

fn of_status(status: u16, code: Option<&str>) -> ErrorKind {
    match (status, code) {
        (_, Some("QuotaExceeded" | "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded")) | (507, _) => {
            ErrorKind::Full
        }
        (_, Some("EntityTooLarge" | "KeyTooLongError")) | (413, _) => ErrorKind::TooLarge,
        (401 | 403, _) => ErrorKind::Denied,
        (404, _) => ErrorKind::NotFound,
        (409 | 412, _) => ErrorKind::Conflict,
        (408 | 429 | 500 | 502 | 503 | 504, _) => ErrorKind::Unavailable,
        (400 | 416, _) => ErrorKind::Invalid,
        _ => ErrorKind::Internal,
    }
}
