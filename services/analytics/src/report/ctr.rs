//! How often what was shown is clicked: clicks by impressions on surfaces that send any in the time that is asked about,
//! by exposures on the others.

use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::ExprFunctionExt;
use datafusion::logical_expr::expr_fn::{ident, when};
use datafusion::logical_expr::lit;
use datafusion::prelude::DataFrame;

use super::{Grouped, bucketed, columns, keys, ordered, over, share};
use crate::ask::Ask;

const COUNTS: [&str; 4] = ["clicks", "impressions", "exposures", "shown"];

pub(super) fn plan(ask: &Ask, shown: DataFrame) -> Result<DataFrame> {
    let keys = keys(ask);
    let mut apart = keys.clone();
    if !apart.contains(&"surface") {
        apart.push("surface");
    }
    let sums = |names: &[&str]| names.iter().map(|name| sum(ident(*name)).alias(*name)).collect::<Vec<_>>();
    let of_surface = over(sum_udaf(), ident("impressions")).partition_by(columns(&["surface"])).build()?;
    let counted = bucketed(shown, ask)?
        .grouped(columns(&apart), sums(&COUNTS[..3]))?
        .with_column("of_surface", of_surface)?
        .with_column(
            "shown",
            when(ident("of_surface").gt(lit(0_i64)), ident("impressions")).otherwise(ident("exposures"))?,
        )?
        .grouped(columns(&keys), sums(&COUNTS))?
        .with_column("ctr", share(ident("clicks"), ident("shown"))?)?;
    ordered(counted, ask, &[], &[&COUNTS[..], &["ctr"]].concat())
}
