//! Queries, made ready to be compared with a segment.

use attune_kernels::ScreenQueries;

use super::Segment;
use super::bound::Reach;

/// A few queries, in every form that a search needs.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// As levels.
    pub screened: ScreenQueries,
    /// By query.
    pub reach: Vec<Reach>,
    levels: Vec<i8>,
}

impl Prepared {
    /// Replaces the queries by these rows.
    pub(super) fn set(&mut self, segment: &Segment, queries: &[f32]) {
        let level_max = segment.screened.query_level_max();
        self.levels.resize(queries.len(), 0);
        self.reach.clear();
        for (query, levels) in queries.chunks_exact(segment.width).zip(self.levels.chunks_exact_mut(segment.width)) {
            self.reach.push(Reach::quantise(query, level_max, levels));
        }
        self.screened.set(&segment.screened, &self.levels);
    }
}
