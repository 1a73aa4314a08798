//! The seam between formats and rows: what each format gives.

use super::ReadError;
use super::value::Value;

/// One value for each field that was asked for, or why this row has none.
pub(super) type Found<'a> = Result<Vec<Value<'a>>, String>;

/// The rows of one file, one after the other.
pub(super) trait Source: Send {
    /// The next row; `None` at the end. What is wrong with one row is inside, what ends the reading outside.
    ///
    /// # Errors
    /// The file cannot be read on.
    fn next(&mut self) -> Result<Option<Found<'_>>, ReadError>;

    /// How far into the file the reading is; rows that lie in buffers count as read.
    fn file_bytes(&self) -> u64;

    /// How many rows there are, where the format says so at its beginning.
    fn rows_total(&self) -> Option<u64> {
        None
    }
}
