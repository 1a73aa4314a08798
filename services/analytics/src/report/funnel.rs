//! How many people took one step after another. Whoever did a step after having done all before it has come so far, with
//! whatever in between; one event is one step.

use attune_api::rest::analytics::{Column, ColumnType, Table};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::{max, sum};
use datafusion::functions_aggregate::min_max::max_udaf;
use datafusion::logical_expr::expr_fn::ident;
use datafusion::logical_expr::{Expr, ExprFunctionExt, lit};
use datafusion::prelude::DataFrame;
use serde_json::Value;

use super::{Grouped, columns, flag, ordered, over, rising, rows_before};
use crate::ask::Ask;
use crate::filter::{compile, joined};

/// A row for each group, with how many came to each step.
pub(super) fn plan(ask: &Ask, events: DataFrame) -> Result<DataFrame> {
    let steps: Vec<Expr> = ask.steps.iter().map(|step| compile(step.filter.root())).collect();
    let person = [ask.group_by.as_slice(), &["subject"]].concat();
    let names: Vec<String> = (1..=steps.len()).map(|number| format!("step_{number}")).collect();
    let mut rows = events.filter(joined(steps.clone(), Expr::or))?;
    for (number, step) in steps.into_iter().enumerate() {
        // Taken here, and all before it in earlier rows.
        let taken = match number.checked_sub(1) {
            None => step,
            Some(previous) => {
                let earlier = over(max_udaf(), ident(&names[previous]))
                    .partition_by(columns(&person))
                    .order_by(rising(&["time", "offset"]))
                    .window_frame(rows_before(false))
                    .build()?;
                rows = rows.with_column("earlier", earlier)?;
                step.and(ident("earlier").eq(lit(1_i64)))
            }
        };
        rows = rows.with_column(&names[number], flag(taken)?)?;
    }
    let of_person = names.iter().map(|name| max(ident(name)).alias(name)).collect();
    let of_group = names.iter().map(|name| sum(ident(name)).alias(name)).collect();
    let counted = rows.grouped(columns(&person), of_person)?.grouped(columns(&ask.group_by), of_group)?;
    ordered(counted, ask, &[], &names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A row for each group and step.
pub(super) fn finish(ask: &Ask, counted: Table) -> Table {
    let groups = ask.group_by.len();
    let mut columns: Vec<Column> = counted.columns.into_iter().take(groups).collect();
    columns.extend([
        Column::new("step", ColumnType::Integer),
        Column::new("name", ColumnType::String),
        Column::new("users", ColumnType::Integer),
        Column::new("of_first", ColumnType::Number),
        Column::new("of_previous", ColumnType::Number),
    ]);
    let rows = counted.rows.iter().flat_map(|row| {
        let (group, counts) = row.split_at(groups);
        let users: Vec<i64> = counts.iter().map(|count| count.as_i64().unwrap_or(0)).collect();
        (0..users.len()).map(move |step| {
            let share = |of: i64| if of > 0 { Value::from(users[step] as f64 / of as f64) } else { Value::Null };
            let mut row = group.to_vec();
            row.extend([(step + 1).into(), ask.steps[step].name.clone().into(), users[step].into()]);
            row.extend([share(users[0]), share(users[step.saturating_sub(1)])]);
            row
        })
    });
    Table { columns, rows: rows.collect() }
}
