//! The accept loop: connections in, HTTP/1.1, HTTP/2 and gRPC out, and an orderly end.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use attune_api::rest::operations::ReadyTables;
use attune_inference::Inference;
use attune_store::cache::Cache;
use axum::{Router, body::Body, extract::Request, middleware::map_request};
use futures::FutureExt;
use http::{Response, Version};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use crate::{
    address::Proxies,
    admission::Place,
    app::{self, App},
    config::{ConnectionLimits, GatewayConfig},
    connection::{Activity, Connections, Entry, Overdue, Sent, Watched},
    health,
    keys::KeyStore,
    metrics,
    services::Services,
    tls::Tls,
    tokens::Tokens,
};

/// After this long an `accept` that failed (no descriptors left) is tried again.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// And it is told of at most so often.
const ACCEPT_TOLD_EVERY: Duration = Duration::from_secs(60);
/// A connection that was told to close is cut off after this.
const CLOSE_MAX: Duration = Duration::from_secs(5);
/// How often a connection's notes are looked at.
const WATCH_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// What the gateway itself keeps and asks.
#[derive(Clone)]
pub struct Front {
    /// Who may call.
    pub keys: KeyStore,
    /// The same of tokens, where there is an identity provider.
    pub tokens: Option<Tokens>,
    /// Where gateways of one installation count together what their callers ask for. Absent, where this is the only one.
    pub shared: Option<Arc<dyn Cache>>,
    /// How the segments are that GPUs search, where there are GPUs.
    pub tables: Option<Arc<TablesNow>>,
}

/// How the segments are that a GPU searches, at this moment.
pub type TablesNow = dyn Fn() -> ReadyTables + Send + Sync;

/// Why the server could not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The descriptors that are compiled in do not parse.
    #[error("gRPC reflection cannot be set up: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// A configured default is not loaded.
    #[error("the default {task} model `{name}` is not loaded; loaded are {known}")]
    UnknownDefault {
        /// `embedding` or `sentiment`.
        task: &'static str,
        /// What was configured.
        name: String,
        /// What there is.
        known: String,
    },
}

/// Serves until `shutdown` completes, then drains: `/readyz` says no, new connections are refused, requests in flight
/// are answered, and what is left after [`DrainLimits::drain_max`](crate::config::DrainLimits::drain_max) is cut off.
///
/// Answers how the drain ended.
///
/// # Errors
/// [`ServeError`], before anything is served.
pub async fn serve(
    listener: TcpListener,
    config: GatewayConfig,
    inference: Inference,
    front: Front,
    services: Services,
    shutdown: impl Future<Output = ()>,
) -> Result<Drained, ServeError> {
    metrics::install();
    let (stop, stopping) = watch::channel(false);
    let tls = config.tls.clone();
    let app = App::new(config, inference, front, services, stopping);
    app.check_defaults()?;
    let (health, reporter) = health::grpc_routes(&app).await?;
    let mut server = Server::new(&app, app::router(&app, health), tls);

    server.accept_until(&listener, shutdown).await;
    tracing::info!("draining: /readyz says no from now on");
    let drain_until = Instant::now() + app.config.drain.drain_max;
    let _ = stop.send(true);
    health::stop_serving(&app, &reporter).await;
    server.accept_until(&listener, tokio::time::sleep(app.config.drain.notice)).await;
    server.accept_backlog(&listener);
    drop(listener);
    let drained = server.finish(drain_until).await;
    let _ = tokio::time::timeout_at(drain_until.into(), app.inference.drain()).await;
    tracing::info!(?drained, "drained");
    Ok(drained)
}

/// The same routes without a port, as if every request came from `peer`: what a request costs here, apart from what
/// connections cost.
///
/// # Errors
/// [`ServeError`].
pub async fn in_process(
    config: GatewayConfig,
    inference: Inference,
    front: Front,
    services: Services,
    peer: IpAddr,
) -> Result<Router, ServeError> {
    metrics::install();
    let (_, stopping) = watch::channel(false);
    let app = App::new(config, inference, front, services, stopping);
    app.check_defaults()?;
    let (health, _) = health::grpc_routes(&app).await?;
    let proxies = app.config.proxies.clone();
    let from = move |mut request: Request| {
        let client = proxies.client(peer, request.headers());
        request.extensions_mut().insert(client);
        std::future::ready(request)
    };
    Ok(app::router(&app, health).layer(map_request(from)))
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everything in flight was answered.
    Answered,
    /// The time was over first: some connections were cut off.
    CutOff,
}

struct Server {
    router: Router,
    builder: auto::Builder<TokioExecutor>,
    limits: Arc<ConnectionLimits>,
    proxies: Arc<Proxies>,
    connections: Arc<Connections>,
    tasks: JoinSet<()>,
    /// Turns true when connections have to finish.
    closing: watch::Sender<bool>,
    tls: Option<Tls>,
    failed: FailedAccepts,
}

/// Tries to accept a connection that failed, and when it was told of them.
#[derive(Debug, Default)]
struct FailedAccepts {
    untold: u64,
    told: Option<Instant>,
}

impl Server {
    fn new(app: &App, router: Router, tls: Option<Tls>) -> Self {
        let limits = Arc::new(app.config.connections.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(metrics::upkeep());
        if let Some(tls) = tls.clone() {
            tasks.spawn(tls.keep_current());
        }
        tasks.spawn(app.services.upstreams.clone().watch());
        Self {
            router,
            builder: protocols(&limits),
            limits,
            proxies: Arc::new(app.config.proxies.clone()),
            connections: Arc::default(),
            tasks,
            closing: watch::Sender::new(false),
            tls,
            failed: FailedAccepts::default(),
        }
    }

    async fn accept_until(&mut self, listener: &TcpListener, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return,
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.enter(stream, peer),
                    Err(error) => self.make_room_after(&error).await,
                },
                Some(_) = self.tasks.join_next() => {}
            }
        }
    }

    /// Clients that connected before the door closed have been promised an answer.
    fn accept_backlog(&mut self, listener: &TcpListener) {
        while let Some(Ok((stream, peer))) = listener.accept().now_or_never() {
            self.enter(stream, peer);
        }
    }

    fn enter(&mut self, stream: TcpStream, peer: SocketAddr) {
        let Some((entry, activity)) = self.connections.enter(self.limits.connections_max) else {
            metrics::connection_closed("too_many");
            return;
        };
        // Answers are written whole; waiting to fill a segment only delays them.
        let _ = stream.set_nodelay(true);
        let connection = Connection {
            builder: self.builder.clone(),
            router: self.router.clone(),
            limits: Arc::clone(&self.limits),
            closing: self.closing.subscribe(),
            activity,
            peer: peer.ip(),
            proxies: Arc::clone(&self.proxies),
            _entry: entry,
        };
        let acceptor = self.tls.as_ref().map(Tls::acceptor);
        self.tasks.spawn(connection.run(stream, acceptor));
    }

    /// The usual cause is that the process is out of descriptors: its limit is then the real cap on connections.
    async fn make_room_after(&mut self, error: &io::Error) {
        if let Some(tries) = self.failed.one_more(Instant::now()) {
            tracing::warn!(
                %error,
                tries,
                "connections cannot be accepted; for more descriptors, raise `ulimit -n` some hundreds above \
                 server.connections_max, which is {}",
                self.limits.connections_max
            );
        }
        self.connections.evict_idlest();
        tokio::time::sleep(ACCEPT_RETRY).await;
    }

    async fn finish(&mut self, until: Instant) -> Drained {
        let _ = self.closing.send(true);
        let all = async { while self.connections.any() && self.tasks.join_next().await.is_some() {} };
        let ended = tokio::time::timeout_at(until.into(), all).await;
        if ended.is_err() {
            tracing::warn!("some connections had not finished in time and were cut off");
        }
        self.tasks.shutdown().await;
        if ended.is_ok() { Drained::Answered } else { Drained::CutOff }
    }
}

impl FailedAccepts {
    /// Counts one, and gives how many are to be told of now.
    fn one_more(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < ACCEPT_TOLD_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

fn protocols(limits: &ConnectionLimits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Heads are timed by the connection's own watch.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(limits.http1_buffer_bytes_max);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.http2_streams_max)
        .max_pending_accept_reset_streams(limits.http2_resets_max)
        .max_local_error_reset_streams(limits.http2_resets_max)
        .max_header_list_size(limits.http2_header_bytes_max)
        .keep_alive_interval(limits.http2_ping_interval)
        .keep_alive_timeout(limits.http2_ping_max);
    builder
}

struct Connection {
    builder: auto::Builder<TokioExecutor>,
    router: Router,
    limits: Arc<ConnectionLimits>,
    closing: watch::Receiver<bool>,
    activity: Arc<Activity>,
    peer: IpAddr,
    proxies: Arc<Proxies>,
    _entry: Entry,
}

impl Connection {
    async fn run(mut self, stream: TcpStream, acceptor: Option<TlsAcceptor>) {
        let Some(acceptor) = acceptor else { return self.serve(stream).await };
        let greeted = tokio::select! {
            greeted = tokio::time::timeout(self.limits.head_max, acceptor.accept(stream)) => greeted,
            Ok(()) = self.closing.changed() => return,
            () = self.activity.evicted.notified() => return,
        };
        match greeted {
            Ok(Ok(stream)) => self.serve(stream).await,
            Ok(Err(error)) => tracing::debug!(%error, "a client did not agree to TLS"),
            Err(_) => metrics::connection_closed(Overdue::Head.name()),
        }
    }

    async fn serve(mut self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let transport = Watched { transport: TokioIo::new(stream), activity: Arc::clone(&self.activity) };
        let (router, activity) = (self.router.clone(), Arc::clone(&self.activity));
        let (proxies, peer) = (Arc::clone(&self.proxies), self.peer);
        let service = service_fn(move |mut request: http::Request<Incoming>| {
            let client = proxies.client(peer, request.headers());
            request.extensions_mut().insert(client);
            answer(router.clone(), activity.clone(), request)
        });
        let mut connection = pin!(self.builder.serve_connection(transport, service));
        let mut watch =
            tokio::time::interval((self.limits.head_max / 8).clamp(Duration::from_millis(1), WATCH_INTERVAL_MAX));
        let mut cut_at: Option<Instant> = None;
        loop {
            tokio::select! {
                ended = connection.as_mut() => return log_end(ended),
                Ok(()) = self.closing.changed() => connection.as_mut().graceful_shutdown(),
                // A request may have come in the moment of the choice: it gets its answer.
                () = self.activity.evicted.notified() => {
                    connection.as_mut().graceful_shutdown();
                    cut_at = Some(Instant::now() + CLOSE_MAX);
                }
                _ = watch.tick() => {
                    if cut_at.is_some_and(|at| Instant::now() >= at) {
                        return;
                    }
                    match self.activity.overdue(Instant::now(), &self.limits) {
                        Some(Overdue::Idle) if cut_at.is_none() => {
                            metrics::connection_closed(Overdue::Idle.name());
                            // HTTP/2 peers are told (GOAWAY), so that they send nothing more here.
                            connection.as_mut().graceful_shutdown();
                            cut_at = Some(Instant::now() + CLOSE_MAX);
                        }
                        None | Some(Overdue::Idle) => {}
                        Some(overdue) => return metrics::connection_closed(overdue.name()),
                    }
                }
            }
        }
    }
}

async fn answer(
    router: Router,
    activity: Arc<Activity>,
    request: http::Request<Incoming>,
) -> Result<Response<Sent>, Infallible> {
    let in_flight = activity.request(request.version() == Version::HTTP_2);
    let request: Request = request.map(Body::new);
    let Ok(response) = router.oneshot(request).await;
    let place = response.extensions().get::<Place>().cloned();
    Ok(response.map(|body| Sent::new(body, in_flight, place)))
}

fn log_end(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_cannot_be_accepted_are_told_of_once_a_minute() {
        let (mut failed, begun) = (FailedAccepts::default(), Instant::now());
        let mut told = Vec::new();
        for try_number in 0..2_500 {
            told.extend(failed.one_more(begun + ACCEPT_RETRY * try_number));
        }
        assert_eq!(told, [1, 1_200, 1_200]);
    }
}
