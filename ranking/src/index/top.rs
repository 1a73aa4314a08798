//! The best so far of one query.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// An item with its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored {
    /// Row of the item, as the caller numbers it.
    pub row: u32,
    /// Inner product with the query.
    pub score: f32,
}

impl Scored {
    /// Best first: the higher score, then the lower row.
    pub(super) fn rank(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.row.cmp(&other.row))
    }
}

/// Greatest is worst, so that a heap has the worst on top.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ByWorst(Scored);

impl Eq for ByWorst {}

impl Ord for ByWorst {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.rank(&other.0)
    }
}

impl PartialOrd for ByWorst {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Keeps the `k` best items it is shown.
#[derive(Clone, Debug)]
pub(super) struct Top {
    k: usize,
    /// As far as is known from elsewhere.
    floor: f32,
    heap: BinaryHeap<ByWorst>,
}

impl Top {
    pub(super) fn new(k: usize) -> Self {
        Self { k, floor: f32::NEG_INFINITY, heap: BinaryHeap::with_capacity(k + 1) }
    }

    /// An empty one that takes up nothing below the threshold of this one.
    pub(super) fn above(&self) -> Self {
        Self { floor: self.threshold(), ..Self::new(self.k) }
    }

    /// Shows it all that another one kept.
    pub(super) fn take_over(&mut self, other: Self) {
        other.heap.into_iter().for_each(|ByWorst(scored)| self.show(scored));
    }

    /// An item with a lower score is of no interest.
    pub(super) fn threshold(&self) -> f32 {
        match self.heap.peek() {
            Some(worst) if self.heap.len() == self.k => worst.0.score.max(self.floor),
            _ => self.floor,
        }
    }

    pub(super) fn show(&mut self, scored: Scored) {
        if self.heap.len() < self.k {
            self.heap.push(ByWorst(scored));
        } else if let Some(mut worst) = self.heap.peek_mut()
            && scored.rank(&worst.0) == Ordering::Less
        {
            worst.0 = scored;
        }
    }

    /// Best first.
    pub(super) fn into_sorted(self) -> Vec<Scored> {
        self.heap.into_sorted_vec().into_iter().map(|ByWorst(scored)| scored).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_kept_and_ties_go_to_the_lower_row() {
        let mut top = Top::new(3);
        assert_eq!(top.threshold(), f32::NEG_INFINITY);
        for (row, score) in [(9, 1.0), (4, 2.0), (7, 1.0), (2, 0.5), (5, 1.0)] {
            top.show(Scored { row, score });
        }
        assert_eq!(top.threshold(), 1.0);
        let rows: Vec<_> = top.into_sorted().iter().map(|scored| scored.row).collect();
        assert_eq!(rows, [4, 5, 7]);
    }
}
