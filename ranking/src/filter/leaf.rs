//! One comparison on the columns of one segment.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use roaring::{MultiOps, RoaringBitmap};

use super::check::{Set, Test};
use crate::attributes::{Column, Columns, Flags, Keywords, Ordered, in_ranges};

/// Looking at one row takes as long as finding so many by their values.
const ROWS_FOUND_PER_LOOK: u64 = 8;

/// A test whose column and terms have been looked up.
#[derive(Clone, Debug)]
pub(super) enum Leaf<'a> {
    /// The attribute is absent from every row.
    Nothing,
    /// Numbers of terms, which rise.
    Terms { column: &'a Keywords, ids: Vec<u32>, outside: bool },
    /// Ranges of keys, which rise and do not overlap.
    Keys { column: &'a Ordered, ranges: &'a [RangeInclusive<i64>], outside: bool },
    /// Whether true matches, and false.
    Flags { column: &'a Flags, yes: bool, no: bool },
}

impl<'a> Leaf<'a> {
    pub(super) fn new(test: &'a Test, columns: &'a Columns) -> Self {
        let outside = test.outside;
        match (columns.column(&test.attribute).filter(|column| column.kind() == test.kind), &test.set) {
            (Some(Column::Keyword(column) | Column::KeywordList(column)), Set::Keywords(keywords)) => {
                let ids = keywords.iter().filter_map(|keyword| column.find(keyword)).collect();
                Self::Terms { column, ids, outside }
            }
            (Some(Column::Number(column) | Column::Time(column)), Set::Keys(ranges)) => {
                Self::Keys { column, ranges, outside }
            }
            (Some(Column::Boolean(column)), Set::Flags { yes, no }) => {
                Self::Flags { column, yes: *yes != outside, no: *no != outside }
            }
            _ => Self::Nothing,
        }
    }

    /// How many rows match, exactly but for lists of keywords, where it is a bound.
    pub(super) fn estimate(&self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Terms { column, outside, .. } => outside_of(column.present(), *outside, self.inside()),
            Self::Keys { column, outside, .. } => outside_of(column.present(), *outside, self.inside()),
            Self::Flags { column, yes, no } => {
                let count_yes = column.yes().len();
                let count_no = column.present().len() - count_yes;
                u64::from(*yes) * count_yes + u64::from(*no) * count_no
            }
        }
    }

    /// How many rows have a value in the set, counted again for each of their values.
    fn inside(&self) -> u64 {
        match self {
            Self::Terms { column, ids, .. } => ids.iter().map(|id| column.posting(*id).len()).sum(),
            Self::Keys { column, ranges, .. } => column.count(ranges) as u64,
            Self::Nothing | Self::Flags { .. } => 0,
        }
    }

    /// Whether so many rows are sooner looked at one by one than found by [`rows`](Self::rows). Where the rows are
    /// there as a bitmap, they never are.
    pub(super) fn sooner_by_row(&self, rows: u64) -> bool {
        let found = match self {
            Self::Nothing | Self::Flags { .. } => return false,
            Self::Terms { ids, .. } if ids.len() <= 1 => return false,
            Self::Terms { .. } | Self::Keys { .. } => self.inside(),
        };
        rows < found / ROWS_FOUND_PER_LOOK
    }

    /// The rows that match.
    pub(super) fn rows(&self) -> Cow<'a, RoaringBitmap> {
        match self {
            Self::Nothing => Cow::Owned(RoaringBitmap::new()),
            Self::Terms { column, ids, outside } => {
                let rows = match ids.as_slice() {
                    [id] => Cow::Borrowed(column.posting(*id)),
                    ids => Cow::Owned(ids.iter().map(|id| column.posting(*id)).union()),
                };
                if *outside { Cow::Owned(column.present() - rows.as_ref()) } else { rows }
            }
            Self::Keys { column, ranges, outside } => {
                let rows = column.rows(ranges);
                Cow::Owned(if *outside { column.present() - rows } else { rows })
            }
            Self::Flags { column, yes, no } => match (yes, no) {
                (true, true) => Cow::Borrowed(column.present()),
                (true, false) => Cow::Borrowed(column.yes()),
                (false, true) => Cow::Owned(column.present() - column.yes()),
                (false, false) => Cow::Owned(RoaringBitmap::new()),
            },
        }
    }

    /// Whether a row matches, which must be there.
    pub(super) fn matches(&self, row: u32) -> bool {
        match self {
            Self::Nothing => false,
            Self::Terms { column, ids, outside } => {
                let terms = column.row(row);
                !terms.is_empty() && terms.iter().any(|term| ids.binary_search(term).is_ok()) != *outside
            }
            Self::Keys { column, ranges, outside } => {
                column.key(row).is_some_and(|key| in_ranges(ranges, key) != *outside)
            }
            Self::Flags { column, yes, no } => column.value(row).is_some_and(|value| if value { *yes } else { *no }),
        }
    }
}

fn outside_of(present: &RoaringBitmap, outside: bool, inside: u64) -> u64 {
    if outside { present.len().saturating_sub(inside) } else { inside.min(present.len()) }
}
