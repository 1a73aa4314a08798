//! Which items may be answered: one small language over their attributes.
//!
//! ```text
//! category in ["news", "sport"] and price < 20 and not hidden and published > "2026-01-01"
//! ```
//!
//! A language of our own, and not a tree in JSON: a filter is written by hand into requests, rules and experiments, and
//! it is read in logs. It is small so that it can mean the same wherever it runs: over [`Columns`] here, and printed in
//! SQL or as an Elasticsearch query elsewhere. [`truth`] says what it means, case by case, for all of them.
//!
//! # Grammar
//!
//! ```text
//! filter     = or ;
//! or         = and , { "or" , and } ;
//! and        = not , { "and" , not } ;
//! not        = "not" , not | condition ;
//! condition  = "(" , or , ")" | attribute , [ comparison ] ;
//! comparison = ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) , literal
//!            | [ "not" ] , "in" , "[" , [ literal , { "," , literal } ] , "]" ;
//! attribute  = identifier | "`" , name , "`" ;
//! literal    = string | number | "true" | "false" ;
//! identifier = ( letter | "_" ) , { letter | digit | "_" | "." } ;
//! number     = [ "-" ] , digits , [ "." , digits ] , [ ( "e" | "E" ) , [ "+" | "-" ] , digits ] ;
//! ```
//!
//! - A string is one of JSON, in double quotes, with its escapes: whatever writes JSON can write it.
//! - Letters and digits are those of ASCII. `and`, `or`, `not`, `in`, `true` and `false` are reserved. An attribute of
//!   any other name stands in backquotes, without escapes, since a name has no backquote.
//! - Space, tab and line ends may stand between any two tokens.
//! - A text, its nesting, its conditions and its values have bounds: [`TEXT_BYTES_MAX`], [`NESTING_MAX`],
//!   [`NODES_MAX`], [`VALUES_MAX`].
//!
//! # Meaning
//!
//! - An attribute alone must be boolean, and is true.
//! - Every comparison with an attribute that an item does not have is false: `!=` and `not in` as well. `not` is the
//!   exact complement. So `price != 20` wants a price, and `not (price == 20)` does not. No third value is needed.
//! - Keywords compare by exact bytes and have no order. Nor have booleans.
//! - On a list of keywords `==` and `in` mean that any of it is equal, `!=` and `not in` that none is. An empty list is
//!   an absent attribute.
//! - A time is compared with an RFC 3339 string, where the zone (then UTC) and the time of day may be left out, or with
//!   Unix seconds. What is finer than a microsecond is cut off.
//! - No value is in an empty list: `in []` is false, `not in []` wants the attribute to be there.
//!
//! # Use
//!
//! ```
//! use attune_ranking::attributes::{Columns, Kind, Schema, Value};
//! use attune_ranking::filter::{Filter, parse};
//!
//! let schema = Schema::new([("category", Kind::Keyword), ("price", Kind::Number)])?;
//! let mut builder = Columns::builder(&schema);
//! builder.push(&[("category", Value::Keyword("news".into())), ("price", Value::Number(19.5))])?;
//! builder.push(&[("category", Value::Keyword("sport".into()))])?;
//! let columns = builder.finish();
//!
//! let filter = Filter::check(&parse(r#"category in ["news", "sport"] and not (price < 20)"#)?, &schema)?;
//! assert_eq!(filter.select(&columns).iter().collect::<Vec<u32>>(), [1]);
//! assert!(!filter.matches(0, &columns));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Columns`]: crate::attributes::Columns

mod bound;
mod check;
mod error;
mod expr;
mod leaf;
mod lex;
mod parse;
mod print;
pub mod truth;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use bound::Bound;
pub use check::{Filter, Node, Set, Test};
pub use error::{FilterError, Problem};
pub use expr::{Attribute, Expr, Literal, Operator, Position, Scalar};
pub use parse::parse;

/// How long the text of a filter is at most.
pub const TEXT_BYTES_MAX: usize = 16 << 10;

/// How deep parentheses and `not` nest at most.
pub const NESTING_MAX: usize = 64;

/// How many conditions, `and`, `or` and `not` a filter has at most; a chain of one word counts once.
pub const NODES_MAX: usize = 1_024;

/// How many values the lists of one filter have in all at most.
pub const VALUES_MAX: usize = 4_096;
