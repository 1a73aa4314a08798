//! What reviews say: the mean of how positive less how negative they are, of those that a model judged.

use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::{avg, count};
use datafusion::logical_expr::expr_fn::ident;
use datafusion::prelude::DataFrame;

use super::{Grouped, bucketed, columns, count_rows, keys, ordered};
use crate::ask::Ask;

pub(super) fn plan(ask: &Ask, reviews: DataFrame) -> Result<DataFrame> {
    let counted = bucketed(reviews, ask)?.grouped(
        columns(&keys(ask)),
        vec![
            avg(ident("sentiment")).alias("sentiment"),
            count(ident("sentiment")).alias("judged"),
            count_rows().alias("count"),
        ],
    )?;
    ordered(counted, ask, &[], &["sentiment", "judged", "count"])
}
