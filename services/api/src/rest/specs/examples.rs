//! Examples of definitions, member by member.

use serde_json::{Value, json};

use crate::definitions::Defined;

/// Members of definitions that can be written in several ways, or are not written as one would guess, with examples of
/// each: where a member does not fit, the refusal shows them. `*` is any place of a list.
pub fn of(kind: Defined) -> &'static [(&'static str, &'static [&'static str])] {
    match kind {
        Defined::Pipeline => &[
            ("/spec", &[r#"{"sources": [{"source": "related"}, {"source": "popular"}]}"#]),
            ("/spec/sources", &[r#"[{"source": "related", "candidates": 100}]"#]),
            ("/spec/outside", &[r#"{"ours": {"url": "https://models.example.com/items", "task": "propose"}}"#]),
            ("/spec/features", &[r#"["sentiment"]"#]),
            ("/spec/blend", &[r#"{"ranks": {"weights": {"related": 1}}}"#, r#"{"model": {"name": "NAME"}}"#]),
            ("/spec/rules", &[r#"[{"name": "last", "filter": "year < 1950", "effect": "bury"}]"#]),
            ("/spec/rules/*", &[r#"{"name": "last", "filter": "year < 1950", "effect": "bury"}"#]),
            ("/spec/rules/*/effect", EFFECTS),
            ("/spec/diversity", &[r#"{"amount": 0.2}"#]),
            ("/spec/diversity/by", &[r#""vectors""#, r#"{"attribute": "genres"}"#]),
            (
                "/spec/exploration",
                &[r#""off""#, r#"{"epsilon": {"epsilon": 0.05, "pool": 20}}"#, r#"{"thompson": {"pool": 20}}"#],
            ),
        ],
        Defined::Rule => {
            &[("/spec", &[r#"{"item_ids": ["p9"], "effect": {"pin": {"position": 1}}}"#]), ("/spec/effect", EFFECTS)]
        }
        Defined::Experiment => &[
            ("/spec", &[r#"{"pipeline": "home", "arms": [{"name": "a", "share": 1, "pipeline": "home"}]}"#]),
            ("/spec/arms", &[r#"[{"name": "a", "share": 0.5, "pipeline": "home"}]"#]),
            ("/spec/arms/*", &[r#"{"name": "a", "share": 0.5, "pipeline": "home"}"#]),
            ("/spec/bandit", &[r#"{"floor": 0.05}"#]),
        ],
    }
}

const EFFECTS: &[&str] = &[
    r#"{"pin": {"position": 1}}"#,
    r#"{"boost": {"factor": 2}}"#,
    r#""bury""#,
    r#"{"quota": {"attribute": "brand", "at_most": 2}}"#,
];

/// Definitions with each example in its place, for tests of whoever reads them.
pub fn whole(kind: Defined) -> Vec<Value> {
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let all = of(kind).iter().flat_map(|(place, examples)| examples.iter().map(move |example| (*place, *example)));
    let rule = json!({"name": "a", "effect": "bury"});
    all.map(|(place, example)| {
        let mut spec = match kind {
            Defined::Pipeline => json!({"sources": [], "rules": [rule], "diversity": {"by": "vectors"}}),
            Defined::Rule => json!({"effect": "bury"}),
            Defined::Experiment => json!({"arms": [{"name": "a", "share": 1, "pipeline": "home"}]}),
        };
        let (parent, member) = place.rsplit_once('/').unwrap_or_default();
        let parent = parent.replacen("/spec", "", 1).replace('*', "0");
        match (spec.pointer_mut(&parent), member) {
            (Some(whole), "spec") => *whole = read(example),
            (Some(list), "*") => list[0] = read(example),
            (Some(parent), member) => parent[member] = read(example),
            (None, _) => {}
        }
        spec
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::{EffectSpec, ExperimentSpec, PipelineSpec, RuleSpec};
    use super::*;

    #[test]
    fn examples_are_what_they_are_examples_of() {
        for effect in EFFECTS {
            let read: EffectSpec = serde_json::from_str(effect).unwrap();
            let name = match read {
                EffectSpec::Pin { .. } => "pin",
                EffectSpec::Boost { .. } => "boost",
                EffectSpec::Bury => "bury",
                EffectSpec::Quota { .. } => "quota",
            };
            assert!(effect.contains(name), "{effect}");
        }
        for kind in [Defined::Pipeline, Defined::Rule, Defined::Experiment] {
            for spec in whole(kind) {
                let read = match kind {
                    Defined::Pipeline => serde_json::from_value::<PipelineSpec>(spec.clone()).map(drop),
                    Defined::Rule => serde_json::from_value::<RuleSpec>(spec.clone()).map(drop),
                    Defined::Experiment => serde_json::from_value::<ExperimentSpec>(spec.clone()).map(drop),
                };
                read.unwrap_or_else(|error| panic!("{spec}: {error}"));
            }
        }
    }
}
