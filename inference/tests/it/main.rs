//! The inference core from outside: real folders in, rows out.

mod damaged;
mod engines;
mod facade;
mod golden;
mod support;
