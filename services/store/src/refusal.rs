//! What a client is told when a store fails: one table for every service.

use std::time::Duration;

use attune_api::{ApiError, ErrorCode};

use crate::{CursorError, ErrorKind, StoreError};

/// When a store that cannot be reached is worth another try.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl From<StoreError> for ApiError {
    /// Causes are logged here and stay inside. What is the client's to mend is told as it is; a service that knows the
    /// field at fault says so itself. Of a cursor the store knows: every list calls it so.
    fn from(error: StoreError) -> Self {
        let StoreError { store, call, kind, detail, .. } = &error;
        match kind {
            ErrorKind::Conflict => Self::new(ErrorCode::Conflict, detail),
            ErrorKind::NotFound => Self::new(ErrorCode::Absent, detail),
            ErrorKind::Invalid if error.source.as_ref().is_some_and(|source| source.is::<CursorError>()) => {
                Self::at(ErrorCode::Invalid, "/cursor", detail)
            }
            ErrorKind::Invalid => Self::new(ErrorCode::Invalid, detail),
            ErrorKind::TooLarge => Self::new(ErrorCode::BodyTooLarge, detail),
            ErrorKind::Full => {
                tracing::error!(%store, call, %error, "no space is left");
                Self::new(ErrorCode::StorageFull, format!("the {store} store has no space left: nothing was kept"))
            }
            ErrorKind::Unavailable | ErrorKind::Timeout => {
                tracing::warn!(%store, call, %error, source = ?error.source, "a store does not answer");
                let detail = format!("the {store} store does not answer; try again");
                Self::new(ErrorCode::Unavailable, detail).retry_after(RETRY_AFTER)
            }
            ErrorKind::Denied | ErrorKind::Corrupt | ErrorKind::TooNew | ErrorKind::Internal => {
                tracing::error!(%store, call, %error, source = ?error.source, "a store failed");
                Self::internal()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreKind;

    #[test]
    fn causes_stay_inside() {
        let answer = |kind| ApiError::from(StoreError::new(StoreKind::Documents, "put", kind, "host db7 says no"));
        for kind in [ErrorKind::Unavailable, ErrorKind::Timeout, ErrorKind::Denied, ErrorKind::Internal] {
            assert!(!answer(kind).detail.contains("db7"), "{kind}");
        }
        assert_eq!(answer(ErrorKind::Unavailable).retry_after, Some(RETRY_AFTER));
        assert_eq!(answer(ErrorKind::Conflict).code, ErrorCode::Conflict);
    }

    #[test]
    fn a_cursor_of_another_list_is_told_by_its_field() {
        let refused = |call| StoreError::new(StoreKind::Relational, call, ErrorKind::Invalid, CursorError.to_string());
        let answer = ApiError::from(refused("keys").caused_by(CursorError));
        assert_eq!((answer.code, answer.fields[0].pointer.as_str()), (ErrorCode::Invalid, "/cursor"));
        assert!(ApiError::from(refused("keys")).fields.is_empty(), "nothing else has that field");
    }
}
