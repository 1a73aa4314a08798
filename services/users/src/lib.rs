//! People: profiles, consent, export, and how somebody is forgotten.
//!
//! A profile is a document of free shape under the application's own id. Whether somebody agreed to be profiled, and
//! which subject stands for whom in the event log, are rows. Everything else of a person is under that subject, so that
//! forgetting somebody is, in the end, the deletion of a row ([`erase`]); who keeps something of people by their names is
//! told through [`KeepsOfPeople`](attune_api::users::KeepsOfPeople).

mod erase;
mod export;
mod profile;
mod service;
mod tenants;

pub use erase::Workers;
pub use service::{EventsKept, Stores, UsersService};
