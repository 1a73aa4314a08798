//! What filters mean, case by case: a table to hold every backend against.
//!
//! Store [`items`] under [`schema`], run each of [`CASES`], and compare the numbers of the items found. The last item
//! but one has nothing at all, so that each case also says what becomes of an absent attribute.

use crate::attributes::{Kind, Schema, Value};

/// A filter and the numbers of the items that match it.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The filter.
    pub filter: &'static str,
    /// Places in [`items`], from 0.
    pub items: &'static [u32],
}

/// The attributes of the items.
pub fn schema() -> Schema {
    let attributes = [
        ("category", Kind::Keyword),
        ("hidden", Kind::Boolean),
        ("in", Kind::Number),
        ("price", Kind::Number),
        ("published", Kind::Time),
        ("tags", Kind::KeywordList),
    ];
    Schema::new(attributes).expect("names within the rules")
}

/// The items.
pub fn items() -> Vec<Vec<(&'static str, Value)>> {
    let keywords = |list: &[&str]| Value::Keywords(list.iter().map(|keyword| (*keyword).to_owned()).collect());
    vec![
        vec![
            ("category", Value::Keyword("news".into())),
            ("hidden", Value::Boolean(false)),
            ("in", Value::Number(1.0)),
            ("price", Value::Number(10.0)),
            ("published", Value::Time(1_767_225_600_000_000)),
            ("tags", keywords(&["a", "b"])),
        ],
        vec![
            ("category", Value::Keyword("sport".into())),
            ("hidden", Value::Boolean(true)),
            ("price", Value::Number(20.0)),
            ("published", Value::Time(1_767_268_800_500_000)),
            ("tags", keywords(&["b"])),
        ],
        vec![],
        vec![
            ("category", Value::Keyword("News".into())),
            ("price", Value::Number(-0.0)),
            ("published", Value::Time(-1)),
            ("tags", keywords(&[])),
        ],
    ]
}

const fn case(filter: &'static str, items: &'static [u32]) -> Case {
    Case { filter, items }
}

/// The table.
pub const CASES: &[Case] = &[
    // Keywords, by exact bytes.
    case(r#"category == "news""#, &[0]),
    case(r#"category != "news""#, &[1, 3]),
    case(r#"not category == "news""#, &[1, 2, 3]),
    case(r#"not category != "news""#, &[0, 2]),
    case(r#"category in ["news", "sport", "none"]"#, &[0, 1]),
    case(r#"category not in ["news", "sport"]"#, &[3]),
    case(r#"not category in ["news", "sport"]"#, &[2, 3]),
    case(r#"category in []"#, &[]),
    case(r#"category not in []"#, &[0, 1, 3]),
    case(r#"category == "\u006eews""#, &[0]),
    // Lists: any of them; an empty list is absent.
    case(r#"tags == "b""#, &[0, 1]),
    case(r#"tags != "a""#, &[1]),
    case(r#"tags != "c""#, &[0, 1]),
    case(r#"not tags == "a""#, &[1, 2, 3]),
    case(r#"tags in ["a", "c"]"#, &[0]),
    case(r#"tags not in ["a", "c"]"#, &[1]),
    case(r#"tags == "a" and tags == "b""#, &[0]),
    // Numbers; -0 is 0.
    case("price < 20", &[0, 3]),
    case("price <= 20", &[0, 1, 3]),
    case("price > 0", &[0, 1]),
    case("price >= 0", &[0, 1, 3]),
    case("price == 0", &[3]),
    case("price == 1e1", &[0]),
    case("price != 20", &[0, 3]),
    case("not (price < 20)", &[1, 2]),
    case("not price >= 20", &[0, 2, 3]),
    case("price in [10, 20, 30]", &[0, 1]),
    case("price not in [-0]", &[0, 1]),
    case("`in` == 1", &[0]),
    // Booleans.
    case("hidden", &[1]),
    case("not hidden", &[0, 2, 3]),
    case("hidden == false", &[0]),
    case("hidden != true", &[0]),
    case("hidden in [true, false]", &[0, 1]),
    case("not not hidden", &[1]),
    // Times: UTC unless they say otherwise; numbers are Unix seconds.
    case(r#"published == "2026-01-01""#, &[0]),
    case(r#"published > "2026-01-01""#, &[1]),
    case(r#"published >= "2026-01-01T01:00:00+01:00""#, &[0, 1]),
    case(r#"published == "2026-01-01T12:00:00.5""#, &[1]),
    case("published < 0", &[3]),
    case("published <= 1767225600", &[0, 3]),
    case("published != 1767225600", &[1, 3]),
    case("not (published < 0)", &[0, 1, 2]),
    // How conditions join: "not" before "and" before "or".
    case("hidden or price < 20 and not hidden", &[0, 1, 3]),
    case("(hidden or price < 20) and not hidden", &[0, 3]),
    case("not (hidden or price < 20)", &[2]),
    case("not (hidden and price < 20)", &[0, 1, 2, 3]),
    case("not hidden and not price < 20", &[2]),
];
