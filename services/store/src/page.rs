//! Long lists, a page at a time.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::hash::spread;
use crate::{ErrorKind, StoreError, StoreKind};

/// The most rows of a page.
pub const PAGE_ROWS_MAX: usize = 1_000;

/// The longest cursor, in bytes: one around the longest keys.
pub const CURSOR_BYTES_MAX: usize = 4_200;

/// Where a list goes on. It holds the key of the last row that was seen, so that rows which come and go meanwhile
/// neither repeat nor hide another one, and a hash of the list's name, since the key of one list may be a key of
/// another. It says where, never whose: the tenant is that of the call, and a cursor which somebody made up shows
/// nothing that he may not see.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cursor(String);

/// What cannot be a cursor of the list that was asked for.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("this is no cursor of this list: give the one that the page before came with, unchanged, or none to begin")]
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
    /// One that holds the key of a row, a text or a number, of the list of that name.
    pub fn at(list: &[&str], key: &impl Serialize) -> Self {
        Self(URL_SAFE_NO_PAD.encode(serde_json::to_vec(&(mark(list), key)).expect("keys are strings and numbers")))
    }

    /// The key it holds.
    ///
    /// # Errors
    /// It is of another list, or of none.
    pub fn key<K: DeserializeOwned>(&self, list: &[&str]) -> Result<K, CursorError> {
        let json = URL_SAFE_NO_PAD.decode(&self.0).map_err(|_| CursorError)?;
        let (of, key) = serde_json::from_slice::<(u64, K)>(&json).map_err(|_| CursorError)?;
        if of == mark(list) { Ok(key) } else { Err(CursorError) }
    }
}

/// What stands for a list in its cursors. No part of a list's name has a NUL.
fn mark(list: &[&str]) -> u64 {
    spread(list.iter().flat_map(|part| [*part, "\0"]))
}

impl PageRequest {
    /// The first rows.
    pub fn first(rows: usize) -> Self {
        Self { after: None, rows }
    }

    /// The key of the row that this page stands behind, in the list of that name.
    pub(crate) fn key<K: DeserializeOwned>(
        &self,
        store: StoreKind,
        call: &'static str,
        list: &[&str],
    ) -> Result<Option<K>, StoreError> {
        let refused =
            |error: CursorError| StoreError::new(store, call, ErrorKind::Invalid, error.to_string()).caused_by(error);
        self.after.as_ref().map(|cursor| cursor.key(list)).transpose().map_err(refused)
    }

    /// How many rows, within the limits.
    pub(crate) fn limit(&self) -> usize {
        self.rows.clamp(1, PAGE_ROWS_MAX)
    }
}

impl<T> Page<T> {
    /// The page of a list that begins with `rows`, of which one more than `limit` was asked for: whether it is there
    /// says whether there is another page.
    pub(crate) fn cut<K: Serialize>(list: &[&str], mut rows: Vec<T>, limit: usize, key: impl Fn(&T) -> K) -> Self {
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next = if has_more { rows.last().map(|row| Cursor::at(list, &key(row))) } else { None };
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
        let list = ["documents", "items"];
        for key in ["a\"b", &"\u{1}".repeat(crate::KEY_BYTES_MAX)] {
            let read: Cursor = Cursor::at(&list, &key).to_string().parse().unwrap();
            assert_eq!(read.key::<String>(&list).unwrap(), key);
            assert_eq!(read.key::<u64>(&list), Err(CursorError));
        }
    }

    #[test]
    fn a_cursor_is_of_one_list() {
        let page = PageRequest { after: Some(Cursor::at(&["rules"], &"a")), rows: 1 };
        let key = |list: &[&str]| page.key::<String>(StoreKind::Relational, "list", list);
        assert_eq!(key(&["rules"]).unwrap().as_deref(), Some("a"));
        for other in [&["pipelines"][..], &["rule", "s"], &["rules", ""], &[]] {
            let error = key(other).unwrap_err();
            assert!(error.kind == ErrorKind::Invalid && error.source.unwrap().is::<CursorError>(), "{other:?}");
        }
    }

    #[test]
    fn what_no_list_gave_is_no_cursor() {
        for text in ["", "%", "a b", "=", &"A".repeat(CURSOR_BYTES_MAX + 4)] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text:?}");
        }
    }

    #[test]
    fn the_last_page_says_so() {
        let page = |rows: Vec<u8>| Page::cut(&["a"], rows, 2, |row| *row);
        assert_eq!(page(vec![1, 2]).next, None);
        assert_eq!(page(vec![1, 2, 3]), Page { rows: vec![1, 2], next: Some(Cursor::at(&["a"], &2_u8)) });
    }
}
