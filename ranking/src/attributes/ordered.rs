//! A column of values that have an order: numbers and times.
//!
//! Both are kept as keys of 64 bits that sort as the values do. So there is one column for both, and `<` is `<=` of the
//! key before.

use std::ops::RangeInclusive;

use roaring::RoaringBitmap;

/// Ranges with at least one in so many of the rows are found by looking at every key, which is a comparison each,
/// since sorting that many rows takes longer.
const SCAN_SHARE: usize = 16;

/// Keys by row, and the rows by key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ordered {
    /// One for each row; 0 where there is no value.
    keys: Vec<i64>,
    present: RoaringBitmap,
    /// The rows that have a value, by key and then by row.
    order: Vec<u32>,
}

impl Ordered {
    /// A column of `keys`, of which those in `present` count; `present` has no row beyond them.
    pub(super) fn new(keys: Vec<i64>, present: RoaringBitmap) -> Self {
        let mut pairs: Vec<(i64, u32)> = present.iter().map(|row| (keys[row as usize], row)).collect();
        pairs.sort_unstable();
        Self { keys, present, order: pairs.into_iter().map(|(_, row)| row).collect() }
    }

    pub(crate) fn present(&self) -> &RoaringBitmap {
        &self.present
    }

    pub(crate) fn key(&self, row: u32) -> Option<i64> {
        self.present.contains(row).then(|| self.keys[row as usize])
    }

    /// How many rows have a key in one of the ranges, which do not overlap.
    pub(crate) fn count(&self, ranges: &[RangeInclusive<i64>]) -> usize {
        ranges.iter().map(|range| self.span(range).len()).sum()
    }

    /// The rows that have a key in one of the ranges, which rise and do not overlap.
    pub(crate) fn rows(&self, ranges: &[RangeInclusive<i64>]) -> RoaringBitmap {
        let count = self.count(ranges);
        if count >= self.keys.len() / SCAN_SHARE {
            return match ranges {
                [range] => self.scan(|key| range.contains(&key)),
                _ => self.scan(|key| in_ranges(ranges, key)),
            };
        }
        let mut rows = Vec::with_capacity(count);
        ranges.iter().for_each(|range| rows.extend_from_slice(self.span(range)));
        rows.sort_unstable();
        RoaringBitmap::from_sorted_iter(rows).expect("rows of disjoint ranges, sorted")
    }

    /// The rows whose key is one that is sought. Rows without a value have a key too, and are taken out at the end.
    fn scan(&self, is_sought: impl Fn(i64) -> bool) -> RoaringBitmap {
        let byte = |keys: &[i64]| (0..).zip(keys).fold(0, |byte, (bit, key)| byte | u8::from(is_sought(*key)) << bit);
        let bytes: Vec<u8> = self.keys.chunks(u8::BITS as usize).map(byte).collect();
        RoaringBitmap::from_lsb0_bytes(0, &bytes) & &self.present
    }

    /// The rows with a key in a range, by key.
    fn span(&self, range: &RangeInclusive<i64>) -> &[u32] {
        if range.is_empty() {
            return &[];
        }
        let start = self.order.partition_point(|row| self.keys[*row as usize] < *range.start());
        let rest = &self.order[start..];
        &rest[..rest.partition_point(|row| self.keys[*row as usize] <= *range.end())]
    }
}

/// Whether one of the ranges, which rise and do not overlap, holds the key.
pub(crate) fn in_ranges(ranges: &[RangeInclusive<i64>], key: i64) -> bool {
    let next = ranges.partition_point(|range| *range.end() < key);
    ranges.get(next).is_some_and(|range| range.contains(&key))
}

/// A key that sorts as the finite number does; -0 has the key of 0.
pub fn number_key(number: f64) -> i64 {
    flip((number + 0.0).to_bits() as i64)
}

/// The number of a key.
pub fn key_number(key: i64) -> f64 {
    f64::from_bits(flip(key) as u64)
}

/// The bits of numbers sort as integers do, but for the negative ones, which sort in reverse: their other bits are
/// turned round. This undoes itself.
fn flip(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: [f64; 9] = [f64::MIN, -2.5, -1.0, -f64::MIN_POSITIVE, 0.0, 5e-324, 1.0, 1.5, f64::MAX];

    #[test]
    fn keys_sort_as_numbers_do_and_give_them_back() {
        assert!(NUMBERS.map(number_key).is_sorted());
        for number in NUMBERS {
            assert_eq!(key_number(number_key(number)), number);
        }
        assert_eq!(number_key(-0.0), number_key(0.0));
    }

    #[test]
    fn narrow_and_wide_ranges_are_found() {
        let keys: Vec<i64> = (0..100).map(|row| (row * 37) % 50).collect();
        let column = Ordered::new(keys.clone(), (0..100).filter(|row| row % 3 > 0).collect());
        for ranges in [vec![7..=7], vec![3..=4, 40..=40], vec![0..=30], vec![0..=10, 12..=49], vec![], vec![60..=90]] {
            let rows: Vec<u32> = column.rows(&ranges).iter().collect();
            let naive = (0..100).filter(|row| row % 3 > 0);
            let naive = naive.filter(|row| ranges.iter().any(|range| range.contains(&keys[*row as usize])));
            assert_eq!(rows, naive.collect::<Vec<u32>>(), "{ranges:?}");
            assert_eq!(column.count(&ranges), rows.len());
        }
    }

    /// Sets of the same rows are equal, however they were found: 4,096 rows are where a bitmap changes its form.
    #[test]
    fn found_rows_are_equal_to_the_same_rows() {
        for rows in [4_095, 4_096, 4_097] {
            let column = Ordered::new((0..10_000).collect(), (0..10_000).collect());
            assert_eq!(column.rows(&[0..=rows - 1]), (0..rows as u32).collect());
        }
    }

    #[test]
    #[expect(clippy::reversed_empty_ranges, reason = "an empty range is what is tested")]
    fn an_empty_range_has_no_rows() {
        let column = Ordered::new(vec![1, 2, 3], (0..3).collect());
        assert_eq!(column.count(&[3..=1]), 0);
        assert!(column.rows(&[3..=1]).is_empty());
    }
}
