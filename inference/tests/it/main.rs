//! The inference core from outside: real folders in, rows out.
#![allow(clippy::print_stdout, reason = "a parity test says what it measured")]

mod cuda;
mod damaged;
mod engines;
mod facade;
mod golden;
mod support;
