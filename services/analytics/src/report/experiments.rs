//! How the arms of experiments do. What an arm is judged by are people, who got it as one: the share of those it was shown
//! to who clicked on what it showed. Clicks by exposures stand beside it without an interval, since one person's are not
//! independent of each other.

use std::collections::BTreeMap;

use attune_api::analytics::ROWS_MAX;
use attune_api::experiments::ArmSpec;
use attune_api::rest::analytics::{Column, ColumnType, Table};
use attune_ranking::experiment::{Rate, sample_ratio};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::logical_expr::expr_fn::ident;
use datafusion::logical_expr::lit;
use datafusion::prelude::DataFrame;
use serde_json::Value;

use super::{Grouped, columns, count_rows, flag, rising, share};
use crate::ask::Ask;
use crate::defined::Defined;

/// How sure an interval is.
const LEVEL: f64 = 0.95;

/// A row for each arm.
pub(super) fn plan(shown: DataFrame) -> Result<DataFrame> {
    let of_arm = ["experiment", "arm"];
    let sums = |names: &[&str]| names.iter().map(|name| sum(ident(*name)).alias(*name)).collect::<Vec<_>>();
    let people = shown
        .filter(ident("experiment").is_not_null())?
        .grouped(columns(&["experiment", "arm", "subject"]), sums(&["exposures", "clicks"]))?
        // Whoever clicked on a list of before the time that is asked about was not shown it within.
        .filter(ident("exposures").gt(lit(0_i64)))?
        .with_column("converted", flag(ident("clicks").gt(lit(0_i64)))?)?;
    let mut counts = vec![count_rows().alias("users")];
    counts.extend(sums(&["exposures", "clicks", "converted"]));
    people
        .grouped(columns(&of_arm), counts)?
        .with_column("ctr", share(ident("clicks"), ident("exposures"))?)?
        .sort(rising(&of_arm))?
        .limit(0, Some(ROWS_MAX + 1))?
        .select(columns(&["experiment", "arm", "users", "exposures", "clicks", "ctr", "converted"]))
}

/// The same with intervals.
pub(super) fn finish(_: &Ask, mut arms: Table) -> Table {
    let place = |name| arms.column(name).unwrap_or(usize::MAX);
    let (users, converted) = (place("users"), place("converted"));
    for row in &mut arms.rows {
        let rate = Rate::new(count(row, converted), count(row, users)).ok().map(|rate| rate.interval(LEVEL));
        row.extend(
            rate.map_or([Value::Null, Value::Null, Value::Null], |rate| {
                [rate.mean, rate.low, rate.high].map(Value::from)
            }),
        );
    }
    arms.columns.extend(["rate", "rate_low", "rate_high"].map(|name| Column::new(name, ColumnType::Number)));
    arms
}

fn count(row: &[Value], place: usize) -> u64 {
    row.get(place).and_then(Value::as_u64).unwrap_or(0)
}

/// The same with what share of people each arm has now, and how likely sizes so far off the shares would be by chance.
/// There is no such figure where shares were others within the time: of a bandit, and of an experiment that was changed.
pub(crate) fn with_shares(ask: &Ask, mut arms: Table, experiments: &BTreeMap<String, Defined>) -> Table {
    let place = |name| arms.column(name).unwrap_or(usize::MAX);
    let (experiment, arm, users) = (place("experiment"), place("arm"), place("users"));
    let name = |row: &[Value], place: usize| row.get(place).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut sizes: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for row in &arms.rows {
        sizes.entry(name(row, experiment)).or_default().insert(name(row, arm), count(row, users));
    }
    let ratio_p = |(name, sizes): (String, BTreeMap<String, u64>)| {
        let p = ratio(&sizes, experiments.get(&name), ask.from_ms);
        (name, p.map_or(Value::Null, Value::from))
    };
    let ratios: BTreeMap<String, Value> = sizes.into_iter().map(ratio_p).collect();
    for row in &mut arms.rows {
        let (of, arm) = (name(row, experiment), name(row, arm));
        let share = experiments.get(&of).and_then(|defined| defined.share(&arm));
        row.extend([ratios[&of].clone(), share.map_or(Value::Null, Value::from)]);
    }
    arms.columns.extend(["ratio_p", "share"].map(|name| Column::new(name, ColumnType::Number)));
    arms
}

/// Of an experiment that is deleted it is only known who was in it: arms of one size are supposed.
fn ratio(sizes: &BTreeMap<String, u64>, defined: Option<&Defined>, from_ms: i64) -> Option<f64> {
    let Some(defined) = defined else {
        let sizes: Vec<u64> = sizes.values().copied().collect();
        return sample_ratio(&sizes, &vec![1.0 / sizes.len() as f64; sizes.len()]).ok().map(|ratio| ratio.p);
    };
    let was_other = defined.is_changed && defined.since_ms > from_ms;
    let is_known = |arm: &String| defined.spec.arms.iter().any(|one| one.name == *arm);
    if defined.spec.bandit.is_some() || was_other || !sizes.keys().all(is_known) {
        return None;
    }
    let size = |arm: &ArmSpec| (sizes.get(&arm.name).copied().unwrap_or(0), arm.share);
    let (sizes, shares): (Vec<u64>, Vec<f64>) = defined.spec.arms.iter().map(size).unzip();
    sample_ratio(&sizes, &shares).ok().map(|ratio| ratio.p)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn p(spec: Value, since_ms: i64, sizes: &[(&str, u64)]) -> Option<f64> {
        let spec = serde_json::from_value(spec).unwrap();
        let defined = Defined { spec, is_enabled: true, since_ms, is_changed: true, allocation: None };
        let sizes = sizes.iter().map(|(arm, users)| ((*arm).to_owned(), *users)).collect();
        ratio(&sizes, Some(&defined), 1_000)
    }

    #[test]
    fn sizes_are_held_against_the_shares_that_were_defined() {
        let spec = |more: Value| {
            let arm = |name: &str, share: f64| json!({"name": name, "share": share, "pipeline": "default"});
            let mut spec = json!({"arms": [arm("most", 0.9), arm("few", 0.1)]});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            spec
        };
        let sizes = [("few", 100), ("most", 900)];
        assert_eq!(p(spec(json!({})), 500, &sizes), Some(1.0));
        assert!(p(spec(json!({})), 500, &[("most", 900)]).unwrap() < 0.001, "an arm that nobody is in counts");
        assert_eq!(p(spec(json!({})), 1_500, &sizes), None, "they were others for a part of the time");
        assert_eq!(p(spec(json!({"bandit": {}})), 500, &sizes), None);
        assert_eq!(p(spec(json!({})), 500, &[("gone", 5), ("most", 900)]), None);
    }
}
