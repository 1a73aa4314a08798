//! Attune: the server and its command line.
//!
//! This crate decides and composes; everything it composes lives in a crate of its own. `cli` reads what was typed,
//! `config` merges it with the environment and a file, and one module per command does the rest.

#[macro_use]
mod term;

mod background;
mod bench;
mod cli;
mod client;
mod compose;
mod config;
mod demo;
mod doctor;
mod evaluate;
mod export;
mod films;
mod import;
mod keys;
mod logging;
mod models;
mod movielens;
mod own_server;
mod recommenders;
mod replay;
mod replicas;
mod scanner;
mod score;
mod serve;
mod telemetry;
mod texts;
mod train;
mod trained;
mod worth;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

/// Half of the work of a list is small things that one thread makes and another frees, and what a catalogue or an import
/// took for a moment has to go back to the system. The C library's allocator is slower at the first, and does the second
/// only when it is told to, while everybody waits.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            term::error(&term::causes(&error));
            ExitCode::FAILURE
        }
    }
}
