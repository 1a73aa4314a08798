//! What people do: taken once, kept durably, derived from again and again.
//!
//! An event passes these in order: [`mod@check`] (what is wrong with it), [`people`] (whose it is: a subject, never a
//! name), [`window`] (was it here just now?), the event log, and the recent list in the cache, from which the same
//! person's next recommendation knows of it. What is wrong goes to the dead letters ([`letters`]) with the reason.
//!
//! An answer means durable. All of a call's events are one batch of the log, whose group commit joins the batches of
//! concurrent callers, so that a call costs one sync, one look at the people that this process does not know yet, and
//! nothing else that waits.

pub mod check;
mod keeper;
mod letters;
mod people;
mod recent;
mod service;
mod window;

pub use people::REMEMBERED_MAX;
pub use service::{Stores, TrackingService};
pub use window::WINDOW_EVENTS_MAX;
