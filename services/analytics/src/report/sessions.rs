//! How long people stay. A session is a run of one person's events with no gap of 30 minutes between two of them, and
//! counts at the time, and in the group, of its first event. Events that the question leaves out are in no session.

use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::{avg, count_distinct, first_value, max, min};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::functions_window::expr_fn::lag;
use datafusion::logical_expr::expr_fn::{cast, ident};
use datafusion::logical_expr::{ExprFunctionExt, lit};
use datafusion::prelude::DataFrame;

use super::{Grouped, bucketed, columns, count_rows, flag, keys, milliseconds, ordered, over, rising, rows_before};
use crate::ask::Ask;

/// So long without an event, and a session is over.
pub(crate) const GAP_MS: i64 = 30 * 60 * 1_000;

pub(super) fn plan(ask: &Ask, events: DataFrame) -> Result<DataFrame> {
    // A subject is in one partition of the log, whose offsets are the order of what happened at one moment.
    let order = || rising(&["ms", "offset"]);
    let subject = || columns(&["subject"]);
    let before = lag(ident("ms"), Some(1), None).partition_by(subject()).order_by(order()).build()?;
    let begins = flag(ident("before").is_null().or((ident("ms") - ident("before")).gt(lit(GAP_MS))))?;
    let number = over(sum_udaf(), ident("begins"))
        .partition_by(subject())
        .order_by(order())
        .window_frame(rows_before(true))
        .build()?;
    let mut of_session = vec![
        min(ident("time")).alias("time"),
        min(ident("ms")).alias("first"),
        max(ident("ms")).alias("last"),
        count_rows().alias("events"),
    ];
    of_session.extend(ask.group_by.iter().map(|name| first_value(ident(*name), order()).alias(*name)));
    let sessions = events
        .with_column("ms", milliseconds(ident("time")))?
        .select(columns(&[&["subject", "offset", "time", "ms"], ask.group_by.as_slice()].concat()))?
        .with_column("before", before)?
        .with_column("begins", begins)?
        .with_column("session", number)?
        .grouped(columns(&["subject", "session"]), of_session)?
        .with_column("seconds", cast(ident("last") - ident("first"), DataType::Float64) / lit(1_000.0_f64))?;
    let counted = bucketed(sessions, ask)?.grouped(
        columns(&keys(ask)),
        vec![
            count_rows().alias("sessions"),
            count_distinct(ident("subject")).alias("users"),
            avg(cast(ident("events"), DataType::Float64)).alias("events_mean"),
            avg(ident("seconds")).alias("seconds_mean"),
        ],
    )?;
    ordered(counted, ask, &[], &["sessions", "users", "events_mean", "seconds_mean"])
}
