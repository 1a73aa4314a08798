//! The service over embedded stores in temporary folders, and a tiny engine.

mod crash;
mod items;
mod reviews;
mod search;
mod support;
