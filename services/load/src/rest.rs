//! REST, over connections that are kept: HTTP/1.1, one request at a time on each.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::LoadError;
use crate::apart::apart;
use crate::saturate::{ClosedRun, Count, SaturateOptions, Window};

/// What an answer counts, or what is wrong with it.
pub type CountAnswer = fn(&[u8]) -> Result<u64, String>;

/// Keeps `lanes` connections busy with posts of `messages`, which are JSON. Blocks for the whole time, on a thread and an
/// async runtime of its own. Refusals (429 and 503) are results.
///
/// # Errors
/// [`LoadError`]: options that make no sense, no connection, another answer than one of success, or one that `count` finds
/// wrong.
pub fn saturate_rest(options: &SaturateOptions, count: CountAnswer) -> Result<ClosedRun, LoadError> {
    options.check()?;
    apart(run(options, count))
}

async fn run(options: &SaturateOptions, count: CountAnswer) -> Result<ClosedRun, LoadError> {
    let target = Arc::new(Target::of(options)?);
    let mut connections = Vec::with_capacity(options.lanes);
    for _ in 0..options.lanes {
        connections.push(target.connect(options).await?);
    }
    let window = Window::of(options);
    let mut lanes = JoinSet::new();
    for (number, connection) in connections.into_iter().enumerate() {
        let lane = Lane { target: Arc::clone(&target), connection, count, window };
        lanes.spawn(lane.run(number, options.lanes));
    }
    let mut all = Count::default();
    while let Some(lane) = lanes.join_next().await {
        let lane = lane.expect("a lane neither panics nor is cancelled");
        all.add(&lane.map_err(|detail| options.unanswered(detail))?);
    }
    Ok(all.told(options))
}

/// Whom to ask what.
struct Target {
    address: String,
    host: HeaderValue,
    authorization: HeaderValue,
    path: Uri,
    messages: Vec<Bytes>,
}

impl Target {
    fn of(options: &SaturateOptions) -> Result<Self, LoadError> {
        let url: Uri = options.url.parse().map_err(|error: http::uri::InvalidUri| options.bad_target(error))?;
        let authority = url.authority().ok_or_else(|| options.bad_target("it names no host"))?;
        let header = |text: &str| HeaderValue::from_str(text).map_err(|error| options.bad_target(error));
        Ok(Self {
            address: format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80)),
            host: header(authority.as_str())?,
            authorization: header(&format!("Bearer {}", options.key))?,
            path: Uri::from_static(options.path),
            messages: options.messages.clone(),
        })
    }

    async fn connect(&self, options: &SaturateOptions) -> Result<SendRequest<Full<Bytes>>, LoadError> {
        let stream = TcpStream::connect(&self.address).await.map_err(|error| options.bad_target(error))?;
        stream.set_nodelay(true).map_err(|error| options.bad_target(error))?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| options.bad_target(error))?;
        // How it ends its requests tell.
        tokio::spawn(async { _ = connection.await });
        Ok(sender)
    }

    fn request(&self, turn: usize) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.messages[turn % self.messages.len()].clone()));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.path.clone();
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.host.clone());
        headers.insert(header::AUTHORIZATION, self.authorization.clone());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request
    }
}

/// One connection.
struct Lane {
    target: Arc<Target>,
    connection: SendRequest<Full<Bytes>>,
    count: CountAnswer,
    window: Window,
}

impl Lane {
    /// Sends every `step`th message from `turn` on, again and again.
    async fn run(mut self, mut turn: usize, step: usize) -> Result<Count, String> {
        let mut count = Count::default();
        while self.window.is_open_for_requests() {
            let sent = Instant::now();
            let (status, body) = self.ask(turn).await.map_err(|error| format!("the connection failed: {error}"))?;
            match status {
                _ if status.is_success() => count.answered(self.window, sent, (self.count)(&body)?),
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => count.refused(self.window),
                _ => return Err(format!("{status}: {}", String::from_utf8_lossy(&body))),
            }
            turn += step;
        }
        Ok(count)
    }

    async fn ask(&mut self, turn: usize) -> hyper::Result<(StatusCode, Bytes)> {
        self.connection.ready().await?;
        let answer = self.connection.send_request(self.target.request(turn)).await?;
        let status = answer.status();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }
}
