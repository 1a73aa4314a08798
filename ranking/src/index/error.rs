//! What can be wrong with vectors, queries and `k`.

use thiserror::Error;

use super::{K_MAX, MAGNITUDE_MAX};
use crate::attributes::ColumnsError;

/// Why a segment cannot be built or searched.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum IndexError {
    /// Rows of no values, or of more than the kernels take.
    #[error("vectors of {width} values: 1 to {} are possible", attune_kernels::SCREEN_WIDTH_MAX)]
    Width {
        /// Values a vector.
        width: usize,
    },
    /// The values are not whole vectors, or not as many as there are rows.
    #[error("{values} values are not {vectors} vectors of {width}")]
    Shape {
        /// Values given.
        values: usize,
        /// Vectors expected.
        vectors: usize,
        /// Values a vector.
        width: usize,
    },
    /// More items than a segment numbers.
    #[error("{items} items: a segment holds at most {max}")]
    TooMany {
        /// Items given.
        items: usize,
        /// The limit.
        max: usize,
    },
    /// NaN, infinite or absurdly large.
    #[error(
        "value {place} of vector {vector} is {value}: a finite number of magnitude up to {MAGNITUDE_MAX:e} is needed"
    )]
    Value {
        /// Number of the vector, from 0.
        vector: usize,
        /// Number of the value in it, from 0.
        place: usize,
        /// The value.
        value: f32,
    },
    /// A vector of zeros, where only directions are compared.
    #[error("vector {vector} is zero: cosine needs a direction")]
    Zero {
        /// Number of the vector, from 0.
        vector: usize,
    },
    /// One row twice among items that are put together.
    #[error("row {row} is given twice, as item {first} and as item {second}")]
    Twice {
        /// The row.
        row: u32,
        /// Number of one item, from 0.
        first: usize,
        /// Number of the other.
        second: usize,
    },
    /// A row that stands for no item.
    #[error("item {item} has row {row}: rows are below {row}")]
    Row {
        /// Number of the item, from 0.
        item: usize,
        /// Its row.
        row: u32,
    },
    /// Attributes that do not fit the schema; the row in this message is the number of the item, from 0.
    #[error(transparent)]
    Attributes(#[from] ColumnsError),
    /// `k` is 0 or too large.
    #[error("k is {k}: 1 to {K_MAX} are possible")]
    K {
        /// As given.
        k: usize,
    },
}

impl IndexError {
    /// The same of another vector than the first.
    pub(super) fn of_vector(self, vector: usize) -> Self {
        match self {
            Self::Value { place, value, .. } => Self::Value { vector, place, value },
            other => other,
        }
    }
}

/// Checks `vectors` vectors of `width` values.
pub(super) fn check(values: &[f32], vectors: usize, width: usize) -> Result<(), IndexError> {
    if !(1..=attune_kernels::SCREEN_WIDTH_MAX).contains(&width) {
        return Err(IndexError::Width { width });
    }
    if Some(values.len()) != vectors.checked_mul(width) {
        return Err(IndexError::Shape { values: values.len(), vectors, width });
    }
    // NaN is no smaller than anything.
    let fits = |value: &f32| value.abs() <= MAGNITUDE_MAX;
    match values.iter().position(|value| !fits(value)) {
        None => Ok(()),
        Some(at) => Err(IndexError::Value { vector: at / width, place: at % width, value: values[at] }),
    }
}
