//! REST and gRPC on one port: authentication, limits, deadlines, errors.
//!
//! A request passes these in order: [`serve`](mod@serve) (connections: caps, timeouts, drain), `edge` (request id,
//! errors written for the protocol, access log), `auth` (the table of `routes`, key, scope, `limits`), `idempotency`, `admission` (how many at once, deadline, class of
//! work), a thin handler for its protocol, and `calls`, the one implementation that REST and gRPC share. Health and
//! metrics branch off before admission, so they answer however busy the engines are.
//!
//! The alternative, a gRPC server and an HTTP server side by side, has two ports, two sets of limits and two ways to be
//! wrong about a deadline.

mod address;
mod admin;
mod admission;
mod analytics;
mod app;
mod auth;
mod calls;
mod config;
mod connection;
mod content;
mod cors;
mod deadline;
mod definitions;
mod docs;
mod edge;
mod errors;
mod etag;
mod grpc;
mod grpc_stream;
mod health;
mod idempotency;
mod json;
mod keys;
mod limits;
mod metrics;
mod models;
mod objects;
mod openai;
mod path;
mod query;
mod recommendation;
mod routes;
mod sentiment;
pub mod serve;
mod services;
mod tei;
mod tls;
mod tokens;
mod trace;
mod tracking;
mod unread;
mod upstream;
mod users;

pub use address::{AddressHeader, Network, NetworkError, Proxies};
pub use config::{ConnectionLimits, DrainLimits, GatewayConfig, RequestLimits};
pub use cors::{OriginError, check_origins};
pub use docs::openapi;
pub use keys::{Actor, DEFAULT_TENANT, KeySpec, KeyStore, KeyStoreError, NewKey};
pub use limits::RateLimits;
pub use metrics::install as install_metrics;
pub use routes::{ROUTES, Route};
pub use serve::{Drained, Front, TablesNow, in_process, serve};
pub use services::Services;
pub use tls::{Tls, TlsError, TlsFiles};
pub use tokens::{TOKEN_ALGORITHMS, TokenAlgorithm, TokenConfig, TokenError, Tokens};
pub use upstream::{AddressError, Addresses, Role, RoleError, Upstreams};
