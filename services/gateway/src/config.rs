//! Every limit of the gateway, by name.

use std::time::Duration;

use crate::{address::Proxies, limits::RateLimits, tls::Tls};

/// How the gateway serves. The default is what `attune serve` runs with.
#[derive(Clone, Debug, Default)]
pub struct GatewayConfig {
    /// Model for `/embed`, `/info` and `Embed` where a call names none; the first embedding model if absent.
    pub default_embedding_model: Option<String>,
    /// Model for `/v1/sentiment` and `Classify` where a call names none; the first classifier if absent.
    pub default_sentiment_model: Option<String>,
    /// What one request may ask for.
    pub requests: RequestLimits,
    /// How much whoever asks may ask for.
    pub limits: RateLimits,
    /// Who says on whose behalf requests come.
    pub proxies: Proxies,
    /// Origins whose pages may call from a browser; `*` alone is all.
    pub cors_origins: Vec<String>,
    /// What one connection may do.
    pub connections: ConnectionLimits,
    /// The certificate of the port; without it, it is plain.
    pub tls: Option<Tls>,
    /// How a shutdown goes.
    pub drain: DrainLimits,
}

/// Bounds on requests.
#[derive(Clone, Debug)]
pub struct RequestLimits {
    /// Body of a REST request, after decompression, and a gRPC message; in bytes.
    pub body_bytes_max: usize,
    /// A body has to have arrived within this time.
    pub body_read_max: Duration,
    /// Requests to models in work at once, over all connections. The next one is refused with 429.
    pub in_flight_max: usize,
    /// gRPC streams open at once, over all connections. The next one is refused with `RESOURCE_EXHAUSTED`.
    pub streams_max: usize,
    /// Requests of one gRPC stream in work at once. Beyond that the stream is not read.
    pub stream_in_flight_max: usize,
    /// The deadline of a unary call that sets none.
    pub deadline_default: Duration,
    /// The longest deadline that a caller may set; a longer one counts as this.
    pub deadline_max: Duration,
}

/// Bounds on connections.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// Connections at once. At the cap the longest idle one is closed for a new one; if none is idle, the new one is.
    pub connections_max: usize,
    /// A complete request head has to have arrived within this time, on a new connection and after its first byte.
    pub head_max: Duration,
    /// A connection without a request is closed after this time.
    pub idle_max: Duration,
    /// A client that takes no byte of its answer for this time is closed.
    pub write_stall_max: Duration,
    /// HTTP/2 streams at once on one connection.
    pub http2_streams_max: u32,
    /// HTTP/2 streams that a client has reset and the server has not yet looked at; more is an attack: GOAWAY.
    pub http2_resets_max: usize,
    /// What is buffered of an HTTP/1.1 connection, and so the largest head: more is answered 431. In bytes.
    pub http1_buffer_bytes_max: usize,
    /// All headers of an HTTP/2 request together, in bytes.
    pub http2_header_bytes_max: u32,
    /// How often an HTTP/2 peer is asked whether it is still there.
    pub http2_ping_interval: Duration,
    /// How long it may take to answer.
    pub http2_ping_max: Duration,
}

/// Bounds on a shutdown.
#[derive(Clone, Debug)]
pub struct DrainLimits {
    /// `/readyz` says no for this long before new connections are refused, so that a balancer can look away.
    pub notice: Duration,
    /// What has not finished by then is cut off.
    pub drain_max: Duration,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: 4 << 20,
            body_read_max: Duration::from_secs(30),
            in_flight_max: 1_024,
            streams_max: 64,
            stream_in_flight_max: 32,
            deadline_default: Duration::from_secs(60),
            deadline_max: Duration::from_secs(3_600),
        }
    }
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            head_max: Duration::from_secs(10),
            idle_max: Duration::from_secs(75),
            write_stall_max: Duration::from_secs(30),
            http2_streams_max: 256,
            http2_resets_max: 32,
            http1_buffer_bytes_max: 64 << 10,
            http2_header_bytes_max: 16 << 10,
            http2_ping_interval: Duration::from_secs(20),
            http2_ping_max: Duration::from_secs(20),
        }
    }
}

impl Default for DrainLimits {
    fn default() -> Self {
        Self { notice: Duration::from_millis(500), drain_max: Duration::from_secs(30) }
    }
}
