//! When a store, or a service of somebody else, is no longer asked, and when it is asked again.
//!
//! Closed, every call goes through and its outcome is remembered. Where most of the recent ones failed the breaker
//! opens: callers get an error at once instead of a time limit each, and a store that is coming up is left in peace. After
//! a pause one call probes; if it is answered the breaker closes, if not the pause doubles.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// When a [`Breaker`] opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerSettings {
    /// How many outcomes are remembered at most.
    pub calls_max: usize,
    /// It does not open on fewer than these.
    pub calls_min: usize,
    /// It opens when this share of the remembered calls failed, 0 to 1. Above one half, so that a store that answers
    /// every other call goes on being asked.
    pub failed_share: f64,
    /// Outcomes are forgotten after this time.
    pub memory: Duration,
    /// The first pause.
    pub pause_min: Duration,
    /// The longest pause.
    pub pause_max: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            calls_max: 20,
            calls_min: 5,
            failed_share: 0.8,
            memory: Duration::from_secs(10),
            pause_min: Duration::from_millis(250),
            pause_max: Duration::from_secs(8),
        }
    }
}

/// Refuses calls to a store that fails. Times are since any fixed moment.
#[derive(Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    mode: Mode,
    /// When each call ended, and whether it was answered; oldest first.
    outcomes: VecDeque<(Duration, bool)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Closed,
    /// Nothing before `until`; then one probe at a time.
    Open {
        until: Duration,
        pause: Duration,
        is_probed: bool,
    },
}

/// Leave to make one call, to be given back with [`Breaker::end`] or [`Breaker::forget`].
#[derive(Debug)]
#[must_use]
pub struct Permit {
    is_probe: bool,
}

/// Why a call is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// How many of the remembered calls failed.
    pub failures: usize,
    /// How many calls are remembered.
    pub calls: usize,
    /// How long until the next try; zero while one is being made.
    pub wait: Duration,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { failures, calls, wait } = self;
        let wait_ms = wait.as_millis();
        write!(f, "is not asked: {failures} of its last {calls} calls failed; the next try is in {wait_ms} ms")
    }
}

impl Breaker {
    /// A closed breaker.
    pub fn new(settings: BreakerSettings) -> Self {
        Self { settings, mode: Mode::Closed, outcomes: VecDeque::with_capacity(settings.calls_max) }
    }

    /// Whether calls are refused, but for a probe.
    pub fn is_open(&self) -> bool {
        self.mode != Mode::Closed
    }

    /// Asks for leave to call at `now`.
    ///
    /// # Errors
    /// The breaker is open, and it is not yet time for a probe or one is under way.
    pub fn admit(&mut self, now: Duration) -> Result<Permit, Refusal> {
        match &mut self.mode {
            Mode::Closed => Ok(Permit { is_probe: false }),
            Mode::Open { until, is_probed, .. } if now >= *until && !*is_probed => {
                *is_probed = true;
                Ok(Permit { is_probe: true })
            }
            Mode::Open { until, .. } => {
                let wait = until.saturating_sub(now);
                Err(Refusal { failures: self.failures(), calls: self.outcomes.len(), wait })
            }
        }
    }

    /// A call has ended at `now`; `jitter` is a random number of 0 to 1, which keeps many callers from probing at once.
    pub fn end(&mut self, permit: Permit, answered: bool, now: Duration, jitter: f64) {
        match (self.mode, permit.is_probe, answered) {
            (Mode::Open { .. }, true, true) => {
                self.mode = Mode::Closed;
                self.outcomes.clear();
            }
            (Mode::Open { pause, .. }, true, false) => {
                self.open(now, (pause * 2).min(self.settings.pause_max), jitter);
            }
            (Mode::Closed, _, _) => {
                self.remember(now, answered);
                if !answered && self.fails() {
                    self.open(now, self.settings.pause_min, jitter);
                }
            }
            // It was let through before the breaker opened, and says nothing new.
            (Mode::Open { .. }, false, _) => {}
        }
    }

    /// A call was given up by its caller, and says nothing of the store.
    pub fn forget(&mut self, permit: Permit) {
        if let (Mode::Open { is_probed, .. }, true) = (&mut self.mode, permit.is_probe) {
            *is_probed = false;
        }
    }

    /// A pause of three quarters to all of what it would be.
    fn open(&mut self, now: Duration, pause: Duration, jitter: f64) {
        let until = now + pause.mul_f64(0.75 + 0.25 * jitter.clamp(0.0, 1.0));
        self.mode = Mode::Open { until, pause, is_probed: false };
    }

    fn remember(&mut self, now: Duration, answered: bool) {
        while self.outcomes.front().is_some_and(|(then, _)| *then + self.settings.memory < now)
            || self.outcomes.len() >= self.settings.calls_max.max(1)
        {
            self.outcomes.pop_front();
        }
        self.outcomes.push_back((now, answered));
    }

    fn failures(&self) -> usize {
        self.outcomes.iter().filter(|(_, answered)| !answered).count()
    }

    fn fails(&self) -> bool {
        let calls = self.outcomes.len();
        calls >= self.settings.calls_min && self.failures() as f64 >= self.settings.failed_share * calls as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn call(breaker: &mut Breaker, answered: bool, now: Duration) -> bool {
        match breaker.admit(now) {
            Ok(permit) => {
                breaker.end(permit, answered, now, 1.0);
                true
            }
            Err(_) => false,
        }
    }

    #[test]
    fn it_opens_on_failures_probes_once_after_a_pause_and_closes_on_an_answer() {
        let settings = BreakerSettings::default();
        let mut breaker = Breaker::new(settings);
        for _ in 0..settings.calls_min {
            assert!(call(&mut breaker, false, MS));
        }
        let refusal = breaker.admit(2 * MS).unwrap_err();
        assert_eq!((refusal.failures, refusal.calls, refusal.wait), (5, 5, settings.pause_min - MS));
        let later = MS + settings.pause_min;
        let probe = breaker.admit(later).unwrap();
        assert!(breaker.admit(later).is_err(), "a second call went through beside the probe");
        breaker.end(probe, true, later, 1.0);
        assert!(!breaker.is_open() && call(&mut breaker, true, later));
    }

    #[test]
    fn pauses_double_to_their_bound() {
        let settings = BreakerSettings::default();
        let mut breaker = Breaker::new(settings);
        let mut now = MS;
        (0..settings.calls_min).for_each(|_| assert!(call(&mut breaker, false, now)));
        let mut pause = settings.pause_min;
        for _ in 0..10 {
            assert!(!call(&mut breaker, false, now + pause - MS), "{pause:?}");
            now += pause;
            assert!(call(&mut breaker, false, now), "{pause:?}");
            pause = (pause * 2).min(settings.pause_max);
        }
        assert_eq!(pause, settings.pause_max);
    }

    #[test]
    fn a_probe_that_its_caller_gave_up_is_made_by_another() {
        let settings = BreakerSettings::default();
        let mut breaker = Breaker::new(settings);
        (0..settings.calls_min).for_each(|_| assert!(call(&mut breaker, false, MS)));
        let probe = breaker.admit(MS + settings.pause_min).unwrap();
        breaker.forget(probe);
        assert!(call(&mut breaker, true, MS + settings.pause_min));
        assert!(!breaker.is_open());
    }

    #[test]
    fn old_failures_are_forgotten() {
        let settings = BreakerSettings::default();
        let mut breaker = Breaker::new(settings);
        for round in 0..50 {
            assert!(call(&mut breaker, false, round * (settings.memory / 3)), "{round}");
        }
    }

    #[test]
    fn a_store_that_answers_every_other_call_goes_on_being_asked() {
        let mut breaker = Breaker::new(BreakerSettings::default());
        for number in 0..1_000_u32 {
            assert!(call(&mut breaker, number % 2 == 0, number * MS));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Calls overlap, come at any time, and end in any way. Whatever they do, at most one call is under way while
        /// the breaker is open beyond those from before, the breaker never stays shut for longer than its longest pause,
        /// and it never opens while answers are the rule.
        #[test]
        fn it_is_never_stuck_and_never_lets_a_crowd_through(
            steps in vec((0_u64..400, 0_u8..4, any::<bool>(), 0.0_f64..1.0), 1..300),
        ) {
            let settings = BreakerSettings::default();
            let mut breaker = Breaker::new(settings);
            let mut now = Duration::ZERO;
            let mut under_way: Vec<Permit> = Vec::new();
            for (wait_ms, action, answered, jitter) in steps {
                now += wait_ms as u32 * MS;
                let was_open = breaker.is_open();
                match (action, under_way.pop()) {
                    (0, Some(permit)) => breaker.forget(permit),
                    (1 | 2, Some(permit)) => {
                        let is_probe = permit.is_probe;
                        breaker.end(permit, answered, now, jitter);
                        prop_assert!(!was_open || is_probe || breaker.is_open(), "an old call closed the breaker");
                        prop_assert!(was_open || !answered || !breaker.is_open(), "an answer opened the breaker");
                    }
                    (_, last) => {
                        under_way.extend(last);
                        match breaker.admit(now) {
                            Ok(permit) => {
                                prop_assert_eq!(permit.is_probe, was_open);
                                under_way.push(permit);
                            }
                            Err(refusal) => prop_assert!(refusal.wait <= settings.pause_max),
                        }
                    }
                }
                prop_assert!(under_way.iter().filter(|permit| permit.is_probe).count() <= 1);
                prop_assert!(breaker.outcomes.len() <= settings.calls_max);
            }
            // However it stands, with nothing under way it can be asked after its longest pause, and recovers.
            under_way.into_iter().for_each(|permit| breaker.forget(permit));
            prop_assert!(call(&mut breaker, true, now + settings.pause_max));
            prop_assert!(!breaker.is_open());
        }
    }
}
