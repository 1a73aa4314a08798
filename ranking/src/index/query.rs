//! Queries, made ready to be compared with a layout.

use std::ops::Range;

use attune_kernels::{RowQueries, Scratch, ScreenQueries};

use super::bound::{Landmark, Length, Reach, Towards};
use super::cluster::largest;
use super::head::{Heads, length};
use super::layout::Layout;

/// A few queries, in every form that a search needs.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// As levels: their heads where the segment has heads.
    pub screened: ScreenQueries,
    /// By query, of what is screened.
    pub screened_reach: Vec<Reach>,
    /// Whole, as levels, where the segment has heads.
    pub whole: RowQueries,
    /// By query, as a whole.
    pub reach: Vec<Reach>,
    /// By query: the direction that it points in, and what that says.
    landmarks: Vec<Option<(usize, Landmark)>>,
    /// By query and block: how far items reach towards the landmark. The table that it is copied from has a row for each
    /// landmark, so that each block of each query would be a line of it that is not in the cache.
    towards: Vec<i8>,
    /// By query: what its landmark leaves.
    rests: Vec<f32>,
    /// By query and cluster: the inner product with the direction.
    along: Vec<f32>,
    /// Of what the landmark leaves.
    along_rest: Vec<f32>,
    levels: Vec<i8>,
    heads: Vec<f32>,
    scratch: Scratch,
}

impl Prepared {
    /// Replaces the queries by these rows.
    pub(super) fn set(&mut self, layout: &Layout, queries: &[f32]) {
        let (width, clusters) = (layout.width, layout.clusters.len());
        let (count, level_max) = (queries.len() / width, layout.screened.query_level_max());
        self.levels.resize(queries.len(), 0);
        self.rests.clear();
        self.rests.resize(queries.len(), 0.0);
        self.along.resize(count * clusters, 0.0);
        self.along_rest.resize(count * clusters, 0.0);
        self.reach.clear();
        self.landmarks.clear();
        self.towards.resize(count * layout.blocks.len(), 0);
        layout.along(queries, &mut self.along, &mut self.scratch);
        for (number, query) in queries.chunks_exact(width).enumerate() {
            let values = number * width..(number + 1) * width;
            let reach = Reach::quantise(query, level_max, &mut self.levels[values.clone()]);
            let along = &self.along[number * clusters..][..clusters];
            let landmark = (clusters > 0).then(|| largest(along)).and_then(|(nearest, along)| {
                let (direction, rest) = (layout.direction(nearest as usize), &mut self.rests[values]);
                Some((nearest as usize, Landmark::new(query, &reach, direction, along, rest)?))
            });
            if let Some((nearest, _)) = &landmark {
                let towards = &mut self.towards[number * layout.blocks.len()..][..layout.blocks.len()];
                towards.copy_from_slice(layout.supports.of_blocks.towards(*nearest));
            }
            self.reach.push(reach);
            self.landmarks.push(landmark);
        }
        if self.landmarks.iter().any(Option::is_some) {
            layout.along(&self.rests, &mut self.along_rest, &mut self.scratch);
        }
        self.screened_reach.clear();
        match &layout.heads {
            None => {
                self.screened_reach.extend_from_slice(&self.reach);
                self.screened.set(&layout.screened, &self.levels);
            }
            Some(heads) => {
                self.whole.set(&heads.whole, &self.levels);
                self.set_heads(layout, heads, queries);
            }
        }
    }

    fn set_heads(&mut self, layout: &Layout, heads: &Heads, queries: &[f32]) {
        heads.axes.of_queries(queries, &mut self.heads, &mut self.scratch);
        self.levels.resize(self.heads.len(), 0);
        let (width, level_max) = (heads.axes.width(), layout.screened.query_level_max());
        let levels = self.levels.chunks_exact_mut(width);
        for ((query, head), levels) in
            queries.chunks_exact(layout.width).zip(self.heads.chunks_exact(width)).zip(levels)
        {
            self.screened_reach.push(Reach::of_head(head, length(query), heads.axes.common(head), level_max, levels));
        }
        self.screened.set(&layout.screened, &self.levels);
    }

    /// Appends by cluster what no item's score with the query is above.
    pub(super) fn bounds(&self, layout: &Layout, query: usize, bounds: &mut Vec<f32>) {
        let (clusters, first) = (layout.clusters.len(), bounds.len());
        let length = self.reach[query].length();
        let along = &self.along[query * clusters..][..clusters];
        let Some((nearest, landmark)) = &self.landmarks[query] else {
            return layout.around.bounds_of_all(length, along, None, bounds);
        };
        let along_rest = &self.along_rest[query * clusters..][..clusters];
        let towards = layout.supports.of_clusters.towards(*nearest);
        layout.around.bounds_of_all(landmark.rest(), along_rest, Some((landmark, towards)), bounds);
        // In its own cluster a landmark says nothing new.
        layout.around.bounds(*nearest..nearest + 1, length, along[*nearest], None, bounds);
        bounds.swap_remove(first + nearest);
    }

    /// A query before the blocks of a cluster.
    pub(super) fn before<'a>(&'a self, layout: &'a Layout, query: usize, cluster: usize) -> View<'a> {
        let place = query * layout.clusters.len() + cluster;
        match &self.landmarks[query] {
            Some((nearest, landmark)) if *nearest != cluster => {
                let towards = &self.towards[query * layout.blocks.len()..][..layout.blocks.len()];
                View { length: landmark.rest(), along: self.along_rest[place], towards: Some((landmark, towards)) }
            }
            _ => View { length: self.reach[query].length(), along: self.along[place], towards: None },
        }
    }
}

/// A query as the blocks of one cluster see it. A landmark's bound is nearly always the lower one, so only that is computed
/// where there is one.
#[derive(Debug)]
pub(super) struct View<'a> {
    length: &'a Length,
    along: f32,
    towards: Option<Towards<'a>>,
}

impl View<'_> {
    /// Appends for some blocks of the cluster what no score is above.
    pub(super) fn bounds(&self, layout: &Layout, blocks: Range<usize>, bounds: &mut Vec<f32>) {
        layout.cones.bounds(blocks, self.length, self.along, self.towards, bounds);
    }
}
