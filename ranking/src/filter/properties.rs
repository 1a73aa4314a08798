//! Filters in any text and over any items, against an evaluator that knows nothing of columns.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::attributes::{Columns, Kind, Schema, Value};

type Item = HashMap<String, Value>;

/// Few values of each kind, so that they meet.
const KEYWORDS: [&str; 5] = ["", "a", "A", "ä", "news"];
const NUMBERS: [f64; 6] = [-1e300, -1.5, -0.0, 0.0, 7.0, 7.000_000_000_000_001];
const TIMES: [(&str, i64); 4] = [
    ("1969-12-31T23:59:59.999999Z", -1),
    ("1970-01-01", 0),
    ("1970-01-01T01:00:00.000001+01:00", 1),
    ("2026-01-01T12:00:00", 1_767_268_800_000_000),
];
const OPERATORS: [Operator; 6] = [
    Operator::Equal,
    Operator::NotEqual,
    Operator::Less,
    Operator::LessOrEqual,
    Operator::Greater,
    Operator::GreaterOrEqual,
];

/// What filters are made of, whole or in pieces.
const TOKENS: [&str; 26] = [
    "(", ")", "[", "]", ",", "not", "and", "or", "in", "true", "==", "<", "=", "!", "`", "\"", "\\", "a", "`b c`",
    "\"d\"", "-", "1", ".", "e", "ß", "\n",
];

fn schema() -> Schema {
    let attributes = [
        ("keyword", Kind::Keyword),
        ("list", Kind::KeywordList),
        ("a number", Kind::Number),
        ("not", Kind::Boolean),
        ("time", Kind::Time),
    ];
    Schema::new(attributes).unwrap()
}

fn keyword() -> impl Strategy<Value = String> {
    select(&KEYWORDS[..]).prop_map(str::to_owned)
}

fn item() -> impl Strategy<Value = Item> {
    let values = vec![
        ("keyword", keyword().prop_map(Value::Keyword).boxed()),
        ("list", vec(keyword(), 0..4).prop_map(Value::Keywords).boxed()),
        ("a number", select(&NUMBERS[..]).prop_map(Value::Number).boxed()),
        ("not", any::<bool>().prop_map(Value::Boolean).boxed()),
        ("time", select(&TIMES[..]).prop_map(|(_, time)| Value::Time(time)).boxed()),
    ];
    let values: Vec<_> =
        values.into_iter().map(|(name, value)| prop::option::of((Just(name.to_owned()), value))).collect();
    values.prop_map(|values| values.into_iter().flatten().collect())
}

fn columns(items: &[Item]) -> Columns {
    let mut builder = Columns::builder(&schema());
    for item in items {
        let item: Vec<(&String, Value)> = item.iter().map(|(name, value)| (name, value.clone())).collect();
        builder.push(&item).unwrap();
    }
    builder.finish()
}

/// Attributes with values of their own kind, and whether they have an order.
fn comparable() -> impl Strategy<Value = (&'static str, BoxedStrategy<Scalar>, bool)> {
    let keyword = keyword().prop_map(Scalar::Text).boxed();
    let number = select(&NUMBERS[..]).prop_map(Scalar::Number).boxed();
    let boolean = any::<bool>().prop_map(Scalar::Boolean).boxed();
    let time = prop_oneof![
        select(&TIMES[..]).prop_map(|(text, _)| Scalar::Text(text.to_owned())),
        select(&[0.0, 1e-6, -86_400.0][..]).prop_map(Scalar::Number),
    ];
    prop_oneof![
        Just(("keyword", keyword.clone(), false)),
        Just(("list", keyword, false)),
        Just(("a number", number, true)),
        Just(("not", boolean, false)),
        Just(("time", time.boxed(), true)),
    ]
}

fn condition() -> impl Strategy<Value = Expr> {
    let compared = comparable().prop_flat_map(|(name, values, ordered)| {
        let operators = if ordered { &OPERATORS[..] } else { &OPERATORS[..2] };
        let list = vec(values.clone().prop_map(Literal::from), 0..4);
        prop_oneof![
            (select(operators), values).prop_map(move |(operator, value)| Expr::Compare(
                name.into(),
                operator,
                value.into()
            )),
            list.clone().prop_map(move |list| Expr::In(name.into(), list)),
            list.prop_map(move |list| Expr::NotIn(name.into(), list)),
        ]
    });
    prop_oneof![1 => Just(Expr::Is("not".into())), 8 => compared]
}

fn joined(condition: impl Strategy<Value = Expr> + 'static) -> impl Strategy<Value = Expr> {
    condition.prop_recursive(5, 40, 4, |part| {
        prop_oneof![
            vec(part.clone(), 2..4).prop_map(Expr::And),
            vec(part.clone(), 2..4).prop_map(Expr::Or),
            part.prop_map(|part| Expr::Not(Box::new(part))),
        ]
    })
}

/// Any tree that a text could make, whatever it names.
fn any_expr() -> impl Strategy<Value = Expr> {
    let name =
        prop_oneof!["[a-z_.]{1,4}", "[^`]{0,6}", select(&["and", "in", "true", "größe"][..]).prop_map(String::from)];
    let number = any::<f64>().prop_filter("finite", |number| number.is_finite());
    let scalar = prop_oneof![
        any::<String>().prop_map(Scalar::Text),
        number.prop_map(Scalar::Number),
        any::<bool>().prop_map(Scalar::Boolean),
    ];
    let attribute = name.prop_map(|name| Attribute::from(name.as_str()));
    let literal = scalar.prop_map(Literal::from);
    let condition = prop_oneof![
        attribute.clone().prop_map(Expr::Is),
        (attribute.clone(), select(&OPERATORS[..]), literal.clone())
            .prop_map(|(name, operator, value)| Expr::Compare(name, operator, value)),
        (attribute.clone(), vec(literal.clone(), 0..3)).prop_map(|(name, list)| Expr::In(name, list)),
        (attribute, vec(literal, 0..3)).prop_map(|(name, list)| Expr::NotIn(name, list)),
    ];
    joined(condition)
}

/// What the tree says of an item.
fn holds(expr: &Expr, item: &Item) -> bool {
    match expr {
        Expr::Or(parts) => parts.iter().any(|part| holds(part, item)),
        Expr::And(parts) => parts.iter().all(|part| holds(part, item)),
        Expr::Not(part) => !holds(part, item),
        Expr::Is(attribute) => item.get(&attribute.name) == Some(&Value::Boolean(true)),
        Expr::Compare(attribute, Operator::Equal, literal) => is_among(item, attribute, std::slice::from_ref(literal)),
        Expr::Compare(attribute, Operator::NotEqual, literal) => {
            has(item, attribute) && !is_among(item, attribute, std::slice::from_ref(literal))
        }
        Expr::Compare(attribute, operator, literal) => item.get(&attribute.name).is_some_and(|value| {
            let order = match (value, &literal.value) {
                (Value::Number(number), Scalar::Number(other)) => number.partial_cmp(other).unwrap(),
                (Value::Time(time), other) => time.cmp(&micros(other)),
                _ => panic!("{value:?} has no order"),
            };
            match operator {
                Operator::Less => order.is_lt(),
                Operator::LessOrEqual => order.is_le(),
                Operator::Greater => order.is_gt(),
                _ => order.is_ge(),
            }
        }),
        Expr::In(attribute, literals) => is_among(item, attribute, literals),
        Expr::NotIn(attribute, literals) => has(item, attribute) && !is_among(item, attribute, literals),
    }
}

fn has(item: &Item, attribute: &Attribute) -> bool {
    item.get(&attribute.name).is_some_and(|value| *value != Value::Keywords(Vec::new()))
}

fn is_among(item: &Item, attribute: &Attribute, literals: &[Literal]) -> bool {
    let Some(value) = item.get(&attribute.name) else { return false };
    literals.iter().any(|literal| match (value, &literal.value) {
        (Value::Keyword(keyword), Scalar::Text(text)) => keyword == text,
        (Value::Keywords(keywords), Scalar::Text(text)) => keywords.contains(text),
        (Value::Number(number), Scalar::Number(other)) => number == other,
        (Value::Boolean(value), Scalar::Boolean(other)) => value == other,
        (Value::Time(time), other) => *time == micros(other),
        _ => panic!("{value:?} is of another kind than {literal:?}"),
    })
}

fn micros(scalar: &Scalar) -> i64 {
    match scalar {
        Scalar::Text(text) => TIMES.iter().find(|(time, _)| time == text).unwrap().1,
        Scalar::Number(seconds) => (seconds * 1e6).round() as i64,
        Scalar::Boolean(_) => panic!("a boolean is no time"),
    }
}

/// A place in the text that a message can point at.
fn check_place(text: &str, error: &FilterError) -> Result<(), TestCaseError> {
    prop_assert!(text.is_char_boundary(error.at.offset));
    prop_assert_eq!(text[..error.at.offset].chars().count() + 1, error.at.column);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Columns, row by row and all at once, say what the tree says.
    #[test]
    fn a_filter_selects_what_its_tree_says(expr in joined(condition()), items in vec(item(), 0..120)) {
        let columns = columns(&items);
        let filter = Filter::check(&expr, &schema()).unwrap();
        let expected: Vec<u32> = (0..columns.rows()).filter(|row| holds(&expr, &items[*row as usize])).collect();
        prop_assert_eq!(filter.select(&columns).iter().collect::<Vec<u32>>(), expected.clone(), "{}", expr);
        let matching: Vec<u32> = (0..columns.rows()).filter(|row| filter.matches(*row, &columns)).collect();
        prop_assert_eq!(matching, expected, "{}", expr);
    }

    /// The text of a tree makes the same tree.
    #[test]
    fn what_is_printed_parses_back(expr in any_expr()) {
        let text = expr.to_string();
        match parse(&text) {
            Ok(again) => prop_assert_eq!(again, expr, "{}", text),
            Err(error) => prop_assert!(matches!(error.problem, Problem::TooLong { .. }), "{}: {}", text, error),
        }
    }

    /// Any text is a filter or is refused at a place in it.
    #[test]
    fn no_text_is_too_much(text in any::<String>()) {
        if let Err(error) = parse(&text) {
            check_place(&text, &error)?;
        }
    }

    /// So is any row of what filters are made of, and what can be read can be printed and read again.
    #[test]
    fn no_row_of_tokens_is_too_much(tokens in vec(select(&TOKENS[..]), 0..200), space in select(&["", " "][..])) {
        let text = tokens.join(space);
        match parse(&text) {
            Ok(expr) => prop_assert_eq!(parse(&expr.to_string()).unwrap(), expr),
            Err(error) => check_place(&text, &error)?,
        }
    }

    /// So is a filter with parts of it lost, doubled or changed.
    #[test]
    fn no_change_of_a_filter_is_too_much(
        expr in any_expr(),
        changes in vec((any::<Index>(), any::<Index>(), any::<char>()), 1..4),
    ) {
        let mut text: Vec<char> = expr.to_string().chars().collect();
        for (place, other, character) in changes {
            let (place, other) = (place.index(text.len()), other.index(text.len()));
            match character as u32 % 3 {
                0 => text[place] = character,
                1 => text.swap(place, other),
                _ => text.insert(place, text[other]),
            }
        }
        let text: String = text.into_iter().collect();
        match parse(&text) {
            Ok(expr) => prop_assert!(parse(&expr.to_string()).is_ok_and(|again| again == expr)),
            Err(error) => check_place(&text, &error)?,
        }
    }

    /// A tree of anything is held against a schema without a panic. No name is in both schemas, so it cannot fit both.
    #[test]
    fn no_tree_is_too_much_for_the_check(expr in any_expr()) {
        prop_assert!(Filter::check(&expr, &schema()).is_err() || Filter::check(&expr, &truth::schema()).is_err());
    }
}
