//! Shares one server between members by turns: whoever has been served least is next.
//!
//! This is start-time fair queueing (Goyal, Vin and Cheng, 1996): each member carries a tag, what it has been served so
//! far, and the smallest tag goes first. Deficit round robin would give the same long-run shares, but in turns of one
//! quantum, and a quantum that fits the longest text is several batches of short ones; with tags the turn is one text.
//! The price is a logarithm of the number of members where round robin has a constant.
//!
//! A member who joins starts at the *clock*, the tag that an ideal server, serving everybody at once, would have given
//! to each by now (Demers, Keshav and Shenker, 1989): absence earns no credit, and since the clock advances with every
//! service, an endless stream of newcomers, of whom a bounded number waits at a time, cannot keep a member waiting.
//!
//! For two members who both wait throughout, what they are served in any interval differs by at most the lead that one
//! had when it began, plus that lead or one largest cost, whichever is more, as long as only [`first`](Fair::first) is
//! served. A member in turn leads by no more than one cost; one may lead by more who was served while others left.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

/// Tags count in 1/1024 of a unit of cost, so that the clock advances even among thousands of members.
const TAGS_PER_COST: u64 = 1 << 10;

/// The order of turns among the members that wait.
#[derive(Debug)]
pub(super) struct Fair<K> {
    shares: HashMap<K, Share>,
    /// Those who wait: tag, order of joining, member.
    waiting: BTreeSet<(u64, u64, K)>,
    /// Those who left ahead of the clock, remembered until it has caught up: leaving and joining again wins nothing.
    ahead: BTreeSet<(u64, K)>,
    clock: u64,
    joined_last: u64,
}

#[derive(Clone, Copy, Debug)]
struct Share {
    tag: u64,
    /// The order of joining, while the member waits.
    joined: Option<u64>,
}

impl<K> Default for Fair<K> {
    fn default() -> Self {
        Self { shares: HashMap::new(), waiting: BTreeSet::new(), ahead: BTreeSet::new(), clock: 0, joined_last: 0 }
    }
}

impl<K: Clone + Ord + Hash> Fair<K> {
    /// Starts to wait. Nothing happens if it does already.
    pub(super) fn join(&mut self, key: &K) {
        let tag = match self.shares.get(key) {
            Some(Share { joined: Some(_), .. }) => return,
            Some(share) => {
                self.ahead.remove(&(share.tag, key.clone()));
                share.tag
            }
            None => self.start(),
        };
        self.joined_last += 1;
        self.waiting.insert((tag, self.joined_last, key.clone()));
        self.shares.insert(key.clone(), Share { tag, joined: Some(self.joined_last) });
    }

    /// Stops waiting. When the last one leaves, nobody was held back by anybody and all is forgotten.
    pub(super) fn leave(&mut self, key: &K) {
        let Some(&Share { tag, joined: Some(joined) }) = self.shares.get(key) else { return };
        self.waiting.remove(&(tag, joined, key.clone()));
        if self.waiting.is_empty() {
            *self = Self::default();
        } else if tag > self.clock {
            self.shares.insert(key.clone(), Share { tag, joined: None });
            self.ahead.insert((tag, key.clone()));
        } else {
            self.shares.remove(key);
        }
    }

    /// The member that has been served least; the one that joined first among equals.
    pub(super) fn first(&self) -> Option<&K> {
        self.waiting.first().map(|(_, _, key)| key)
    }

    /// Charges a waiting member for what it was served.
    pub(super) fn serve(&mut self, key: &K, cost: u64) {
        let Some(share) = self.shares.get_mut(key) else { return };
        let Some(joined) = share.joined else { return };
        let Some((tag, joined, owned)) = self.waiting.take(&(share.tag, joined, key.clone())) else { return };
        share.tag = tag + cost * TAGS_PER_COST;
        self.waiting.insert((share.tag, joined, owned));
        self.advance(cost);
    }

    /// How much more a waiting member has been served than the one served least.
    pub(super) fn lead(&self, key: &K) -> u64 {
        let tag = self.shares.get(key).map_or(self.clock, |share| share.tag);
        let least = self.waiting.first().map_or(tag, |(tag, _, _)| *tag);
        tag.saturating_sub(least) / TAGS_PER_COST
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Where a newcomer starts: at the clock, but not before all who wait. Members who leave unserved hold it back.
    fn start(&self) -> u64 {
        self.waiting.first().map_or(self.clock, |(least, _, _)| self.clock.max(*least))
    }

    /// Moves the clock by an equal share of `cost` for each, and forgets those whom it has caught up with.
    fn advance(&mut self, cost: u64) {
        self.clock += cost * TAGS_PER_COST / self.waiting.len().max(1) as u64;
        while self.ahead.first().is_some_and(|(tag, _)| *tag <= self.clock) {
            if let Some((_, key)) = self.ahead.pop_first() {
                self.shares.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equals_are_served_in_the_order_of_joining() {
        let mut fair = Fair::default();
        for key in ["c", "a", "b"] {
            fair.join(&key);
        }
        let mut order = Vec::new();
        for _ in 0..6 {
            let key = *fair.first().unwrap();
            order.push(key);
            fair.serve(&key, 10);
        }
        assert_eq!(order, ["c", "a", "b", "c", "a", "b"]);
    }

    #[test]
    fn leaving_and_joining_again_wins_nothing() {
        let mut fair = Fair::default();
        fair.join(&"steady");
        fair.join(&"restless");
        fair.serve(&"restless", 100);
        fair.leave(&"restless");
        fair.join(&"restless");
        assert_eq!(fair.lead(&"restless"), 100);
        assert_eq!(fair.first(), Some(&"steady"));
    }

    #[test]
    fn absence_earns_no_credit() {
        let mut fair = Fair::default();
        fair.join(&"early");
        fair.join(&"other");
        for _ in 0..1_000 {
            let key = *fair.first().unwrap();
            fair.serve(&key, 7);
        }
        fair.join(&"late");
        let mut served = [0; 2];
        for _ in 0..30 {
            let key = *fair.first().unwrap();
            fair.serve(&key, 7);
            served[usize::from(key == "late")] += 1;
        }
        assert!(served[1] <= 11, "the newcomer took {served:?} of 30 turns among three");
    }

    #[test]
    fn a_newcomer_does_not_start_before_all_who_wait() {
        let mut fair = Fair::default();
        fair.join(&"steady");
        fair.join(&"leaves");
        fair.serve(&"steady", 1_000);
        fair.leave(&"leaves");
        fair.join(&"late");
        assert_eq!(fair.lead(&"steady"), 0, "alone, it is not ahead of anybody");
    }

    #[test]
    fn the_memory_of_those_who_left_is_bounded() {
        let mut fair = Fair::default();
        fair.join(&0);
        for key in 1..10_000 {
            fair.join(&key);
            fair.serve(&key, 5);
            fair.leave(&key);
            fair.serve(&0, 5);
        }
        assert!(fair.shares.len() < 10, "{} shares for one waiting member", fair.shares.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// The bound of the module header, over random costs; third parties come, and leave served or not; the second
        /// of the two comes late.
        #[test]
        fn two_who_wait_throughout_are_served_alike(
            costs in prop::collection::vec((1_u64..600, 1_u64..600), 1..300),
            others in prop::collection::vec((0_u8..6, any::<bool>()), 300),
            late in 0_usize..200,
        ) {
            let mut fair = Fair::default();
            let (left, right) = (100, 101);
            fair.join(&left);
            let (mut served, mut lead) = ([0_i64; 2], 0);
            for (turn, ((cost_left, cost_right), (third, stays))) in costs.into_iter().zip(others).enumerate() {
                if turn == late {
                    fair.join(&right);
                    served = [0; 2];
                    let tag = |key: &u8| (fair.shares[key].tag / TAGS_PER_COST) as i64;
                    lead = (tag(&left) - tag(&right)).abs() + 1;
                }
                fair.join(&third);
                let key = *fair.first().unwrap();
                let cost = if key == left { cost_left } else { cost_right };
                fair.serve(&key, cost);
                if key >= left {
                    served[usize::from(key == right)] += cost as i64;
                }
                if !stays {
                    fair.leave(&third);
                }
                prop_assert!(turn < late || (served[0] - served[1]).abs() <= lead + lead.max(600), "{:?}, lead {}", served, lead);
            }
        }

        /// However many newcomers arrive, as long as a bounded number waits at a time, whoever waits gets a turn.
        #[test]
        fn newcomers_cannot_keep_a_member_waiting(head_start in 1_u64..2_000, cost in 1_u64..500, crowd in 2_usize..20) {
            let mut fair = Fair::default();
            fair.join(&0);
            fair.join(&1);
            fair.serve(&0, head_start);
            let turns_max = (crowd as u64 + 2) * (head_start / cost + 2);
            let mut newcomers = 2..;
            for turn in 0.. {
                while fair.len() < crowd {
                    fair.join(&newcomers.next().unwrap());
                }
                let key = *fair.first().unwrap();
                if key == 0 {
                    break;
                }
                fair.serve(&key, cost);
                if key != 1 {
                    fair.leave(&key);
                }
                prop_assert!(turn <= turns_max, "still waiting after {} turns", turn);
            }
        }
    }
}
