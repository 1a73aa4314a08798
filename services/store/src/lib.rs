//! The data layer: what the services keep, and where.
//!
//! One small trait per kind of store, shaped by what the services need. Each has an embedded backend, which needs nothing
//! installed, and a networked one; one conformance suite runs against both. Every call takes the [`Tenant`] whose data it
//! touches, so that no function can read across tenants by forgetting an argument.

pub mod cache;
pub mod clock;
pub mod documents;
pub mod embedded;
mod error;
pub mod events;
pub mod guard;
mod hash;
mod health;
mod key;
pub mod network;
pub mod objects;
mod page;
mod refusal;
pub mod relational;
pub mod resolve;
pub mod search;
mod sql;
mod tenant;
pub mod testing;
mod version;

pub use error::{ErrorKind, StoreError, StoreKind};
pub use health::Health;
pub use key::KEY_BYTES_MAX;
pub use page::{CURSOR_BYTES_MAX, Cursor, CursorError, PAGE_ROWS_MAX, Page, PageRequest};
pub use sql::{SCHEMA, SqlRelational, oldest_program};
pub use tenant::{Tenant, TenantError};
pub use version::{Expect, Version};
