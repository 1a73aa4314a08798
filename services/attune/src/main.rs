//! Attune: the server and its command line.
//!
//! This crate decides and composes; everything it composes lives in a crate of its own. `cli` reads what was typed,
//! `config` merges it with the environment and a file, and one module per command does the rest.

#[macro_use]
mod term;

mod background;
mod belongs;
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
mod guest;
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
use tikv_jemallocator::Jemalloc;

/// What a model, a catalogue or an import took for a moment goes back to the system some seconds later, by a thread that
/// does nothing else. The C library's allocator keeps it until it is told otherwise, while everybody waits; mimalloc, until
/// somebody asks for more.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let told = match (cli::run(cli::Cli::parse()), term::lost()) {
        (Ok(()), None) => return ExitCode::SUCCESS,
        (Ok(()), Some(lost)) => format!("the answer cannot be written to standard output: {lost}"),
        (Err(error), _) => term::causes(&error),
    };
    term::error(&told);
    ExitCode::FAILURE
}
