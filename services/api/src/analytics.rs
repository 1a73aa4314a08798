//! Questions about what happened, as the service takes them, and what it asks of whoever keeps reviews.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::rest::analytics::{Question, Table};
use crate::{ApiError, Call};

/// The most rows of an answer. A question that has more is refused, since half an answer looks like a whole one.
pub const ROWS_MAX: usize = 10_000;
/// The longest time that one question is about, in days.
pub const RANGE_DAYS_MAX: i64 = 400;
/// What a question without `from` is about, in days.
pub const RANGE_DAYS_DEFAULT: i64 = 30;
/// Items of a `top-items` that names no number, and the most that it may name.
pub const TOP_ITEMS: (usize, usize) = (10, 1_000);
/// The fewest and the most steps of a funnel.
pub const FUNNEL_STEPS: (usize, usize) = (2, 10);

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// Which items most events are about.
    TopItems,
    /// How often what was shown is clicked.
    Ctr,
    /// How many events there are.
    Timeseries,
    /// How many people did something.
    ActiveUsers,
    /// How many people took one step after another.
    Funnel,
    /// How long people stay.
    Sessions,
    /// What reviews say.
    Sentiment,
    /// How the arms of experiments do.
    Experiments,
}

impl Report {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::TopItems,
        Self::Ctr,
        Self::Timeseries,
        Self::ActiveUsers,
        Self::Funnel,
        Self::Sessions,
        Self::Sentiment,
        Self::Experiments,
    ];

    /// As in paths, logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TopItems => "top-items",
            Self::Ctr => "ctr",
            Self::Timeseries => "timeseries",
            Self::ActiveUsers => "active-users",
            Self::Funnel => "funnel",
            Self::Sessions => "sessions",
            Self::Sentiment => "sentiment",
            Self::Experiments => "experiments",
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Answers questions about what happened: every event that was acknowledged before the question counts, once.
#[async_trait]
pub trait Analytics: Send + Sync {
    /// A report.
    ///
    /// # Errors
    /// `Invalid` with a pointer where the question cannot be, and without one where its answer would have more than
    /// [`ROWS_MAX`] rows or need more memory than a report may take; `Overloaded` where too many reports are being made;
    /// `DeadlineExceeded`; `Unavailable` from the stores, or where the lake is far behind the log.
    async fn report(&self, call: &Call, report: Report, question: Question) -> Result<Table, ApiError>;
}

/// A service that is shared.
pub type SharedAnalytics = Arc<dyn Analytics>;

/// A review as far as reports look at it.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedReview {
    /// Of which item.
    pub item_id: String,
    /// When it was written, in Unix milliseconds.
    pub time_ms: i64,
    /// What its author gave, in a unit of the application's own.
    pub rating: Option<f64>,
    /// How likely it is positive less how likely it is negative, -1 to 1; absent where no model judged it.
    pub sentiment: Option<f64>,
}

/// A page of reviews.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JudgedReviews {
    /// The newest first.
    pub reviews: Vec<JudgedReview>,
    /// Where the next page begins; absent at the end.
    pub next: Option<String>,
}

/// Who keeps reviews, as whoever counts them sees it.
#[async_trait]
pub trait KeepsReviews: Send + Sync {
    /// The reviews of all items that are not hidden, the newest first, a page at a time, from where a page before ended.
    /// Hidden ones take their place on a page without being on it.
    ///
    /// # Errors
    /// A store does not answer.
    async fn judged(&self, call: &Call, from: Option<&str>) -> Result<JudgedReviews, ApiError>;
}
