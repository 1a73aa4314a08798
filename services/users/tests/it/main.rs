//! The service over the embedded stores.

mod erasure;
mod profiles;
mod support;
