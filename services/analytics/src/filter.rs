//! A filter as an expression of DataFusion.
//!
//! DataFusion's conditions have three values and its numbers a total order in which -0 comes before 0; filters have two
//! values and one zero. So every comparison asks first whether the value is there, and bounds at zero take both.

use std::ops::RangeInclusive;

use arrow::datatypes::{DataType, TimeUnit};
use attune_ranking::attributes::{Kind, key_number, number_key};
use attune_ranking::filter::{Node, Set, Test};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr_fn::{cast, ident};
use datafusion::logical_expr::{Expr, lit};

/// The rows for which a condition holds: true or false, never null. Columns have the names of the filter's fields.
pub(crate) fn compile(node: &Node) -> Expr {
    match node {
        Node::All(nodes) => joined(nodes.iter().map(compile).collect(), Expr::and),
        Node::Any(nodes) => joined(nodes.iter().map(compile).collect(), Expr::or),
        Node::Not(node) => Expr::Not(Box::new(compile(node))),
        Node::Test(test) => leaf(test),
    }
}

/// One expression of several, as shallow as it can be: whoever walks it does so by recursion.
pub(crate) fn joined(mut parts: Vec<Expr>, join: fn(Expr, Expr) -> Expr) -> Expr {
    while parts.len() > 1 {
        let mut pairs = parts.into_iter();
        let mut halved = Vec::with_capacity(pairs.len().div_ceil(2));
        while let Some(left) = pairs.next() {
            halved.push(match pairs.next() {
                Some(right) => join(left, right),
                None => left,
            });
        }
        parts = halved;
    }
    parts.pop().unwrap_or_else(|| lit(false))
}

fn leaf(test: &Test) -> Expr {
    let column = ident(test.attribute.as_str());
    let is_in = among(test, column.clone());
    column.is_not_null().and(if test.outside { Expr::Not(Box::new(is_in)) } else { is_in })
}

/// Whether a value that is there is in the set.
fn among(test: &Test, column: Expr) -> Expr {
    match (&test.set, test.kind) {
        (Set::Keywords(keywords), Kind::Keyword) => one_of(column, keywords.iter().map(|word| lit(word.as_str()))),
        (Set::Keys(ranges), Kind::Number) => within(column, ranges, numbers),
        (Set::Keys(ranges), Kind::Time) => {
            let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
            within(cast(column, micros), ranges, moments)
        }
        (Set::Flags { yes, no }, Kind::Boolean) => {
            lit(*yes).and(column.clone()).or(lit(*no).and(Expr::Not(Box::new(column))))
        }
        // Lists are in no table that is asked; a filter was checked against the fields, which have none.
        _ => lit(false),
    }
}

fn one_of(column: Expr, values: impl Iterator<Item = Expr>) -> Expr {
    let values: Vec<Expr> = values.collect();
    if values.is_empty() { lit(false) } else { column.in_list(values, false) }
}

/// A key as the lowest and the highest value that it stands for.
type Ends = fn(i64) -> (Expr, Expr);

fn within(column: Expr, ranges: &[RangeInclusive<i64>], ends: Ends) -> Expr {
    if ranges.iter().all(|range| range.start() == range.end()) {
        return one_of(column, ranges.iter().flat_map(|range| <[Expr; 2]>::from(ends(*range.start()))));
    }
    let between = |range: &RangeInclusive<i64>| {
        let low = (*range.start() != i64::MIN).then(|| column.clone().gt_eq(ends(*range.start()).0));
        let high = (*range.end() != i64::MAX).then(|| column.clone().lt_eq(ends(*range.end()).1));
        low.into_iter().chain(high).reduce(Expr::and).unwrap_or_else(|| lit(true))
    };
    joined(ranges.iter().map(between).collect(), Expr::or)
}

fn numbers(key: i64) -> (Expr, Expr) {
    let number = key_number(key);
    if key == number_key(0.0) { (lit(-0.0_f64), lit(0.0_f64)) } else { (lit(number), lit(number)) }
}

fn moments(micros: i64) -> (Expr, Expr) {
    let moment = lit(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())));
    (moment.clone(), moment)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array,
    };
    use attune_ranking::attributes::{Schema, Value};
    use attune_ranking::filter::{Filter, parse, truth};
    use datafusion::prelude::SessionContext;

    use super::*;

    /// The items of the table of truth. Lists have no column: no report has any.
    fn items() -> RecordBatch {
        let items = truth::items();
        let values = |name: &str| -> Vec<Option<Value>> {
            items
                .iter()
                .map(|item| item.iter().find(|(named, _)| *named == name).map(|(_, value)| value.clone()))
                .collect()
        };
        let text = |value: Option<Value>| {
            value.map(|value| match value {
                Value::Keyword(word) => word,
                other => panic!("{other:?}"),
            })
        };
        let number = |value: Option<Value>| {
            value.map(|value| match value {
                Value::Number(number) => number,
                other => panic!("{other:?}"),
            })
        };
        let flag = |value: Option<Value>| value.map(|value| value == Value::Boolean(true));
        let time = |value: Option<Value>| {
            value.map(|value| match value {
                Value::Time(micros) => micros,
                other => panic!("{other:?}"),
            })
        };
        let numbers = |name: &str| Arc::new(values(name).into_iter().map(number).collect::<Float64Array>()) as ArrayRef;
        let times = values("published").into_iter().map(time).collect::<TimestampMicrosecondArray>();
        RecordBatch::try_from_iter_with_nullable([
            ("row", Arc::new(UInt32Array::from_iter_values(0..items.len() as u32)) as ArrayRef, false),
            ("category", Arc::new(values("category").into_iter().map(text).collect::<StringArray>()), true),
            ("hidden", Arc::new(values("hidden").into_iter().map(flag).collect::<BooleanArray>()), true),
            ("in", numbers("in"), true),
            ("price", numbers("price"), true),
            ("published", Arc::new(times.with_timezone("UTC")), true),
        ])
        .unwrap()
    }

    async fn rows(filter: &str) -> Vec<u32> {
        let filter = Filter::check(&parse(filter).unwrap(), &truth::schema()).unwrap();
        let context = SessionContext::new();
        let found = context.read_batch(items()).unwrap().filter(compile(filter.root())).unwrap();
        let batches = found.collect().await.unwrap();
        let column = |batch: &RecordBatch| batch.column(0).as_any().downcast_ref::<UInt32Array>().unwrap().clone();
        batches.iter().flat_map(|batch| column(batch).values().to_vec()).collect()
    }

    #[tokio::test]
    async fn the_table_of_truth_holds_and_there_is_no_third_value() {
        let mut of_lists = 0;
        for case in truth::CASES {
            if case.filter.contains("tags") {
                of_lists += 1;
                continue;
            }
            assert_eq!(rows(case.filter).await, case.items, "{}", case.filter);
            let others: Vec<u32> = (0..4).filter(|row| !case.items.contains(row)).collect();
            assert_eq!(rows(&format!("not ({})", case.filter)).await, others, "{}", case.filter);
        }
        assert_eq!((of_lists, truth::CASES.len() - of_lists), (7, 41), "what is left out is known");
    }

    #[tokio::test]
    async fn the_largest_filter_is_walked_without_an_end_of_the_stack() {
        let wide = (0..1_000).map(|n| format!("price=={n}")).collect::<Vec<_>>().join(" or ");
        assert_eq!(rows(&wide).await, [0, 1, 3]);
        let deep = format!("{}hidden{}", "not (".repeat(31), ")".repeat(31));
        assert_eq!(rows(&deep).await, [0, 2, 3]);
        let many: Vec<String> = (0..3_000).map(|n| n.to_string()).collect();
        assert_eq!(rows(&format!("price in [{}]", many.join(","))).await, [0, 1, 3]);
    }

    #[test]
    fn a_filter_knows_no_schema_of_lists() {
        let schema = Schema::new([("tags", Kind::KeywordList)]).unwrap();
        let filter = Filter::check(&parse("tags == \"a\"").unwrap(), &schema).unwrap();
        assert_eq!(compile(filter.root()), ident("tags").is_not_null().and(lit(false)));
    }
}
