//! The scan: bounds, screen, scores.

use std::thread;

use attune_kernels::{Hit, Wanted, inner_products, screen};

use super::bound::{Facing, score};
use super::error::{IndexError, check};
use super::query::Prepared;
use super::segment::{Block, HOLE};
use super::top::Top;
use super::{Allowed, K_MAX, Scored, Segment};

/// Queries that share one pass over the items: their levels and thresholds stay in the first-level cache.
const GROUP: usize = 32;
/// The most promising blocks of each query are scanned first, so that the pass over all blocks starts with a threshold.
const WARM_BLOCKS: usize = 4;
/// The lanes of a panel.
const PANEL: u32 = 16;

/// What is asked of a segment.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    /// Row-major, of the segment's width.
    pub queries: &'a [f32],
    /// How many items each query wants.
    pub k: usize,
    /// Places that may be found; all of them if absent.
    pub allowed: Option<&'a Allowed>,
    /// By query, rows that shall not be found, in order. Queries beyond the end of the list have none.
    pub excluded: &'a [&'a [u32]],
    /// Threads that share the queries.
    pub threads: usize,
}

impl Segment {
    /// The best items of each query by inner product, best first, equal scores by row; fewer than `k` where no more are
    /// allowed.
    ///
    /// # Errors
    /// [`IndexError`] says what is wrong with the queries or `k`.
    pub fn search(&self, search: &Search<'_>) -> Result<Vec<Vec<Scored>>, IndexError> {
        let count = search.queries.len().checked_div(self.width).unwrap_or(0);
        check(search.queries, count, self.width)?;
        if !(1..=K_MAX).contains(&search.k) {
            return Err(IndexError::K { k: search.k });
        }
        let mut tops = vec![Top::new(search.k.min(self.items().max(1))); count];
        let share = count.div_ceil(search.threads.max(1)).max(1);
        let parts = tops.chunks_mut(share).zip((0..count).step_by(share));
        if count <= share {
            parts.for_each(|(tops, first)| self.scan(search, first, tops));
        } else {
            thread::scope(|scope| {
                parts.for_each(|(tops, first)| drop(scope.spawn(move || self.scan(search, first, tops))))
            });
        }
        Ok(tops.into_iter().map(Top::into_sorted).collect())
    }

    /// Scans for the queries from `first` on, as many as there are tops.
    fn scan(&self, search: &Search<'_>, first: usize, tops: &mut [Top]) {
        let mut pass = Pass::new(self, search);
        for (tops, first) in tops.chunks_mut(GROUP).zip((first..).step_by(GROUP)) {
            pass.run(first, tops);
        }
    }
}

/// A pass over a segment for a group of queries, and its memory.
struct Pass<'a> {
    segment: &'a Segment,
    search: &'a Search<'a>,
    prepared: Prepared,
    /// Inner products of one query with all directions.
    along: Vec<f32>,
    /// By query and block: no score is above. Blocks that are done are below everything.
    bounds: Vec<f32>,
    wanted: Vec<Wanted>,
    hits: Vec<Hit>,
}

impl<'a> Pass<'a> {
    fn new(segment: &'a Segment, search: &'a Search<'a>) -> Self {
        let (prepared, along, bounds) = (Prepared::default(), Vec::new(), Vec::new());
        Self { segment, search, prepared, along, bounds, wanted: Vec::new(), hits: Vec::new() }
    }

    fn run(&mut self, first: usize, tops: &mut [Top]) {
        let width = self.segment.width;
        let queries = &self.search.queries[first * width..][..tops.len() * width];
        self.prepared.set(self.segment, queries);
        self.bound(queries);
        for query in 0..tops.len() {
            for block in self.promising(query) {
                self.visit(block, query..query + 1, first, tops);
            }
        }
        for block in 0..self.segment.blocks.len() {
            self.visit(block, 0..tops.len(), first, tops);
        }
    }

    /// Computes the bounds of all blocks for all queries.
    fn bound(&mut self, queries: &[f32]) {
        let segment = self.segment;
        self.bounds.clear();
        self.along.resize(segment.directions.len() / segment.width, 0.0);
        for (query, reach) in queries.chunks_exact(segment.width).zip(&self.prepared.reach) {
            inner_products(segment.isa, query, &segment.directions, &mut self.along);
            for blocks in segment.blocks.chunk_by(|left, right| left.cluster == right.cluster) {
                let facing = Facing::new(reach, self.along[blocks[0].cluster as usize], segment.width);
                self.bounds.extend(blocks.iter().map(|block| (block.ball.bound(&facing) as f32).next_up()));
            }
        }
    }

    /// The blocks with the highest bounds, the highest first.
    fn promising(&self, query: usize) -> Vec<usize> {
        let blocks = self.segment.blocks.len();
        let bounds = &self.bounds[query * blocks..][..blocks];
        let mut best: Vec<usize> = Vec::with_capacity(WARM_BLOCKS + 1);
        for (block, bound) in bounds.iter().enumerate() {
            if best.len() == WARM_BLOCKS && best.last().is_some_and(|&last| bounds[last] >= *bound) {
                continue;
            }
            let place = best.partition_point(|&other| bounds[other] >= *bound);
            best.insert(place, block);
            best.truncate(WARM_BLOCKS);
        }
        best
    }

    /// Scans one block for those of the queries that may find something in it, and that have not been there yet.
    fn visit(&mut self, block: usize, queries: std::ops::Range<usize>, first: usize, tops: &mut [Top]) {
        let blocks = self.segment.blocks.len();
        let Block { first_panel, end_panel, ball, .. } = self.segment.blocks[block];
        self.wanted.clear();
        for query in queries {
            let (bound, threshold) = (&mut self.bounds[query * blocks + block], tops[query].threshold());
            if *bound >= threshold && *bound > f32::NEG_INFINITY {
                *bound = f32::NEG_INFINITY;
                let at_least = ball.at_least(&self.prepared.reach[query], threshold);
                self.wanted.push(Wanted { query: query as u32, at_least });
            }
        }
        let panels = first_panel..end_panel;
        let is_empty = |allowed: &Allowed| panels.clone().all(|panel| allowed.lanes(panel) == 0);
        if self.wanted.is_empty() || self.search.allowed.is_some_and(is_empty) {
            return;
        }
        self.hits.clear();
        let panels = first_panel as usize..end_panel as usize;
        screen(&self.segment.screened, panels, &self.prepared.screened, &self.wanted, &mut self.hits);
        for hit in &self.hits {
            let query = hit.query as usize;
            self.score(hit, first + query, &mut tops[query]);
        }
    }

    /// Scores what passed the screen.
    fn score(&self, hit: &Hit, query: usize, top: &mut Top) {
        let segment = self.segment;
        let values = &self.search.queries[query * segment.width..][..segment.width];
        let excluded = self.search.excluded.get(query).copied().unwrap_or_default();
        let mut lanes = self.search.allowed.map_or(hit.lanes, |allowed| hit.lanes & allowed.lanes(hit.panel));
        while lanes != 0 {
            let place = (hit.panel * PANEL + lanes.trailing_zeros()) as usize;
            lanes &= lanes - 1;
            let row = segment.rows[place];
            if row != HOLE && excluded.binary_search(&row).is_err() {
                top.show(Scored { row, score: score(segment.isa, values, segment.vector(place)) });
            }
        }
    }
}

#[cfg(test)]
mod tests;
