//! The scan of few items: they are scored, and that is all.

use attune_kernels::prefetch_row;

use super::Search;
use crate::index::Scored;
use crate::index::bound::score;
use crate::index::layout::{HOLE, Layout};
use crate::index::top::Top;

/// Items whose vectors are on their way from memory.
const AHEAD: usize = 8;

impl Layout {
    /// Shows the tops of all queries the items at some places.
    pub(super) fn score_each(&self, search: &Search<'_>, places: &[u32], tops: &mut [Top]) {
        places.iter().take(AHEAD).for_each(|&place| prefetch_row(self.vector(place as usize)));
        for (number, &place) in places.iter().enumerate() {
            if let Some(&ahead) = places.get(number + AHEAD) {
                prefetch_row(self.vector(ahead as usize));
            }
            let (row, vector) = (self.rows[place as usize], self.vector(place as usize));
            let queries = search.queries.chunks_exact(self.width).enumerate();
            for ((number, query), top) in queries.zip(&mut *tops).filter(|_| row != HOLE) {
                if search.excluded(number).binary_search(&row).is_err() {
                    top.show(Scored { row, score: score(self.isa, query, vector) });
                }
            }
        }
    }
}
