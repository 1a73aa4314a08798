//! The data layer: what the services keep, and where.
//!
//! One small trait per kind of store, shaped by what the services need. Each has an embedded backend, which needs nothing
//! installed, and a networked one; one conformance suite runs against both. Every call takes the [`Tenant`] whose data it
//! touches, so that no function can read across tenants by forgetting an argument.

mod clock;
pub mod embedded;
mod error;
pub mod events;
pub mod guard;
mod health;
pub mod network;
pub mod objects;
pub mod search;
mod tenant;

pub use error::{ErrorKind, StoreError, StoreKind};
pub use health::Health;
pub use tenant::{Tenant, TenantError};
