//! Which items most events are about, and how many people's they are; so many of each group and step of time.

use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr_fn::ident;
use datafusion::logical_expr::{ExprFunctionExt, lit};
use datafusion::prelude::DataFrame;

use super::{Grouped, bucketed, columns, count_rows, keys, ordered};
use crate::ask::Ask;

pub(super) fn plan(ask: &Ask, events: DataFrame) -> Result<DataFrame> {
    let keys = keys(ask);
    let of_item = columns(&[keys.as_slice(), &["item_id"]].concat());
    let of_person = columns(&[keys.as_slice(), &["item_id", "subject"]].concat());
    let items = bucketed(events.filter(ident("item_id").is_not_null())?, ask)?
        // Persons first: counting distinct ones in one step keeps a set of them for each item.
        .grouped(of_person, vec![count_rows().alias("events")])?
        .grouped(of_item, vec![sum(ident("events")).alias("count"), count_rows().alias("users")])?;
    let first = vec![ident("count").sort(false, false), ident("item_id").sort(true, false)];
    let mut place = row_number().order_by(first);
    if !keys.is_empty() {
        place = place.partition_by(columns(&keys));
    }
    let top = items.with_column("place", place.build()?)?.filter(ident("place").lt_eq(lit(ask.k as u64)))?;
    ordered(top, ask, &["place"], &["item_id", "count", "users"])
}
