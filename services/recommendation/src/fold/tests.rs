use attune_api::log::{Event, Exposure, Record, Shown};
use attune_ranking::data::Worth;
use attune_ranking::retrieve::Links;
use proptest::prelude::*;

use super::{Applied, Counts, EVENTS_MAX, IDS_MAX, Rules, State, key_of};
use crate::RecommendationConfig;

fn rules() -> Rules {
    Rules::new(&RecommendationConfig::default(), Worth::default())
}

fn subject(number: u32) -> String {
    format!("{number:032x}")
}

fn event(id: u64, kind: &str, item: u32, time_s: i64) -> Record {
    Record::Event(Event {
        event_id: id.to_string(),
        r#type: kind.into(),
        item_id: Some(format!("i{item}")),
        time_ms: time_s * 1_000,
        received_ms: time_s * 1_000,
        ..Event::default()
    })
}

fn row(state: &State, item: u32) -> u32 {
    state.items().row(&format!("i{item}")).unwrap()
}

/// 0 where only events that did not count were on it.
fn popular(state: &State, item: u32) -> f32 {
    let row = state.items().row(&format!("i{item}"));
    row.and_then(|row| state.popular().get(row as usize).copied()).unwrap_or(0.0)
}

#[test]
fn an_event_counts_once_and_in_every_respect() {
    let (rules, mut state) = (rules(), State::new(&rules()));
    for _ in 0..3 {
        state.apply(&subject(1), event(7, "click", 1, 10), &rules);
    }
    state.apply(&subject(1), event(8, "purchase", 2, 20), &rules);
    state.apply(&subject(1), event(9, "dislike", 3, 30), &rules);
    state.apply(&subject(1), event(10, "impression", 4, 40), &rules);
    assert_eq!([1, 2, 3, 4].map(|item| popular(&state, item)), [1.0, 8.0, -4.0, 0.0]);
    let user = state.user(key_of(&subject(1)).unwrap()).unwrap();
    let seen: Vec<u32> = user.seen_since(i64::MIN).collect();
    assert_eq!(seen, [1, 2, 3].map(|item| row(&state, item)), "impressions are not seen");
    assert_eq!((user.deeds().len(), user.seen_since(25).count(), state.events()), (4, 1, 4));
    let mut together = Vec::new();
    state.visits().each(row(&state, 1), |other, value| together.push((other, value)));
    assert_eq!(together.len(), 1, "{together:?}");
    assert!(together[0].0 == row(&state, 2) && together[0].1 > 0.0);
}

#[test]
fn an_anonymous_person_becomes_somebody_and_a_person_is_forgotten() {
    let (rules, mut state) = (rules(), State::new(&rules()));
    let (user, anonymous) = (key_of(&subject(1)).unwrap(), key_of(&subject(2)).unwrap());
    state.apply(&subject(2), event(1, "click", 1, 10), &rules);
    state.apply(&subject(1), event(2, "click", 2, 5), &rules);
    state.apply(&subject(1), Record::Join { from: subject(2) }, &rules);
    let times =
        |state: &State, key| state.user(key).unwrap().deeds().iter().map(|deed| deed.time()).collect::<Vec<_>>();
    assert_eq!((times(&state, user), times(&state, anonymous)), (vec![5, 10], vec![5, 10]));
    // A late event of the anonymous subject is the user's, and one that both sent counts once.
    state.apply(&subject(2), event(3, "click", 3, 7), &rules);
    state.apply(&subject(2), event(2, "click", 2, 5), &rules);
    assert_eq!((times(&state, user), state.users()), (vec![5, 7, 10], 1));

    state.apply(&subject(3), event(4, "click", 1, 9), &rules);
    assert_eq!(state.apply(&subject(1), Record::Tombstone, &rules), Applied::Forgotten);
    assert!(state.user(user).is_none() && state.user(anonymous).is_none());
    assert_eq!([1, 2, 3].map(|item| popular(&state, item)), [1.0, 0.0, 0.0]);
    assert_eq!(state.apply(&subject(1), Record::Tombstone, &rules), Applied::Nothing);
}

#[test]
fn whatever_is_kept_has_a_bound() {
    let config = RecommendationConfig { users_max: 10, items_max: 50, ..RecommendationConfig::default() };
    let rules = Rules::new(&config, Worth::default());
    let mut state = State::new(&rules);
    for number in 0..1_000_u32 {
        state.apply(&subject(1), event(number.into(), "click", number, i64::from(number)), &rules);
    }
    let user = state.user(key_of(&subject(1)).unwrap()).unwrap();
    assert_eq!((state.items().len(), user.deeds().len()), (50, 50));
    for number in 0..2_000_u32 {
        state.apply(&subject(1), event((5_000 + number).into(), "click", number % 50, i64::from(number)), &rules);
    }
    let user = state.user(key_of(&subject(1)).unwrap()).unwrap();
    assert_eq!((user.deeds().len(), user.deeds().last().unwrap().time()), (EVENTS_MAX, 1_999));
    assert_eq!(user.ids.iter().count(), IDS_MAX);
    for number in 2..100 {
        state.apply(&subject(number), event(1, "click", 1, i64::from(number)), &rules);
    }
    assert!(state.users() <= 10);
    assert!(state.user(key_of(&subject(99)).unwrap()).is_some(), "the newest stay");
    assert!(state.user(key_of(&subject(2)).unwrap()).is_none());
}

#[test]
fn records_of_others_and_nonsense_pass() {
    let (rules, mut state) = (rules(), State::new(&rules()));
    let item = Record::Item { item_id: "film-1".into() };
    assert_eq!(state.apply("item/film-1", item, &rules), Applied::Item("film-1".into()));
    assert_eq!(state.apply("list/7", event(1, "click", 1, 1), &rules), Applied::Nothing);
    assert_eq!(state.apply(&subject(1), Record::Join { from: "nobody".into() }, &rules), Applied::Nothing);
    assert_eq!(state.apply(&subject(1), Record::Join { from: subject(1) }, &rules), Applied::Nothing);
    let odd = Event { value: Some(1e300), r#type: "rating".into(), item_id: Some("x".into()), ..Event::default() };
    state.apply(&subject(1), Record::Event(odd), &rules);
    assert!(state.popular().iter().all(|sum| sum.is_finite()));
}

fn list(id: &str, surface: Option<&str>, items: &[u32]) -> Record {
    let shown = |item: &u32| Shown { item_id: format!("i{item}"), ..Shown::default() };
    Record::Exposure(Exposure {
        request_id: id.into(),
        surface: surface.map(str::to_owned),
        items: items.iter().map(shown).collect(),
        ..Exposure::default()
    })
}

#[test]
fn what_was_shown_is_counted_by_item_and_surface_and_once() {
    let (rules, mut state) = (rules(), State::new(&rules()));
    let applied: Vec<Applied> =
        (0..2).map(|_| state.apply("list/7", list("l-1", Some("home"), &[1, 2]), &rules)).collect();
    assert_eq!(applied, [Applied::Shown, Applied::Nothing]);
    state.apply(&subject(1), list("l-2", None, &[1]), &rules);
    let follow = |id: u64, kind: &str, list: Option<&str>, surface: Option<&str>| {
        let Record::Event(event) = event(id, kind, 1, 10) else { unreachable!() };
        Record::Event(Event { request_id: list.map(str::to_owned), surface: surface.map(str::to_owned), ..event })
    };
    for _ in 0..2 {
        state.apply(&subject(1), follow(1, "click", Some("l-1"), None), &rules);
        state.apply(&subject(1), follow(2, "purchase", Some("l-1"), Some("mail")), &rules);
        state.apply(&subject(1), follow(3, "click", Some("unknown"), None), &rules);
        state.apply(&subject(1), follow(4, "view", Some("l-1"), None), &rules);
    }
    let (one, home) = (row(&state, 1), state.surface_number("home"));
    assert_eq!(state.stats().counts(one, home), Counts { exposures: 1, clicks: 1, ..Counts::default() });
    let mail = state.surface_number("mail");
    assert_eq!(state.stats().counts(one, mail), Counts { conversions: 1, ..Counts::default() });
    assert_eq!(state.stats().counts(one, None), Counts { exposures: 2, clicks: 2, conversions: 1, impressions: 0 });
}

#[test]
fn what_comes_of_somebody_after_he_is_forgotten_counts_no_more() {
    let (rules, mut state) = (rules(), State::new(&rules()));
    state.apply(&subject(1), event(1, "click", 1, 10), &rules);
    state.apply(&subject(1), Record::Tombstone, &rules);
    assert_eq!(state.apply(&subject(1), event(2, "click", 1, 20), &rules), Applied::Nothing);
    assert_eq!((state.users(), popular(&state, 1), state.events()), (0, 0.0, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Subjects are on partitions of their own, so that only the order within one is given.
    #[test]
    fn the_order_across_subjects_and_repeats_do_not_count(
        records in prop::collection::vec((0_u32..4, 0_u64..30, 0_u32..6, 0_i64..1_000), 1..80),
        repeats in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let rules = rules();
        let fold = |records: &[(u32, u64, u32, i64)]| {
            let mut state = State::new(&rules);
            for (person, id, item, time) in records {
                state.apply(&subject(*person), event(*id, "click", *item, *time), &rules);
            }
            state
        };
        let mut by_subject = records.clone();
        by_subject.sort_by_key(|(person, ..)| *person);
        let mut repeated = records.clone();
        repeated.extend(repeats.iter().map(|index| *index.get(&records)));
        let (state, sorted, repeated) = (fold(&records), fold(&by_subject), fold(&repeated));
        prop_assert_eq!(&state, &repeated);
        let (mut beside, mut left) = (State::new(&rules), records.chunks(7));
        beside.fold(|state| {
            for (person, id, item, time) in left.next().into_iter().flatten() {
                state.step(&subject(*person), event(*id, "click", *item, *time), &rules);
            }
            left.len() > 0
        });
        prop_assert_eq!(&state, &beside);
        prop_assert_eq!(state.digest(), sorted.digest());
        let one_less = fold(&by_subject[1..]);
        prop_assert!(state.events() == one_less.events() || state.digest() != one_less.digest());
        for item in records.iter().map(|(.., item, _)| *item) {
            prop_assert!((popular(&state, item) - popular(&sorted, item)).abs() < 1e-3);
        }
        for person in 0..4 {
            let seen = |state: &State| state.user(key_of(&subject(person)).unwrap()).map(|user| {
                let names = user.deeds().iter().map(|deed| (deed.time(), deed.id, state.items().get(deed.row).unwrap().to_owned()));
                names.collect::<Vec<_>>()
            });
            prop_assert_eq!(seen(&state), seen(&sorted));
        }
    }
}
