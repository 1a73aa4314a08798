//! How long a connection may be silent, and which one goes when there are too many.
//!
//! hyper has a timer for a request's head, but it starts when the previous request ends, so one figure would have to
//! serve for a client that dribbles its head (10 s) and for an idle kept-alive connection (75 s); and it does not cover
//! the bytes that tell HTTP/1 from HTTP/2. So each connection counts its requests and notes when bytes come and go, and
//! one watch over these notes decides.

use std::{
    collections::HashMap,
    io::IoSlice,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::{
    body::{Frame, SizeHint},
    rt::{Read, ReadBufCursor, Write},
};
use tokio::sync::Notify;

use crate::{config::ConnectionLimits, metrics};

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
            if over(notes.write_blocked_since, limits.write_stall_max) {
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

/// An answer's body, which keeps its request in flight until it has been sent.
pub(crate) struct Sent {
    pub body: Body,
    pub in_flight: InFlight,
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        debug_assert!(self.in_flight.0.note(|notes| notes.requests_in_flight) > 0);
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
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
