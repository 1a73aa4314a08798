//! Attributes of items from a file, for filters: only the columns that a filter names are read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use attune_ranking::attributes::{self, Kind, Schema, SchemaError, time_from_text};
use serde_json::Value as Json;

use super::columns::{ColumnMap, Field};
use super::error::ReadError;
use super::value::{Value, flag, present};
use super::{Rejected, open};
use crate::names::Names;

const ITEM: &str = "item_id";

/// What a file says of items.
#[derive(Clone, Debug)]
pub struct ItemAttributes {
    /// The kind of each attribute.
    pub schema: Schema,
    /// Attributes of each item, by its row among the names.
    pub by_row: Vec<Vec<(String, attributes::Value)>>,
    /// Items of the file that have no row.
    pub unknown: usize,
    /// Rows that were left out, the first of them, and how many.
    pub rejected: (Option<Rejected>, usize),
}

/// `--kind NAME=KIND`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindFlag(pub String, pub Kind);

impl FromStr for KindFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let kinds = [Kind::Keyword, Kind::KeywordList, Kind::Number, Kind::Boolean, Kind::Time];
        let (name, kind) = text.split_once('=').ok_or_else(|| "it is not NAME=KIND, as in zip=keyword".to_owned())?;
        let found = kinds.into_iter().find(|known| known.to_string() == kind);
        let known = || kinds.map(|kind| kind.to_string()).join(", ");
        found.map(|kind| Self(name.to_owned(), kind)).ok_or_else(|| format!("{kind:?} is no kind: use {}", known()))
    }
}

/// Why attributes cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ItemAttributesError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A name that no attribute may have.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A value that is not of the kind that was asked for.
    #[error("{path}, row {row}: {attribute} is {found}, which is no {kind}", path = path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// From 1.
        row: u64,
        /// The attribute.
        attribute: String,
        /// The value.
        found: String,
        /// The kind.
        kind: Kind,
    },
    /// An item twice.
    #[error("{path}, row {row}: the item {item:?} was there before: each item is one row", path = path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// From 1.
        row: u64,
        /// The item.
        item: String,
    },
}

/// The cells of one attribute: row in the file, row of the item, value.
type Cells = Vec<(u64, u32, Json)>;

impl ItemAttributes {
    /// Reads the columns `item_id` and `names` of CSV, JSON lines or Parquet. The kind of an attribute is what all its
    /// values can be, where `kinds` does not say: in CSV, which has nothing but text, numbers, times, and true or false
    /// are told by how they are written.
    ///
    /// # Errors
    /// [`ItemAttributesError`].
    pub fn read(
        path: &Path,
        map: &ColumnMap,
        names: &[String],
        kinds: &[KindFlag],
        items: &Names,
    ) -> Result<Self, ItemAttributesError> {
        let mut fields = vec![Field::required(ITEM)];
        fields.extend(names.iter().map(|name| Field::required(name).of_any_type()));
        let (mut source, _) = open(path, &fields, map, 0)?;
        let mut cells: Vec<Cells> = vec![Vec::new(); names.len()];
        let mut seen = vec![false; items.len()];
        let (mut row, mut unknown, mut rejected) = (0, 0, (None, 0));
        while let Some(found) = source.next()? {
            row += 1;
            let item = found.and_then(|values| {
                let id = present(ITEM, values[0].id(ITEM)?)?;
                Ok((id, values[1..].iter().map(|value| json(*value)).collect::<Vec<_>>()))
            });
            match item {
                Err(reason) => {
                    rejected.0.get_or_insert(Rejected { row, reason });
                    rejected.1 += 1;
                }
                Ok((id, values)) => match items.row(&id) {
                    None => unknown += 1,
                    Some(at) if std::mem::replace(&mut seen[at as usize], true) => {
                        return Err(ItemAttributesError::Twice { path: path.to_owned(), row, item: id });
                    }
                    Some(at) => {
                        let present = cells.iter_mut().zip(values).filter(|(_, value)| !value.is_null());
                        present.for_each(|(cells, value)| cells.push((row, at, value)));
                    }
                },
            }
        }
        let is_text_only = path.to_string_lossy().to_ascii_lowercase().trim_end_matches(".gz").ends_with(".csv");
        let mut by_row = vec![Vec::new(); items.len()];
        let mut schema = BTreeMap::new();
        for (name, cells) in names.iter().zip(cells) {
            let asked = kinds.iter().find(|KindFlag(asked, _)| asked == name).map(|KindFlag(_, kind)| *kind);
            let kind = asked.unwrap_or_else(|| kind_of(&cells, is_text_only));
            schema.insert(name.clone(), kind);
            for (row, at, value) in cells {
                let made = attribute(&value, kind).ok_or_else(|| ItemAttributesError::Kind {
                    path: path.to_owned(),
                    row,
                    attribute: name.clone(),
                    found: value.to_string(),
                    kind,
                })?;
                by_row[at as usize].push((name.clone(), made));
            }
        }
        Ok(Self { schema: Schema::new(schema)?, by_row, unknown, rejected })
    }
}

/// A value as it can be kept until its kind is known; times become text.
fn json(value: Value<'_>) -> Json {
    match value {
        Value::Absent | Value::Other(_) => Json::Null,
        Value::Text(text) => text.into(),
        Value::Integer(number) => serde_json::Number::from_i128(number).map_or(Json::Null, Json::Number),
        Value::Number(number) => number.into(),
        Value::TimeMs(ms) => {
            chrono::DateTime::from_timestamp_millis(ms).map_or(Json::Null, |time| time.to_rfc3339().into())
        }
        Value::Flag(flag) => flag.into(),
        Value::List(list) => Json::Array(list.to_vec()),
    }
}

/// The first kind that all values can be.
fn kind_of(cells: &Cells, is_text_only: bool) -> Kind {
    let all = |kind: Kind| cells.iter().all(|(_, _, value)| attribute(value, kind).is_some());
    let any_list = cells.iter().any(|(_, _, value)| value.is_array());
    let all_text = cells.iter().all(|(_, _, value)| value.is_string());
    match () {
        () if cells.is_empty() => Kind::Keyword,
        () if any_list => Kind::KeywordList,
        () if all_text && all(Kind::Time) => Kind::Time,
        () if all_text && !is_text_only => Kind::Keyword,
        () if all(Kind::Boolean) => Kind::Boolean,
        () if all(Kind::Number) => Kind::Number,
        () => Kind::Keyword,
    }
}

/// A value of a kind, if it can be one.
fn attribute(value: &Json, kind: Kind) -> Option<attributes::Value> {
    let keyword = |value: &Json| match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(_) | Json::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    Some(match (kind, value) {
        (Kind::Keyword, value) => attributes::Value::Keyword(keyword(value)?),
        (Kind::KeywordList, Json::Array(list)) => {
            attributes::Value::Keywords(list.iter().map(keyword).collect::<Option<_>>()?)
        }
        (Kind::KeywordList, value) => attributes::Value::Keywords(vec![keyword(value)?]),
        (Kind::Number, Json::String(text)) => {
            attributes::Value::Number(text.trim().parse().ok().filter(|number: &f64| number.is_finite())?)
        }
        (Kind::Number, value) => attributes::Value::Number(value.as_f64()?),
        (Kind::Boolean, Json::String(text)) => attributes::Value::Boolean(flag(text.trim())?),
        (Kind::Boolean, value) => attributes::Value::Boolean(value.as_bool()?),
        (Kind::Time, Json::String(text)) => attributes::Value::Time(time_from_text(text.trim())?),
        (Kind::Time, value) => attributes::Value::Time(attributes::time_from_seconds(value.as_f64()?)?),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(end: &str, text: &str, names: &[&str], kinds: &[KindFlag]) -> Result<ItemAttributes, ItemAttributesError> {
        let mut file = tempfile::Builder::new().suffix(end).tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        ItemAttributes::read(file.path(), &ColumnMap::default(), &names, kinds, &Names::from_lines("a\nb\n").unwrap())
    }

    #[test]
    fn kinds_are_told_by_the_values() {
        let csv = "item_id,price,zip,new,since,city\na,1.5,01234,true,2026-01-01,Ulm\nb,,99999,false,2026-02-01,Bonn\nc,9,1,true,,\n";
        let names = ["price", "zip", "new", "since", "city"];
        let found = read(".csv", csv, &names, &["zip=keyword".parse().unwrap()]).unwrap();
        let kinds = names.map(|name| found.schema.kind(name).unwrap());
        assert_eq!(kinds, [Kind::Number, Kind::Keyword, Kind::Boolean, Kind::Time, Kind::Keyword]);
        assert_eq!((found.unknown, found.by_row[1].len()), (1, 4));
        let json = "{\"item_id\": \"a\", \"tags\": [\"x\", \"y\"], \"zip\": \"1\", \"n\": 1}\n{\"item_id\": \"b\", \"tags\": \"x\"}\n";
        let found = read(".jsonl", json, &["tags", "zip", "n"], &[]).unwrap();
        assert_eq!(found.schema.kind("tags"), Some(Kind::KeywordList));
        assert_eq!((found.schema.kind("zip"), found.schema.kind("n")), (Some(Kind::Keyword), Some(Kind::Number)));
        assert_eq!(found.by_row[1], [("tags".to_owned(), attributes::Value::Keywords(vec!["x".into()]))]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let kinds = ["price=number".parse().unwrap()];
        let why = |text: &str| read(".csv", text, &["price"], &kinds).unwrap_err().to_string();
        assert!(why("item_id,price\na,1\nb,cheap\n").contains("row 2: price is \"cheap\", which is no number"));
        assert!(why("item_id,price\na,1\na,2\n").contains("row 2: the item \"a\" was there before"));
        assert!(why("item_id\na\n").contains("has no column \"price\""));
        let rejected = read(".csv", "item_id,price\n,1\nb,2\n", &["price"], &[]).unwrap().rejected;
        assert_eq!((rejected.0.unwrap().row, rejected.1), (1, 1));
        assert!(
            "price".parse::<KindFlag>().is_err()
                && "price=float".parse::<KindFlag>().unwrap_err().contains("keyword_list")
        );
    }
}
