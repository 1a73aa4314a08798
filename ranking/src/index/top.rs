//! The best so far of one query.

/// An item with its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// Row of the item, as the caller numbers it.
    pub row: u32,
    /// Inner product with the query.
    pub score: f32,
}

impl Scored {
    /// Best first: the higher score, then the lower row. The one order of every list.
    pub(super) fn rank(&self, other: &Self) -> std::cmp::Ordering {
        other.score.total_cmp(&self.score).then(self.row.cmp(&other.row))
    }
}

/// Keeps the best `k`, best first, equal scores by row: selected first, and only then sorted. No score may be NaN.
pub fn keep_best(found: &mut Vec<Scored>, k: usize) {
    if found.len() > k {
        found.select_nth_unstable_by(k, Scored::rank);
        found.truncate(k);
    }
    found.sort_unstable_by(Scored::rank);
}

/// An item with its score as one number: the better, the larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key(u64);

impl From<Scored> for Key {
    fn from(Scored { row, score }: Scored) -> Self {
        let bits = score.to_bits();
        // The order of floats is that of their bits, with those of negative ones turned round.
        let ordered = if score.is_sign_negative() { !bits } else { bits | 1 << 31 };
        Self(u64::from(ordered) << 32 | u64::from(!row))
    }
}

impl From<Key> for Scored {
    fn from(Key(key): Key) -> Self {
        let ordered = (key >> 32) as u32;
        let bits = if ordered & 1 << 31 == 0 { !ordered } else { ordered & !(1 << 31) };
        Self { row: !(key as u32), score: f32::from_bits(bits) }
    }
}

/// Keeps the `k` best items it is shown, and some more until the next time it sorts them out: cheaper by the item than a
/// heap, at the price of a threshold that is a little behind.
#[derive(Clone, Debug)]
pub(super) struct Top {
    k: usize,
    threshold: f32,
    keys: Vec<Key>,
    /// So many are sorted out.
    full: usize,
}

impl Top {
    pub(super) fn new(k: usize) -> Self {
        Self { k, threshold: f32::NEG_INFINITY, keys: Vec::new(), full: k + k / 4 + 16 }
    }

    /// An empty one that takes up nothing below the threshold of this one.
    pub(super) fn above(&self) -> Self {
        Self { threshold: self.threshold(), ..Self::new(self.k) }
    }

    /// Shows it all that another one kept.
    pub(super) fn take_over(&mut self, other: Self) {
        other.keys.into_iter().for_each(|key| self.show(key.into()));
    }

    /// An item with a lower score is of no interest.
    pub(super) fn threshold(&self) -> f32 {
        self.threshold
    }

    pub(super) fn show(&mut self, scored: Scored) {
        if scored.score >= self.threshold {
            self.keys.push(scored.into());
            if self.keys.len() == self.full {
                self.settle();
            }
        }
    }

    /// Keeps no more than `k`, and knows the threshold that follows from them.
    pub(super) fn settle(&mut self) {
        if self.keys.len() >= self.k {
            let (_, worst, _) = self.keys.select_nth_unstable_by(self.k - 1, |left, right| right.cmp(left));
            self.threshold = self.threshold.max(Scored::from(*worst).score);
            self.keys.truncate(self.k);
        }
    }

    /// Best first.
    pub(super) fn into_sorted(mut self) -> Vec<Scored> {
        self.settle();
        self.keys.sort_unstable_by(|left, right| right.cmp(left));
        self.keys.into_iter().map(Scored::from).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_best_are_kept_and_ties_go_to_the_lower_row() {
        let mut top = Top::new(3);
        assert_eq!(top.threshold(), f32::NEG_INFINITY);
        for (row, score) in [(9, 1.0), (4, 2.0), (7, 1.0), (2, 0.5), (5, 1.0)] {
            top.show(Scored { row, score });
        }
        top.settle();
        assert_eq!(top.threshold(), 1.0);
        let rows: Vec<_> = top.into_sorted().iter().map(|scored| scored.row).collect();
        assert_eq!(rows, [4, 5, 7]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever is shown, and wherever it is sorted out: the first `k` of all, sorted.
        #[test]
        fn a_top_is_a_sorted_list_cut_off(scores in prop::collection::vec(-4_i8..4, 0..200), k in 1_usize..50) {
            let shown: Vec<Scored> =
                (0..).zip(&scores).map(|(row, &score)| Scored { row, score: f32::from(score) / 3.0 }).collect();
            let mut top = Top::new(k);
            shown.iter().for_each(|&scored| top.show(scored));
            let (mut kept, mut expected) = (shown.clone(), shown);
            keep_best(&mut kept, k);
            expected.sort_by(Scored::rank);
            expected.truncate(k);
            prop_assert_eq!(&kept, &expected);
            prop_assert_eq!(top.into_sorted(), expected);
        }
    }
}
