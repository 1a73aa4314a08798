//! How many events there are, by steps of time.

use datafusion::error::Result;
use datafusion::prelude::DataFrame;

use super::{Grouped, bucketed, columns, count_rows, keys, ordered};
use crate::ask::Ask;

pub(super) fn plan(ask: &Ask, events: DataFrame) -> Result<DataFrame> {
    let counted = bucketed(events, ask)?.grouped(columns(&keys(ask)), vec![count_rows().alias("count")])?;
    ordered(counted, ask, &[], &["count"])
}
