//! The service over the embedded stores, with faults between them.

mod letters;
mod support;
mod taking;
