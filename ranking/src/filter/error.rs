//! What can be wrong with a filter, and where.

use thiserror::Error;

use super::{NESTING_MAX, NODES_MAX, Position, TEXT_BYTES_MAX, VALUES_MAX};
use crate::attributes::Kind;

/// How much of a text an error repeats.
const FOUND_CHARACTERS_MAX: usize = 40;

/// A filter that is not one, or does not fit the attributes.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("column {}: {problem}", at.column)]
pub struct FilterError {
    /// Where it is wrong.
    pub at: Position,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Problem {
    /// The text is longer than [`TEXT_BYTES_MAX`].
    #[error("the filter has {bytes} bytes, at most {TEXT_BYTES_MAX} are read: shorten it")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Deeper than [`NESTING_MAX`].
    #[error("the filter nests more than {NESTING_MAX} levels deep: take parentheses away, or \"not\"")]
    TooDeep,
    /// More than [`NODES_MAX`].
    #[error("the filter has more than {NODES_MAX} conditions and words that join them: use \"in\" with a list")]
    TooManyNodes,
    /// More than [`VALUES_MAX`].
    #[error("the lists of the filter have more than {VALUES_MAX} values in all: shorten them")]
    TooManyValues,
    /// Something else belongs here.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What can stand here.
        expected: &'static str,
        /// What stands here.
        found: String,
    },
    /// A quote without its counterpart.
    #[error("the {quote} is not closed: end it with the same")]
    NotClosed {
        /// Which quote.
        quote: &'static str,
    },
    /// A string that JSON would not have.
    #[error("the string {found} is not one of JSON: write a backslash as \\\\, a line end as \\n")]
    NotAString {
        /// The string.
        found: String,
    },
    /// A number that is none.
    #[error("{found} is not a number: write digits, if need be with a point and more digits, or an exponent below 308")]
    NotANumber {
        /// What it starts with.
        found: String,
    },
    /// An attribute that the schema does not have.
    #[error("there is no attribute {name:?}{}", suggestion(nearest))]
    Unknown {
        /// Its name.
        name: String,
        /// A known one much like it.
        nearest: Option<String>,
    },
    /// An attribute alone that is not boolean.
    #[error("the attribute {name:?} is a {kind}: compare it with something, only a boolean can stand alone")]
    NotBoolean {
        /// Its name.
        name: String,
        /// Its kind.
        kind: Kind,
    },
    /// An attribute whose values have no order.
    #[error("the attribute {name:?} is a {kind}, which has no order: compare it with ==, !=, in or not in")]
    NoOrder {
        /// Its name.
        name: String,
        /// Its kind.
        kind: Kind,
    },
    /// A value of another kind than the attribute.
    #[error("the attribute {name:?} is a {kind}: compare it with {needed}, not with {found}")]
    WrongValue {
        /// Name of the attribute.
        name: String,
        /// Its kind.
        kind: Kind,
        /// What it can be compared with.
        needed: &'static str,
        /// What it is compared with.
        found: String,
    },
    /// An `and` or `or` that joins nothing; no text makes one.
    #[error("an \"and\" or \"or\" of fewer than two conditions: leave it out")]
    NothingToJoin,
}

fn suggestion(nearest: &Option<String>) -> String {
    match nearest {
        Some(name) => format!(": did you mean {name:?}?"),
        None => ": add it to the schema, or use one that is there".to_owned(),
    }
}

/// The start of what was found.
pub(super) fn shorten(found: &str) -> String {
    match found.char_indices().nth(FOUND_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &found[..end]),
        None => found.to_owned(),
    }
}
