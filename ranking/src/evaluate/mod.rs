//! Honest evaluation: named protocols, every item ranked, intervals over users.
//!
//! A figure means something only together with its split, the items that were ranked, those that were masked and the
//! definition of the metric. A [`Protocol`] fixes all four under one name, so that figures of one name compare and
//! figures of two names are never put into one table. Items are never sampled: sampled metrics order models differently
//! from full ones (Krichene and Rendle, "On sampled metrics for item recommendation", KDD 2020).
//!
//! ```
//! use attune_ranking::data::{Event, EventLog, History, Scorer, Worth};
//! use attune_ranking::evaluate::{Bootstrap, Protocol, Report, Stage, Task, evaluate};
//!
//! struct RowOrder;
//! impl Scorer for RowOrder {
//!     fn items(&self) -> usize {
//!         8
//!     }
//!     fn score(&self, _: Option<u32>, _: History<'_>, scores: &mut [f32]) {
//!         scores.fill(0.0);
//!     }
//! }
//!
//! let event = |n: u32| Event { user: n / 4, item: n % 8, kind: 0, value: None, time: n.into() };
//! let log = EventLog::new((0..32).map(event).collect(), 8, 8, vec!["view".into()])?;
//! let protocol = Protocol::named("recommenders-75-25")?;
//! let task = Task::new(protocol, &log, &Worth::default(), 42, Stage::Test)?;
//! // Here a model is trained with log.part(&task.split.train).
//! let outcome = evaluate(&RowOrder, &task, 2)?;
//! let report = Report::new(&outcome, Bootstrap::default());
//! assert!(report.to_string().contains("ndcg@10"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bootstrap;
mod compare;
mod lists;
mod metrics;
mod protocol;
mod report;
mod run;
pub(crate) mod seeded;
mod split;
mod task;

pub use bootstrap::{Bootstrap, Difference, Interval};
pub use compare::{CompareError, Comparison, GroupComparison};
pub use lists::{coverage, diversity, novelty};
pub use metrics::{Metric, UserMetrics, user_metrics};
pub use protocol::{PROTOCOLS, Protocol, Rule, UnknownProtocol};
pub use report::{GroupReport, Report};
pub use run::{EvaluateError, GroupOutcome, Outcome, UserOutcome, evaluate, judge};
pub use split::{Split, SplitError};
pub use task::{Case, Group, Stage, Task};
