//! Questions about what happened: reports over the event lake and the log's unflushed tail.
//!
//! ```text
//! question --ask--> Ask --report--> plan --DataFusion--> rows --answer--> table
//!                                    ^ table: one lake file after another, then the tail
//! ```
//!
//! **What was acknowledged counts, once.** A report reads the files of the lake and what the log has beyond them
//! ([`attune_lake::Snapshot`]), as of the moment of the question; copies are told as the lake tells them, and whoever is
//! forgotten is in neither.
//!
//! **Every report has an end.** Its range, its rows, its memory and its time are bounded, and a bound that is met is a
//! refusal that says what to do, never a shorter answer. Reports run on threads of their own: they may be slow, nobody
//! else may be slow because of them.
//!
//! What a report computes is a plan ([`report`]), a pure function of the tables and the question; reading is [`table`]'s.

mod answer;
mod ask;
mod bandits;
mod defined;
mod error;
mod fields;
mod filter;
mod properties;
mod report;
mod service;
mod table;
mod workers;

pub use bandits::Bandits;
pub use service::{AnalyticsService, Settings, Stores};
