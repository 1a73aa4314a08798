//! How the arms of experiments do. What an arm is judged by are people, who got it as one: the share of those it was shown
//! to who clicked on what it showed. Clicks by exposures stand beside it without an interval, since one person's are not
//! independent of each other.

use std::collections::BTreeMap;

use attune_api::analytics::ROWS_MAX;
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

/// The same with intervals, and whether the arms of an experiment are of one size.
pub(super) fn finish(_: &Ask, mut arms: Table) -> Table {
    let count = |row: &[Value], place: usize| row.get(place).and_then(Value::as_u64).unwrap_or(0);
    let place = |name| arms.column(name).unwrap_or(usize::MAX);
    let (users, converted) = (place("users"), place("converted"));
    let mut sizes: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for row in &arms.rows {
        sizes.entry(row[0].to_string()).or_default().push(count(row, users));
    }
    let ratio_p = |experiment: &Value| {
        let sizes = sizes.get(&experiment.to_string())?;
        sample_ratio(sizes, &vec![1.0 / sizes.len() as f64; sizes.len()]).ok().map(|ratio| ratio.p)
    };
    for row in &mut arms.rows {
        let rate = Rate::new(count(row, converted), count(row, users)).ok().map(|rate| rate.interval(LEVEL));
        let p = ratio_p(&row[0]);
        row.extend(
            rate.map_or([Value::Null, Value::Null, Value::Null], |rate| {
                [rate.mean, rate.low, rate.high].map(Value::from)
            }),
        );
        row.push(p.map_or(Value::Null, Value::from));
    }
    arms.columns.extend(["rate", "rate_low", "rate_high", "ratio_p"].map(|name| Column::new(name, ColumnType::Number)));
    arms
}
