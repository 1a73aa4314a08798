//! How a running server stands under load, as its users would meet it.
//!
//! Load is *open*: requests arrive by a Poisson process, whether or not earlier ones have been answered, and latency
//! counts from the moment a request was due. The alternative, a fixed number of clients that each wait for an answer,
//! is simpler and flatters every server: when it stalls, its clients stop asking. What is measured is put beside an
//! ideal first-come server, simulated on the same arrivals: a percentile means little without the load it was taken
//! under.
//!
//! Rates are told of closed loops too ([`saturate_rest`], [`saturate_stream`]), since other programs tell theirs so.
//!
//! Arrivals, simulation, the search for the knee and the report are pure; `client`, `closed`, `open`, `rest` and `stream` do
//! the talking.
//! One text a request, encoded beforehand, over a few connections: the generator shares the processor with the server.
//!
//! ```no_run
//! use attune_load::{LoadOptions, Target, Task, run, texts::bench_texts};
//!
//! let target = Target { url: "http://127.0.0.1:8080".into(), key: None, model: None, task: Task::Embed };
//! let texts = bench_texts("data/models/sentiment-data".as_ref(), 2_000)?;
//! let report = run(&LoadOptions::new(target, texts, 2), &mut |step| eprintln!("{step}"))?;
//! eprintln!("{report}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod apart;
pub mod arrivals;
mod bench;
mod client;
mod closed;
mod codec;
mod error;
pub mod ideal;
mod knee;
mod latency;
mod open;
mod options;
pub mod random;
mod rate;
mod report;
mod rest;
mod saturate;
mod stream;
mod tally;
pub mod texts;
mod wire;

pub use bench::{IDLE_PAUSE, run};
pub use client::{Target, Task};
pub use error::LoadError;
pub use latency::{Latencies, Percentiles};
pub use options::{LoadOptions, ShortText};
pub use rate::{RateOptions, WARM_UP, at_rates};
pub use report::{Idle, KneeReport, Level, Report, Server};
pub use rest::{CountAnswer, saturate_rest};
pub use saturate::{ClosedRun, SaturateOptions};
pub use stream::saturate_stream;
pub use tally::OpenRun;
pub use wire::Wire;
