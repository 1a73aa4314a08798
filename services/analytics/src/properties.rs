//! Properties of events as columns. What a filter calls `properties.NAME` has no kind of its own: it is read as what the
//! filter compares it with, and where an event has something else there, it has nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, StringArray};
use arrow::datatypes::DataType;
use attune_ranking::attributes::Kind;
use attune_ranking::filter::{Attribute, Expr, Literal, Scalar};
use datafusion::common::cast::as_string_array;
use datafusion::error::Result;
use datafusion::logical_expr::expr_fn::ident;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use datafusion::prelude::DataFrame;
use serde_json::{Map, Value};

/// The column of the lake that has them, as the text of a JSON object.
const COLUMN: &str = "properties";
/// What their names begin with.
const PREFIX: &str = "properties.";
/// The most of them that a question names.
const PROPERTIES_MAX: usize = 16;

/// The properties that a question names, and as what they are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Properties(BTreeMap<String, Kind>);

impl Properties {
    /// Takes note of those that a filter names.
    ///
    /// # Errors
    /// In words: one is compared with values of two kinds, or there are too many.
    pub fn note(&mut self, expr: &Expr) -> std::result::Result<(), String> {
        match expr {
            Expr::Or(parts) | Expr::And(parts) => parts.iter().try_for_each(|part| self.note(part)),
            Expr::Not(part) => self.note(part),
            Expr::Is(attribute) => self.add(attribute, Kind::Boolean),
            Expr::Compare(attribute, _, literal) => self.add(attribute, kind(literal)),
            Expr::In(attribute, literals) | Expr::NotIn(attribute, literals) => {
                literals.iter().try_for_each(|literal| self.add(attribute, kind(literal)))
            }
        }
    }

    fn add(&mut self, attribute: &Attribute, kind: Kind) -> std::result::Result<(), String> {
        let (name, column) = (&attribute.name, attribute.at.column);
        if !name.starts_with(PREFIX) {
            return Ok(());
        }
        match self.0.get(name) {
            Some(known) if *known != kind => {
                let detail = "a question compares it with values of one kind, since what it is nobody has said";
                Err(format!("column {column}: `{name}` is a {known} before and a {kind} here: {detail}"))
            }
            None if self.0.len() == PROPERTIES_MAX => {
                Err(format!("column {column}: a question names at most {PROPERTIES_MAX} properties"))
            }
            _ => {
                self.0.insert(name.clone(), kind);
                Ok(())
            }
        }
    }

    /// By name.
    pub fn kinds(&self) -> impl Iterator<Item = (&str, Kind)> {
        self.0.iter().map(|(name, kind)| (name.as_str(), *kind))
    }

    /// Events with a column for each of them.
    ///
    /// # Errors
    /// A defect.
    pub fn of(&self, events: DataFrame) -> Result<DataFrame> {
        let mut events = events;
        for (name, kind) in self.kinds() {
            events = events.with_column(name, column(&name[PREFIX.len()..], kind))?;
        }
        Ok(events)
    }
}

fn kind(literal: &Literal) -> Kind {
    match literal.value {
        Scalar::Text(_) => Kind::Keyword,
        Scalar::Number(_) => Kind::Number,
        Scalar::Boolean(_) => Kind::Boolean,
    }
}

fn column(path: &str, kind: Kind) -> datafusion::logical_expr::Expr {
    let data_type = match kind {
        Kind::Number => DataType::Float64,
        Kind::Boolean => DataType::Boolean,
        Kind::Keyword | Kind::KeywordList | Kind::Time => DataType::Utf8,
    };
    let (name, path) = (format!("property {path} as {kind}"), path.to_owned());
    let read = move |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        Ok(ColumnarValue::Array(values(as_string_array(&arrays[0])?, &path, kind)))
    };
    let read = create_udf(&name, vec![DataType::Utf8], data_type, Volatility::Immutable, Arc::new(read));
    read.call(vec![ident(COLUMN)])
}

/// What a property is in each row, where it is of that kind.
fn values(rows: &StringArray, path: &str, kind: Kind) -> ArrayRef {
    let objects = rows.iter().map(|text| serde_json::from_str::<Map<String, Value>>(text?).ok());
    let found = objects.map(|object| find(&object?, path).cloned());
    match kind {
        Kind::Number => Arc::new(found.map(|value| value?.as_f64()).collect::<Float64Array>()),
        Kind::Boolean => Arc::new(found.map(|value| value?.as_bool()).collect::<BooleanArray>()),
        Kind::Keyword | Kind::KeywordList | Kind::Time => {
            let text = |value: Option<Value>| value?.as_str().map(str::to_owned);
            Arc::new(found.map(text).collect::<StringArray>())
        }
    }
}

/// A member by its name, or by the names that lead to it.
fn find<'v>(object: &'v Map<String, Value>, path: &str) -> Option<&'v Value> {
    object.get(path).or_else(|| {
        let (name, rest) = path.split_once('.')?;
        find(object.get(name)?.as_object()?, rest)
    })
}

#[cfg(test)]
mod tests {
    use attune_ranking::filter::parse;
    use serde_json::json;

    use super::*;

    fn noted(texts: &[&str]) -> std::result::Result<Properties, String> {
        let mut properties = Properties::default();
        texts.iter().try_for_each(|text| properties.note(&parse(text).unwrap())).map(|()| properties)
    }

    #[test]
    fn a_property_is_what_it_is_compared_with() {
        let found = noted(&["properties.a == \"x\" and not properties.b", "type == \"y\" or properties.c.d in [1, 2]"]);
        let found = found.unwrap();
        let kinds: Vec<_> = found.kinds().collect();
        let expected =
            [("properties.a", Kind::Keyword), ("properties.b", Kind::Boolean), ("properties.c.d", Kind::Number)];
        assert_eq!(kinds, expected);
        let error = noted(&["properties.a == \"x\"", "type == \"y\" or properties.a > 1"]).unwrap_err();
        assert!(error.starts_with("column 16: `properties.a` is a"), "{error}");
        let many = |count: usize| (0..count).map(|n| format!("properties.p{n}")).collect::<Vec<_>>().join(" or ");
        assert!(noted(&[&many(PROPERTIES_MAX)]).is_ok());
        assert!(noted(&[&many(PROPERTIES_MAX + 1)]).unwrap_err().contains("at most 16"));
    }

    #[test]
    fn members_are_found_by_name_or_by_way() {
        let object = json!({"a.b": 1, "a": {"b": 2, "c": {"d": 3}}, "x": null});
        let object = object.as_object().unwrap();
        for (path, expected) in [("a.b", Some(1)), ("a.c.d", Some(3)), ("a.c.e", None), ("a.b.c", None), ("y", None)] {
            assert_eq!(find(object, path).and_then(Value::as_i64), expected, "{path}");
        }
    }

    #[test]
    fn what_is_of_another_kind_is_absent() {
        let rows = StringArray::from(vec![Some(r#"{"a": "x"}"#), Some(r#"{"a": 2}"#), Some("no JSON"), None]);
        let numbers = values(&rows, "a", Kind::Number);
        assert_eq!(&numbers as &dyn arrow::array::Array, &Float64Array::from(vec![None, Some(2.0), None, None]));
        let texts = values(&rows, "a", Kind::Keyword);
        assert_eq!(&texts as &dyn arrow::array::Array, &StringArray::from(vec![Some("x"), None, None, None]));
    }
}
