//! Items: kept, indexed, embedded, reviewed and found.
//!
//! A document is the truth of an item. Three things are derived from it: its entry in the search index, its embedding,
//! which our own engine computes, and a record in the event log by which rankers read the item again. They follow through
//! an outbox ([`outbox`]): what has to follow a write is committed before it, and removed when it is done. The
//! alternative, to derive everything within the call, would make an import as slow as the engine, and would still need a
//! way to go on after a crash.
//!
//! ```text
//! put -> check -> outbox rows -> document -> answer
//!                     |
//!                     +-> worker "index": counts of reviews, search index, attributes in memory, record in the log
//!                     +-> worker "embed": embeddings in batches, as bulk work; vectors in memory, record in the log
//! ```
//!
//! [`ContentService`] is what others see; [`Workers`] do what follows, also of what a process before this one left.

mod assets;
mod attribute;
mod catalogue;
mod check;
mod document;
mod engine;
mod follow;
mod indexing;
mod inventory;
mod items;
mod judged;
mod keeper;
mod live;
mod opinion;
mod outbox;
mod reviews;
mod schema;
mod search;
mod service;
mod shared;
mod time;
mod vectors;
mod worker;

pub use engine::Models;
pub use inventory::{Inventory, Kept};
pub use opinion::Opinion;
pub use service::ContentService;
pub use shared::{Options, Stores};
pub use worker::Workers;
