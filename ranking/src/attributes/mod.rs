//! What is known of items, in columns: what filters read.
//!
//! A [`Schema`] says which attributes there are and of what kind; [`Columns`] hold their values for the rows of one
//! segment of an index. Columns are written once, row by row, and never changed: a segment that grows or shrinks is
//! written anew from the rows of others. So every structure can be packed and sorted for reading.
//!
//! | kind | kept per row | kept to find rows |
//! |---|---|---|
//! | keyword, keyword list | numbers of terms in a sorted dictionary | a roaring bitmap of rows for each term |
//! | number, time | a key of 64 bits | the rows in the order of their keys |
//! | boolean | | a bitmap of the rows with a value, one of those with `true` |
//!
//! Rows in order of value, rather than the least and greatest of each block of rows: blocks cost almost no memory, but
//! help only where rows near each other have values near each other, and the rows of an index come in any order. With
//! the order, two binary searches say exactly how many rows a range has, which is also what decides in which order the
//! parts of a filter are best evaluated. The price is 4 bytes a row.
//!
//! ```
//! use attune_ranking::attributes::{Columns, Kind, Schema, Value};
//!
//! let schema = Schema::new([("category", Kind::Keyword), ("price", Kind::Number)])?;
//! let mut builder = Columns::builder(&schema);
//! builder.push(&[("category", Value::Keyword("news".into())), ("price", Value::Number(19.5))])?;
//! builder.push::<&str>(&[])?;
//! let columns = builder.finish();
//! assert_eq!(columns.value("price", 0), Some(Value::Number(19.5)));
//! assert_eq!(columns.value("price", 1), None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod builder;
mod bytes;
mod codec;
mod columns;
mod flags;
mod keywords;
mod ordered;
mod schema;
mod times;
mod value;

#[cfg(test)]
mod properties;

pub use builder::{ColumnsBuilder, ColumnsError, KEYWORD_BYTES_MAX, LIST_KEYWORDS_MAX, ROWS_MAX};
pub use bytes::DecodeError;
pub use columns::Columns;
pub use ordered::{key_number, number_key};
pub use schema::{ATTRIBUTES_MAX, NAME_BYTES_MAX, Schema, SchemaError};
pub use times::{time_from_seconds, time_from_text};
pub use value::{Kind, Value};

pub(crate) use columns::Column;
pub(crate) use flags::Flags;
pub(crate) use keywords::Keywords;
pub(crate) use ordered::{Ordered, in_ranges};
