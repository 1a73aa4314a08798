//! What a sound installation is not told, and what each fault is told as, at its bounds.

use crate::facts::{KindFacts, Lag, LetterFacts, LiveModel, PipelineFacts, RuleFacts, Run};
use crate::{Facts, Severity, examine};

fn kind(events: u64) -> KindFacts {
    KindFacts {
        events,
        is_named: true,
        liked: events,
        with_list: events,
        with_known_list: events,
        ..KindFacts::default()
    }
}

fn sound() -> Facts {
    let mut facts = Facts { now_ms: 1_769_860_800_000, has_log: true, ..Facts::default() };
    let events = &mut facts.events;
    events.kinds = [("click".to_owned(), kind(600)), ("view".to_owned(), kind(400))].into();
    (events.total, events.with_item, events.liked) = (1_000, 1_000, 1_000);
    (events.subjects, events.subjects_liking, events.subjects_once) = (200, 200, 20);
    events.busiest = Some(("the user `ann`".to_owned(), 30));
    (events.clocks.own, events.clocks.live, events.clocks.by_zone[0]) = (1_000, 1_000, 1_000);
    facts.copies = (3, 1_003);
    facts.letters = Some(LetterFacts::default());
    (facts.lists.lists, facts.lists.to_strangers) = (500, 100);
    facts.catalogue.items = 100;
    (facts.catalogue.shown, facts.catalogue.embedded, facts.catalogue.is_embedding) = (95, 95, true);
    facts.model.is_trained = true;
    (facts.model.every_s, facts.model.events_min, facts.model.lake_events) = (86_400, 500, 1_000);
    facts.model.live =
        Some(LiveModel { label: "m/1".into(), promoted_ms: facts.now_ms - 3_600_000, lake_events: Some(900) });
    let sources = ["related", "popular"].map(str::to_owned).to_vec();
    let impersonal = vec!["popular".to_owned()];
    facts.pipelines =
        vec![PipelineFacts { place: "p".into(), is_default: true, sources, impersonal, absent: Vec::new() }];
    let (name, role, place) = ("lake".to_owned(), Some("tracking".to_owned()), "/readyz".to_owned());
    facts.lags = vec![Lag { name, role, lag_s: 3.0, lag_s_max: 60.0, place }];
    facts
}

/// The codes that a change of a sound installation brings, with their severities.
fn told(change: impl FnOnce(&mut Facts)) -> Vec<(&'static str, Severity)> {
    let mut facts = sound();
    change(&mut facts);
    examine(&facts).into_iter().map(|finding| (finding.code, finding.severity)).collect()
}

#[test]
fn a_sound_installation_is_told_nothing() {
    assert_eq!(examine(&sound()), []);
}

#[test]
fn a_new_installation_is_told_what_it_lacks_and_no_more() {
    let told = |has_log| {
        let findings = examine(&Facts { has_log, ..Facts::default() }).into_iter();
        findings.map(|finding| (finding.code, finding.severity)).collect::<Vec<_>>()
    };
    assert_eq!(told(true), [("no_events", Severity::Error), ("no_items", Severity::Error)]);
    assert_eq!(told(false), [("no_items", Severity::Error), ("no_events", Severity::Warning)]);
}

#[test]
fn shares_are_warnings_and_then_errors() {
    use Severity::{Error, Warning};
    for (unknown, expected) in [(49, None), (50, Some(Warning)), (499, Some(Warning)), (500, Some(Error))] {
        let found = told(|facts| facts.events.unknown_items = unknown);
        assert_eq!(found, Vec::from_iter(expected.map(|severity| ("items_unknown", severity))), "{unknown}");
    }
    for (busiest, expected) in [(199, None), (200, Some(Warning)), (500, Some(Error))] {
        let found = told(|facts| facts.events.busiest = Some(("x".into(), busiest)));
        assert_eq!(found, Vec::from_iter(expected.map(|severity| ("shared_id", severity))), "{busiest}");
    }
    for (items, at_most, expected) in
        [(40, 0, None), (60, 0, Some(Warning)), (95, 0, Some(Error)), (95, 3, Some(Warning)), (95, 10, None)]
    {
        let rule = RuleFacts { place: "/v1/rules/r".into(), at_most, items, problem: None };
        let found = told(|facts| facts.rules.push(rule));
        assert_eq!(found, Vec::from_iter(expected.map(|severity| ("filter_excludes", severity))), "{items} {at_most}");
    }
}

#[test]
fn every_other_fault_has_its_code() {
    use Severity::{Error, Warning};
    type Change = fn(&mut Facts);
    let faults: [(&str, Severity, Change); 24] = [
        ("type_without_weight", Warning, |facts| facts.events.kinds.get_mut("view").unwrap().is_named = false),
        ("no_positive_events", Error, |facts| facts.events.kinds.values_mut().for_each(|kind| kind.liked = 0)),
        ("values_off_scale", Warning, |facts| {
            let values = Some((0.0, 1.0));
            let rating = KindFacts { valued: 100, values, disliked: 95, ..kind(100) };
            facts.events.kinds.insert("rating".into(), rating);
        }),
        ("duplicates", Warning, |facts| facts.copies = (200, 1_200)),
        ("repeated_events", Error, |facts| facts.events.repeated = 500),
        ("events_refused", Warning, |facts| facts.letters.as_mut().unwrap().total = 50),
        ("clocks_refused", Warning, |facts| {
            facts.letters = Some(LetterFacts { total: 50, future: 40, ..LetterFacts::default() });
        }),
        ("clocks_ahead", Warning, |facts| facts.events.clocks.ahead = 300),
        ("clocks_behind", Warning, |facts| {
            (facts.events.clocks.by_zone[0], facts.events.clocks.by_zone[4]) = (300, 700);
        }),
        ("times_ancient", Error, |facts| facts.events.clocks.ancient = 600),
        ("times_equal", Warning, |facts| facts.events.clocks.densest_minute = 950),
        ("ids_change", Error, |facts| facts.events.subjects_once = 195),
        ("no_exposures", Warning, |facts| (facts.lists.lists, facts.lists.to_strangers) = (0, 0)),
        ("lists_to_strangers", Error, |facts| facts.lists.to_strangers = 490),
        ("clicks_without_list", Warning, |facts| {
            let clicks = facts.events.kinds.get_mut("click").unwrap();
            (clicks.with_list, clicks.with_known_list) = (5, 5);
        }),
        ("clicks_of_unknown_lists", Warning, |facts| {
            facts.events.kinds.get_mut("click").unwrap().with_known_list = 0;
        }),
        ("no_clicks", Warning, |facts| _ = facts.events.kinds.remove("click")),
        ("items_hidden", Error, |facts| (facts.catalogue.shown, facts.catalogue.embedded) = (5, 5)),
        ("items_without_vectors", Warning, |facts| facts.catalogue.embedded = 50),
        ("definition_broken", Warning, |facts| facts.pipelines[0].absent.push("x".into())),
        ("pipeline_impersonal", Error, |facts| facts.pipelines[0].impersonal = facts.pipelines[0].sources.clone()),
        ("model_missing", Warning, |facts| facts.model.live = None),
        ("model_stale", Error, |facts| {
            let promoted_ms = facts.now_ms - 4 * 86_400_000;
            facts.model.live = Some(LiveModel { label: "m/1".into(), promoted_ms, lake_events: Some(100) });
            facts.model.runs = vec![Run { is_good: false, detail: "it is worse".into() }];
        }),
        ("consumer_lags", Error, |facts| facts.lags[0].lag_s = 61.0),
    ];
    for (code, severity, change) in faults {
        assert_eq!(told(change), [(code, severity)], "{code}");
    }
}

#[test]
fn a_finding_says_what_where_and_what_to_do() {
    let mut facts = sound();
    facts.events.unknown_items = 600;
    facts.events.nearly_known = 590;
    facts.events.examples = vec!["Tea ".into()];
    let found = &examine(&facts)[0];
    assert_eq!((found.count, found.of, found.place.as_str()), (600, 1_000, "the event lake"));
    assert!(found.seen.contains("600 of 1000 events (60%)") && found.seen.contains("`Tea `"), "{found:?}");
    assert!(found.seen.contains("upper and lower case") && found.remedy.contains("exactly as in the catalogue"));
    let mut facts = sound();
    facts.lags[0].lag_s = 61.0;
    assert!(examine(&facts)[0].remedy.contains("does it (`roles` with tracking), and"));
    facts.lags[0].role = None;
    assert!(examine(&facts)[0].remedy.contains("does it, and"));
}
