//! Reports as plans: what is computed, of tables and a question alone.
//!
//! A plan brings the rows in their final order. What is left to do with them, such as intervals of confidence, is done
//! with the finished table, which is small.

mod active_users;
mod ctr;
mod experiments;
mod funnel;
mod sentiment;
mod sessions;
mod shown;
mod timeseries;
mod top_items;

use std::sync::Arc;

use attune_api::analytics::{ROWS_MAX, Report};
use attune_api::rest::analytics::{Interval, Table};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::functions::datetime::expr_fn::date_trunc;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::expr::{Sort, WindowFunction};
use datafusion::logical_expr::expr_fn::{cast, ident, when};
use datafusion::logical_expr::{
    AggregateUDF, Expr, LogicalPlanBuilder, WindowFrame, WindowFrameBound, WindowFrameUnits, lit,
};
use datafusion::prelude::DataFrame;

use crate::ask::Ask;
use crate::filter::compile;

/// A click is counted for the list that it was made on if that was served at most so long before the time that is asked
/// about.
pub(crate) const LISTS_BEFORE_MS: i64 = 24 * 3_600 * 1_000;

pub(crate) use experiments::with_shares;

/// The step of time of a row, until it is called `time` in the answer.
const BUCKET: &str = "bucket";

/// What people did and were shown. Rows outside the time of the question may be among them.
pub(crate) struct Tables {
    pub events: DataFrame,
    pub exposures: DataFrame,
    /// Exposures from [`LISTS_BEFORE_MS`] earlier on.
    pub lists: DataFrame,
}

/// How an answer comes about.
pub(crate) struct Plan {
    /// Its rows.
    pub frame: DataFrame,
    /// What becomes of them.
    pub finish: fn(&Ask, Table) -> Table,
}

/// The plan of a report on what people wrote.
///
/// # Errors
/// A defect: whatever a question names was checked.
pub(crate) fn of_reviews(ask: &Ask, reviews: DataFrame) -> Result<Plan> {
    let reviews = within(reviews, ask.from_ms, ask.to_ms)?;
    Ok(Plan { frame: sentiment::plan(ask, filtered(reviews, ask)?)?, finish: |_, table| table })
}

/// The plan of any other report.
///
/// # Errors
/// As [`of_reviews`].
pub(crate) fn of_lake(ask: &Ask, tables: Tables) -> Result<Plan> {
    let within = |rows, before_ms| within(rows, ask.from_ms - before_ms, ask.to_ms);
    let events = within(tables.events, 0)?;
    let rows = match ask.report {
        Report::Ctr | Report::Experiments => {
            shown::shown(events, within(tables.exposures, 0)?, within(tables.lists, LISTS_BEFORE_MS)?)?
        }
        _ => ask.properties.of(events)?,
    };
    let rows = filtered(rows, ask)?;
    let (frame, finish): (_, fn(&Ask, Table) -> Table) = match ask.report {
        Report::TopItems => (top_items::plan(ask, rows)?, |_, table| table),
        Report::Timeseries => (timeseries::plan(ask, rows)?, |_, table| table),
        Report::ActiveUsers => (active_users::plan(ask, rows)?, |_, table| table),
        Report::Sessions => (sessions::plan(ask, rows)?, |_, table| table),
        Report::Funnel => (funnel::plan(ask, rows)?, funnel::finish),
        Report::Ctr => (ctr::plan(ask, rows)?, |_, table| table),
        Report::Experiments => (experiments::plan(rows)?, experiments::finish),
        Report::Sentiment => return Err(DataFusionError::Internal("sentiment is a report on reviews".to_owned())),
    };
    Ok(Plan { frame, finish })
}

/// The rows of a time, its end not included.
fn within(rows: DataFrame, from_ms: i64, to_ms: i64) -> Result<DataFrame> {
    rows.filter(ident("time").gt_eq(moment(from_ms)).and(ident("time").lt(moment(to_ms))))
}

/// The rows that are to be counted.
fn filtered(rows: DataFrame, ask: &Ask) -> Result<DataFrame> {
    match &ask.filter {
        Some(filter) => rows.filter(compile(filter.root())),
        None => Ok(rows),
    }
}

fn moment(ms: i64) -> Expr {
    lit(ScalarValue::TimestampMillisecond(Some(ms), Some("UTC".into())))
}

/// The rows, each with its step of time where there are any.
fn bucketed(rows: DataFrame, ask: &Ask) -> Result<DataFrame> {
    let Some(interval) = ask.interval else { return Ok(rows) };
    let step = match interval {
        Interval::Minute => "minute",
        Interval::Hour => "hour",
        Interval::Day => "day",
        Interval::Week => "week",
        Interval::Month => "month",
    };
    rows.with_column(BUCKET, date_trunc(lit(step), ident("time")))
}

/// The names of what is counted apart: the step of time, then the groups.
fn keys(ask: &Ask) -> Vec<&'static str> {
    ask.interval.map(|_| BUCKET).into_iter().chain(ask.group_by.iter().copied()).collect()
}

fn columns(names: &[&str]) -> Vec<Expr> {
    names.iter().map(|name| ident(*name)).collect()
}

/// In rising order; what is absent comes first.
fn rising(names: &[&str]) -> Vec<Sort> {
    names.iter().map(|name| ident(*name).sort(true, true)).collect()
}

/// The answer's rows: ordered by what is counted apart and then by `order`, with those columns, and one more than there
/// may be at most, which tells that there are too many.
fn ordered(rows: DataFrame, ask: &Ask, order: &[&str], values: &[&str]) -> Result<DataFrame> {
    let keys = keys(ask);
    let by = rising(&[keys.as_slice(), order].concat());
    let rows = if by.is_empty() { rows } else { rows.sort(by)? };
    let named = |name: &&str| if *name == BUCKET { ident(BUCKET).alias("time") } else { ident(*name) };
    let select: Vec<Expr> = keys.iter().chain(values).map(named).collect();
    rows.limit(0, Some(ROWS_MAX + 1))?.select(select)
}

/// Rows by what they have in common.
trait Grouped: Sized {
    /// One row for each value of `keys`. [`DataFrame::aggregate`] would also group by whatever depends on the keys, and so
    /// call two columns by one name.
    fn grouped(self, keys: Vec<Expr>, values: Vec<Expr>) -> Result<Self>;
}

impl Grouped for DataFrame {
    fn grouped(self, keys: Vec<Expr>, values: Vec<Expr>) -> Result<Self> {
        let (session, plan) = self.into_parts();
        Ok(Self::new(session, LogicalPlanBuilder::from(plan).aggregate(keys, values)?.build()?))
    }
}

/// How many rows there are.
fn count_rows() -> Expr {
    count(lit(1_i64))
}

/// An aggregate over the rows around each row, of which a builder says which.
fn over(aggregate: Arc<AggregateUDF>, of: Expr) -> Expr {
    Expr::from(WindowFunction::new(aggregate, vec![of]))
}

/// 1 where a condition holds, else 0.
fn flag(condition: Expr) -> Result<Expr> {
    when(condition, lit(1_i64)).otherwise(lit(0_i64))
}

/// A quotient as a number; absent where the divisor is 0.
fn share(part: Expr, of: Expr) -> Result<Expr> {
    let number = |expr| cast(expr, DataType::Float64);
    when(of.clone().gt(lit(0_i64)), number(part) / number(of)).end()
}

/// Unix milliseconds of a moment.
fn milliseconds(moment: Expr) -> Expr {
    cast(cast(moment, DataType::Timestamp(TimeUnit::Millisecond, None)), DataType::Int64)
}

/// All rows before the current one, or up to it.
fn rows_before(with_current: bool) -> WindowFrame {
    let end = match with_current {
        true => WindowFrameBound::CurrentRow,
        false => WindowFrameBound::Preceding(ScalarValue::UInt64(Some(1))),
    };
    let start = WindowFrameBound::Preceding(ScalarValue::UInt64(None));
    WindowFrame::new_bounds(WindowFrameUnits::Rows, start, end)
}
