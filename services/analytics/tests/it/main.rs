//! Reports over an embedded log and a lake in a folder, held against naive recounts.

mod bounds;
mod recount;
mod reviews;
mod world;

use std::collections::BTreeSet;

use attune_analytics::{AnalyticsService, Settings};
use attune_api::analytics::Report;
use attune_api::log::{Arm, Event, Exposure, Record, Shown};
use attune_api::rest::Timestamp;
use attune_api::rest::analytics::Table;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use recount::{Asked, Facts};
use world::{Reviews, World, ask};

/// A Monday.
const START_MS: i64 = 1_767_571_200_000;
const MINUTE_MS: i64 = 60_000;
/// The questions leave the first and the last of so many minutes out.
const MINUTES: i64 = 4_000;
const EDGE: i64 = 400;

const TYPES: [&str; 5] = ["impression", "view", "click", "purchase", "rating"];
const SURFACES: [&str; 2] = ["home", "cart"];

/// Something that is appended.
#[derive(Clone, Debug)]
enum Act {
    Did {
        person: usize,
        r#type: usize,
        item: Option<usize>,
        minute: i64,
        surface: Option<usize>,
        list: Option<usize>,
    },
    Shown {
        person: usize,
        minute: i64,
        surface: Option<usize>,
        arm: Option<usize>,
        items: usize,
    },
    /// What was appended so many records before, once more.
    Again(usize),
    Forgotten(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let minute = || 0..MINUTES;
    let surface = || proptest::option::of(0..2_usize);
    let list = proptest::option::weighted(0.6, 0..20_usize);
    let did = (0..6_usize, 0..5_usize, proptest::option::weighted(0.9, 0..5_usize), minute(), surface(), list);
    let did = did.prop_map(|(person, r#type, item, minute, surface, list)| Act::Did {
        person,
        r#type,
        item,
        minute,
        surface,
        list,
    });
    let shown = (0..6_usize, minute(), surface(), proptest::option::of(0..2_usize), 0..4_usize);
    let shown =
        shown.prop_map(|(person, minute, surface, arm, items)| Act::Shown { person, minute, surface, arm, items });
    let act = prop_oneof![
        20 => did,
        6 => shown,
        4 => (1..30_usize).prop_map(Act::Again),
        1 => (0..6_usize).prop_map(Act::Forgotten),
    ];
    proptest::collection::vec(act, 1..150)
}

fn subject(person: usize) -> String {
    format!("s-{person}")
}

/// Of some events; one of them is a text here and a number there.
fn properties(n: usize) -> Map<String, Value> {
    if n.is_multiple_of(3) {
        return Map::new();
    }
    let colour = if n.is_multiple_of(2) { "red" } else { "blue" };
    let odd = if n.is_multiple_of(2) { json!("x") } else { json!(n % 5) };
    let all = json!({"colour": colour, "gift": n.is_multiple_of(5), "odd": odd, "box": {"depth": n % 4}});
    all.as_object().unwrap().clone()
}

fn surface(surface: Option<usize>) -> Option<String> {
    surface.map(|place| SURFACES[place].to_owned())
}

/// The records of what happens, and what of it counts.
fn records(acts: &[Act]) -> (Vec<(String, Record)>, Facts) {
    let mut records: Vec<(String, Record)> = Vec::new();
    let (mut facts, mut known, mut forgotten) = (Facts::default(), BTreeSet::new(), BTreeSet::new());
    for (n, act) in acts.iter().enumerate() {
        let record = match act.clone() {
            Act::Did { person, r#type, item, minute, surface: at, list } => {
                let event = Event {
                    event_id: format!("e-{n}"),
                    r#type: TYPES[r#type].to_owned(),
                    item_id: item.map(|item| format!("i-{item}")),
                    value: (r#type == 4).then_some(n as f64 % 5.0),
                    time_ms: START_MS + minute * MINUTE_MS,
                    surface: surface(at),
                    request_id: list.map(|list| format!("list-{list}")),
                    properties: properties(n),
                    ..Event::default()
                };
                (subject(person), Record::Event(event))
            }
            Act::Shown { person, minute, surface: at, arm, items } => {
                let list = Exposure {
                    request_id: format!("list-{}", facts.lists.len()),
                    time_ms: START_MS + minute * MINUTE_MS,
                    surface: surface(at),
                    experiment: arm.map(|arm| Arm { experiment: "x".into(), arm: ["a", "b"][arm].into(), chance: 0.5 }),
                    items: (0..items).map(|n| Shown { item_id: format!("i-{n}"), ..Shown::default() }).collect(),
                    ..Exposure::default()
                };
                (subject(person), Record::Exposure(list))
            }
            Act::Again(back) => match records.len().checked_sub(back) {
                Some(place) => records[place].clone(),
                None => continue,
            },
            Act::Forgotten(person) => (subject(person), Record::Tombstone),
        };
        let (subject, what) = &record;
        if let Record::Tombstone = what {
            forgotten.insert(subject.clone());
            facts.events.retain(|(of, _)| of != subject);
            facts.lists.iter_mut().filter(|(of, _)| of == subject).for_each(|(_, list)| *list = gone(list));
        }
        if !forgotten.contains(subject) {
            match what {
                Record::Event(event) if known.insert((subject.clone(), event.event_id.clone())) => {
                    facts.events.push((subject.clone(), event.clone()));
                }
                Record::Exposure(list) if known.insert((subject.clone(), format!("list/{}", list.request_id))) => {
                    facts.lists.push((subject.clone(), list.clone()));
                }
                _ => {}
            }
        }
        records.push(record);
    }
    (records, facts)
}

/// A list that nobody knows any more; the others keep their numbers.
fn gone(list: &Exposure) -> Exposure {
    Exposure { request_id: list.request_id.clone(), ..Exposure::default() }
}

fn question(more: Value) -> Value {
    let at = |minute: i64| Timestamp(START_MS + minute * MINUTE_MS).text();
    let mut question = json!({"from": at(EDGE), "to": at(MINUTES - EDGE)});
    question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    question
}

fn same(found: &Value, expected: &Value) -> bool {
    match (found.as_f64(), expected.as_f64()) {
        (Some(found), Some(expected)) => (found - expected).abs() <= 1e-9 * expected.abs().max(1.0),
        _ => found == expected,
    }
}

fn assert_same(what: &str, found: &Table, expected: &[Vec<Value>]) {
    let is_same = found.rows.len() == expected.len()
        && found.rows.iter().zip(expected).all(|(found, expected)| {
            found.len() >= expected.len() && found.iter().zip(expected).all(|(found, expected)| same(found, expected))
        });
    assert!(is_same, "{what}\nfound {:?}\n      {:?}\nneed  {expected:?}", found.columns, found.rows);
}

/// A filter and what it says of an event.
type Counts = (&'static str, fn(&Event) -> bool);

const FILTERS: [Counts; 9] = [
    ("not (type == \"\")", |_| true),
    ("type == \"click\"", |event| event.r#type == "click"),
    ("surface != \"home\"", |event| event.surface.as_ref().is_some_and(|surface| surface != "home")),
    ("not (value > 1)", |event| event.value.is_none_or(|value| value <= 1.0)),
    ("item_id in [\"i-1\", \"i-3\"] or not type in [\"view\", \"purchase\"]", |event| {
        let item = event.item_id.as_deref();
        item == Some("i-1") || item == Some("i-3") || !["view", "purchase"].contains(&event.r#type.as_str())
    }),
    ("properties.colour == \"red\"", |event| event.properties.get("colour") == Some(&json!("red"))),
    ("not (properties.odd > 1)", |event| {
        event.properties.get("odd").and_then(Value::as_f64).is_none_or(|odd| odd <= 1.0)
    }),
    ("properties.box.depth in [0, 3] and type != \"click\"", |event| {
        let depth = event.properties.get("box").and_then(|inner| inner["depth"].as_u64());
        [Some(0), Some(3)].contains(&depth) && event.r#type != "click"
    }),
    ("properties.gift or properties.odd != \"y\"", |event| {
        event.properties.get("gift") == Some(&json!(true)) || event.properties.get("odd").is_some_and(Value::is_string)
    }),
];

async fn compare(service: &AnalyticsService, facts: &Facts, (filter, counts): Counts) {
    let (from_ms, to_ms) = (START_MS + EDGE * MINUTE_MS, START_MS + (MINUTES - EDGE) * MINUTE_MS);
    let asked = Asked { from_ms, to_ms, counts: &counts };
    let steps = ["view", "click", "purchase"];
    for (report, more, expected) in [
        (Report::Timeseries, json!({"group_by": ["surface"]}), facts.timeseries(&asked)),
        (Report::ActiveUsers, json!({"group_by": ["type"]}), facts.active_users(&asked)),
        (Report::TopItems, json!({"group_by": ["surface"], "k": 2}), facts.top_items(&asked, 2)),
        (Report::Sessions, json!({"interval": "day"}), facts.sessions(&asked)),
        (Report::Funnel, json!({ "steps": steps }), facts.funnel(&asked, &steps)),
    ] {
        let mut question = question(more);
        question["filter"] = filter.into();
        let found = ask(service, report, question).await.unwrap();
        assert_same(&format!("{report} where {filter}"), &found, &expected);
    }
    let all = Asked { from_ms, to_ms, counts: &|_| true };
    let found = ask(service, Report::Ctr, question(json!({"group_by": ["surface"]}))).await.unwrap();
    assert_same("ctr", &found, &facts.ctr(&all));
    let found = ask(service, Report::Experiments, question(json!({}))).await.unwrap();
    assert_same("experiments", &found, &facts.experiments(&all));
    let place = |name: &str| found.column(name).unwrap();
    for row in &found.rows {
        let number = |name: &str| row[place(name)].as_f64().unwrap();
        assert!((number("rate") - number("converted") / number("users")).abs() < 1e-12);
        assert!(number("rate_low") <= number("rate") && number("rate") <= number("rate_high"));
        assert!((0.0..=1.0).contains(&number("ratio_p")));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// Whatever is in the lake already and whatever is not, sent twice, forgotten.
    #[test]
    fn every_report_is_a_naive_recount(acts in acts(), cut in 0.0_f64..1.0, filter in 0..FILTERS.len(), rows in 1..40_usize) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let (records, facts) = records(&acts);
            let service = world.service(Reviews(Vec::new()), Settings::default());
            let (early, late) = records.split_at((records.len() as f64 * cut) as usize);
            world.append("acme", early).await;
            world.flush("acme", rows).await;
            world.append("acme", late).await;
            compare(&service, &facts, FILTERS[filter]).await;
            world.flush("acme", rows).await;
            compare(&service, &facts, FILTERS[filter]).await;
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_counts_his_own_alone() {
    let world = World::new().await;
    let event = |id: &str| {
        let event = Event { event_id: id.into(), r#type: "view".into(), time_ms: START_MS, ..Event::default() };
        ("s-1".to_owned(), Record::Event(event))
    };
    world.append("acme", &[event("a"), event("b")]).await;
    world.append("other", &[event("a"), event("b"), event("c")]).await;
    world.flush("other", 1).await;
    let service = world.service(Reviews(Vec::new()), Settings::default());
    let around = json!({"from": START_MS / 1_000, "to": START_MS / 1_000 + 60});
    let found = ask(&service, Report::Timeseries, around).await.unwrap();
    assert_eq!(found.rows, [[json!(Timestamp(START_MS).text()), json!(2)]]);
}
