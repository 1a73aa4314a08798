//! One promise of the core per test, in the smallest traffic that shows it. `properties` holds them in any traffic.

use std::time::Duration;

use super::*;

/// FLOP/s of a worker in these tests; a token is one FLOP, so a thousand tokens take a second.
pub(super) const SPEED: f64 = 1e3;

/// Limits under which a batch holds 25 tokens by time, and otherwise one worker's whole share.
pub(super) fn limits() -> Limits {
    Limits {
        flops_per_second_guess: SPEED,
        queue_wait_max: Duration::from_secs(1 << 20),
        batches_a_share: 1,
        ..Limits::default()
    }
}

pub(super) fn request(caller: &str, lengths: &[u32]) -> Request<usize> {
    Request {
        model: ModelId(0),
        class: WorkClass::Interactive,
        caller: caller.into(),
        deadline: None,
        texts: lengths.iter().map(|&tokens| Cost { tokens, work: u64::from(tokens) }).collect(),
        payload: 0,
    }
}

fn core(workers: usize) -> Core<usize> {
    Core::new(limits(), workers, &[512, 512])
}

const MS: Duration = Duration::from_millis(1);

/// Pushes at time zero under a name that batches show.
fn push(core: &mut Core<usize>, name: usize, request: Request<usize>) -> RequestId {
    core.push(Time::ZERO, Request { payload: name, ..request }).unwrap()
}

/// The names in the next batch.
fn batch(core: &mut Core<usize>, now: Time) -> Vec<usize> {
    let mut batch = Batch::default();
    core.next_batch(now, &mut batch);
    batch.texts.iter().map(|slot| slot.payload).collect()
}

#[test]
fn nothing_waiting_gives_no_batch() {
    let mut batch = Batch::default();
    assert!(!core(1).next_batch(Time::ZERO, &mut batch));
    assert!(batch.texts.is_empty());
}

#[test]
fn a_batch_ends_before_the_text_that_exceeds_its_time() {
    let mut core = core(1);
    push(&mut core, 1, request("a", &[10, 10, 10]));
    assert_eq!(batch(&mut core, Time::ZERO), [1, 1]);
    assert_eq!(batch(&mut core, Time::ZERO), [1]);
}

#[test]
fn a_text_longer_than_a_batch_may_be_runs_alone() {
    let mut core = core(1);
    push(&mut core, 1, request("a", &[400]));
    push(&mut core, 2, request("b", &[1]));
    assert_eq!(batch(&mut core, Time::ZERO), [1]);
    assert_eq!(batch(&mut core, Time::ZERO), [2]);
}

#[test]
fn the_measured_speed_bounds_the_next_batch() {
    let mut core = core(1);
    push(&mut core, 1, request("a", &[10; 50]));
    assert_eq!(batch(&mut core, Time::ZERO).len(), 2);
    for _ in 0..20 {
        core.finished(ModelId(0), 1_010, Duration::from_millis(100));
    }
    assert_eq!(batch(&mut core, Time::ZERO).len(), 25);
}

#[test]
fn a_worker_leaves_the_others_their_share() {
    let mut core = core(2);
    push(&mut core, 1, request("a", &[5, 5, 5, 5]));
    assert_eq!(batch(&mut core, Time::ZERO).len(), 2);
    assert_eq!(batch(&mut core, Time::ZERO).len(), 1);
    assert_eq!(batch(&mut core, Time::ZERO).len(), 1);
}

#[test]
fn ever_new_callers_with_deadlines_do_not_keep_another_model_waiting() {
    let mut core = core(1);
    push(&mut core, 7, request("patient", &[20]));
    let mut to_others = 0;
    for round in 0..100_u32 {
        let now = round * 20 * MS;
        let hasty = Request { model: ModelId(1), deadline: Some(now + 25 * MS), ..request(&round.to_string(), &[20]) };
        core.push(now, Request { payload: 1, ..hasty }).unwrap();
        if batch(&mut core, now).contains(&7) {
            break;
        }
        to_others += 1;
    }
    assert!(to_others < 10, "{to_others} batches went to others");
}

#[test]
fn a_share_comes_in_parts() {
    let mut core = Core::new(Limits { batches_a_share: 2, ..limits() }, 1, &[512]);
    push(&mut core, 1, request("a", &[3; 8]));
    let sizes: Vec<_> = (0..4).map(|_| batch(&mut core, Time::ZERO).len()).collect();
    assert_eq!(sizes, [4, 2, 1, 1]);
}

#[test]
fn a_batch_is_of_one_model_and_models_take_turns() {
    let mut core = core(1);
    push(&mut core, 1, request("a", &[10; 4]));
    push(&mut core, 2, Request { model: ModelId(1), ..request("a", &[10; 4]) });
    let batches: Vec<_> = (0..4).map(|_| batch(&mut core, Time::ZERO)).collect();
    assert_eq!(batches, [[1, 1], [2, 2], [1, 1], [2, 2]]);
}

#[test]
fn lower_classes_give_way_within_one_batch() {
    let mut core = core(1);
    push(&mut core, 3, Request { class: WorkClass::Training, ..request("a", &[20; 2]) });
    push(&mut core, 2, Request { class: WorkClass::Bulk, ..request("a", &[20; 2]) });
    assert_eq!(batch(&mut core, Time::ZERO), [2]);
    push(&mut core, 1, request("b", &[20]));
    let order: Vec<_> = (0..4).flat_map(|_| batch(&mut core, Time::ZERO)).collect();
    assert_eq!(order, [1, 2, 3, 3]);
}

#[test]
fn a_lower_class_that_waited_its_limit_gets_one_batch() {
    let mut core = core(1);
    push(&mut core, 2, Request { class: WorkClass::Bulk, ..request("a", &[20; 3]) });
    push(&mut core, 1, request("a", &[20; 9]));
    let limit = limits().bulk_wait_max;
    assert_eq!(batch(&mut core, limit - MS), [1]);
    assert_eq!(batch(&mut core, limit), [2]);
    assert_eq!(batch(&mut core, limit + MS), [1]);
    assert_eq!(batch(&mut core, 2 * limit), [2]);
}

#[test]
fn callers_take_turns() {
    let mut core = core(1);
    push(&mut core, 1, request("hog", &[10; 20]));
    push(&mut core, 2, request("guest", &[10; 2]));
    assert_eq!(batch(&mut core, Time::ZERO), [1, 2]);
    assert_eq!(batch(&mut core, Time::ZERO), [1, 2]);
    assert_eq!(batch(&mut core, Time::ZERO), [1, 1]);
}

#[test]
fn a_long_request_does_not_hold_back_a_short_one_of_the_same_caller() {
    let mut core = core(1);
    push(&mut core, 1, request("a", &[10; 100]));
    push(&mut core, 2, request("a", &[10]));
    assert_eq!(batch(&mut core, Time::ZERO), [1, 2]);
}

#[test]
fn a_request_whose_deadline_has_passed_leaves_without_running() {
    let mut core = core(1);
    push(&mut core, 1, Request { deadline: Some(5 * MS), ..request("a", &[1]) });
    let mut batch = Batch::default();
    assert!(!core.next_batch(5 * MS, &mut batch));
    assert_eq!((batch.expired, batch.texts.len()), (vec![1], 0));
}

#[test]
fn urgent_requests_go_first_in_the_order_of_their_deadlines() {
    let mut core = core(1);
    push(&mut core, 9, request("a", &[5; 20]));
    push(&mut core, 2, Request { deadline: Some(35 * MS), ..request("b", &[5]) });
    push(&mut core, 1, Request { deadline: Some(30 * MS), ..request("c", &[5]) });
    assert_eq!(batch(&mut core, Time::ZERO), [1, 2, 9, 9, 9]);
}

#[test]
fn a_distant_deadline_keeps_its_turn() {
    let mut core = core(1);
    push(&mut core, 9, request("a", &[5; 20]));
    push(&mut core, 1, Request { deadline: Some(500 * MS), ..request("a", &[5]) });
    push(&mut core, 8, request("a", &[5; 1]));
    assert_eq!(batch(&mut core, Time::ZERO), [9, 1, 9, 8, 9]);
}

#[test]
fn a_batch_ends_before_the_earliest_deadline_in_it() {
    let mut core = core(1);
    push(&mut core, 9, request("a", &[4; 20]));
    push(&mut core, 1, Request { deadline: Some(10 * MS), ..request("b", &[5]) });
    assert_eq!(batch(&mut core, Time::ZERO), [1, 9]);
}

#[test]
fn nothing_joins_a_batch_that_leaves_an_urgent_request_behind() {
    let mut core = core(1);
    push(&mut core, 9, request("a", &[1; 20]));
    push(&mut core, 1, Request { deadline: Some(10 * MS), ..request("b", &[8]) });
    push(&mut core, 2, Request { deadline: Some(18 * MS), ..request("b", &[8]) });
    assert_eq!(batch(&mut core, Time::ZERO), [1]);
    assert_eq!(batch(&mut core, 8 * MS), [2, 9, 9]);
}

#[test]
fn a_request_that_cannot_be_in_time_does_not_go_first() {
    let mut core = core(1);
    push(&mut core, 9, request("a", &[20; 2]));
    push(&mut core, 1, Request { deadline: Some(10 * MS), ..request("b", &[11]) });
    assert_eq!(batch(&mut core, Time::ZERO), [9]);
}

#[test]
fn a_cancelled_request_leaves_at_once() {
    let mut core = core(1);
    let id = push(&mut core, 1, request("a", &[10; 4]));
    push(&mut core, 2, request("b", &[10; 1]));
    assert_eq!(batch(&mut core, Time::ZERO), [1, 2]);
    assert_eq!(core.cancel(id), Some(1));
    assert_eq!((core.texts(), core.cancel(id)), (0, None));
    assert_eq!(batch(&mut core, Time::ZERO), [] as [usize; 0]);
}

#[test]
fn refusals_say_what_is_wrong() {
    let mut core = Core::new(Limits { queue_texts_max: 10, ..limits() }, 1, &[512]);
    let mut refused = |request| core.push(10 * MS, request).unwrap_err();
    assert_eq!(refused(request("a", &[])), Refused::NoTexts);
    assert_eq!(refused(request("a", &[1, 0])), Refused::EmptyText { index: 1 });
    assert_eq!(refused(request("a", &[512, 513])), Refused::TextTooLong { index: 1, tokens: 513, tokens_max: 512 });
    assert_eq!(refused(Request { model: ModelId(1), ..request("a", &[1]) }), Refused::UnknownModel(ModelId(1)));
    assert_eq!(refused(Request { deadline: Some(10 * MS), ..request("a", &[1]) }), Refused::DeadlinePassed);
    let too_large = refused(Request { class: WorkClass::Training, ..request("a", &[1; 6]) });
    assert!(matches!(too_large, Refused::TooLarge { texts: 6, texts_max: 5, .. }), "{too_large:?}");
}

#[test]
fn a_full_queue_says_when_to_come_back() {
    let mut core = Core::new(Limits { queue_texts_max: 10, ..limits() }, 2, &[512]);
    push(&mut core, 1, request("a", &[100; 9]));
    let refused = core.push(Time::ZERO, request("b", &[1; 2])).unwrap_err();
    assert_eq!(refused, Refused::Full { retry_after: Duration::from_millis(450) });
}

#[test]
fn a_flood_leaves_room_for_other_callers_and_higher_classes() {
    let mut core = Core::new(Limits { queue_texts_max: 100, ..limits() }, 1, &[512]);
    let accepted = |core: &mut Core<usize>, caller: &str, class| {
        (0..200).filter(|_| core.push(Time::ZERO, Request { class, ..request(caller, &[1]) }).is_ok()).count()
    };
    assert_eq!(accepted(&mut core, "trainer", WorkClass::Training), 25);
    assert_eq!(accepted(&mut core, "importer", WorkClass::Bulk), 25);
    assert_eq!(accepted(&mut core, "hog", WorkClass::Interactive), 25);
    assert!(accepted(&mut core, "guest", WorkClass::Interactive) > 0);
}

#[test]
fn a_wait_that_is_too_long_is_refused_on_arrival() {
    let mut core = Core::new(Limits { queue_wait_max: Duration::from_secs(1), ..limits() }, 1, &[512]);
    push(&mut core, 1, request("a", &[100; 11]));
    let refused = core.push(Time::ZERO, request("a", &[1])).unwrap_err();
    assert_eq!(refused, Refused::Full { retry_after: Duration::from_millis(1_100) });
    push(&mut core, 2, request("b", &[1]));
    push(&mut core, 3, Request { class: WorkClass::Bulk, ..request("a", &[1]) });
}

#[test]
fn a_deadline_that_cannot_be_kept_is_refused_on_arrival() {
    let mut core = core(1);
    push(&mut core, 1, Request { deadline: Some(600 * MS), ..request("a", &[100; 5]) });
    let due = |within: u32| Request { deadline: Some(within * MS), ..request("a", &[50]) };
    assert!(matches!(core.push(Time::ZERO, due(540)), Err(Refused::Full { .. })));
    push(&mut core, 2, due(560));
}
