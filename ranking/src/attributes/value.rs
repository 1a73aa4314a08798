//! What an attribute can hold.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The type of an attribute, one for all items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One string, compared by exact bytes.
    Keyword,
    /// Several strings.
    KeywordList,
    /// A finite number of 64 bits.
    Number,
    /// True or false.
    Boolean,
    /// A moment, in microseconds.
    Time,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Keyword => "keyword",
            Self::KeywordList => "keyword_list",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Time => "time",
        })
    }
}

/// What one item has for one attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of a [`Kind::Keyword`].
    Keyword(String),
    /// Of a [`Kind::KeywordList`]. An empty list is the same as no value, since not every store can tell them apart.
    Keywords(Vec<String>),
    /// Of a [`Kind::Number`]; -0 is kept as 0.
    Number(f64),
    /// Of a [`Kind::Boolean`].
    Boolean(bool),
    /// Of a [`Kind::Time`]: microseconds since 1970 in UTC.
    Time(i64),
}

impl Value {
    /// Which kind of attribute can hold the value.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Keyword(_) => Kind::Keyword,
            Self::Keywords(_) => Kind::KeywordList,
            Self::Number(_) => Kind::Number,
            Self::Boolean(_) => Kind::Boolean,
            Self::Time(_) => Kind::Time,
        }
    }
}
