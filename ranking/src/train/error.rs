//! Why a model cannot be trained or put together.

use thiserror::Error;

/// Why a model cannot be trained or put together.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum TrainError {
    /// No event speaks for any item: there is nothing to learn from.
    #[error("the table has {rows} users, {items} items and no positive entry: at least one is needed")]
    Empty {
        /// Users.
        rows: usize,
        /// Items.
        items: usize,
    },
    /// An option that makes no sense.
    #[error("{name} is {value}: {need}")]
    Option {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What would be accepted.
        need: &'static str,
    },
    /// More items than a dense items-by-items matrix may have.
    #[error(
        "a dense model of {items} items would take {bytes} bytes while it is trained: at most {items_max} items are \
         allowed, so drop rare items or train a factor model"
    )]
    TooManyItems {
        /// Items of the table.
        items: usize,
        /// Items that are allowed.
        items_max: usize,
        /// Memory that training would take.
        bytes: u64,
    },
    /// The normal equations have no finite solution.
    #[error("row {row}'s equations have no finite solution: raise the regularisation")]
    NotSolvable {
        /// The row, of the side that was being solved.
        row: usize,
    },
    /// A number that is not one, or infinite.
    #[error("row {row} of {part} has a number that is not finite: leave the row out, or repair it")]
    NotFinite {
        /// What the row is part of.
        part: &'static str,
        /// The row.
        row: usize,
    },
    /// Parts that contradict each other.
    #[error("{part} has {len} numbers, {need} are needed")]
    Parts {
        /// The part.
        part: &'static str,
        /// Its length.
        len: usize,
        /// The length that fits the rest.
        need: usize,
    },
}

/// Refuses an option that is not finite or below `least`.
pub(super) fn at_least(name: &'static str, value: f64, least: f64, need: &'static str) -> Result<(), TrainError> {
    if value.is_finite() && value >= least { Ok(()) } else { Err(TrainError::Option { name, value, need }) }
}

/// Refuses an option that is not finite or not above 0.
pub(super) fn positive(name: &'static str, value: f64) -> Result<(), TrainError> {
    let need = "a finite number above 0 is needed";
    if value > 0.0 { at_least(name, value, 0.0, need) } else { Err(TrainError::Option { name, value, need }) }
}

/// Refuses a part of another length.
pub(super) fn length(part: &'static str, len: usize, need: usize) -> Result<(), TrainError> {
    if len == need { Ok(()) } else { Err(TrainError::Parts { part, len, need }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_are_not_finite_are_refused() {
        for value in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
            assert!(matches!(positive("x", value), Err(TrainError::Option { name: "x", .. })), "{value}");
        }
        assert_eq!(positive("x", 1e-9), Ok(()));
        assert_eq!(at_least("x", 0.0, 0.0, ""), Ok(()));
        assert!(at_least("x", f64::NAN, 0.0, "").is_err());
    }

    #[test]
    fn an_error_says_what_to_do() {
        let error = TrainError::TooManyItems { items: 3, items_max: 2, bytes: 72 };
        assert!(error.to_string().contains("at most 2 items"), "{error}");
    }
}
