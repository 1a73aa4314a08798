use super::*;

/// (user, item, kind, time) of views (0) and dislikes (1).
fn task(name: &str, rows: &[(u32, u32, u16, i64)], seed: u64, stage: Stage) -> Result<Task, SplitError> {
    let event = |&(user, item, kind, time)| Event { user, item, kind, value: None, time };
    let kinds = vec!["view".into(), "dislike".into()];
    let log = EventLog::new(rows.iter().map(event).collect(), 40, 30, kinds).unwrap();
    Task::new(Protocol::named(name).unwrap(), &log, &Worth::default(), seed, stage)
}

const ONE_USER: [(u32, u32, u16, i64); 4] = [(0, 5, 0, 4), (0, 3, 0, 1), (0, 8, 1, 2), (0, 1, 0, 3)];

#[test]
fn the_last_event_is_asked_for_after_all_before_it() {
    let test = task("leave-last-out-full", &ONE_USER, 0, Stage::Test).unwrap();
    let case = &test.groups[0].cases[0];
    assert_eq!((&case.relevant[..], &case.masked[..], case.known), (&[5][..], &[1, 3, 8][..], true));
    let history = case.history();
    assert_eq!((history.items, history.times), (&[3, 8, 1][..], &[1, 2, 3][..]));
    assert_eq!(history.weights, [1.0, -4.0, 1.0]);
    assert_eq!((test.users, test.seen_by[3], test.seen_by[1]), (1, 1, 0));

    let validation = task("leave-last-out-full", &ONE_USER, 0, Stage::Validation).unwrap();
    let case = &validation.groups[0].cases[0];
    assert_eq!((&case.relevant[..], &case.masked[..], case.history().items), (&[1][..], &[3, 8][..], &[3, 8][..]));
}

#[test]
fn what_is_disliked_or_met_again_is_not_relevant() {
    let disliked = task("leave-last-out-full", &[(0, 3, 0, 1), (0, 4, 1, 2)], 0, Stage::Test).unwrap();
    assert_eq!((disliked.groups[0].cases.len(), disliked.groups[0].skipped), (0, 1));
    let again = task("leave-last-out-full", &[(0, 3, 0, 1), (0, 3, 0, 2)], 0, Stage::Test).unwrap();
    assert_eq!((again.groups[0].cases.len(), again.groups[0].skipped), (0, 1));
}

#[test]
fn the_test_run_masks_validation_but_is_not_told_of_it() {
    let rows: Vec<_> = (0..30).map(|item| (0, item, 0, i64::from(item))).collect();
    let task = task("recbole-811-full", &rows, 7, Stage::Test).unwrap();
    let case = &task.groups[0].cases[0];
    assert_eq!((case.relevant.len(), case.masked.len(), case.history().items.len()), (3, 27, 24));
    assert!(case.relevant.iter().all(|item| !case.masked.contains(item)));
}

#[test]
fn a_refitted_model_is_told_of_validation() {
    let rows: Vec<_> = (0..30).map(|item| (0, item, 0, i64::from(item))).collect();
    let task = |name, stage| task(name, &rows, 7, stage).unwrap();
    let (full, refit) = (task("recbole-811-full", Stage::Test), task("recbole-811-refit", Stage::Test));
    assert_eq!((refit.split.train.len(), &refit.split.test), (27, &full.split.test));
    assert!(refit.split.train.is_sorted());
    let (case, full) = (&refit.groups[0].cases[0], &full.groups[0].cases[0]);
    assert_eq!((&case.relevant, &case.masked, case.history().items.len()), (&full.relevant, &full.masked, 27));
    let asked = |name| task(name, Stage::Validation);
    assert_eq!(asked("recbole-811-refit").groups, asked("recbole-811-full").groups);
}

#[test]
fn unknown_users_come_with_their_earliest_events() {
    let row = |n: u32| (n / 12, n % 12, 0, i64::from(n % 12));
    let task = task("users-cold", &(0..240).map(row).collect::<Vec<_>>(), 1, Stage::Test).unwrap();
    let names: Vec<&str> = task.groups.iter().map(|group| &group.name[..]).collect();
    assert_eq!(names, ["history 0", "history 1", "history 3", "history 10"]);
    for (group, length) in task.groups.iter().zip([0_u32, 1, 3, 10]) {
        assert_eq!(group.cases.len(), 2);
        for case in &group.cases {
            assert!(!case.known);
            assert_eq!(case.history().items, (0..length).collect::<Vec<_>>());
            assert_eq!(case.relevant, (length..12).collect::<Vec<_>>());
        }
    }
}

#[test]
fn unknown_items_are_ranked_among_themselves() {
    let row = |n: u32| (n / 20, n % 20, 0, i64::from(n));
    let task = task("items-cold", &(0..200).map(row).collect::<Vec<_>>(), 1, Stage::Test).unwrap();
    let only = task.only.clone().unwrap();
    assert_eq!(only.len(), 2);
    assert!(only.iter().all(|&item| task.seen_by[item as usize] == 0));
    let mut rising = only.clone();
    rising.sort_unstable();
    assert!(task.groups[0].cases.iter().all(|case| case.relevant == rising && case.history().items.len() == 18));
}

#[test]
fn users_without_a_past_are_apart() {
    let mut rows: Vec<_> = (0..18).map(|item| (0, item, 0, i64::from(item))).collect();
    rows.extend([(0, 20, 0, 50), (1, 21, 0, 50)]);
    let task = task("global-time", &rows, 0, Stage::Test).unwrap();
    let users = |group: &Group| (group.name.clone(), group.cases.iter().map(|case| case.user).collect::<Vec<_>>());
    let groups: Vec<_> = task.groups.iter().map(users).collect();
    assert_eq!(groups, [("with history".into(), vec![0]), ("without history".into(), vec![1])]);
}

#[test]
fn a_task_is_thinned_evenly_over_all_groups() {
    let row = |n: u32| (n / 12, n % 12, 0, i64::from(n % 12));
    let task = task("users-cold", &(0..240).map(row).collect::<Vec<_>>(), 1, Stage::Test).unwrap();
    let all: Vec<Case> = task.groups.iter().flat_map(|group| group.cases.clone()).collect();
    assert_eq!(all.len(), 8);
    for (cases_max, every) in [(100, 1), (8, 1), (7, 2), (3, 3), (1, 8)] {
        let left = task.clone().thinned(cases_max).groups.into_iter().flat_map(|group| group.cases);
        assert!(left.eq(all.iter().step_by(every).cloned()), "{cases_max}");
    }
}

#[test]
fn a_stage_without_events_is_an_error() {
    let error = task("user-90-10", &ONE_USER, 0, Stage::Validation).unwrap_err();
    assert!(matches!(error, SplitError::Empty { part: "validation", .. }), "{error}");
}
