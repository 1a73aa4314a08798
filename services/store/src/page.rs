//! Long lists, a page at a time.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::{ErrorKind, StoreError, StoreKind};

/// The most rows of a page.
pub const PAGE_ROWS_MAX: usize = 1_000;

/// The longest cursor, in bytes: one around the longest keys.
pub const CURSOR_BYTES_MAX: usize = 4_096;

/// Where a list goes on. It holds the key of the last row that was seen, so that rows which come and go meanwhile
/// neither repeat nor hide another one. It says where, never whose: the tenant is that of the call, and a cursor which
/// somebody made up shows nothing that he may not see.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cursor(String);

/// What cannot be a cursor.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("this is no cursor: give the one that the page before came with, unchanged, or none to begin")]
pub struct CursorError;

/// Which rows of a list.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// Behind this row; from the first without it.
    pub after: Option<Cursor>,
    /// How many rows, at most [`PAGE_ROWS_MAX`]: more is that many, and none is one.
    pub rows: usize,
}

/// Some rows of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The rows, in the list's order.
    pub rows: Vec<T>,
    /// Where it goes on; absent on the last page.
    pub next: Option<Cursor>,
}

impl Cursor {
    /// One that holds the key of a row.
    pub(crate) fn at(key: &impl Serialize) -> Self {
        Self(URL_SAFE_NO_PAD.encode(serde_json::to_vec(key).expect("keys are strings and numbers")))
    }

    /// The key it holds.
    pub(crate) fn key<K: DeserializeOwned>(&self, store: StoreKind, call: &'static str) -> Result<K, StoreError> {
        let decoded = URL_SAFE_NO_PAD.decode(&self.0).ok().and_then(|json| serde_json::from_slice(&json).ok());
        decoded.ok_or_else(|| StoreError::new(store, call, ErrorKind::Invalid, CursorError.to_string()))
    }
}

impl PageRequest {
    /// The first rows.
    pub fn first(rows: usize) -> Self {
        Self { after: None, rows }
    }

    /// How many rows, within the limits.
    pub(crate) fn limit(&self) -> usize {
        self.rows.clamp(1, PAGE_ROWS_MAX)
    }
}

impl<T> Page<T> {
    /// The page that begins with `rows`, of which one more than `limit` was asked for: whether it is there says whether
    /// there is another page.
    pub(crate) fn cut<K: Serialize>(mut rows: Vec<T>, limit: usize, key: impl Fn(&T) -> K) -> Self {
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next = if has_more { rows.last().map(|row| Cursor::at(&key(row))) } else { None };
        Self { rows, next }
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let is_cursor =
            text.len() <= CURSOR_BYTES_MAX && URL_SAFE_NO_PAD.decode(text).is_ok_and(|json| !json.is_empty());
        if is_cursor { Ok(Self(text.to_owned())) } else { Err(CursorError) }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_from_its_text() {
        let cursor = Cursor::at(&("a\"b", 7_u64));
        let read: Cursor = cursor.to_string().parse().unwrap();
        assert_eq!(read.key::<(String, u64)>(StoreKind::Documents, "scan").unwrap(), ("a\"b".to_owned(), 7));
        let error = read.key::<u64>(StoreKind::Documents, "scan").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
    }

    #[test]
    fn what_no_list_gave_is_no_cursor() {
        for text in ["", "%", "a b", "=", &"A".repeat(CURSOR_BYTES_MAX + 4)] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text:?}");
        }
    }

    #[test]
    fn the_last_page_says_so() {
        let page = |rows: Vec<u8>| Page::cut(rows, 2, |row| *row);
        assert_eq!(page(vec![1, 2]).next, None);
        assert_eq!(page(vec![1, 2, 3]), Page { rows: vec![1, 2], next: Some(Cursor::at(&2_u8)) });
    }
}
