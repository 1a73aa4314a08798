//! Writes columns row by row.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;
use thiserror::Error;

use super::keywords::KeywordsBuilder;
use super::{Column, Columns, Flags, Kind, Ordered, Schema, Value, number_key};

/// How long a keyword is at most.
pub const KEYWORD_BYTES_MAX: usize = 1_024;

/// How many keywords an item has for one attribute at most.
pub const LIST_KEYWORDS_MAX: usize = 1_024;

/// How many rows a segment has at most.
pub const ROWS_MAX: u32 = 1 << 28;

/// Why a row cannot be taken.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum ColumnsError {
    /// An attribute that the schema does not have.
    #[error("row {row} has the attribute {attribute:?}, which the schema does not: add it there or leave it out")]
    Unknown {
        /// Number of the row.
        row: u32,
        /// The attribute.
        attribute: String,
    },
    /// An attribute that the row has twice.
    #[error("row {row} has the attribute {attribute:?} twice: keep one of them")]
    Twice {
        /// Number of the row.
        row: u32,
        /// The attribute.
        attribute: String,
    },
    /// A value of another kind than the schema says.
    #[error("row {row} has a {found} for the attribute {attribute:?}, which is a {kind}: convert it")]
    WrongKind {
        /// Number of the row.
        row: u32,
        /// The attribute.
        attribute: String,
        /// What the schema says.
        kind: Kind,
        /// What the row has.
        found: Kind,
    },
    /// A number that is not one, or infinite.
    #[error("row {row} has {number} for the attribute {attribute:?}: a finite number is needed")]
    NotFinite {
        /// Number of the row.
        row: u32,
        /// The attribute.
        attribute: String,
        /// What the row has.
        number: f64,
    },
    /// A keyword longer than [`KEYWORD_BYTES_MAX`].
    #[error(
        "row {row} has a keyword of {bytes} bytes for the attribute {attribute:?}: at most {KEYWORD_BYTES_MAX} can be \
         filtered by; shorten it"
    )]
    KeywordTooLong {
        /// Number of the row.
        row: u32,
        /// The attribute.
        attribute: String,
        /// Length of the keyword.
        bytes: usize,
    },
    /// A list longer than [`LIST_KEYWORDS_MAX`].
    #[error(
        "row {row} has {keywords} keywords for the attribute {attribute:?}: at most {LIST_KEYWORDS_MAX} can be \
         filtered by; leave some out"
    )]
    ListTooLong {
        /// Number of the row.
        row: u32,
        /// The attribute.
        attribute: String,
        /// Length of the list.
        keywords: usize,
    },
    /// The segment is as large as it can be.
    #[error("row {row} has no room in this segment: finish it and start another")]
    Full {
        /// Number of the row.
        row: u32,
    },
}

/// One column being written. Rows without a value are left out until the next with one, or the end.
#[derive(Clone, Debug)]
enum Draft {
    Keyword(KeywordsBuilder),
    KeywordList(KeywordsBuilder),
    Number(Vec<i64>, RoaringBitmap),
    Boolean(Flags),
    Time(Vec<i64>, RoaringBitmap),
}

/// Columns being written.
#[derive(Clone, Debug)]
pub struct ColumnsBuilder {
    schema: Schema,
    rows: u32,
    drafts: BTreeMap<String, Draft>,
}

impl ColumnsBuilder {
    pub(super) fn new(schema: &Schema) -> Self {
        let drafts = schema.iter().map(|(name, kind)| (name.to_owned(), Draft::new(kind)));
        Self { schema: schema.clone(), rows: 0, drafts: drafts.collect() }
    }

    /// How many rows have been taken.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Takes the next row and returns its number. Attributes may be missing.
    ///
    /// # Errors
    /// [`ColumnsError`] names what does not fit; nothing of the row is taken then.
    pub fn push<N: AsRef<str>>(&mut self, attributes: &[(N, Value)]) -> Result<u32, ColumnsError> {
        let row = self.rows;
        if row == ROWS_MAX {
            return Err(ColumnsError::Full { row });
        }
        for (index, (name, value)) in attributes.iter().enumerate() {
            if attributes[..index].iter().any(|(before, _)| before.as_ref() == name.as_ref()) {
                return Err(ColumnsError::Twice { row, attribute: name.as_ref().to_owned() });
            }
            self.check(name.as_ref(), value)?;
        }
        for (name, value) in attributes {
            if let Some(draft) = self.drafts.get_mut(name.as_ref()) {
                draft.push(row, value);
            }
        }
        self.rows += 1;
        Ok(row)
    }

    /// The columns of all rows taken.
    pub fn finish(self) -> Columns {
        let rows = self.rows;
        let columns = self.drafts.into_iter().map(|(name, draft)| (name, draft.finish(rows)));
        Columns { rows, columns: columns.collect() }
    }

    fn check(&self, name: &str, value: &Value) -> Result<(), ColumnsError> {
        let (row, attribute) = (self.rows, || name.to_owned());
        let (Some(draft), Some(kind)) = (self.drafts.get(name), self.schema.kind(name)) else {
            return Err(ColumnsError::Unknown { row, attribute: attribute() });
        };
        if value.kind() != kind {
            return Err(ColumnsError::WrongKind { row, attribute: attribute(), kind, found: value.kind() });
        }
        match value {
            Value::Number(number) if !number.is_finite() => {
                return Err(ColumnsError::NotFinite { row, attribute: attribute(), number: *number });
            }
            _ => {}
        }
        let keywords = keywords(value);
        if keywords.len() > LIST_KEYWORDS_MAX {
            return Err(ColumnsError::ListTooLong { row, attribute: attribute(), keywords: keywords.len() });
        }
        if let Some(long) = keywords.iter().find(|keyword| keyword.len() > KEYWORD_BYTES_MAX) {
            return Err(ColumnsError::KeywordTooLong { row, attribute: attribute(), bytes: long.len() });
        }
        if draft.has_room(keywords) { Ok(()) } else { Err(ColumnsError::Full { row }) }
    }
}

impl Draft {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Keyword => Self::Keyword(KeywordsBuilder::default()),
            Kind::KeywordList => Self::KeywordList(KeywordsBuilder::default()),
            Kind::Number => Self::Number(Vec::new(), RoaringBitmap::new()),
            Kind::Boolean => Self::Boolean(Flags::default()),
            Kind::Time => Self::Time(Vec::new(), RoaringBitmap::new()),
        }
    }

    fn has_room(&self, added: &[String]) -> bool {
        match self {
            Self::Keyword(builder) | Self::KeywordList(builder) => builder.has_room(added),
            _ => true,
        }
    }

    /// Takes a value, which is of the column's kind.
    fn push(&mut self, row: u32, value: &Value) {
        match (self, value) {
            (Self::Number(keys, present), Value::Number(number)) => push_key(keys, present, row, number_key(*number)),
            (Self::Time(keys, present), Value::Time(time)) => push_key(keys, present, row, *time),
            (Self::Boolean(flags), Value::Boolean(value)) => flags.push(row, *value),
            (Self::Keyword(builder) | Self::KeywordList(builder), value) => builder.push(row, keywords(value)),
            _ => unreachable!("the kind of a value is checked before"),
        }
    }

    fn finish(self, rows: u32) -> Column {
        let ordered = |mut keys: Vec<i64>, present| {
            keys.resize(rows as usize, 0);
            Ordered::new(keys, present)
        };
        match self {
            Self::Keyword(builder) => Column::Keyword(builder.finish(rows)),
            Self::KeywordList(builder) => Column::KeywordList(builder.finish(rows)),
            Self::Number(keys, present) => Column::Number(ordered(keys, present)),
            Self::Boolean(flags) => Column::Boolean(flags),
            Self::Time(keys, present) => Column::Time(ordered(keys, present)),
        }
    }
}

fn push_key(keys: &mut Vec<i64>, present: &mut RoaringBitmap, row: u32, key: i64) {
    keys.resize(row as usize, 0);
    keys.push(key);
    present.insert(row);
}

/// The keywords of a value; none if it is of another kind.
fn keywords(value: &Value) -> &[String] {
    match value {
        Value::Keyword(keyword) => std::slice::from_ref(keyword),
        Value::Keywords(keywords) => keywords,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> ColumnsBuilder {
        let attributes = [("price", Kind::Number), ("tags", Kind::KeywordList), ("title", Kind::Keyword)];
        ColumnsBuilder::new(&Schema::new(attributes).unwrap())
    }

    #[test]
    fn a_row_that_does_not_fit_leaves_nothing_behind() {
        let mut builder = builder();
        builder.push(&[("price", Value::Number(1.0))]).unwrap();
        let error =
            builder.push(&[("title", Value::Keyword("x".into())), ("price", Value::Boolean(true))]).unwrap_err();
        let (kind, found) = (Kind::Number, Kind::Boolean);
        assert_eq!(error, ColumnsError::WrongKind { row: 1, attribute: "price".into(), kind, found });
        assert_eq!(builder.push::<&str>(&[]), Ok(1));
        let columns = builder.finish();
        assert_eq!((columns.rows(), columns.value("title", 1)), (2, None));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let mut builder = builder();
        let attribute = || "price".to_owned();
        let unknown = builder.push(&[("prize", Value::Number(1.0))]).unwrap_err();
        assert_eq!(unknown, ColumnsError::Unknown { row: 0, attribute: "prize".into() });
        let twice = builder.push(&[("price", Value::Number(1.0)), ("price", Value::Number(1.0))]).unwrap_err();
        assert_eq!(twice, ColumnsError::Twice { row: 0, attribute: attribute() });
        let infinite = builder.push(&[("price", Value::Number(f64::INFINITY))]).unwrap_err();
        assert_eq!(infinite, ColumnsError::NotFinite { row: 0, attribute: attribute(), number: f64::INFINITY });
    }

    #[test]
    fn keywords_and_lists_have_bounds() {
        let mut builder = builder();
        let mut push = |attribute: &str, value| builder.push(&[(attribute, value)]);
        let long = |bytes| Value::Keyword("x".repeat(bytes));
        assert!(push("title", long(KEYWORD_BYTES_MAX)).is_ok());
        let error = push("title", long(KEYWORD_BYTES_MAX + 1)).unwrap_err();
        assert!(matches!(error, ColumnsError::KeywordTooLong { row: 1, bytes: 1_025, .. }), "{error}");
        let list = |keywords| Value::Keywords(vec![String::new(); keywords]);
        assert!(push("tags", list(LIST_KEYWORDS_MAX)).is_ok());
        let error = push("tags", list(LIST_KEYWORDS_MAX + 1)).unwrap_err();
        assert!(matches!(error, ColumnsError::ListTooLong { row: 2, keywords: 1_025, .. }), "{error}");
    }
}
