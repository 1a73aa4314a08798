//! How long a connection may be silent, and which one goes when there are too many.
//!
//! hyper has a timer for a request's head, but it starts when the previous request ends, so one figure would have to
//! serve for a client that dribbles its head (10 s) and for an idle kept-alive connection (75 s); and it does not cover
//! the bytes that tell HTTP/1 from HTTP/2. So each connection counts its requests and notes when bytes come and go, and
//! one watch over these notes decides.

use std::{
    collections::{BTreeMap, HashMap},
    io::IoSlice,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::{
    body::{Frame, SizeHint},
    rt::{Read, ReadBufCursor, Write},
};
use tokio::sync::Notify;

use crate::{admission::Place, config::ConnectionLimits, metrics};

/// Why the server closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// No complete request head in time.
    Head,
    /// No request for long.
    Idle,
    /// The client takes nothing of its answer.
    WriteStalled,
}

impl Overdue {
    /// For metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Head => "head_timeout",
            Self::Idle => "idle_timeout",
            Self::WriteStalled => "write_stalled",
        }
    }
}

/// What is noted about one connection.
#[derive(Debug)]
struct Notes {
    requests_in_flight: usize,
    is_http2: bool,
    /// When the last request ended; `None` before the first.
    idle_since: Option<Instant>,
    /// When the first byte of the head that is being read came; at first, when the connection was opened.
    head_since: Option<Instant>,
    write_blocked_since: Option<Instant>,
    /// Answers that lie ready: since when the client has taken nothing of each. HTTP/2 has a window for every answer, so
    /// one may wait for ever on a socket that is never full.
    offered: BTreeMap<u64, Instant>,
    offers: u64,
}

/// One connection, seen from its transport, its requests and its watch.
#[derive(Debug)]
pub(crate) struct Activity {
    notes: Mutex<Notes>,
    /// Told when the connection has to make room for another.
    pub evicted: Notify,
}

impl Activity {
    fn new(now: Instant) -> Self {
        let notes = Notes {
            requests_in_flight: 0,
            is_http2: false,
            idle_since: None,
            head_since: Some(now),
            write_blocked_since: None,
            offered: BTreeMap::new(),
            offers: 0,
        };
        Self { notes: Mutex::new(notes), evicted: Notify::new() }
    }

    fn note<T>(&self, change: impl FnOnce(&mut Notes) -> T) -> T {
        change(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn bytes_came(&self) {
        self.note(|notes| {
            // On HTTP/2 the bytes may be pings and window updates, which are no head.
            if notes.requests_in_flight == 0 && !notes.is_http2 {
                notes.head_since.get_or_insert_with(Instant::now);
            }
        });
    }

    fn write_is_blocked(&self, is_blocked: bool) {
        self.note(|notes| match is_blocked {
            true => _ = notes.write_blocked_since.get_or_insert_with(Instant::now),
            false => notes.write_blocked_since = None,
        });
    }

    /// A request head is complete. The request is in flight until the guard is dropped.
    pub fn request(self: &Arc<Self>, is_http2: bool) -> InFlight {
        self.note(|notes| {
            notes.requests_in_flight += 1;
            notes.is_http2 = is_http2;
            notes.head_since = None;
            notes.idle_since = None;
        });
        InFlight(Arc::clone(self))
    }

    /// Which bound it is over, if any.
    pub fn overdue(&self, now: Instant, limits: &ConnectionLimits) -> Option<Overdue> {
        let over = |since: Option<Instant>, bound: Duration| {
            since.is_some_and(|since| now.saturating_duration_since(since) >= bound)
        };
        self.note(|notes| {
            let waiting = notes.offered.values().chain(&notes.write_blocked_since).min().copied();
            if over(waiting, limits.write_stall_max) {
                Some(Overdue::WriteStalled)
            } else if over(notes.head_since, limits.head_max) {
                Some(Overdue::Head)
            } else if over(notes.idle_since, limits.idle_max) {
                Some(Overdue::Idle)
            } else {
                None
            }
        })
    }

    /// Since when it has no request: a connection that never had one counts from its opening.
    fn idle_since(&self) -> Option<Instant> {
        self.note(|notes| if notes.requests_in_flight > 0 { None } else { notes.idle_since.or(notes.head_since) })
    }
}

/// A request between its head and the last byte of its answer.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.note(|notes| {
            notes.requests_in_flight -= 1;
            if notes.requests_in_flight == 0 {
                notes.idle_since = Some(Instant::now());
            }
        });
    }
}

/// The open connections.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    last_id: u64,
    by_id: HashMap<u64, Arc<Activity>>,
}

impl Connections {
    /// Enters a new connection, at the cap in place of the longest idle one. `None`: all are busy.
    pub fn enter(self: &Arc<Self>, connections_max: usize) -> Option<(Entry, Arc<Activity>)> {
        self.change(|open| {
            if open.by_id.len() >= connections_max {
                open.evict_idlest()?;
            }
            open.last_id += 1;
            let activity = Arc::new(Activity::new(Instant::now()));
            open.by_id.insert(open.last_id, Arc::clone(&activity));
            Some((Entry { id: open.last_id, connections: Arc::clone(self) }, activity))
        })
    }

    /// Closes the connection that has been idle longest, if one is.
    pub fn evict_idlest(&self) {
        self.change(Open::evict_idlest);
    }

    /// Whether one is open.
    pub fn any(&self) -> bool {
        self.change(|open| !open.by_id.is_empty())
    }

    fn change<T>(&self, change: impl FnOnce(&mut Open) -> T) -> T {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = change(&mut open);
        metrics::connections(open.by_id.len());
        outcome
    }
}

impl Open {
    fn evict_idlest(&mut self) -> Option<()> {
        let idle = self.by_id.iter().filter_map(|(&id, activity)| Some((activity.idle_since()?, id)));
        let (_, idlest) = idle.min()?;
        self.by_id.remove(&idlest)?.evicted.notify_one();
        metrics::connection_closed("evicted");
        Some(())
    }
}

/// A connection's place among the open ones, until it is dropped.
#[derive(Debug)]
pub(crate) struct Entry {
    id: u64,
    connections: Arc<Connections>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.connections.change(|open| open.by_id.remove(&self.id));
    }
}

/// A transport that notes when bytes come, and when they cannot go.
pub(crate) struct Watched<T> {
    pub transport: T,
    pub activity: Arc<Activity>,
}

impl<T: Read + Unpin> Read for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        let read = Pin::new(&mut self.transport).poll_read(cx, buffer);
        if read.is_ready() {
            self.activity.bytes_came();
        }
        read
    }
}

impl<T: Write + Unpin> Write for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.transport).poll_write(cx, bytes);
        self.activity.write_is_blocked(written.is_pending());
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.transport).poll_write_vectored(cx, bytes);
        self.activity.write_is_blocked(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

/// The longest piece of an answer that is handed over at once: what a client does not take stays here, where it is
/// watched, and not in a buffer of the protocol.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// An answer's body, which keeps its request in flight until it has been sent.
pub(crate) struct Sent {
    body: Body,
    /// What is left of a frame that was longer than a piece.
    rest: Bytes,
    offer: Offer,
    _in_flight: InFlight,
    _place: Option<Place>,
}

impl Sent {
    pub fn new(body: Body, in_flight: InFlight, place: Option<Place>) -> Self {
        let mut offer = Offer::new(Arc::clone(&in_flight.0));
        offer.make();
        Self { body, rest: Bytes::new(), offer, _in_flight: in_flight, _place: place }
    }
}

/// Whether an answer waits for its client.
struct Offer {
    activity: Arc<Activity>,
    number: u64,
}

impl Offer {
    fn new(activity: Arc<Activity>) -> Self {
        let number = activity.note(|notes| {
            notes.offers += 1;
            notes.offers
        });
        Self { activity, number }
    }

    /// There is something for the client to take.
    fn make(&mut self) {
        self.activity.note(|notes| notes.offered.insert(self.number, Instant::now()));
    }

    /// The client took it, and it is our turn again.
    fn withdraw(&mut self) {
        self.activity.note(|notes| notes.offered.remove(&self.number));
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.withdraw();
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        this.offer.withdraw();
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => this.rest = data,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES_MAX));
        this.offer.make();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use http_body_util::BodyExt;

    use super::*;

    fn limits() -> ConnectionLimits {
        ConnectionLimits::default()
    }

    #[test]
    fn a_slow_head_and_an_idle_connection_have_their_own_bounds() {
        let opened = Instant::now();
        let activity = Arc::new(Activity::new(opened));
        let after = |seconds| Instant::now() + Duration::from_secs(seconds);
        assert_eq!(activity.overdue(after(9), &limits()), None);
        assert_eq!(activity.overdue(after(11), &limits()), Some(Overdue::Head));

        let request = activity.request(false);
        assert_eq!(activity.overdue(after(500), &limits()), None, "a request in work is not idle");
        drop(request);
        assert_eq!(activity.overdue(after(70), &limits()), None);
        assert_eq!(activity.overdue(after(76), &limits()), Some(Overdue::Idle));
        activity.bytes_came();
        assert_eq!(activity.overdue(after(11), &limits()), Some(Overdue::Head));
    }

    #[test]
    fn pings_are_no_head_and_a_full_pipe_is_a_stall() {
        let activity = Arc::new(Activity::new(Instant::now()));
        drop(activity.request(true));
        activity.bytes_came();
        let later = Instant::now() + Duration::from_secs(40);
        assert_eq!(activity.overdue(later, &limits()), None);
        activity.write_is_blocked(true);
        assert_eq!(activity.overdue(later, &limits()), Some(Overdue::WriteStalled));
        activity.write_is_blocked(false);
        assert_eq!(activity.overdue(later, &limits()), None);
    }

    #[tokio::test]
    async fn an_answer_that_its_client_does_not_take_is_a_stall_and_one_that_we_owe_is_not() {
        let activity = Arc::new(Activity::new(Instant::now()));
        let later = || Instant::now() + Duration::from_secs(40);
        let (ours, body) = tokio::sync::mpsc::channel::<Result<Bytes, axum::Error>>(4);
        let body = Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(body));
        let mut sent = Sent::new(body, activity.request(true), None);
        assert_eq!(activity.overdue(later(), &limits()), Some(Overdue::WriteStalled), "nothing was taken");
        assert!(sent.frame().now_or_never().is_none(), "we have nothing to give");
        assert_eq!(activity.overdue(later(), &limits()), None);
        ours.send(Ok(Bytes::from(vec![7; PIECE_BYTES_MAX + 1]))).await.unwrap();
        drop(ours);
        let piece = sent.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!((piece.len(), sent.is_end_stream()), (PIECE_BYTES_MAX, false));
        assert_eq!(activity.overdue(later(), &limits()), Some(Overdue::WriteStalled), "the rest waits");
        assert_eq!(sent.frame().await.unwrap().unwrap().into_data().unwrap().len(), 1);
        assert!(sent.frame().await.is_none());
        drop(sent);
        assert_eq!(activity.overdue(later(), &limits()), None);
    }

    #[test]
    fn at_the_cap_the_longest_idle_connection_makes_room() {
        let connections = Arc::new(Connections::default());
        let (_busy_entry, busy) = connections.enter(2).unwrap();
        let request = busy.request(false);
        let (_idle_entry, _idle) = connections.enter(2).unwrap();
        let (_new_entry, newer) = connections.enter(2).expect("the idle one goes");
        let _second = newer.request(false);
        assert!(connections.enter(2).is_none(), "all are busy");
        drop(request);
        assert!(connections.enter(2).is_some());
    }
}
