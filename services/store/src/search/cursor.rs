//! Where a page ended.

use std::fmt;
use std::str::FromStr;

use crate::hash::spread;

/// A place in an order, between the last hit of one page and the first of the next. As text it is opaque to clients and
/// safe in a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Of the last hit: its score or attribute by [`number_key`](attune_ranking::attributes::number_key), so that
    /// greater is earlier; the least of all is "has none".
    pub(crate) key: i64,
    /// What decides among equal keys: a hash of the id, the least first.
    pub(crate) tie: i64,
    /// Whether nearly the same words are looked for.
    pub(crate) is_approximate: bool,
}

const DIGITS: usize = 16;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.is_approximate { 'a' } else { 'e' };
        write!(f, "{mode}{:016x}{:016x}", self.key, self.tie)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let read = || {
            let is_approximate = match text.get(..1)? {
                "a" => true,
                "e" => false,
                _ => return None,
            };
            let (key, tie) = text.get(1..)?.split_at_checked(DIGITS)?;
            let number = |digits: &str| {
                let is_ours =
                    digits.len() == DIGITS && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
                is_ours.then(|| u64::from_str_radix(digits, 16).ok()).flatten().map(u64::cast_signed)
            };
            Some(Self { key: number(key)?, tie: number(tie)?, is_approximate })
        };
        read().ok_or(CursorError)
    }
}

/// A text that no page gave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor: pass the one that the page before gave, unchanged")]
pub struct CursorError;

/// What decides among entries of equal rank, so that ids that follow each other are not in the order of their names. It
/// is stored, and must not change.
pub(crate) fn tie(id: &str) -> i64 {
    spread([id]).cast_signed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_cursor_is_read_as_it_was_written(key: i64, tie: i64, is_approximate: bool) {
            let cursor = Cursor { key, tie, is_approximate };
            prop_assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }

        #[test]
        fn any_other_text_is_refused(text in "[ae]?[0-9a-g+]{0,40}|\\PC{0,40}") {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }

    #[test]
    fn ties_stay_what_they_are() {
        assert_eq!([tie(""), tie("a"), tie("item-1")].map(|tie| tie == 0), [false; 3]);
        let ties: std::collections::HashSet<i64> = (0..100_000).map(|number| tie(&number.to_string())).collect();
        assert_eq!(ties.len(), 100_000);
    }
}
