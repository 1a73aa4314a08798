//! What may be defined and what may not, and who is in which arm.

use std::collections::BTreeMap;
use std::sync::Arc;

use attune_api::catalogue::{AttributeKind, Entry};
use attune_api::outside::{Outside, OutsideError, Wait};
use attune_api::rest::outside::{OutsideItem, OutsideRequest};
use attune_ranking::data::Worth;
use attune_ranking::experiment::sample_ratio;
use serde_json::{Value, json};

use super::check::{self, Against};
use super::*;
use crate::RecommendationConfig;
use crate::fold::Rules;
use crate::replica::Replica;
use crate::shelf::Stocking;
use crate::world::{DEFAULT, FOR_EVERYBODY, MoreSources, World, source_names};

fn read<T: DeserializeOwned>(spec: Value) -> T {
    check::read(spec).unwrap()
}

const REACH: Reach<'_> =
    Reach { tenant: "shop", outside: Some(&OneHost), wait_max: std::time::Duration::from_millis(100) };

/// `https://ours.example` may be asked, and nobody asks.
struct OneHost;

#[async_trait::async_trait]
impl Outside for OneHost {
    fn check(&self, tenant: &str, url: &str) -> Result<(), String> {
        let is_ours = tenant == "shop" && url.starts_with("https://ours.example/");
        is_ours.then_some(()).ok_or_else(|| "this host may not be asked".to_owned())
    }

    async fn ask(&self, _: &str, _: &OutsideRequest, _: Wait) -> Result<Vec<OutsideItem>, OutsideError> {
        unreachable!("definitions are checked without a call")
    }
}

fn in_force() -> InForce {
    let pipeline: Recipe = read(
        json!({"sources": [{"source": "popular"}, {"source": "latest"}], "blend": {"ranks": {"weights": {"popular": 0.8}}}}),
    );
    let rule: RuleSpec = read(json!({"item_ids": ["i3"], "effect": {"pin": {"position": 2}}}));
    let arms = json!([
        {"name": "as it was", "share": 0.75, "pipeline": "default"},
        {"name": "plain", "share": 0.25, "pipeline": "plain"},
    ]);
    let experiment = Experiment::new("plainness", read(json!({ "arms": arms })), None).unwrap();
    InForce {
        pipelines: BTreeMap::from([("plain".to_owned(), pipeline)]),
        rules: BTreeMap::from([("second".to_owned(), rule)]),
        experiments: BTreeMap::from([("plainness".to_owned(), experiment)]),
    }
}

fn world(in_force: &InForce) -> Arc<World> {
    let config = RecommendationConfig::default();
    let rules = Arc::new(Rules::new(&config, Worth::default()));
    let replica = Replica::new("shop".parse().unwrap(), rules, &config);
    let kinds = vec![("genre".to_owned(), AttributeKind::Keyword), ("year".to_owned(), AttributeKind::Number)];
    let entry = |number: u32| Entry { item_id: format!("i{number}"), vector: Some(vec![1.0]), ..Entry::default() };
    let mut stocking = Stocking::new(kinds);
    stocking.put(replica.with_rows((0..9).map(entry).collect())).unwrap();
    replica.stock(stocking).unwrap();
    replica.publish(&config, in_force, &MoreSources::default()).unwrap();
    replica.world()
}

/// The place of the fault; empty where there is none.
fn fault(kind: &str, spec: Value) -> String {
    let (others, spec_of) = (in_force(), spec.clone());
    let world = world(&others);
    let against = Against { world: &world, others: &others, reach: REACH };
    let checked = match kind {
        "pipeline" => check::recipe(spec).and_then(|recipe| against.pipeline("new", &recipe)),
        "rule" => check::read(spec).and_then(|spec| against.rule("new", &spec)),
        _ => check::read(spec).and_then(|spec| against.experiment("new", &spec, true)),
    };
    checked.err().map_or_else(String::new, |error| {
        assert_eq!(error.fields.len(), 1, "{spec_of}: {error}");
        error.fields[0].pointer.clone()
    })
}

#[test]
fn the_sources_that_know_nobody_are_the_ones_that_are_named() {
    let chosen = world(&InForce::default()).choose(DEFAULT, None).unwrap();
    for (number, source) in chosen.pipeline.sources().iter().enumerate() {
        assert_eq!(chosen.pipeline.is_for_everyone(number), FOR_EVERYBODY.contains(&source.as_str()), "{source}");
        assert!(source_names().any(|name| name == source), "{source}");
    }
}

#[test]
fn a_pipeline_is_refused_at_the_place_of_its_fault() {
    let spec = |more: Value| {
        let mut spec = json!({"sources": [{"source": "popular"}, {"source": "semantic"}]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    for (more, pointer) in [
        (json!({}), ""),
        (json!({"exploration": {"epsilon": {"epsilon": 0.1, "pool": 5}}, "diversity": {"amount": 0.1}}), ""),
        (json!({"sources": []}), "/spec/sources"),
        (json!({"sources": [{"source": "popular"}, {"source": "modell"}]}), "/spec/sources/1/source"),
        (json!({"sources": [{"source": "popular"}, {"source": "model"}]}), "/spec/sources/1/source"),
        (json!({"sources": [{"source": "latest"}, {"source": "latest"}]}), "/spec/sources/1/source"),
        (json!({"sources": [{"source": "latest", "candidates": 0}]}), "/spec/sources/0/candidates"),
        (json!({"sources": [{"source": "latest", "candidats": 9}]}), "/spec/sources/0/candidats"),
        (json!({"blend": {"ranks": {"weights": {"latest": 1.0}}}}), "/spec/blend/ranks/weights/latest"),
        (json!({"blend": {"model": {"name": "b"}}}), "/spec/blend/model/name"),
        (json!({"diversity": {"amount": 2.0}}), "/spec/diversity/amount"),
        (json!({"diversity": {"amount": 0.2, "by": {"attribute": "colour"}}}), "/spec/diversity/by/attribute"),
        (json!({"exploration": {"thompson": {"pool": 5}}}), "/spec/exploration"),
        (json!({"features": ["price"]}), "/spec/features/0"),
        (json!({"rules": [{"name": "a", "items": [1], "effect": "bury"}]}), "/spec/rules/0/items"),
        (json!({"rules": [{"name": "a", "filter": "genre ==", "effect": "bury"}]}), "/spec/rules/0/filter"),
        (json!({"rules": [{"name": "a", "filter": "year > 1", "effect": {"pin": {"position": 2}}}]}), "/spec"),
    ] {
        assert_eq!(fault("pipeline", spec(more.clone())), pointer, "{more}");
    }
    assert_eq!(fault("pipeline", json!({"sourcs": []})), "/spec/sourcs");
    assert_eq!(fault("pipeline", json!({})), "/spec/sources");
}

#[test]
fn a_service_is_refused_at_the_place_of_its_fault() {
    let spec = |outside: Value| json!({"sources": [{"source": "popular"}, {"source": "ours"}], "outside": outside});
    let good = json!({"url": "https://ours.example/items"});
    let with = |member: &str, value: Value| {
        let mut service = good.clone();
        service[member] = value;
        json!({ "ours": service })
    };
    for (outside, pointer) in [
        (json!({"ours": good}), ""),
        (with("task", json!("score")), ""),
        (with("timeout_ms", json!(100)), ""),
        (json!({}), "/spec/sources/1/source"),
        (Value::Null, "/spec/sources/1/source"),
        (json!([]), "/spec/outside"),
        (json!({"ours": {}}), "/spec/outside/ours/url"),
        (json!({"ours": {"uri": ""}}), "/spec/outside/ours/uri"),
        (json!({"ours": good, "other": good}), "/spec/outside/other"),
        (json!({"ours": good, "popular": good}), "/spec/outside/popular"),
        (json!({"ours": good, "model": good}), "/spec/outside/model"),
        (json!({"ours": good, "sentiment": good}), "/spec/outside/sentiment"),
        (json!({"ours": good, "a/b": good}), "/spec/outside/a~1b"),
        (with("task", json!("guess")), "/spec/outside/ours/task"),
        (with("timeout_ms", json!(0)), "/spec/outside/ours/timeout_ms"),
        (with("timeout_ms", json!(101)), "/spec/outside/ours/timeout_ms"),
        (with("url", json!("https://other.example/items")), "/spec/outside/ours/url"),
    ] {
        assert_eq!(fault("pipeline", spec(outside.clone())), pointer, "{outside}");
    }
    let many: BTreeMap<String, Value> = (0..9).map(|number| (format!("s{number}"), good.clone())).collect();
    assert_eq!(fault("pipeline", spec(json!(many))), "/spec/outside");
    let alone = json!({"sources": [{"source": "ours"}], "outside": {"ours": good}});
    assert_eq!(fault("pipeline", alone), "/spec/sources");

    let (others, recipe) = (InForce::default(), check::recipe(spec(json!({"ours": good}))).unwrap());
    let world = world(&others);
    let nobody = Against { world: &world, others: &others, reach: Reach { outside: None, ..REACH } };
    let error = nobody.pipeline("new", &recipe).unwrap_err();
    assert_eq!(error.fields[0].pointer, "/spec/outside/ours/url");
    assert!(nobody.pipeline("new", &read(json!({"sources": [{"source": "popular"}]}))).is_ok());
}

#[test]
fn a_rule_is_refused_at_the_place_of_its_fault() {
    for (spec, pointer) in [
        (json!({"filter": "genre == \"war\"", "effect": "bury"}), ""),
        (json!({"item_ids": ["not there yet"], "effect": {"pin": {"position": 1}}}), ""),
        (json!({"filter": "colour == \"red\"", "effect": "bury"}), "/spec/filter"),
        (json!({"effect": {"pin": {"position": 1}}}), "/spec"),
        (json!({"item_ids": ["i1"], "effect": {"pin": {"position": 0}}}), "/spec/effect/pin/position"),
        (json!({"item_ids": ["i1"], "effect": {"pin": {"position": 2}}}), "/spec/effect/pin/position"),
        (json!({"item_ids": ["i1"], "effect": {"boost": {"factor": -1.0}}}), "/spec/effect/boost/factor"),
        (json!({"effect": {"quota": {"attribute": "year", "at_most": 1}}}), "/spec/effect/quota/attribute"),
        (json!({"effect": "burry"}), "/spec/effect"),
        (json!({"pipelines": ["default", "none"], "effect": "bury"}), "/spec/pipelines/1"),
        (json!({"item_ids": vec!["x"; 1_001], "effect": "bury"}), "/spec/item_ids"),
    ] {
        assert_eq!(fault("rule", spec.clone()), pointer, "{spec}");
    }
}

#[test]
fn an_experiment_is_refused_at_the_place_of_its_fault() {
    let arm = |name: &str, share: f64, pipeline: &str| json!({"name": name, "share": share, "pipeline": pipeline});
    for (pipeline, arms, pointer) in [
        ("plain", json!([arm("a", 0.5, "plain"), arm("b", 0.5, "default")]), ""),
        ("plain", json!([arm("a", 0.5, "plain"), arm("b", 0.4, "default")]), "/spec/arms"),
        ("plain", json!([]), "/spec/arms"),
        ("plain", json!([arm("a", 0.5, "plain"), arm("a", 0.5, "default")]), "/spec/arms/1/name"),
        ("plain", json!([arm("a", 1.5, "plain"), arm("b", -0.5, "default")]), "/spec/arms/0/share"),
        ("plain", json!([arm("a", 0.5, "plain"), arm("b", 0.5, "nowhere")]), "/spec/arms/1/pipeline"),
        ("nowhere", json!([arm("a", 1.0, "plain")]), "/spec/pipeline"),
        ("similar", json!([arm("a", 1.0, "plain")]), "/spec/pipeline"),
        ("default", json!([arm("a", 1.0, "plain")]), "/spec/pipeline"),
    ] {
        let spec = json!({"pipeline": pipeline, "arms": arms});
        assert_eq!(fault("experiment", spec.clone()), pointer, "{spec}");
    }
    let arms = json!([arm("a", 0.5, "plain"), arm("b", 0.5, "default")]);
    for (bandit, pointer) in [
        (json!({}), ""),
        (json!({"floor": 0.5}), ""),
        (json!({"floor": 0.6}), "/spec/bandit/floor"),
        (json!({"floor": -0.1}), "/spec/bandit/floor"),
        (json!({"flor": 0.1}), "/spec/bandit/flor"),
    ] {
        let spec = json!({"pipeline": "plain", "arms": arms, "bandit": bandit});
        assert_eq!(fault("experiment", spec.clone()), pointer, "{spec}");
    }
}

#[test]
fn a_bandits_arms_have_the_chances_that_were_written_for_them() {
    let arms = json!([
        {"name": "a", "share": 0.5, "pipeline": "default"},
        {"name": "b", "share": 0.5, "pipeline": "plain"},
    ]);
    let chances = |chances: &[(&str, f64)]| Allocation {
        chances: chances.iter().map(|(arm, chance)| ((*arm).to_owned(), *chance)).collect(),
    };
    let chance = |spec: Value, allocation: &Allocation| {
        let experiment = Experiment::new("x", read(spec), Some(allocation)).unwrap();
        let people = (0..200).map(|number| format!("user/u{number}"));
        let of_a = people.map(|who| experiment.arm_of(&who)).find(|(arm, _)| arm.name == "a");
        of_a.map(|(_, chance)| (chance * 1e6).round() / 1e6)
    };
    let bandit = json!({"arms": arms, "bandit": {}});
    assert_eq!(chance(bandit.clone(), &chances(&[("a", 0.8), ("b", 0.2)])), Some(0.8));
    assert_eq!(chance(bandit.clone(), &chances(&[("a", 0.8), ("c", 0.2)])), Some(0.5), "its arms are others now");
    assert_eq!(chance(json!({ "arms": arms }), &chances(&[("a", 0.8), ("b", 0.2)])), Some(0.5), "it is none");
}

#[test]
fn what_others_need_does_not_go() {
    let others = in_force();
    let world = world(&others);
    let against = Against { world: &world, others: &others, reach: REACH };
    assert!(against.may_go("plain").unwrap_err().detail.contains("experiment plainness"));
    assert_eq!((against.may_go("default"), against.may_go("other")), (Ok(()), Ok(())));
    let rule = read(json!({"pipelines": ["other"], "effect": "bury"}));
    let others = InForce { rules: BTreeMap::from([("low".to_owned(), rule)]), ..InForce::default() };
    let error = Against { world: &world, others: &others, reach: REACH }.may_go("other").unwrap_err();
    assert!(error.detail.contains("rule low"), "{error}");
    assert!(check::name("home-2.b_c").is_ok());
    assert!(["", "a/b", "ä", &"x".repeat(129)].iter().all(|name| check::name(name).is_err()));
}

#[test]
fn two_thousand_people_are_split_as_chance_lets_them_be_and_keep_their_arm() {
    let (first, second) = (world(&in_force()), world(&in_force()));
    let people: Vec<String> = (0..2_000).map(|number| format!("user/u{number}")).collect();
    let mut counts = [0_u64; 2];
    for who in &people {
        let chosen = first.choose("default", Some(who)).unwrap();
        let arm = chosen.arm.unwrap();
        assert_eq!(arm.experiment, "plainness");
        let is_plain = arm.arm == "plain";
        assert_eq!(chosen.name, if is_plain { "plain" } else { "default" });
        counts[usize::from(is_plain)] += 1;
        assert_eq!(second.choose("default", Some(who)).unwrap().arm, Some(arm), "another replica says the same");
    }
    let ratio = sample_ratio(&counts, &[0.75, 0.25]).unwrap();
    assert!(!ratio.is_suspicious(), "{counts:?} {ratio:?}");
    assert_eq!(first.choose("default", None).unwrap().arm, None, "nobody in particular is in no arm");
    assert_eq!(first.choose("plain", Some("user/u1")).unwrap().arm, None, "this pipeline has no experiment");
    assert!(first.choose("none", None).is_err());
}

#[test]
fn what_does_not_fit_any_more_is_left_out_and_lists_go_on() {
    let mut others = in_force();
    // As after a model went, or an attribute: neither was wrong when it was written.
    others.pipelines.insert("plain".into(), read(json!({"sources": [{"source": "model"}]})));
    others.pipelines.insert("default".into(), read(json!({"sources": [{"source": "model"}]})));
    others.rules.insert("red".into(), read(json!({"filter": "colour == \"red\"", "effect": "bury"})));
    let world = world(&others);
    let chosen = world.choose("default", Some("user/u1")).unwrap();
    assert_eq!(chosen.arm, None, "an experiment without one of its arms is not carried out");
    assert!(chosen.pipeline.sources().contains(&"popular".to_owned()), "the one that is built in");
    assert!(world.choose("plain", None).is_err());
    let said = world.complaints().join("\n");
    for part in
        ["pipeline plain does not fit", "pipeline default does not fit", "plainness is not carried out", "colour"]
    {
        assert!(said.contains(part), "{said}");
    }
}
