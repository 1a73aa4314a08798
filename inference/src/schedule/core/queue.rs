//! What waits for one model in one class of work: who is next, and whose deadline is near.

use std::collections::{BTreeSet, HashMap};
use std::ops::{AddAssign, SubAssign};
use std::sync::Arc;

use super::fair::Fair;
use super::{Cost, RequestId, Time};

/// The largest request of each length lane, in tokens; longer ones share one more lane.
///
/// Steps of four: within a lane first come is first served, and nobody waits behind a request of more than four times
/// their own length. The first lane holds the bulk of real single sentences, whose order should stay that of arrival.
const LANE_TOKENS_MAX: [u64; 5] = [64, 256, 1_024, 4_096, 16_384];
const LANES: usize = LANE_TOKENS_MAX.len() + 1;

/// The lane of a request with this many tokens in all its texts: many short texts hold others back like one long one.
pub(super) fn lane(tokens: u64) -> usize {
    LANE_TOKENS_MAX.iter().position(|&max| tokens <= max).unwrap_or(LANES - 1)
}

/// How much waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Texts.
    pub texts: usize,
    /// Their tokens.
    pub tokens: u64,
    /// Their work in FLOP.
    pub work: u64,
}

impl Depth {
    /// The sum of some texts.
    pub fn of(texts: &[Cost]) -> Self {
        texts.iter().fold(Self::default(), |mut sum, cost| {
            sum += Self::from(*cost);
            sum
        })
    }
}

impl From<Cost> for Depth {
    fn from(cost: Cost) -> Self {
        Self { texts: 1, tokens: u64::from(cost.tokens), work: cost.work }
    }
}

impl AddAssign for Depth {
    fn add_assign(&mut self, other: Self) {
        self.texts += other.texts;
        self.tokens += other.tokens;
        self.work += other.work;
    }
}

impl SubAssign for Depth {
    fn sub_assign(&mut self, other: Self) {
        self.texts -= other.texts;
        self.tokens -= other.tokens;
        self.work -= other.work;
    }
}

/// The requests that wait for one model in one class.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Turns between callers, in tokens.
    pub(super) callers: Fair<Arc<str>>,
    flows: HashMap<Arc<str>, Flows>,
    pub(super) deadlines: Deadlines,
    pub(super) depth: Depth,
}

/// One caller's requests by length, so that the long ones do not hold back the short ones.
#[derive(Debug, Default)]
struct Flows {
    /// Turns between lanes, in tokens.
    turns: Fair<usize>,
    /// First come, first served: ids rise with arrival.
    lanes: [BTreeSet<RequestId>; LANES],
}

impl Queue {
    pub(super) fn insert(&mut self, id: RequestId, caller: &Arc<str>, lane: usize) {
        let flows = self.flows.entry(Arc::clone(caller)).or_default();
        flows.lanes[lane].insert(id);
        flows.turns.join(&lane);
        self.callers.join(caller);
    }

    pub(super) fn remove(&mut self, id: RequestId, caller: &Arc<str>, lane: usize) {
        let Some(flows) = self.flows.get_mut(caller) else { return };
        flows.lanes[lane].remove(&id);
        if flows.lanes[lane].is_empty() {
            flows.turns.leave(&lane);
        }
        if flows.turns.len() == 0 {
            self.flows.remove(caller);
            self.callers.leave(caller);
        }
    }

    /// The request whose text is next in fair order.
    pub(super) fn first(&self) -> Option<RequestId> {
        let flows = self.flows.get(self.callers.first()?)?;
        flows.lanes[*flows.turns.first()?].first().copied()
    }

    /// Charges a caller, and the lane within, for a text that goes into a batch.
    pub(super) fn serve(&mut self, caller: &Arc<str>, lane: usize, tokens: u64) {
        self.callers.serve(caller, tokens);
        if let Some(flows) = self.flows.get_mut(caller) {
            flows.turns.serve(&lane, tokens);
        }
    }
}

/// The requests that have a deadline, earliest first.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    /// Those who may go before their turn.
    eligible: BTreeSet<(Time, RequestId)>,
    /// Those who keep their turn, and still leave when they expire.
    ordinary: BTreeSet<(Time, RequestId)>,
    /// What the eligible ones still need, in FLOP.
    pub(super) work: u64,
}

impl Deadlines {
    pub(super) fn insert(&mut self, deadline: Time, id: RequestId, work: u64) {
        self.eligible.insert((deadline, id));
        self.work += work;
    }

    /// Removes a request that still needed `work`.
    pub(super) fn remove(&mut self, deadline: Time, id: RequestId, work: u64) {
        if self.eligible.remove(&(deadline, id)) {
            self.work -= work;
        } else {
            self.ordinary.remove(&(deadline, id));
        }
    }

    /// Counts work of a request that goes into a batch.
    pub(super) fn serve(&mut self, deadline: Time, id: RequestId, work: u64) {
        if self.eligible.contains(&(deadline, id)) {
            self.work -= work;
        }
    }

    /// Takes the right to go first from a request that still needs `work`.
    pub(super) fn demote(&mut self, deadline: Time, id: RequestId, work: u64) {
        if self.eligible.remove(&(deadline, id)) {
            self.work -= work;
            self.ordinary.insert((deadline, id));
        }
    }

    /// The earliest deadline of those who may go first.
    pub(super) fn first(&self) -> Option<(Time, RequestId)> {
        self.eligible.first().copied()
    }

    /// A request whose deadline is not after `now`.
    pub(super) fn expired(&self, now: Time) -> Option<RequestId> {
        [self.eligible.first(), self.ordinary.first()]
            .into_iter()
            .flatten()
            .find(|(deadline, _)| *deadline <= now)
            .map(|(_, id)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_end_where_they_say() {
        assert_eq!([1, 64, 65, 256, 257, 16_384, 16_385, 1 << 40].map(lane), [0, 0, 1, 1, 2, 4, 5, 5]);
    }

    #[test]
    fn a_long_request_does_not_hold_back_a_short_one_of_the_same_caller() {
        let mut queue = Queue::default();
        let caller: Arc<str> = "one".into();
        queue.insert(RequestId(1), &caller, lane(50_000));
        queue.insert(RequestId(2), &caller, lane(25));
        assert_eq!(queue.first(), Some(RequestId(1)));
        queue.serve(&caller, lane(50_000), 25);
        assert_eq!(queue.first(), Some(RequestId(2)));
    }

    #[test]
    fn a_demoted_request_still_expires() {
        let mut deadlines = Deadlines::default();
        let deadline = Time::from_millis(5);
        deadlines.insert(deadline, RequestId(1), 100);
        deadlines.demote(deadline, RequestId(1), 100);
        assert_eq!((deadlines.first(), deadlines.work), (None, 0));
        assert_eq!(deadlines.expired(deadline), Some(RequestId(1)));
        deadlines.remove(deadline, RequestId(1), 100);
        assert_eq!(deadlines.expired(deadline), None);
    }
}
