//! What a client is told when a report cannot be made.

use std::time::Duration;

use attune_api::analytics::ROWS_MAX;
use attune_api::{ApiError, ErrorCode};
use attune_lake::LakeError;
use attune_store::{ErrorKind, StoreError, StoreKind};
use datafusion::error::DataFusionError;

/// When a report is worth another try where too many are being made.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// When a lake may have caught up.
const CATCH_UP: Duration = Duration::from_secs(30);

/// Why a report cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The lake or the log cannot be read.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// Reviews cannot be read.
    #[error(transparent)]
    Reviews(#[from] ApiError),
    /// The plan fails.
    #[error(transparent)]
    Plan(DataFusionError),
    /// More memory than a report may take.
    #[error("the report needs more than {bytes_max} bytes: {detail}")]
    Memory { bytes_max: usize, detail: String },
    /// More rows than an answer may have.
    #[error("the answer has more than {ROWS_MAX} rows")]
    Rows,
}

impl From<DataFusionError> for Failure {
    /// What our own tables failed with comes out as it went in, also where several steps of a plan share it.
    fn from(error: DataFusionError) -> Self {
        match error.find_root() {
            DataFusionError::ResourcesExhausted(detail) => Self::Memory { bytes_max: 0, detail: detail.clone() },
            DataFusionError::External(inner) => match inner.downcast_ref::<Self>() {
                Some(ours) => ours.copied(),
                None => Self::Plan(error),
            },
            _ => Self::Plan(error),
        }
    }
}

impl From<Failure> for DataFusionError {
    fn from(failure: Failure) -> Self {
        Self::External(Box::new(failure))
    }
}

impl Failure {
    /// The same once more, without the cause inside a store, which was logged there.
    fn copied(&self) -> Self {
        match self {
            Self::Lake(LakeError::Store(StoreError { store, call, kind, detail, .. })) => {
                Self::Lake(LakeError::Store(StoreError::new(*store, call, *kind, detail.clone())))
            }
            Self::Reviews(error) => Self::Reviews(error.clone()),
            Self::Memory { bytes_max, detail } => Self::Memory { bytes_max: *bytes_max, detail: detail.clone() },
            Self::Rows => Self::Rows,
            Self::Lake(_) | Self::Plan(_) => Self::Plan(DataFusionError::Execution(self.to_string())),
        }
    }

    /// Whether a file that the lake named is gone, since it was joined with others or somebody was taken out of it: the
    /// lake names another in its place.
    pub fn is_replaced(&self) -> bool {
        let gone = |error: &StoreError| error.store == StoreKind::Objects && error.kind == ErrorKind::NotFound;
        matches!(self, Self::Lake(LakeError::Store(error)) if gone(error))
    }

    /// With the bound that a report has.
    pub fn within(self, bytes_max: usize) -> Self {
        match self {
            Self::Memory { detail, .. } => Self::Memory { bytes_max, detail },
            other => other,
        }
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Reviews(error) => error,
            // Whoever asked named no file: one that is gone is not theirs to find.
            Failure::Lake(error) if !error.remedy().is_empty() => defect(&format!("{error}{}", error.remedy())),
            Failure::Lake(LakeError::Store(error)) => error.into(),
            Failure::Lake(error @ LakeError::Behind { .. }) => {
                tracing::warn!(%error, "a report has to wait for the lake");
                let detail = "the event lake is far behind the log; try again when it has caught up";
                Self::new(ErrorCode::Unavailable, detail).retry_after(CATCH_UP)
            }
            Failure::Rows => Self::new(
                ErrorCode::Invalid,
                format!(
                    "the answer would have more than {ROWS_MAX} rows: take a longer `interval`, a shorter time, fewer \
                     columns in `group_by`, or a `filter`"
                ),
            ),
            Failure::Memory { bytes_max, detail } => {
                tracing::info!(detail, "a report needs more memory than it may take");
                let mib = bytes_max >> 20;
                Self::new(
                    ErrorCode::Invalid,
                    format!(
                        "the report needs more than the {mib} MiB that one may take: ask about a shorter time, give a \
                         `filter`, or fewer columns in `group_by`"
                    ),
                )
            }
            Failure::Lake(error) => defect(&error),
            Failure::Plan(error) => defect(&error),
        }
    }
}

/// A fault that no question should meet.
pub(crate) fn defect(error: &dyn std::fmt::Display) -> ApiError {
    tracing::error!(%error, "a report could not be made");

    ApiError::internal()
}

/// The refusal where too many reports are being made.
pub(crate) fn busy(reports_max: usize) -> ApiError {
    let detail = format!("{reports_max} reports are being made, which is the limit; try again later");
    ApiError::new(ErrorCode::Overloaded, detail).retry_after(RETRY_AFTER)
}

/// The refusal where the time is over.
pub(crate) fn late() -> ApiError {
    let detail = "the report took longer than it may: ask about a shorter time, or give a `filter`";
    ApiError::new(ErrorCode::DeadlineExceeded, detail)
}
