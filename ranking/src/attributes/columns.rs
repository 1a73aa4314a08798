//! The attributes of one segment's rows.

use std::collections::BTreeMap;

use super::ordered::key_number;
use super::{ColumnsBuilder, Flags, Keywords, Kind, Ordered, Schema, Value};

/// The values of one attribute.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Column {
    Keyword(Keywords),
    KeywordList(Keywords),
    Number(Ordered),
    Boolean(Flags),
    Time(Ordered),
}

impl Column {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Keyword(_) => Kind::Keyword,
            Self::KeywordList(_) => Kind::KeywordList,
            Self::Number(_) => Kind::Number,
            Self::Boolean(_) => Kind::Boolean,
            Self::Time(_) => Kind::Time,
        }
    }

    fn value(&self, row: u32) -> Option<Value> {
        match self {
            Self::Keyword(column) => column.terms(row).next().map(|term| Value::Keyword(term.to_owned())),
            Self::KeywordList(column) => {
                let terms: Vec<String> = column.terms(row).map(str::to_owned).collect();
                (!terms.is_empty()).then_some(Value::Keywords(terms))
            }
            Self::Number(column) => column.key(row).map(|key| Value::Number(key_number(key))),
            Self::Boolean(column) => column.value(row).map(Value::Boolean),
            Self::Time(column) => column.key(row).map(Value::Time),
        }
    }
}

/// The attributes of the rows `0..rows`, never changed once written.
#[derive(Clone, Debug, PartialEq)]
pub struct Columns {
    pub(super) rows: u32,
    pub(super) columns: BTreeMap<String, Column>,
}

impl Columns {
    /// Starts columns for every attribute of a schema.
    pub fn builder(schema: &Schema) -> ColumnsBuilder {
        ColumnsBuilder::new(schema)
    }

    /// How many rows there are.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// The attributes that have a column, in the order of their names.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, Kind)> {
        self.columns.iter().map(|(name, column)| (name.as_str(), column.kind()))
    }

    /// What a row has for an attribute. `None` if it has nothing, or if there is no such row or attribute.
    pub fn value(&self, attribute: &str, row: u32) -> Option<Value> {
        let column = self.columns.get(attribute)?;
        (row < self.rows).then(|| column.value(row))?
    }

    /// All that a row has, in the order of the attributes' names: what a builder takes for a row.
    pub fn row(&self, row: u32) -> Vec<(&str, Value)> {
        let names = self.columns.keys();
        names.filter_map(|name| Some((name.as_str(), self.value(name, row)?))).collect()
    }

    /// Writes the numbers that some rows have to the places that stand beside them.
    pub(crate) fn numbers(&self, attribute: &str, rows: &[(usize, u32)], numbers: &mut [f64]) {
        let Some(Column::Number(column)) = self.columns.get(attribute) else { return };
        for (at, row) in rows {
            if let Some(key) = column.key(*row) {
                numbers[*at] = key_number(key);
            }
        }
    }

    pub(crate) fn column(&self, attribute: &str) -> Option<&Column> {
        self.columns.get(attribute)
    }
}
