//! How many people did something.

use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::count_distinct;
use datafusion::logical_expr::expr_fn::ident;
use datafusion::prelude::DataFrame;

use super::{Grouped, bucketed, columns, keys, ordered};
use crate::ask::Ask;

pub(super) fn plan(ask: &Ask, events: DataFrame) -> Result<DataFrame> {
    let users = count_distinct(ident("subject")).alias("users");
    ordered(bucketed(events, ask)?.grouped(columns(&keys(ask)), vec![users])?, ask, &[], &["users"])
}
