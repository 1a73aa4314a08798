//! Which replica answers next, and which is left alone: a pure core that is told the time and the dice.
//!
//! Of two replicas drawn at random the one answers that can be expected to be done sooner: its mean latency, newer answers
//! counting more, times the requests that it has in work and this one (Mitzenmacher, "The Power of Two Choices in
//! Randomized Load Balancing", 2001). The least loaded of all would be chosen by every gateway at once, and a replica that
//! fails fast would look like the best of them: so failures count apart, and who fails mostly is left out for a while.
//! Never more than [`BalanceSettings::ejected_share_max`] of them are: when all fail, it is not the replicas' fault.

use std::time::{Duration, Instant};

/// How a balancer judges.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BalanceSettings {
    /// An answer counts 1/e after this long. A replica that is not asked looks better with time, and is tried again.
    pub latency_fade: Duration,
    /// What one answer counts in the share of failures.
    pub failure_weight: f64,
    /// A replica of which more than this share fails is left out.
    pub failure_share_max: f64,
    /// At most this share of the replicas is left out.
    pub ejected_share_max: f64,
    /// How long a replica is left out the first time; each further time in a row it is twice as long.
    pub ejected_for: Duration,
    /// And at most this long.
    pub ejected_for_max: Duration,
}

impl Default for BalanceSettings {
    fn default() -> Self {
        Self {
            latency_fade: Duration::from_secs(10),
            failure_weight: 0.1,
            failure_share_max: 0.5,
            ejected_share_max: 0.5,
            ejected_for: Duration::from_secs(3),
            ejected_for_max: Duration::from_secs(60),
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With an answer, also one that refuses what the client asked for.
    Answered,
    /// The replica could not be reached, or answered that it could not.
    Failed,
    /// The client went away first: nothing was learnt.
    Abandoned,
}

/// Names a replica for as long as it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplicaId(u64);

/// A replica as the balancer sees it.
#[derive(Clone, Debug)]
struct Replica {
    id: ReplicaId,
    address: String,
    /// Mean seconds to the head of an answer, and when the last one came; 0 until the first.
    latency_s: f64,
    answered: Option<Instant>,
    in_work: u32,
    failure_share: f64,
    out: Option<Out>,
    /// How often in a row it was left out.
    times_out: u32,
}

/// Left out.
#[derive(Clone, Copy, Debug)]
struct Out {
    /// It is probed after this.
    until: Instant,
    /// A probe is under way.
    is_probed: bool,
}

/// The replicas of one service.
#[derive(Debug)]
pub(crate) struct Balancer {
    settings: BalanceSettings,
    replicas: Vec<Replica>,
    next_id: u64,
}

impl Replica {
    fn latency_s(&self, now: Instant, fade: Duration) -> f64 {
        let silent = self.answered.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.latency_s * (-silent.as_secs_f64() / fade.as_secs_f64()).exp()
    }

    /// Seconds until it would be done with one request more. One that has not answered yet is thought fast.
    fn cost_s(&self, now: Instant, fade: Duration) -> f64 {
        const UNKNOWN_S: f64 = 1e-6;
        self.latency_s(now, fade).max(UNKNOWN_S) * f64::from(self.in_work + 1)
    }

    /// Leaves it out from now on, each time in a row for twice as long.
    fn leave_out(&mut self, now: Instant, settings: &BalanceSettings) {
        let longer = 2_u32.saturating_pow(self.times_out);
        let time = settings.ejected_for.saturating_mul(longer).min(settings.ejected_for_max);
        self.times_out = self.times_out.saturating_add(1);
        self.out = Some(Out { until: now + time, is_probed: false });
    }
}

impl Balancer {
    /// Without replicas yet.
    pub fn new(settings: BalanceSettings) -> Self {
        Self { settings, replicas: Vec::new(), next_id: 0 }
    }

    /// These are the replicas from here on. What is known of those that stay is kept.
    pub fn set(&mut self, addresses: &[String]) {
        self.replicas.retain(|replica| addresses.contains(&replica.address));
        for address in addresses {
            if self.replicas.iter().any(|replica| replica.address == *address) {
                continue;
            }
            self.next_id += 1;
            self.replicas.push(Replica {
                id: ReplicaId(self.next_id),
                address: address.clone(),
                latency_s: 0.0,
                answered: None,
                in_work: 0,
                failure_share: 0.0,
                out: None,
                times_out: 0,
            });
        }
    }

    /// How many replicas there are, and how many are left out.
    pub fn count(&self) -> (usize, usize) {
        (self.replicas.len(), self.replicas.iter().filter(|replica| replica.out.is_some()).count())
    }

    /// Chooses a replica that is not among `tried`, and counts the attempt. `dice` are two numbers from 0 to 1, without
    /// 1. None: all were tried, or there are none.
    pub fn pick(&mut self, now: Instant, tried: &[ReplicaId], dice: [f64; 2]) -> Option<(ReplicaId, String)> {
        let usable =
            |replica: &Replica, and_out: bool| !tried.contains(&replica.id) && (and_out || replica.out.is_none());
        // One that is left out is still better than none.
        let mut choice: Vec<usize> = Vec::with_capacity(self.replicas.len());
        for and_out in [false, true] {
            choice.extend((0..self.replicas.len()).filter(|&place| usable(&self.replicas[place], and_out)));
            if !choice.is_empty() {
                break;
            }
        }
        let first = *choice.get(scaled(dice[0], choice.len()))?;
        choice.retain(|&place| place != first);
        let second = choice.get(scaled(dice[1], choice.len())).copied().unwrap_or(first);
        let cost = |place: usize| self.replicas[place].cost_s(now, self.settings.latency_fade);
        let place = if cost(second) < cost(first) { second } else { first };
        let replica = &mut self.replicas[place];
        replica.in_work += 1;
        Some((replica.id, replica.address.clone()))
    }

    /// An attempt has ended, `latency` after it began. Whether its replica is left out because of it.
    pub fn finish(&mut self, now: Instant, id: ReplicaId, outcome: Outcome, latency: Duration) -> bool {
        let settings = self.settings;
        let (count, out) = self.count();
        let Some(replica) = self.replicas.iter_mut().find(|replica| replica.id == id) else { return false };
        replica.in_work = replica.in_work.saturating_sub(1);
        let failed = match outcome {
            Outcome::Abandoned => return false,
            Outcome::Failed => 1.0,
            Outcome::Answered => 0.0,
        };
        replica.failure_share += settings.failure_weight * (failed - replica.failure_share);
        if outcome == Outcome::Answered {
            learn(replica, now, latency, settings.latency_fade);
            return false;
        }
        let is_ill = replica.failure_share > settings.failure_share_max && replica.out.is_none();
        let can_be_spared = (out + 1) as f64 <= settings.ejected_share_max * count as f64;
        if is_ill && can_be_spared {
            replica.leave_out(now, &settings);
        }
        is_ill && can_be_spared
    }

    /// Replicas that it is time to ask whether they are well again; each is to be answered by [`probed`](Self::probed).
    pub fn due(&mut self, now: Instant) -> Vec<(ReplicaId, String)> {
        let mut due = Vec::new();
        for replica in &mut self.replicas {
            if let Some(out) = replica.out.as_mut().filter(|out| !out.is_probed && out.until <= now) {
                out.is_probed = true;
                due.push((replica.id, replica.address.clone()));
            }
        }
        due
    }

    /// What a probe has shown. A replica that is well begins anew, but if it fails again soon it is left out for longer.
    pub fn probed(&mut self, now: Instant, id: ReplicaId, is_well: bool) {
        let settings = self.settings;
        let Some(replica) = self.replicas.iter_mut().find(|replica| replica.id == id) else { return };
        if is_well {
            replica.out = None;
            replica.failure_share = 0.0;
        } else {
            replica.leave_out(now, &settings);
        }
    }
}

fn learn(replica: &mut Replica, now: Instant, latency: Duration, fade: Duration) {
    let latency_s = latency.as_secs_f64();
    replica.latency_s = match replica.answered {
        None => latency_s,
        Some(at) => {
            // At least a tenth, so that a burst of answers within a moment counts too.
            let kept = (-now.saturating_duration_since(at).as_secs_f64() / fade.as_secs_f64()).exp().min(0.9);
            kept * replica.latency_s + (1.0 - kept) * latency_s
        }
    };
    replica.answered = Some(now);
    const FORGIVEN: f64 = 0.01;
    if replica.failure_share < FORGIVEN {
        replica.times_out = 0;
    }
}

/// A die as a place among so many.
fn scaled(die: f64, count: usize) -> usize {
    ((die * count as f64) as usize).min(count.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    fn addresses(count: usize) -> Vec<String> {
        (0..count).map(|place| format!("replica-{place}")).collect()
    }

    fn balancer(count: usize) -> Balancer {
        let mut balancer = Balancer::new(BalanceSettings::default());
        balancer.set(&addresses(count));
        balancer
    }

    /// Plays requests that come at random, `rate` a second, and are answered after the replica's own time for one times
    /// the requests it has in work. Counts who answered, and gives all latencies in seconds.
    fn play(mean_s: &[f64], rate: f64, requests: usize) -> (Vec<usize>, Vec<f64>) {
        let (mut dice, start) = (StdRng::seed_from_u64(7), Instant::now());
        let mut balancer = balancer(mean_s.len());
        let (mut now_s, mut free_s) = (0.0, vec![0.0_f64; mean_s.len()]);
        let mut ends: BTreeMap<u64, (ReplicaId, f64)> = BTreeMap::new();
        let (mut counts, mut latencies) = (vec![0; mean_s.len()], Vec::new());
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        for _ in 0..requests {
            now_s += -(1.0 - dice.random::<f64>()).ln() / rate;
            while let Some((&end, &(id, latency))) =
                ends.first_key_value().filter(|(end, _)| **end as f64 / 1e9 <= now_s)
            {
                ends.remove(&end);
                balancer.finish(at(end as f64 / 1e9), id, Outcome::Answered, Duration::from_secs_f64(latency));
            }
            let (id, address) = balancer.pick(at(now_s), &[], dice.random()).unwrap();
            let place = addresses(mean_s.len()).iter().position(|one| *one == address).unwrap();
            let end_s = free_s[place].max(now_s) + mean_s[place];
            free_s[place] = end_s;
            counts[place] += 1;
            latencies.push(end_s - now_s);
            let mut key = (end_s * 1e9) as u64;
            while ends.contains_key(&key) {
                key += 1;
            }
            ends.insert(key, (id, end_s - now_s));
        }
        latencies.sort_by(f64::total_cmp);
        (counts, latencies)
    }

    #[test]
    fn a_replica_that_is_ten_times_slower_gets_less_than_a_fifth_of_its_share() {
        let (counts, slowed) = play(&[0.010, 0.010, 0.100], 100.0, 20_000);
        assert!(counts[2] * 3 * 5 < 20_000, "{counts:?}");
        let (_, well) = play(&[0.010, 0.010], 100.0, 20_000);
        let p99 = |latencies: &[f64]| latencies[latencies.len() * 99 / 100];
        assert!(p99(&slowed) <= 1.5 * p99(&well), "{} against {}", p99(&slowed), p99(&well));
        assert!(counts[2] > 10, "it is tried again now and then: {counts:?}");
    }

    #[test]
    fn equals_share_equally() {
        let (counts, _) = play(&[0.010; 4], 200.0, 20_000);
        assert!(counts.iter().all(|count| (4_000..6_000).contains(count)), "{counts:?}");
    }

    #[test]
    fn who_fails_is_left_out_probed_and_taken_back() {
        let (mut balancer, start) = (balancer(3), Instant::now());
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut dice = StdRng::seed_from_u64(1);
        let mut last_failure = 0;
        for ms in 0..2_000 {
            let (id, address) = balancer.pick(at(ms), &[], dice.random()).unwrap();
            let outcome = if address == "replica-1" { Outcome::Failed } else { Outcome::Answered };
            last_failure = if outcome == Outcome::Failed { ms } else { last_failure };
            balancer.finish(at(ms), id, outcome, Duration::from_millis(1));
        }
        assert_eq!(balancer.count(), (3, 1));
        assert!(last_failure < 200, "asked until {last_failure} ms");
        assert!(balancer.due(at(2_000)).is_empty(), "it is given time");
        let due = balancer.due(at(10_000));
        assert_eq!(due.iter().map(|(_, address)| address.as_str()).collect::<Vec<_>>(), ["replica-1"]);
        assert!(balancer.due(at(10_001)).is_empty(), "one probe at a time");
        balancer.probed(at(10_001), due[0].0, false);
        assert!(balancer.due(at(15_000)).is_empty(), "longer than the first time");
        assert_eq!(balancer.due(at(16_100)).len(), 1);
        balancer.probed(at(16_100), due[0].0, true);
        assert_eq!(balancer.count(), (3, 0));
    }

    #[test]
    fn a_retry_goes_elsewhere_and_to_one_that_is_left_out_before_to_none() {
        let (mut balancer, now) = (balancer(2), Instant::now());
        let (first, _) = balancer.pick(now, &[], [0.0, 0.0]).unwrap();
        let (second, _) = balancer.pick(now, &[first], [0.0, 0.0]).unwrap();
        assert!(first != second && balancer.pick(now, &[first, second], [0.9, 0.9]).is_none());
        for _ in 0..20 {
            balancer.finish(now, first, Outcome::Failed, Duration::ZERO);
        }
        assert_eq!(balancer.count(), (2, 1));
        assert_eq!(balancer.pick(now, &[second], [0.5, 0.5]).unwrap().0, first);
        assert!(Balancer::new(BalanceSettings::default()).pick(now, &[], [0.0, 0.0]).is_none());
    }

    #[test]
    fn what_is_known_of_a_replica_stays_while_others_come_and_go() {
        let (mut balancer, now) = (balancer(2), Instant::now());
        let (id, address) = balancer.pick(now, &[], [0.0, 0.0]).unwrap();
        balancer.set(&[address.clone(), "another".into()]);
        balancer.finish(now, id, Outcome::Answered, Duration::from_millis(5));
        let kept = balancer.replicas.iter().find(|replica| replica.address == address).unwrap();
        assert!(kept.in_work == 0 && kept.latency_s > 0.004);
        balancer.set(&["another".into()]);
        balancer.finish(now, id, Outcome::Failed, Duration::ZERO);
        assert_eq!(balancer.count(), (1, 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever happens, more than half of the replicas are asked, and no attempt is counted for ever.
        #[test]
        fn never_all_are_left_out(
            count in 1_usize..7,
            steps in proptest::collection::vec((0_u8..4, 0.0_f64..1.0, 0.0_f64..1.0, 0_u64..3_000), 0..500),
        ) {
            let (mut balancer, mut now) = (balancer(count), Instant::now());
            let mut open = Vec::new();
            for (step, a, b, ms) in steps {
                now += Duration::from_millis(ms);
                match step {
                    0 => open.push(balancer.pick(now, &[], [a, b]).unwrap().0),
                    1 => balancer.due(now).into_iter().for_each(|(id, _)| balancer.probed(now, id, a < 0.5)),
                    _ => {
                        let outcome = if a < 0.8 { Outcome::Failed } else { Outcome::Answered };
                        open.pop().into_iter().for_each(|id| {
                            balancer.finish(now, id, outcome, Duration::from_millis(ms));
                        });
                    }
                }
                let (all, out) = balancer.count();
                prop_assert!(all == count && out * 2 <= count);
            }
            open.into_iter().for_each(|id| {
                balancer.finish(now, id, Outcome::Abandoned, Duration::ZERO);
            });
            prop_assert!(balancer.replicas.iter().all(|replica| replica.in_work == 0));
        }
    }
}
