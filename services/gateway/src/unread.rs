//! Reading on after a refusal, so that the refusal arrives.
//!
//! A server that answers 401 or 413 and closes while the client still writes makes the client's kernel drop the answer
//! (TCP reset). So a refused HTTP/1.1 request lends its body out, and what nobody read of it is read and thrown away in
//! the background, within bounds. HTTP/2 needs none of this: it resets the one stream.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    BoxError,
    body::{Body, Bytes, HttpBody},
    extract::Request,
};
use http::{Version, header::EXPECT};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tokio::sync::oneshot;

/// Beyond this the connection is closed under the client's pen.
const DISCARD_BYTES_MAX: usize = 64 << 20;
const DISCARD_MAX: Duration = Duration::from_secs(3);

/// A body that comes back when it is dropped before its end.
struct Lent {
    body: Option<Body>,
    back: Option<oneshot::Sender<Body>>,
}

/// The way back of a lent body.
pub(crate) struct Unread(Option<oneshot::Receiver<Body>>);

/// Lends out the body of an HTTP/1.1 request. One that waits for `100 Continue` is not: it has sent nothing yet.
pub(crate) fn lend(request: Request) -> (Request, Unread) {
    if request.version() >= Version::HTTP_2 || request.headers().contains_key(EXPECT) || request.body().is_end_stream()
    {
        return (request, Unread(None));
    }
    let (back, receiver) = oneshot::channel();
    let request = request.map(|body| Body::new(Lent { body: Some(body), back: Some(back) }));
    (request, Unread(Some(receiver)))
}

impl Unread {
    /// Reads what is left, in the background.
    pub fn discard(self) {
        let Some(Ok(mut body)) = self.0.map(|mut receiver| receiver.try_recv()) else { return };
        tokio::spawn(tokio::time::timeout(DISCARD_MAX, async move {
            let mut bytes = 0;
            while let Some(Ok(frame)) = body.frame().await {
                bytes += frame.data_ref().map_or(0, Bytes::len);
                if bytes > DISCARD_BYTES_MAX {
                    break;
                }
            }
        }));
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take(), self.back.take()) {
            // Nobody takes it back when the request succeeded.
            let _ = back.send(body);
        }
    }
}
