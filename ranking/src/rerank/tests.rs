use std::collections::BTreeMap;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::index::View;
use crate::retrieve::fixture::{ITEMS, Shop, schema};

static CATALOGUE: LazyLock<View> = LazyLock::new(|| Shop::new(1.0).contents);

fn candidates(scores: &[f32]) -> Vec<Candidate> {
    let candidate =
        |(row, score): (u32, &f32)| Candidate { row, score: *score, deviation: 0.3 + 0.1 * (row % 4) as f32 };
    (0..).zip(scores).map(candidate).collect()
}

fn falling(count: u32) -> Vec<Candidate> {
    candidates(&(0..count).map(|row| 0.9 - 0.01 * row as f32).collect::<Vec<f32>>())
}

fn rules(text: &str) -> Rules {
    Rules::compile(&serde_json::from_str::<Vec<Rule>>(text).unwrap(), &schema()).unwrap()
}

fn plan(rules: &Rules) -> Plan<'_> {
    let (likeness, exploration) = (&Likeness::Vectors, Exploration::Off);
    Plan { catalogue: &CATALOGUE, rules, diversity: 0.0, likeness, exploration, k: 10, seed: 1 }
}

fn rows(placed: &[Placed]) -> Vec<u32> {
    placed.iter().map(|placed| placed.row).collect()
}

fn list(text: &str) -> Vec<u32> {
    rows(&rerank(&falling(30), plan(&rules(text))).unwrap())
}

#[test]
fn pins_stand_where_they_are_told_and_the_best_of_several_is_taken() {
    let pins = r#"[
        {"name": "a", "items": [25], "effect": {"pin": {"position": 3}}},
        {"name": "b", "filter": "taste == \"odd\" and price > 6", "effect": {"pin": {"position": 1}}},
        {"name": "not here", "items": [59], "effect": {"pin": {"position": 2}}},
        {"name": "beyond the list", "items": [20], "effect": {"pin": {"position": 11}}}
    ]"#;
    assert_eq!(list(pins), [7, 0, 25, 1, 2, 3, 4, 5, 6, 8]);
    let rules = rules(pins);
    let placed = rerank(&falling(30), plan(&rules)).unwrap();
    assert_eq!((&placed[2].rules[..], &placed[0].rules[..]), (&[0, 1][..], &[1][..]));
    assert_eq!(rules.pinned_items(10).collect::<Vec<u32>>(), [25, 59]);
    assert_eq!(rows(&rerank(&falling(2), plan(&rules)).unwrap()), [0, 1]);
}

#[test]
fn a_pin_moves_up_where_the_list_ends_before() {
    let rules = rules(r#"[{"name": "a", "items": [0], "effect": {"pin": {"position": 9}}}]"#);
    assert_eq!(rows(&rerank(&falling(3), plan(&rules)).unwrap()), [1, 2, 0]);
}

#[test]
fn boosts_change_the_order_and_not_the_score_and_buried_items_come_last() {
    let rules = rules(
        r#"[{"name": "up", "items": [2], "effect": {"boost": {"factor": 10}}},
            {"name": "down", "items": [0], "effect": {"boost": {"factor": 0.01}}},
            {"name": "last", "filter": "price == 1", "effect": "bury"}]"#,
    );
    let placed = rerank(&falling(5), plan(&rules)).unwrap();
    assert_eq!(rows(&placed), [2, 3, 4, 0, 1]);
    assert_eq!(placed[0].score, falling(5)[2].score);
}

#[test]
fn quotas_count_by_value_or_all_together() {
    let by_taste = r#"[{"name": "q", "effect": {"quota": {"attribute": "taste", "at_most": 2}}}]"#;
    assert_eq!(list(by_taste), [0, 1, 2, 3]);
    let of_some = r#"[{"name": "q", "filter": "price < 20", "effect": {"quota": {"at_most": 3}}}]"#;
    assert_eq!(list(of_some), [0, 1, 2, 20, 21, 22, 23, 24, 25, 26]);
    let by_tag = r#"[{"name": "q", "effect": {"quota": {"attribute": "tags", "at_most": 1}}}]"#;
    assert_eq!(list(by_tag), [0, 1, 2], "an item of several tags takes of several groups");
    let none = r#"[{"name": "q", "items": [0, 1], "effect": {"quota": {"at_most": 0}}}]"#;
    assert_eq!(list(none)[..2], [2, 3]);
}

#[test]
fn rules_that_contradict_each_other_are_told() {
    let contradiction = |text: &str| rerank(&falling(30), plan(&rules(text))).unwrap_err();
    let same = contradiction(
        r#"[{"name": "a", "items": [4], "effect": {"pin": {"position": 2}}},
            {"name": "b", "items": [4], "effect": {"pin": {"position": 1}}}]"#,
    );
    assert_eq!(same, RerankError::Contradiction { pin: "a".into(), position: 2, other: "b".into() });
    let quota = contradiction(
        r#"[{"name": "a", "items": [4], "effect": {"pin": {"position": 1}}},
            {"name": "b", "items": [6], "effect": {"pin": {"position": 2}}},
            {"name": "q", "effect": {"quota": {"attribute": "taste", "at_most": 1}}}]"#,
    );
    assert_eq!(quota, RerankError::Contradiction { pin: "b".into(), position: 2, other: "q".into() });
}

#[test]
fn what_cannot_be_listed_is_told() {
    let rules = Rules::default();
    let error = |candidates: &[Candidate], plan| rerank(candidates, plan).unwrap_err();
    for bad in [f32::NAN, -0.1, 1.1] {
        assert!(matches!(error(&candidates(&[0.5, bad]), plan(&rules)), RerankError::Score { row: 1, .. }));
    }
    let twice = [falling(1)[0]; 2];
    assert_eq!(error(&twice, plan(&rules)), RerankError::Twice { row: 0 });
    assert_eq!(error(&[], Plan { k: 0, ..plan(&rules) }), RerankError::K);
    let diversity = Plan { diversity: f32::NAN, ..plan(&rules) };
    assert!(matches!(error(&[], diversity), RerankError::Diversity { .. }));
    let exploration = Plan { exploration: Exploration::Thompson { pool: 1_000 }, ..plan(&rules) };
    assert!(matches!(error(&[], exploration), RerankError::Exploration(_)));
    assert_eq!(rerank(&[], plan(&rules)), Ok(vec![]));
}

fn explorations() -> [Exploration; 3] {
    let pool = 8;
    [Exploration::Off, Exploration::Epsilon { epsilon: 0.3, pool }, Exploration::Thompson { pool }]
}

/// The first two positions of many lists, by seed, against the propensities that the slate gives.
#[test]
fn items_are_shown_as_often_as_their_propensity_says() {
    const LISTS: u64 = 20_000;
    let rules = rules(r#"[{"name": "q", "effect": {"quota": {"attribute": "taste", "at_most": 1}}}]"#);
    let candidates = candidates(&[0.5, 0.45, 0.4, 0.44, 0.3, 0.2]);
    for exploration in explorations() {
        for diversity in [0.0, 0.3] {
            let plan = Plan { exploration, diversity, k: 2, ..plan(&rules) };
            let mut seen: BTreeMap<Vec<u32>, u64> = BTreeMap::new();
            for seed in 0..LISTS {
                let placed = rerank(&candidates, Plan { seed, ..plan }).unwrap();
                *seen.entry(rows(&placed)).or_default() += 1;
            }
            let mut expected = 0.0;
            for first in 0..Slate::new(&candidates, plan).unwrap().alternatives().len() {
                let mut slate = Slate::new(&candidates, plan).unwrap();
                let firsts = slate.alternatives();
                slate.take(&firsts, first);
                for second in slate.alternatives() {
                    let share = firsts[first].propensity * second.propensity;
                    let list = vec![candidates[firsts[first].candidate].row, candidates[second.candidate].row];
                    let count = seen.get(&list).copied().unwrap_or(0) as f64;
                    let deviation = (LISTS as f64 * share * (1.0 - share)).sqrt();
                    assert!(
                        (count - LISTS as f64 * share).abs() <= 5.0 * deviation + 1e-6,
                        "{exploration:?} {diversity} {list:?}: {count} of {LISTS}, expected {share}"
                    );
                    expected += share;
                }
            }
            assert!((expected - 1.0).abs() < 1e-9, "{exploration:?}: {expected}");
        }
    }
}

#[test]
fn the_seed_decides() {
    let (rules, candidates) = (Rules::default(), falling(30));
    let plan = Plan { exploration: Exploration::Thompson { pool: 30 }, ..plan(&rules) };
    let one = rerank(&candidates, plan).unwrap();
    assert_eq!(one, rerank(&candidates, plan).unwrap());
    assert_ne!(rows(&one), rows(&rerank(&candidates, Plan { seed: 2, ..plan }).unwrap()));
    assert!(one.iter().any(|placed| placed.explored) && one.iter().all(|placed| placed.propensity > 0.0));
}

/// Those that may come after `list`, the best first, by the definition, with nothing kept between the steps.
fn naive_mmr(candidates: &[Candidate], diversity: f64, list: &[u32]) -> Vec<u32> {
    let likeness = |one: u32, two: u32| {
        let (one, two) = (CATALOGUE.vector(one).unwrap(), CATALOGUE.vector(two).unwrap());
        let dot = |one: &[f32], two: &[f32]| one.iter().zip(two).map(|(one, two)| f64::from(one * two)).sum::<f64>();
        (dot(one, two) / (dot(one, one) * dot(two, two)).sqrt()).max(0.0)
    };
    let best = candidates.iter().map(|candidate| f64::from(candidate.score)).fold(0.0, f64::max);
    let value = |candidate: &&Candidate| {
        let nearest = list.iter().map(|other| likeness(candidate.row, *other)).fold(0.0, f64::max);
        (1.0 - diversity) * f64::from(candidate.score) / best - diversity * nearest
    };
    let mut left: Vec<&Candidate> = candidates.iter().filter(|candidate| !list.contains(&candidate.row)).collect();
    left.sort_by(|one, two| value(two).total_cmp(&value(one)));
    left.iter().map(|candidate| candidate.row).collect()
}

proptest! {
    #[test]
    fn without_diversity_and_rules_the_scores_decide(scores in prop::collection::vec(0_u8..40, 0..ITEMS as usize)) {
        let scores: Vec<f32> = scores.into_iter().map(|score| f32::from(score) / 40.0).collect();
        let rules = Rules::default();
        let placed = rerank(&candidates(&scores), Plan { k: 100, ..plan(&rules) }).unwrap();
        let mut expected: Vec<u32> = (0..scores.len() as u32).collect();
        expected.sort_by(|one, two| scores[*two as usize].total_cmp(&scores[*one as usize]));
        prop_assert_eq!(rows(&placed), expected);
        prop_assert!(placed.iter().all(|placed| placed.propensity == 1.0 && !placed.explored));
    }

    #[test]
    fn diversity_is_that_of_the_definition(
        scores in prop::collection::vec(0.05_f32..0.95, 1..40),
        diversity in 0.01_f32..1.0,
        (pool, choices) in (1_usize..6, prop::collection::vec(0_usize..6, 8)),
    ) {
        let (rules, candidates) = (Rules::default(), candidates(&scores));
        let exploration = Exploration::Epsilon { epsilon: 0.5, pool };
        let mut slate = Slate::new(&candidates, Plan { diversity, k: 8, exploration, ..plan(&rules) }).unwrap();
        let mut list = Vec::new();
        for choice in choices {
            let alternatives = slate.alternatives();
            let found: Vec<u32> = alternatives.iter().map(|one| candidates[one.candidate].row).collect();
            let mut expected = naive_mmr(&candidates, diversity.into(), &list);
            expected.truncate(pool);
            prop_assert_eq!(&found, &expected);
            if found.is_empty() {
                break;
            }
            slate.take(&alternatives, choice % found.len());
            list.push(found[choice % found.len()]);
        }
    }

    #[test]
    fn pins_and_quotas_hold_or_contradict_and_propensities_add_up(
        scores in prop::collection::vec(0.05_f32..0.95, 0..ITEMS as usize),
        pins in prop::collection::btree_map(1_usize..12, prop::collection::vec(0..ITEMS, 1..4), 0..4),
        (by_taste, by_tag, cheap) in (prop::option::of(0_usize..6), prop::option::of(0_usize..6), prop::option::of(0_usize..6)),
        diversity in prop_oneof![Just(0.0_f32), Just(0.5_f32)],
        exploration in 0_usize..3,
        seed in 0_u64..1_000,
    ) {
        let quota = |attribute: Option<&str>, at_most| Effect::Quota { attribute: attribute.map(Into::into), at_most };
        let rule = |name: String, effect| Rule { name, filter: None, items: None, effect };
        let mut given: Vec<Rule> = pins.iter().map(|(position, items)| {
            Rule { items: Some(items.clone()), ..rule(format!("pin {position}"), Effect::Pin { position: *position }) }
        }).collect();
        given.extend(by_taste.map(|at_most| rule("taste".into(), quota(Some("taste"), at_most))));
        given.extend(by_tag.map(|at_most| rule("tags".into(), quota(Some("tags"), at_most))));
        given.extend(cheap.map(|at_most| {
            Rule { filter: Some("price < 30".into()), ..rule("cheap".into(), quota(None, at_most)) }
        }));
        let rules = Rules::compile(&given, &schema()).unwrap();
        let candidates = candidates(&scores);
        let likeness = &Likeness::Attribute("tags".into());
        let plan = Plan { diversity, likeness, exploration: explorations()[exploration], seed, ..plan(&rules) };
        let placed = match rerank(&candidates, plan) {
            Ok(placed) => placed,
            Err(RerankError::Contradiction { .. }) => {
                prop_assert!(!pins.is_empty());
                return Ok(());
            }
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        let list = rows(&placed);
        prop_assert!(list.len() <= 10);
        let there = |items: &[u32]| items.iter().any(|item| (*item as usize) < scores.len());
        let kept: Vec<_> = pins.iter().filter(|(position, items)| **position <= 10 && there(items)).collect();
        let moved_up = kept.iter().any(|(position, _)| **position > list.len());
        for (position, items) in kept {
            let stands = if moved_up { list.iter().any(|row| items.contains(row)) } else { items.contains(&list[position - 1]) };
            prop_assert!(stands, "{position} {items:?} {list:?}");
        }
        let count = |about: &dyn Fn(u32) -> bool| list.iter().filter(|row| about(**row)).count();
        prop_assert!(by_taste.is_none_or(|at_most| (0..2).all(|taste| count(&|row| row % 2 == taste) <= at_most)));
        prop_assert!(by_tag.is_none_or(|most| (0..5).all(|tag| count(&|row| row % 3 == tag || row % 5 == tag) <= most)));
        prop_assert!(cheap.is_none_or(|at_most| count(&|row| row < 30) <= at_most));

        let mut slate = Slate::new(&candidates, plan).unwrap();
        for placed in &placed {
            let alternatives = slate.alternatives();
            let sum: f64 = alternatives.iter().map(|alternative| alternative.propensity).sum();
            prop_assert!((sum - 1.0).abs() < 1e-9, "{sum}");
            let chosen = alternatives.iter().position(|alternative| alternative.candidate == placed.candidate).unwrap();
            prop_assert_eq!(alternatives[chosen].propensity, placed.propensity);
            slate.take(&alternatives, chosen);
        }
        prop_assert!(slate.alternatives().is_empty());
    }
}
