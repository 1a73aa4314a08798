//! What was shown and what came of it, a row each: positions of the lists that Attune served, and impressions and clicks
//! that applications sent. What an event does not say itself is that of the list which it names.

use datafusion::common::JoinType;
use datafusion::error::Result;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions_aggregate::expr_fn::max;
use datafusion::logical_expr::expr_fn::ident;
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::DataFrame;

use super::{Grouped, columns, flag};

/// What a list says of all its positions.
const OF_LIST: [&str; 5] = ["surface", "pipeline", "model_version", "experiment", "arm"];

/// The columns `subject`, whom a list was shown to, whoever says so: of somebody's first list nobody knew yet who he is, and
/// what he does on it counts for that list. Besides `time`, `item_id`, `request_id`, those of [`OF_LIST`], and `clicks`, `impressions` and
/// `exposures`, one of which is 1.
pub(super) fn shown(events: DataFrame, exposures: DataFrame, lists: DataFrame) -> Result<DataFrame> {
    let of_list = |name: &str| format!("list_{name}");
    // One row a list, whatever was kept twice: a join must not double a click.
    let lists = lists.grouped(
        vec![ident("request_id").alias("list_id")],
        OF_LIST.iter().chain(&["subject"]).map(|name| max(ident(*name)).alias(of_list(name))).collect(),
    )?;
    let is = |name: &str| ident("type").eq(lit(name));
    let acts = events
        .filter(is("click").or(is("impression")))?
        .join(lists, JoinType::Left, &["request_id"], &["list_id"], None)?
        .with_column("surface", coalesce(vec![ident("surface"), ident(of_list("surface"))]))?
        .with_column("subject", coalesce(vec![ident(of_list("subject")), ident("subject")]))?;
    let mut select = columns(&["subject", "time", "item_id", "request_id", "surface"]);
    select.extend(OF_LIST[1..].iter().map(|name| ident(of_list(name)).alias(*name)));
    select.extend(counts([flag(is("click"))?, flag(is("impression"))?, lit(0_i64)]));
    let acts = acts.select(select)?;

    let mut select = columns(&["subject", "time", "item_id", "request_id"]);
    select.extend(columns(&OF_LIST));
    select.extend(counts([lit(0_i64), lit(0_i64), lit(1_i64)]));
    acts.union(exposures.select(select)?)
}

fn counts(values: [Expr; 3]) -> impl Iterator<Item = Expr> {
    ["clicks", "impressions", "exposures"].into_iter().zip(values).map(|(name, value)| value.alias(name))
}
