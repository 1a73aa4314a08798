//! Services of the user's own, asked over HTTP while a list is made: for candidates, or for scores of candidates.
//!
//! A pipeline names an address, and somebody who may write pipelines need not be somebody who may send requests from this
//! machine. So the operator names the hosts ([`OutsideConfig::hosts`]), and nothing else is ever asked: not where a
//! redirection points, and not through a proxy. What a call sends is the body of the contract
//! ([`OutsideRequest`](attune_api::rest::outside::OutsideRequest)) and the host's own token, nothing of the caller's.
//!
//! What the service does costs the server little: a call has a time limit, calls to a host have a number, an answer has a
//! length and a form, and an address that keeps failing is not asked for a while ([`Gate`](attune_store::guard::Gate), the
//! breaker of the stores). There are no retries: a list that waits a second time is late.
//!
//! ```text
//! address --is it named?--> breaker --> place among the host's calls --> POST --> bytes --read--> items
//! ```

mod answer;
mod client;
mod config;
mod figures;

pub use client::HttpOutside;
pub use config::{ConfigError, HOSTS_MAX, Host, OutsideConfig};
