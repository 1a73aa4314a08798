//! What filters mean and how they are refused, in the smallest texts that show it. `properties` holds it in any text.

use super::*;
use crate::attributes::{Columns, Kind, Schema, Value};

fn columns() -> Columns {
    let mut builder = Columns::builder(&truth::schema());
    for item in truth::items() {
        builder.push(&item).unwrap();
    }
    builder.finish()
}

fn filter(text: &str) -> Filter {
    Filter::check(&parse(text).unwrap(), &truth::schema()).unwrap()
}

/// The column of a mistake and the message.
fn mistake(text: &str) -> (usize, String) {
    let error = parse(text).and_then(|expr| Filter::check(&expr, &truth::schema())).unwrap_err();
    (error.at.column, error.problem.to_string())
}

#[test]
fn the_table_of_truth_holds() {
    let columns = columns();
    for case in truth::CASES {
        let filter = filter(case.filter);
        assert_eq!(filter.select(&columns).iter().collect::<Vec<u32>>(), case.items, "{}", case.filter);
        let matching = (0..columns.rows()).filter(|row| filter.matches(*row, &columns));
        assert_eq!(matching.collect::<Vec<u32>>(), case.items, "{}", case.filter);
    }
}

/// Every comparison and its complement share the items between them, those without the attribute included.
#[test]
fn there_is_no_third_value() {
    let columns = columns();
    for case in truth::CASES {
        let filter = filter(&format!("not ({})", case.filter));
        let others = (0..columns.rows()).filter(|row| !case.items.contains(row));
        assert_eq!(
            filter.select(&columns).iter().collect::<Vec<u32>>(),
            others.collect::<Vec<u32>>(),
            "{}",
            case.filter
        );
    }
}

#[test]
fn columns_of_another_schema_lack_what_they_lack() {
    let schema = Schema::new([("price", Kind::Keyword)]).unwrap();
    let mut builder = Columns::builder(&schema);
    builder.push(&[("price", Value::Keyword("20".into()))]).unwrap();
    let columns = builder.finish();
    for (text, matches) in [("price == 20", false), ("hidden", false), ("not hidden", true), ("price != 0", false)] {
        assert_eq!(filter(text).matches(0, &columns), matches, "{text}");
        assert_eq!(filter(text).select(&columns).contains(0), matches, "{text}");
    }
}

#[test]
fn a_row_that_is_not_there_never_matches() {
    let columns = columns();
    assert!(!filter("not hidden").matches(columns.rows(), &columns));
    assert!(!filter("price < 20").matches(u32::MAX, &columns));
    assert!(filter("not hidden").select(&Columns::builder(&truth::schema()).finish()).is_empty());
}

#[test]
fn a_text_is_read_as_its_grammar_says() {
    for (text, printed) in [
        ("a or b and not c", "a or b and not c"),
        ("(a or b)and(not(c))", "(a or b) and not c"),
        ("(a and b) and c", "(a and b) and c"),
        ("a and b and c", "a and b and c"),
        ("((a))==1", ""),
        ("not not a", "not not a"),
        ("not(a and b)", "not (a and b)"),
        ("brand.name==\"x\\\"\\u00e4\\n\"", "brand.name == \"x\\\"ä\\n\""),
        ("`not`in[ 1,2.50 ,-3e2,true]", "`not` in [1, 2.5, -300, true]"),
        ("`a b`\tnot\nin []", "`a b` not in []"),
        ("a<1e300", "a < 1e300"),
        ("a>=-0.001", "a >= -0.001"),
    ] {
        let read = parse(text).map_or_else(|_| String::new(), |expr| expr.to_string());
        assert_eq!(read, printed, "{text}");
    }
}

#[test]
fn the_first_mistake_in_a_text_is_named_where_it_is() {
    for (text, column, part) in [
        ("", 1, "expected an attribute, \"not\" or \"(\", found the end"),
        ("price = 20 and \"", 7, "expected \"==\""),
        ("price == ", 10, "found the end"),
        ("`größe` == 1 ör", 14, "found ö"),
        ("category == news", 13, "a string in double quotes"),
        ("category == 'news'", 13, "double quotes"),
        ("category == \"news", 13, "is not closed"),
        ("category == \"a\\x\"", 13, "JSON"),
        ("`price", 1, "backquote"),
        ("(hidden", 8, "or \")\""),
        ("hidden hidden", 8, "or the end"),
        ("hidden not 1", 12, "\"in\""),
        ("price in 1", 10, "list"),
        ("price in [1 2]", 13, "\",\" or \"]\""),
        ("price in [1,]", 13, "after the comma"),
        ("hidden && hidden", 8, "\"and\""),
        ("price == 1e999", 10, "1e999 is not a number"),
        ("price == 1.", 10, "1. is not a number"),
        ("20 < price", 1, "expected an attribute"),
    ] {
        let (at, message) = mistake(text);
        assert_eq!(at, column, "{text}: {message}");
        assert!(message.contains(part), "{text}: {message}");
    }
}

#[test]
fn what_does_not_fit_the_schema_is_named_where_it_is() {
    for (text, column, part) in [
        ("hidden and pirce < 2", 12, "did you mean \"price\"?"),
        ("quantity < 2", 1, "add it to the schema"),
        ("price", 1, "only a boolean can stand alone"),
        ("category < \"a\"", 1, "which has no order"),
        ("hidden > false", 1, "which has no order"),
        ("tags == 1", 9, "compare it with a string, not with 1"),
        ("price in [1, \"2\"]", 14, "compare it with a number, not with \"2\""),
        ("hidden == \"true\"", 11, "true or false"),
        ("published > \"yesterday\"", 13, "a time like"),
        ("published > 1e12", 13, "of the years 0 to 9999"),
    ] {
        let (at, message) = mistake(text);
        assert_eq!(at, column, "{text}: {message}");
        assert!(message.contains(part), "{text}: {message}");
    }
}

#[test]
fn every_bound_is_kept_and_named() {
    let problem = |text: String| parse(&text).unwrap_err().problem;
    let nested = |depth: usize| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
    assert!(parse(&nested(NESTING_MAX)).is_ok());
    assert_eq!(problem(nested(NESTING_MAX + 1)), Problem::TooDeep);
    assert_eq!(problem("not ".repeat(4_000)), Problem::TooDeep);
    assert_eq!(problem("(".repeat(TEXT_BYTES_MAX)), Problem::TooDeep);
    assert_eq!(problem("a".repeat(TEXT_BYTES_MAX + 1)), Problem::TooLong { bytes: TEXT_BYTES_MAX + 1 });

    let chain = |nodes: usize| vec!["a"; nodes - 1].join(" or ");
    assert!(parse(&chain(NODES_MAX)).is_ok());
    assert_eq!(problem(chain(NODES_MAX + 1)), Problem::TooManyNodes);
    let list = |values: usize| format!("a in [{}]", vec!["1"; values].join(","));
    assert!(parse(&list(VALUES_MAX)).is_ok());
    assert_eq!(problem(list(VALUES_MAX + 1)), Problem::TooManyValues);
}

/// The deepest text makes a tree that can be checked, and what was built deeper by hand is refused.
#[test]
fn a_tree_is_as_deep_as_a_text_can_make_it() {
    let schema = Schema::new([("a", Kind::Boolean)]).unwrap();
    let text = format!("{}a or a and a{}", "a or a and (".repeat(NESTING_MAX), ")".repeat(NESTING_MAX));
    assert!(Filter::check(&parse(&text).unwrap(), &schema).is_ok());
    let mut deep = Expr::Is("a".into());
    for _ in 0..4 * NESTING_MAX {
        deep = Expr::Not(Box::new(deep));
    }
    assert_eq!(Filter::check(&deep, &schema).unwrap_err().problem, Problem::TooDeep);
    let alone = Expr::And(vec![Expr::Is("a".into())]);
    assert_eq!(Filter::check(&alone, &schema).unwrap_err().problem, Problem::NothingToJoin);
    let nan = Expr::Compare("price".into(), Operator::Less, Scalar::Number(f64::NAN).into());
    assert!(Filter::check(&nan, &truth::schema()).is_err());
}
