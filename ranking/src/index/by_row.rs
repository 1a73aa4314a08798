//! From the caller's rows to places.

/// Rows of a bucket, on average: a line of the cache.
const BUCKET: usize = 16;

/// Where the items of a segment are, by their rows, whether these follow each other or lie far apart. What is asked for by
/// row is asked for a dozen times an item of a list, and in every segment.
#[derive(Debug, Default)]
pub(super) struct ByRow {
    /// Rising.
    rows: Vec<u32>,
    /// In the same order.
    places: Vec<u32>,
    /// Rows that are equal but for their lowest bits share a bucket: where each begins, and where the last one ends.
    buckets: Vec<u32>,
    /// How many bits these are.
    low_bits: u32,
}

impl ByRow {
    /// Of rows, which differ, and their places.
    pub(super) fn new(items: impl Iterator<Item = (u32, u32)>) -> Self {
        let mut items: Vec<(u32, u32)> = items.collect();
        items.sort_unstable();
        let (rows, places): (Vec<u32>, Vec<u32>) = items.into_iter().unzip();
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Self::default() };
        let span = last - first;
        let too_many = |low_bits: &u32| (span >> low_bits) as usize > rows.len() / BUCKET;
        let low_bits = (0..u32::BITS - 1).find(|low_bits| !too_many(low_bits)).unwrap_or(u32::BITS - 1);
        let mut buckets = vec![0; (span >> low_bits) as usize + 2];
        rows.iter().for_each(|row| buckets[((row - first) >> low_bits) as usize + 1] += 1);
        let mut begun = 0;
        for begins in &mut buckets {
            begun += *begins;
            *begins = begun;
        }
        Self { rows, places, buckets, low_bits }
    }

    /// Where an item is.
    pub(super) fn place(&self, row: u32) -> Option<u32> {
        let bucket = (row.checked_sub(*self.rows.first()?)? >> self.low_bits) as usize;
        let (begin, end) = (*self.buckets.get(bucket)? as usize, *self.buckets.get(bucket + 1)? as usize);
        let at = self.rows[begin..end].binary_search(&row).ok()?;
        Some(self.places[begin + at])
    }

    /// The places of all items, by rising row.
    pub(super) fn places(&self) -> &[u32] {
        &self.places
    }

    /// The largest row.
    pub(super) fn row_max(&self) -> Option<u32> {
        self.rows.last().copied()
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.rows[..]) + size_of_val(&self.places[..]) + size_of_val(&self.buckets[..])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_row_has_its_place_and_no_other_row_has_one(
            (rows, spread) in (prop::collection::btree_set(0_u32..4_000, 0..300), 0_u32..20), first in any::<u32>(),
        ) {
            // From rows that follow each other to some that are far apart.
            let rows: BTreeMap<u32, u32> =
                rows.into_iter().map(|row| (first.wrapping_add(row << spread), row)).collect();
            let by_row = ByRow::new(rows.iter().rev().map(|(row, place)| (*row, *place)));
            let around = rows.keys().flat_map(|row| [row.wrapping_sub(1), *row, row.wrapping_add(1)]);
            for row in around.chain([0, 1, u32::MAX, first]) {
                prop_assert_eq!(by_row.place(row), rows.get(&row).copied());
            }
            prop_assert_eq!(by_row.places().to_vec(), rows.values().copied().collect::<Vec<u32>>());
            prop_assert_eq!(by_row.row_max(), rows.keys().next_back().copied());
            prop_assert!(by_row.bytes() <= 9 * rows.len() + 16);
        }
    }

    #[test]
    fn one_row_far_from_all_others_costs_nothing() {
        let by_row = ByRow::new((0..1_000).chain([u32::MAX - 1]).map(|row| (row, row ^ 1)));
        assert_eq!([999, u32::MAX - 1, 1_000].map(|row| by_row.place(row)), [Some(998), Some(u32::MAX), None]);
        assert!(by_row.bytes() < 9 * 1_001);
    }
}
