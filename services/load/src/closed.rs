//! Closed loops: so many calls in work, the next one as soon as one is answered.
//!
//! They find what the server can do at most, and what one call takes when nobody else calls. They say nothing about
//! latency under load: that is for [`open`](crate::open).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::LoadError;
use crate::client::{Connections, Failure};
use crate::codec::Answer;

/// How long a loop goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// So many calls are made.
    Calls(usize),
    /// So much time has passed; calls in work are answered, but an answer after that does not count.
    Time(Duration),
}

/// One loop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loop {
    /// Calls in work at once.
    pub in_flight: usize,
    /// Pause after each answer, so that the server falls asleep again.
    pause: Duration,
    until: Until,
}

/// One answered call.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    /// Which message it was.
    pub message: usize,
    /// From sending to the answer.
    pub latency: Duration,
    pub answer: Answer,
}

impl Loop {
    /// One call at a time.
    pub fn alone(calls: usize, pause: Duration) -> Self {
        Self { in_flight: 1, pause, until: Until::Calls(calls) }
    }

    /// As many calls as it takes to keep the server busy.
    pub fn busy(in_flight: usize, until: Until) -> Self {
        Self { in_flight, pause: Duration::ZERO, until }
    }

    /// Sends `messages` again and again.
    ///
    /// # Errors
    /// A call was not answered.
    pub async fn run(self, calls: &Arc<Connections>, messages: &Arc<[Bytes]>) -> Result<Vec<Answered>, LoadError> {
        let (start, turns) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
        let mut lanes = JoinSet::new();
        for _ in 0..self.in_flight {
            lanes.spawn(self.lane(start, Arc::clone(&turns), Arc::clone(calls), Arc::clone(messages)));
        }
        let mut answered = Vec::new();
        while let Some(lane) = lanes.join_next().await {
            answered.extend(lane.expect("a lane neither panics nor is cancelled")?);
        }
        Ok(answered)
    }

    async fn lane(
        self,
        start: Instant,
        turns: Arc<AtomicUsize>,
        calls: Arc<Connections>,
        messages: Arc<[Bytes]>,
    ) -> Result<Vec<Answered>, LoadError> {
        let mut answered = Vec::new();
        loop {
            let turn = turns.fetch_add(1, Ordering::Relaxed);
            let (message, sent) = (turn % messages.len(), Instant::now());
            if !self.goes_on(turn, sent - start) {
                return Ok(answered);
            }
            let answer = calls.call(turn, messages[message].clone()).await.map_err(|why| self.unanswered(why))?;
            if self.counts(start.elapsed()) {
                answered.push(Answered { message, latency: sent.elapsed(), answer });
            }
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
        }
    }

    fn goes_on(self, turn: usize, elapsed: Duration) -> bool {
        match self.until {
            Until::Calls(calls) => turn < calls,
            Until::Time(time) => elapsed < time,
        }
    }

    fn counts(self, elapsed: Duration) -> bool {
        match self.until {
            Until::Calls(_) => true,
            Until::Time(time) => elapsed <= time,
        }
    }

    fn unanswered(self, why: Failure) -> LoadError {
        let detail = match why {
            Failure::Refused(why) => format!("the server refused it ({why}): fewer calls in flight are needed"),
            Failure::Late => "its deadline passed".into(),
            Failure::Failed(detail) => detail,
        };
        LoadError::Unanswered { in_flight: self.in_flight, detail }
    }
}
