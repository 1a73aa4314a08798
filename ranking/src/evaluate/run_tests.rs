use super::*;
use crate::data::{Event, EventLog, History, Worth};
use crate::evaluate::{Bootstrap, Comparison, Protocol};

/// Everybody gets the same scores.
struct Fixed(Vec<f32>);

impl Scorer for Fixed {
    fn items(&self) -> usize {
        self.0.len()
    }

    fn score(&self, _: Option<u32>, _: History<'_>, scores: &mut [f32]) {
        scores.copy_from_slice(&self.0);
    }
}

fn popularity(task: &Task) -> Fixed {
    Fixed(task.seen_by.iter().map(|&users| users as f32).collect())
}

fn task(name: &str, users: usize, items: usize, rows: &[(u32, u32)]) -> Task {
    let event = |(time, &(user, item))| Event { user, item, kind: 0, value: None, time: time as i64 };
    let events = rows.iter().enumerate().map(event).collect();
    let log = EventLog::new(events, users, items, vec!["view".into()]).unwrap();
    Task::new(Protocol::named(name).unwrap(), &log, &Worth::default(), 1, Stage::Test).unwrap()
}

/// Popularity in training (first two of three, the third validates, the fourth tests): item 0 has 3 users, item 1 has 2,
/// item 2 has 1. By popularity, then row:
/// - user 0 saw 0, 1, 3 and wants 2: the list is 2, 4, 5: rank 1.
/// - user 1 saw 0, 1, 4 and wants 5: the list is 2, 3, 5: rank 3, nDCG 1 / log2(4).
/// - user 2 saw 0, 2, 5 and wants 3: the list is 1, 3, 4: rank 2, nDCG 1 / log2(3).
#[test]
fn popularity_on_a_log_worked_by_hand() {
    let rows = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 2), (0, 3), (1, 4), (2, 5), (0, 2), (1, 5), (2, 3)];
    let task = task("leave-last-out-full", 3, 6, &rows);
    let outcome = evaluate(&popularity(&task), &task, 1).unwrap();
    let group = &outcome.groups[0];
    let lists: Vec<&[u32]> = group.lists().collect();
    assert_eq!(lists, [&[2, 4, 5][..], &[2, 3, 5], &[1, 3, 4]]);
    assert_eq!(group.values(Metric::Ndcg), [1.0, 0.5, 1.0 / 3_f64.log2()]);
    assert_eq!(group.values(Metric::Mrr), [1.0, 1.0 / 3.0, 0.5]);
    assert_eq!(group.values(Metric::HitRate), [1.0; 3]);
    assert!((group.coverage - 5.0 / 6.0).abs() < 1e-12);
    // Of 3 users, 1 had item 2, 2 had item 1; nobody had 3, 4, 5, which count as had by one.
    let bits = (3.0 * 3_f64.log2() * 2.0 + 1.5_f64.log2() + 2.0 * 3_f64.log2()) / 9.0;
    assert!((group.novelty_bits - bits).abs() < 1e-12, "{} is not {bits}", group.novelty_bits);
}

fn wide() -> Task {
    let rows: Vec<(u32, u32)> = (0..3_000_u32).map(|n| (n % 61, n * n % 97)).collect();
    task("recommenders-75-25", 61, 97, &rows)
}

#[test]
fn lists_made_elsewhere_are_judged_alike() {
    let task = wide();
    let outcome = evaluate(&popularity(&task), &task, 1).unwrap();
    let longer = |case: &Case| {
        let user = outcome.groups[0].users.iter().find(|user| user.user == case.user).unwrap();
        Ok::<_, ()>([&user.list[..], &case.relevant].concat())
    };
    assert_eq!(judge(&task, longer).unwrap(), outcome, "what is beyond k does not count");
    assert_eq!(judge(&task, |case| if case.user == 7 { Err("gone") } else { Ok(Vec::new()) }), Err("gone"));
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let task = wide();
    let scorer = popularity(&task);
    let one = evaluate(&scorer, &task, 1).unwrap();
    assert!(one.groups[0].users.len() > 20);
    assert!([0, 2, 3, 7, 100].iter().all(|&threads| evaluate(&scorer, &task, threads).unwrap() == one));
}

/// JSON readers may be off by the last bit of a number; that must not look like a difference.
#[test]
fn an_outcome_written_and_read_again_does_not_differ() {
    let task = wide();
    let outcome = evaluate(&popularity(&task), &task, 2).unwrap();
    let read: Outcome = serde_json::from_str(&serde_json::to_string(&outcome).unwrap()).unwrap();
    assert!(read.groups[0].lists().eq(outcome.groups[0].lists()));
    let comparison =
        Comparison::new(&[outcome], &[read], Bootstrap { resamples: 100, ..Bootstrap::default() }).unwrap();
    for (metric, difference) in &comparison.groups[0].metrics {
        assert_eq!((difference.interval.mean, difference.p), (0.0, 1.0), "{metric:?}");
    }
}

#[test]
fn lists_are_those_of_a_full_sort_without_what_was_seen() {
    let task = wide();
    let scorer = popularity(&task);
    let outcome = evaluate(&scorer, &task, 2).unwrap();
    for (user, case) in outcome.groups[0].users.iter().zip(&task.groups[0].cases) {
        let mut items: Vec<u32> = (0..97).filter(|item| !case.masked.contains(item)).collect();
        items.sort_by(|&left, &right| {
            scorer.0[right as usize].total_cmp(&scorer.0[left as usize]).then(left.cmp(&right))
        });
        items.truncate(10);
        assert_eq!(user.list, items);
    }
}

#[test]
fn cold_items_are_ranked_alone() {
    let rows: Vec<(u32, u32)> = (0..400).map(|n| (n / 20, n % 20)).collect();
    let task = task("items-cold", 20, 20, &rows);
    let outcome = evaluate(&Fixed(vec![0.0; 20]), &task, 2).unwrap();
    assert_eq!((outcome.ranked, outcome.groups[0].coverage), (2, 1.0));
    assert!(outcome.groups[0].lists().all(|list| Some(list) == task.only.as_deref()));
}

#[test]
fn what_cannot_be_ranked_is_an_error() {
    let task = wide();
    let mut scores = vec![0.0; 97];
    let case = &task.groups[0].cases[0];
    let item = case.relevant[0];
    scores[item as usize] = f32::NAN;
    for threads in [1, 4] {
        let error = evaluate(&Fixed(scores.clone()), &task, threads).unwrap_err();
        assert_eq!(error, EvaluateError::NotANumber { user: case.user, item });
    }
    let error = evaluate(&Fixed(vec![0.0; 5]), &task, 1).unwrap_err();
    assert_eq!(error, EvaluateError::Items { scorer: 5, task: 97 });
}
