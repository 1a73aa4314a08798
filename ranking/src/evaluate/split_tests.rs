use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::evaluate::PROTOCOLS;

const USERS: u32 = 12;
const ITEMS: u32 = 20;

/// A log of (user, item, kind, time); kind 0 weighs nothing.
fn log(rows: &[(u32, u32, u16, i64)]) -> EventLog {
    let event = |&(user, item, kind, time)| Event { user, item, kind, value: None, time };
    let kinds = vec!["impression".into(), "view".into(), "dislike".into()];
    EventLog::new(rows.iter().map(event).collect(), USERS as usize, ITEMS as usize, kinds).unwrap()
}

fn split(name: &str, log: &EventLog, seed: u64) -> Result<Split, SplitError> {
    Protocol::named(name).unwrap().split(log, &Worth::default(), seed)
}

fn rows() -> impl Strategy<Value = Vec<(u32, u32, u16, i64)>> {
    vec((0..USERS, 0..ITEMS, 0..3_u16, 0..50_i64), 0..300)
}

fn times(log: &EventLog, user: u32, part: &[u32]) -> Vec<(i64, u32)> {
    let of_user = part.iter().filter(|&&place| log.event(place).user == user);
    of_user.map(|&place| (log.event(place).time, place)).collect()
}

proptest! {
    #[test]
    fn every_event_that_weighs_is_in_exactly_one_part(rows in rows(), seed: u64) {
        let log = log(&rows);
        let weighing: Vec<u32> = (0..rows.len() as u32).filter(|&place| rows[place as usize].2 != 0).collect();
        for protocol in PROTOCOLS {
            let Ok(split) = split(protocol.name, &log, seed) else { continue };
            let mut all = [&split.train[..], &split.validation, &split.test].concat();
            all.sort_unstable();
            prop_assert_eq!(&all, &weighing);
            prop_assert!(split.train.is_sorted() && split.validation.is_sorted() && split.test.is_sorted());
            prop_assert_eq!(Ok(split), protocol.split(&log, &Worth::default(), seed));
        }
    }

    #[test]
    fn ratios_hold_for_each_user(rows in rows(), seed: u64) {
        let log = log(&rows);
        for (name, validation, test) in [
            ("recommenders-75-25", 0.0, 0.25),
            ("recbole-811-full", 0.1, 0.1),
            ("user-80-10-10", 0.1, 0.1),
            ("user-90-10", 0.0, 0.1),
        ] {
            let Ok(split) = split(name, &log, seed) else { continue };
            for user in 0..USERS {
                let [a, b, c] = [&split.train, &split.validation, &split.test].map(|part| times(&log, user, part).len());
                let all = (a + b + c) as f64;
                prop_assert!((b as f64 - validation * all).abs() <= 1.0 && (c as f64 - test * all).abs() <= 1.0);
                prop_assert!(a > 0 || all == 0.0, "{name} leaves user {user} without training events");
            }
        }
    }

    #[test]
    fn time_is_respected(rows in rows()) {
        let log = log(&rows);
        if let Ok(split) = split("leave-last-out-full", &log, 0) {
            for user in 0..USERS {
                let [train, validation, test] =
                    [&split.train, &split.validation, &split.test].map(|part| times(&log, user, part));
                prop_assert!(validation.len() <= 1 && test.len() == usize::from(train.len() + test.len() > 1));
                prop_assert!(train.iter().max() <= validation.iter().chain(&test).min() || test.is_empty());
                prop_assert!(validation.is_empty() || validation < test);
            }
        }
        if let Ok(split) = split("global-time", &log, 0) {
            let time = |&place: &u32| log.event(place).time;
            prop_assert!(split.train.iter().map(time).max() < split.test.iter().map(time).min());
        }
    }

    #[test]
    fn the_cold_are_unknown_in_training(rows in rows(), seed: u64) {
        let log = log(&rows);
        let all = |part: &[u32], row: fn(&Event) -> u32| -> BTreeSet<u32> {
            part.iter().map(|&place| row(log.event(place))).collect()
        };
        for (name, row) in [("users-cold", (|event| event.user) as fn(&Event) -> u32), ("items-cold", |event| event.item)] {
            let Ok(split) = split(name, &log, seed) else { continue };
            let (train, test) = (all(&split.train, row), all(&split.test, row));
            prop_assert!(train.is_disjoint(&test));
            let share = (train.len() + test.len()) as f64 / 10.0;
            prop_assert_eq!(test.len(), (share.round() as usize).max(1));
        }
    }
}

#[test]
fn sizes_of_held_parts_are_those_of_the_published_splits() {
    let sizes = [1, 2, 3, 9, 10, 19, 20, 105].map(two_tenths);
    assert_eq!(sizes, [(0, 0), (0, 1), (1, 1), (1, 1), (1, 1), (1, 1), (2, 2), (10, 10)]);
    // 1.5 and 2.5 are rounded to 2, 0.4 to 0: but one is tested while train keeps one.
    for (events, test) in [(1, 0), (2, 1), (4, 1), (14, 1), (15, 2), (20, 2)] {
        let mut rows: Vec<_> = (0..events).map(|item| (0, item, 1, 0)).collect();
        rows.extend((0..4).map(|item| (1, item, 1, 0)));
        let split = split("user-90-10", &log(&rows), 42).unwrap();
        assert_eq!(split.test.iter().filter(|&&place| place < events).count(), test, "of {events}");
    }
    // numpy rounds half to even: round(.75 * 2) = 2, round(.75 * 6) = 4, round(.75 * 10) = 8.
    for (events, train) in [(2, 2), (3, 2), (6, 4), (10, 8)] {
        let mut rows: Vec<_> = (0..events).map(|item| (0, item, 1, 0)).collect();
        rows.extend((0..4).map(|item| (1, item, 1, 0)));
        let split = split("recommenders-75-25", &log(&rows), 42).unwrap();
        assert_eq!(split.train.iter().filter(|&&place| place < events).count(), train);
    }
}

#[test]
fn ties_are_broken_by_the_order_of_the_file() {
    let split =
        split("leave-last-out-full", &log(&[(0, 5, 1, 9), (0, 3, 1, 9), (0, 7, 1, 1), (0, 1, 1, 9)]), 0).unwrap();
    assert_eq!((split.train, split.validation, split.test), (vec![0, 2], vec![1], vec![3]));
}

#[test]
fn other_users_do_not_change_a_users_split() {
    let few: Vec<_> = (0..20).map(|item| (0, item, 1, 0)).collect();
    let mut more = few.clone();
    more.extend((0..20).map(|item| (1, item, 1, 0)));
    let tested = |rows: &[_]| split("user-90-10", &log(rows), 3).unwrap().test;
    assert_eq!(tested(&few), tested(&more)[..2]);
    assert_ne!(tested(&few), split("user-90-10", &log(&few), 4).unwrap().test);
}

#[test]
fn a_part_without_events_is_an_error() {
    let error = |name, rows: &[_]| split(name, &log(rows), 0).unwrap_err();
    assert!(matches!(error("user-90-10", &[(0, 0, 1, 0)]), SplitError::Empty { part: "test", .. }));
    assert!(matches!(error("global-time", &[(0, 0, 1, 5), (0, 1, 1, 5)]), SplitError::Empty { part: "train", .. }));
    assert!(matches!(error("items-cold", &[(0, 0, 0, 0)]), SplitError::Empty { part: "train", .. }));
}

#[test]
fn cuts_leave_the_rest_to_test() {
    let sizes = [0, 1, 2, 5, 9, 10, 11, 19, 20, 104].map(|events| (events, cut_tenths(events)));
    let expected = [(0, 0), (0, 0), (0, 1), (0, 1), (1, 1), (1, 1), (1, 2), (2, 2), (2, 2), (10, 11)];
    assert_eq!(sizes.map(|(_, sizes)| sizes), expected, "{sizes:?}");
}
