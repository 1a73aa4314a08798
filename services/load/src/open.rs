//! The open loop: requests go out when they are due, whether or not the server has answered the last ones.
//!
//! Two threads. The pacer sleeps until the next request is due (a thread's sleep is exact to some 50 µs, an async
//! timer to 1 ms) and hands its number over; the other one runs an async runtime with all calls in work. Latency counts
//! from the moment a request was *due*, so whatever holds it up, the generator included, shows.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::client::{Connections, Failure};
use crate::codec::Unread;
use crate::tally::{Outcome, Verdict};

/// Between the start of the pacer and the first moment of the run, so that nothing is late from the beginning.
const LEAD: Duration = Duration::from_millis(20);
/// Requests that are due but not yet taken over. If it is full the pacer waits, and its lag voids the run.
const DUE_MAX: usize = 1_024;
/// Calls in work at once. A request beyond that is not sent, and voids the run.
const IN_FLIGHT_MAX: usize = 16_384;

/// Sends a request at each of `arrivals` (times from the start of the run, in order), `messages` in turn, and says what
/// became of each; in no order.
pub(crate) async fn run(calls: &Arc<Connections>, messages: &Arc<[Bytes]>, arrivals: &[Duration]) -> Vec<Outcome> {
    let start = Instant::now() + LEAD;
    let mut due = pacer(start, arrivals.to_vec());
    let mut working = JoinSet::new();
    let mut outcomes = Vec::with_capacity(arrivals.len());
    loop {
        tokio::select! {
            Some(number) = due.recv() => {
                let intended = arrivals[number];
                if working.len() == IN_FLIGHT_MAX {
                    let now = start.elapsed();
                    outcomes.push(Outcome { intended, sent: now, finished: now, verdict: Verdict::Unsent });
                    continue;
                }
                let (calls, message) = (Arc::clone(calls), messages[number % messages.len()].clone());
                working.spawn(async move {
                    let sent = start.elapsed();
                    let verdict = verdict(calls.call_for::<Unread>(number, message).await.map(|_| ()));
                    Outcome { intended, sent, finished: start.elapsed(), verdict }
                });
            }
            Some(outcome) = working.join_next() => {
                outcomes.push(outcome.expect("a call neither panics nor is cancelled"));
            }
            else => return outcomes,
        }
    }
}

/// The numbers of requests, each when it is due.
fn pacer(start: Instant, arrivals: Vec<Duration>) -> mpsc::Receiver<usize> {
    let (sender, receiver) = mpsc::channel(DUE_MAX);
    thread::spawn(move || {
        for (number, &arrival) in arrivals.iter().enumerate() {
            thread::sleep((start + arrival).saturating_duration_since(Instant::now()));
            // Nobody listens any more when the run was given up.
            if sender.blocking_send(number).is_err() {
                return;
            }
        }
    });
    receiver
}

fn verdict(answer: Result<(), Failure>) -> Verdict {
    match answer {
        Ok(()) => Verdict::Answered,
        Err(Failure::Refused(_)) => Verdict::Refused,
        Err(Failure::Late) => Verdict::Late,
        Err(Failure::Failed(why)) => Verdict::Failed(why),
    }
}
