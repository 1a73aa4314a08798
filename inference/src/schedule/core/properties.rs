//! The promises of the core in random traffic, simulated: virtual time, exact costs, nothing measured.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;

use super::tests::{SPEED, limits, request};
use super::*;

const CAPACITY_TOKENS: usize = 64;
const MODELS: usize = 2;

/// One thing that happens to the core.
#[derive(Clone, Debug)]
enum Event {
    Push { caller: u8, class: usize, model: usize, lengths: Vec<u32>, deadline_ms: Option<u64> },
    Cancel(prop::sample::Index),
    Ask,
    Pass { ms: u64 },
}

fn event() -> impl Strategy<Value = Event> {
    let push = (
        0_u8..5,
        0..WorkClass::ALL.len(),
        0..MODELS,
        prop::collection::vec(1..=CAPACITY_TOKENS as u32, 1..12),
        prop::option::of(0_u64..400),
    );
    prop_oneof![
        4 => push.prop_map(|(caller, class, model, lengths, deadline_ms)| Event::Push { caller, class, model, lengths, deadline_ms }),
        1 => any::<prop::sample::Index>().prop_map(Event::Cancel),
        4 => Just(Event::Ask),
        2 => (0_u64..100).prop_map(|ms| Event::Pass { ms }),
    ]
}

/// What must hold of each request, kept apart from the core.
#[derive(Default)]
struct Ledger {
    requests: HashMap<RequestId, Request<usize>>,
    /// Texts that have run, of each request that has not left.
    run: HashMap<RequestId, usize>,
    left: HashSet<RequestId>,
    ids: Vec<RequestId>,
}

impl Ledger {
    fn waits(&self, id: RequestId) -> bool {
        !self.left.contains(&id) && self.run[&id] < self.requests[&id].texts.len()
    }

    fn texts(&self) -> usize {
        let waiting = self.ids.iter().filter(|id| self.waits(**id));
        waiting.map(|id| self.requests[id].texts.len() - self.run[id]).sum()
    }

    fn push(&mut self, id: RequestId, request: Request<usize>) {
        self.requests.insert(id, request);
        self.run.insert(id, 0);
        self.ids.push(id);
    }

    /// A batch is of what waits, of one model and class, in the order of each request's texts, and within its budget.
    fn check(&mut self, limits: &Limits, now: Time, batch: &Batch<usize>) -> Result<(), TestCaseError> {
        for number in &batch.expired {
            let id = self.ids[*number];
            prop_assert!(self.waits(id), "expired, but did not wait");
            prop_assert!(self.requests[&id].deadline.unwrap() <= now, "expired before its deadline");
            self.left.insert(id);
        }
        for slot in &batch.texts {
            prop_assert!(self.waits(slot.request), "ran, but did not wait");
            let request = &self.requests[&slot.request];
            prop_assert_eq!((request.model, request.class), (batch.model, batch.class));
            prop_assert_eq!(slot.index, self.run[&slot.request], "out of order, twice or never");
            prop_assert!(request.deadline.is_none_or(|deadline| deadline > now), "ran after its deadline");
            *self.run.get_mut(&slot.request).unwrap() += 1;
        }
        let tokens: usize = batch.texts.iter().map(|slot| slot.tokens).sum();
        prop_assert_eq!(tokens, batch.tokens);
        prop_assert!(tokens <= CAPACITY_TOKENS && batch.texts.len() <= limits.batch_texts_max);
        let within = tokens as f64 / SPEED <= limits.batch_time_max.as_secs_f64() && tokens <= limits.batch_tokens_max;
        prop_assert!(within || batch.texts.len() == 1, "over budget: {tokens} tokens in {} texts", batch.texts.len());
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Every text runs exactly once, unless its request is cancelled or expires, and then never again; batches keep to
    /// their budget; while anything waits there is a batch; at the end nothing is left behind in any index.
    #[test]
    fn every_text_comes_back_exactly_once(
        events in prop::collection::vec(event(), 1..300),
        workers in 1_usize..4,
        batch_texts_max in 1_usize..20,
        batch_tokens_max in 1_usize..100,
        batches_a_share in 1_u64..4,
    ) {
        let limits = Limits { batch_texts_max, batch_tokens_max, queue_texts_max: 400, batches_a_share, ..limits() };
        let mut core = Core::new(limits.clone(), workers, &[CAPACITY_TOKENS; MODELS]);
        let mut ledger = Ledger::default();
        let mut now = Time::ZERO;
        let mut batch = Batch::default();
        for event in events {
            match event {
                Event::Push { caller, class, model, lengths, deadline_ms } => {
                    let request = Request {
                        class: WorkClass::ALL[class],
                        model: ModelId(model),
                        deadline: deadline_ms.map(|ms| now + Duration::from_millis(ms)),
                        payload: ledger.ids.len(),
                        ..request(&caller.to_string(), &lengths)
                    };
                    if let Ok(id) = core.push(now, request.clone()) {
                        ledger.push(id, request);
                    }
                }
                Event::Cancel(index) if !ledger.ids.is_empty() => {
                    let id = *index.get(&ledger.ids);
                    prop_assert_eq!(core.cancel(id).is_some(), ledger.waits(id));
                    ledger.left.insert(id);
                }
                Event::Cancel(_) => {}
                Event::Ask => {
                    let found = core.next_batch(now, &mut batch);
                    ledger.check(&limits, now, &batch)?;
                    prop_assert_eq!(found, !batch.texts.is_empty());
                    prop_assert!(found || core.texts() == 0, "no batch though something waits");
                }
                Event::Pass { ms } => now += Duration::from_millis(ms),
            }
            prop_assert_eq!(core.texts(), ledger.texts());
            prop_assert!(core.texts() <= limits.queue_texts_max);
        }
        while core.next_batch(now, &mut batch) {
            ledger.check(&limits, now, &batch)?;
        }
        ledger.check(&limits, now, &batch)?;
        prop_assert!(ledger.ids.iter().all(|id| !ledger.waits(*id)));
        prop_assert!(core.requests.is_empty() && core.callers.is_empty());
        for queue in core.classes.iter().flat_map(|class| &class.queues) {
            prop_assert_eq!(queue.depth, Depth::default());
            prop_assert_eq!((queue.first(), queue.deadlines.first(), queue.deadlines.work), (None, None, 0));
        }
    }

    /// A batch stops only where the next text in turn would exceed a bound.
    #[test]
    fn a_batch_is_as_full_as_its_budget_allows(
        requests in prop::collection::vec((0_u8..4, prop::collection::vec(1..=CAPACITY_TOKENS as u32, 1..10)), 1..40),
        batch_texts_max in 1_usize..20,
        batch_ms_max in 1_u64..200,
    ) {
        let limits = Limits { batch_texts_max, batch_time_max: Duration::from_millis(batch_ms_max), ..limits() };
        let mut core = Core::new(limits, 1, &[CAPACITY_TOKENS]);
        for (caller, lengths) in requests {
            core.push(Time::ZERO, request(&caller.to_string(), &lengths)).unwrap();
        }
        let mut batch = Batch::default();
        while core.next_batch(Time::ZERO, &mut batch) {
            if let Some(id) = core.classes[0].queues[0].first() {
                let waiting = &core.requests[&id];
                let next = waiting.request.texts[waiting.next];
                let full = batch.texts.len() == batch_texts_max
                    || batch.tokens + next.tokens as usize > CAPACITY_TOKENS
                    || batch.work + next.work > batch_ms_max;
                prop_assert!(full, "{} tokens, the next text has {}", batch.tokens, next.tokens);
            }
        }
    }

    /// While two callers both have work waiting, what they have been served since differs by at most one longest text
    /// of each, whatever the shape of their requests and whoever comes and goes beside them.
    #[test]
    fn callers_who_both_wait_are_served_alike(
        left in prop::collection::vec(prop::collection::vec(1..=CAPACITY_TOKENS as u32, 1..30), 1..20),
        right in prop::collection::vec(prop::collection::vec(1..=CAPACITY_TOKENS as u32, 1..30), 1..20),
        others in prop::collection::vec((0_u8..4, 1..=CAPACITY_TOKENS as u32), 0..60),
    ) {
        let mut core = Core::new(limits(), 1, &[CAPACITY_TOKENS]);
        let mut waits = [0_i64; 2];
        for (side, requests) in [left, right].into_iter().enumerate() {
            for lengths in requests {
                waits[side] += lengths.iter().map(|&tokens| i64::from(tokens)).sum::<i64>();
                let request = Request { payload: side, ..request(["left", "right"][side], &lengths) };
                core.push(Time::ZERO, request).unwrap();
            }
        }
        let mut others = others.into_iter();
        let mut served = [0_i64; 2];
        let mut batch = Batch::default();
        while waits[0] > served[0] && waits[1] > served[1] {
            if let Some((caller, tokens)) = others.next() {
                core.push(Time::ZERO, Request { payload: 2, ..request(&caller.to_string(), &[tokens]) }).unwrap();
            }
            prop_assert!(core.next_batch(Time::ZERO, &mut batch));
            for slot in batch.texts.iter().filter(|slot| slot.payload < 2) {
                served[slot.payload] += slot.tokens as i64;
                let both_wait = waits[0] > served[0] && waits[1] > served[1];
                let difference = (served[0] - served[1]).unsigned_abs() as usize;
                prop_assert!(!both_wait || difference <= 2 * CAPACITY_TOKENS, "{:?}", served);
            }
        }
    }

    /// Nothing starves: under a flood that never ends, in every class and model, from old callers and ever new ones,
    /// with and without deadlines, a request of any shape is done within the time that its share takes.
    #[test]
    fn whatever_waits_gets_done_under_an_endless_flood(
        class in 0..WorkClass::ALL.len(),
        model in 0..MODELS,
        lengths in prop::collection::vec(1..=CAPACITY_TOKENS as u32, 1..8),
        flood in prop::collection::vec((1..=CAPACITY_TOKENS as u32, any::<bool>()), 4..12),
        workers in 1_usize..3,
    ) {
        let (limits, crowd) = (Limits { urgent_lead_tokens_max: 100, ..limits() }, flood.len());
        let mut core = Core::new(limits.clone(), workers, &[CAPACITY_TOKENS; MODELS]);
        let mut flood = Flood { requests: flood, pushed: 0 };
        flood.fill(&mut core, Time::ZERO);
        let victim = Request { class: WorkClass::ALL[class], model: ModelId(model), payload: VICTIM, ..request("victim", &lengths) };
        core.push(Time::ZERO, victim).unwrap();

        // A batch of its class for each text of its own and every other caller's in turn and lead, and for each model.
        let lead_batches = limits.urgent_lead_tokens_max as usize / 25;
        let batches_max = (lengths.len() + 2 + lead_batches) * (crowd + 2) * MODELS * 4;
        let wait = [Duration::ZERO, limits.bulk_wait_max, limits.training_wait_max][class];
        let deadline = (wait + Duration::from_millis(2 * CAPACITY_TOKENS as u64)) * batches_max as u32;
        let (mut now, mut missing, mut batch) = (Time::ZERO, lengths.len(), Batch::default());
        while missing > 0 {
            prop_assert!(core.next_batch(now, &mut batch));
            missing -= batch.texts.iter().filter(|slot| slot.payload == VICTIM).count();
            now += Duration::from_millis(batch.tokens as u64);
            flood.fill(&mut core, now);
            prop_assert!(now <= deadline, "{} texts still wait after {:?}", missing, now);
        }
    }

    /// No deadline is missed that could be met: if on arrival it is further away than the batch that may be running,
    /// one more, and everything with a deadline that waits, the request is done in time, whatever else waits. (No later
    /// arrival has an earlier deadline here: that would take the time with right.)
    #[test]
    fn a_deadline_that_can_be_met_is_met(
        backlog in prop::collection::vec((0_u8..5, prop::collection::vec(1..=CAPACITY_TOKENS as u32, 1..20)), 0..30),
        arrivals in prop::collection::vec((0_u64..120, 0_u8..5, prop::collection::vec(1..=CAPACITY_TOKENS as u32, 1..4)), 1..60),
        patience_ms in 50_u64..1_500,
        workers in 1_usize..3,
    ) {
        let limits = Limits { urgent_lead_tokens_max: u64::MAX, urgent_batches_max: u64::MAX, ..limits() };
        let mut core = Core::new(limits, workers, &[CAPACITY_TOKENS]);
        for (caller, lengths) in backlog {
            core.push(Time::ZERO, Request { payload: usize::MAX, ..request(&caller.to_string(), &lengths) }).unwrap();
        }
        let mut sim = Sim::new(core, workers);
        let longest = Duration::from_millis(CAPACITY_TOKENS as u64);
        let mut due = HashMap::new();
        let mut arrival = Time::ZERO;
        for (number, (gap_ms, caller, lengths)) in arrivals.into_iter().enumerate() {
            arrival += Duration::from_millis(gap_ms);
            sim.run_until(arrival);
            let deadline = arrival + Duration::from_millis(patience_ms);
            let request = Request { deadline: Some(deadline), payload: number, ..request(&caller.to_string(), &lengths) };
            let texts = request.texts.len();
            if sim.core.push(arrival, request).is_ok() {
                let demand = Duration::from_millis(sim.core.classes[0].queues[0].deadlines.work);
                if arrival + 2 * longest + demand <= deadline {
                    due.insert(number, (deadline, texts));
                }
            }
        }
        sim.run_until(Time::MAX);
        for (number, (deadline, texts)) in due {
            let ends: Vec<_> = sim.ends.iter().filter(|(name, _)| *name == number).map(|(_, end)| *end).collect();
            prop_assert_eq!(ends.len(), texts, "request {} ran only in part", number);
            prop_assert!(ends.iter().all(|end| *end <= deadline), "request {}: {:?} after {:?}", number, ends, deadline);
        }
    }

    /// Tiny deadlines buy a bounded lead: a caller who sets them on everything is never served more than the lead and
    /// one longest text of each ahead of one who sets none.
    #[test]
    fn deadlines_buy_no_more_than_the_lead(
        lengths in prop::collection::vec((1..=CAPACITY_TOKENS as u32, 1..=CAPACITY_TOKENS as u32), 50..200),
        patience_ms in 10_u64..300,
        lead in 0_u64..500,
    ) {
        let mut core = Core::new(Limits { urgent_lead_tokens_max: lead, ..limits() }, 1, &[CAPACITY_TOKENS]);
        let total: u64 = lengths.iter().map(|(_, tokens)| u64::from(*tokens)).sum();
        for (_, tokens) in &lengths {
            core.push(Time::ZERO, Request { payload: 1, ..request("patient", &[*tokens]) }).unwrap();
        }
        let (mut now, mut batch, mut served) = (Time::ZERO, Batch::default(), [0_u64; 2]);
        for (tokens, _) in lengths.iter().cycle() {
            let deadline = Some(now + Duration::from_millis(patience_ms));
            // Refused when even the deadline cannot be kept: the hasty one tries again with the next.
            let _ = core.push(now, Request { deadline, ..request("hasty", &[*tokens]) });
            core.next_batch(now, &mut batch);
            for slot in &batch.texts {
                served[slot.payload] += slot.tokens as u64;
            }
            if served[1] == total {
                break;
            }
            let ahead = served[0].saturating_sub(served[1]);
            prop_assert!(ahead <= lead + 2 * CAPACITY_TOKENS as u64, "{} tokens ahead", ahead);
            now += Duration::from_millis(batch.tokens as u64);
        }
    }
}

const VICTIM: usize = 1;

/// Keeps requests of every kind waiting, of callers that have waited before and of ever new ones.
struct Flood {
    requests: Vec<(u32, bool)>,
    pushed: usize,
}

impl Flood {
    fn fill(&mut self, core: &mut Core<usize>, now: Time) {
        for class in WorkClass::ALL {
            while core.depth(class).texts < self.requests.len() {
                let (tokens, has_deadline) = self.requests[self.pushed % self.requests.len()];
                let caller = if self.pushed.is_multiple_of(2) { self.pushed } else { self.pushed % 5 };
                let request = Request {
                    class,
                    model: ModelId(self.pushed / 2 % MODELS),
                    deadline: has_deadline.then_some(now + Duration::from_millis(300)),
                    ..request(&caller.to_string(), &[tokens])
                };
                self.pushed += 1;
                if core.push(now, request.clone()).is_err() {
                    core.push(now, Request { deadline: None, ..request }).unwrap();
                }
            }
        }
    }
}

/// Workers that take exactly as long as estimated.
struct Sim {
    core: Core<usize>,
    /// When each worker is free.
    free: Vec<Time>,
    /// When each text ended, by the name of its request.
    ends: Vec<(usize, Time)>,
}

impl Sim {
    fn new(core: Core<usize>, workers: usize) -> Self {
        Self { core, free: vec![Time::ZERO; workers], ends: Vec::new() }
    }

    /// Lets workers take batches up to a time, at which a worker that found nothing is still free.
    fn run_until(&mut self, until: Time) {
        let mut batch = Batch::default();
        loop {
            let free = self.free.iter_mut().min().expect("there are workers");
            if *free >= until {
                return;
            }
            if !self.core.next_batch(*free, &mut batch) {
                let idle_since = *free;
                let idle = self.free.iter_mut().filter(|free| **free <= idle_since);
                idle.for_each(|free| *free = until);
                continue;
            }
            *free += Duration::from_millis(batch.tokens as u64);
            let end = *free;
            self.ends.extend(batch.texts.iter().map(|slot| (slot.payload, end)));
        }
    }
}
