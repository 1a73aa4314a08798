//! The scan: bounds, screen, scores.

use std::ops::Range;
use std::thread;

use attune_kernels::{Hit, Wanted, inner_products, prefetch_row, screen};

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
/// Another thread is worth starting for so many blocks: it costs some 30 us, a block .2 us.
const BLOCKS_A_THREAD: usize = 500;
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
        let mut tops = tops(search, self.width, self.items())?;
        self.search_into(search, &mut tops);
        Ok(tops.into_iter().map(Top::into_sorted).collect())
    }

    /// Shows the tops of all queries what is here. The search must be a checked one, see [`tops`].
    pub(super) fn search_into(&self, search: &Search<'_>, tops: &mut [Top]) {
        let count = tops.len();
        let threads = search.threads.max(1);
        if count < threads {
            self.scan_together(search, tops, threads);
        } else {
            let share = count.div_ceil(threads).max(1);
            thread::scope(|scope| {
                for (tops, first) in tops.chunks_mut(share).zip((0..).step_by(share)) {
                    scope.spawn(move || self.scan(search, first, tops));
                }
            });
        }
    }

    /// Scans on this thread for the queries from `first` on, as many as there are tops.
    fn scan(&self, search: &Search<'_>, first: usize, tops: &mut [Top]) {
        let (mut group, mut sweep) = (Group::new(self, search), Sweep::default());
        for (tops, first) in tops.chunks_mut(GROUP).zip((first..).step_by(GROUP)) {
            group.set(first, tops.len());
            group.warm(&mut sweep, tops);
            sweep.run(&group, 0..self.blocks.len(), tops);
        }
    }

    /// Scans for a few queries with more threads than there are queries: each thread takes a part of the blocks, and starts
    /// from the thresholds that the most promising ones gave.
    fn scan_together(&self, search: &Search<'_>, tops: &mut [Top], threads: usize) {
        let (mut group, mut sweep) = (Group::new(self, search), Sweep::default());
        group.set(0, tops.len());
        group.warm(&mut sweep, tops);
        let blocks = self.blocks.len();
        if group.reachable(tops) < BLOCKS_A_THREAD * threads {
            return sweep.run(&group, 0..blocks, tops);
        }
        let share = blocks.div_ceil(threads);
        let found = thread::scope(|scope| {
            let start = |first: usize| {
                let (group, mut tops) = (&group, tops.iter().map(Top::above).collect::<Vec<_>>());
                scope.spawn(move || {
                    Sweep::default().run(group, first..(first + share).min(blocks), &mut tops);
                    tops
                })
            };
            let others: Vec<_> = (share..blocks).step_by(share).map(start).collect();
            sweep.run(&group, 0..share, tops);
            others.into_iter().map(|other| other.join().expect("a scan does not panic")).collect::<Vec<_>>()
        });
        for others in found {
            tops.iter_mut().zip(others).for_each(|(top, other)| top.take_over(other));
        }
    }
}

/// An empty top for each query of a search among so many items, if nothing is wrong with it.
pub(super) fn tops(search: &Search<'_>, width: usize, items: usize) -> Result<Vec<Top>, IndexError> {
    let count = search.queries.len().checked_div(width).unwrap_or(0);
    check(search.queries, count, width)?;
    if !(1..=K_MAX).contains(&search.k) {
        return Err(IndexError::K { k: search.k });
    }
    Ok(vec![Top::new(search.k.min(items.max(1))); count])
}

/// A few queries that share a pass over a segment.
struct Group<'a> {
    segment: &'a Segment,
    search: &'a Search<'a>,
    /// Number of its first query.
    first: usize,
    prepared: Prepared,
    /// Inner products of one query with all directions.
    along: Vec<f32>,
    /// By query and block: no score is above. Blocks that are done are below everything.
    bounds: Vec<f32>,
}

impl<'a> Group<'a> {
    fn new(segment: &'a Segment, search: &'a Search<'a>) -> Self {
        let (prepared, along, bounds) = (Prepared::default(), Vec::new(), Vec::new());
        Self { segment, search, first: 0, prepared, along, bounds }
    }

    fn query(&self, number: usize) -> &'a [f32] {
        let width = self.segment.width;
        &self.search.queries[(self.first + number) * width..][..width]
    }

    fn bounds(&self, query: usize) -> &[f32] {
        let blocks = self.segment.blocks.len();
        &self.bounds[query * blocks..][..blocks]
    }

    /// Prepares `count` queries from `first` on, with the bounds of all blocks.
    fn set(&mut self, first: usize, count: usize) {
        let segment = self.segment;
        self.first = first;
        self.prepared.set(segment, &self.search.queries[first * segment.width..][..count * segment.width]);
        self.bounds.clear();
        self.along.resize(segment.directions.len() / segment.width, 0.0);
        for query in 0..count {
            inner_products(segment.isa, self.query(query), &segment.directions, &mut self.along);
            for blocks in segment.blocks.chunk_by(|left, right| left.cluster == right.cluster) {
                let along = self.along[blocks[0].cluster as usize];
                let facing = Facing::new(&self.prepared.reach[query], along, segment.width);
                self.bounds.extend(blocks.iter().map(|block| (block.ball.bound(&facing) as f32).next_up()));
            }
        }
    }

    /// Scans the most promising blocks of each query.
    fn warm(&mut self, sweep: &mut Sweep, tops: &mut [Top]) {
        let blocks = self.segment.blocks.len();
        for query in 0..tops.len() {
            for block in self.promising(query) {
                sweep.visit(self, block, query..query + 1, tops);
                sweep.score(self, tops);
                self.bounds[query * blocks + block] = f32::NEG_INFINITY;
            }
        }
    }

    /// The blocks with the highest bounds, the highest first.
    fn promising(&self, query: usize) -> Vec<usize> {
        let bounds = self.bounds(query);
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

    /// Blocks that some query still has to see, as far as is known now, counted once for each.
    fn reachable(&self, tops: &[Top]) -> usize {
        let reachable = |(query, top): (usize, &Top)| {
            let threshold = top.threshold();
            self.bounds(query).iter().filter(|bound| **bound >= threshold).count()
        };
        tops.iter().enumerate().map(reachable).sum()
    }
}

/// A pass over blocks, on one thread, and its memory.
#[derive(Default)]
struct Sweep {
    wanted: Vec<Wanted>,
    hits: Vec<Hit>,
    /// What passed the screen of the block before: its vectors are on their way from memory, and it has no score yet.
    coming: Vec<Hit>,
}

impl Sweep {
    /// Scans those of the blocks that may hold something for a query.
    fn run(&mut self, group: &Group<'_>, blocks: Range<usize>, tops: &mut [Top]) {
        for block in blocks {
            self.visit(group, block, 0..tops.len(), tops);
        }
        self.score(group, tops);
    }

    /// Scans one block for those of the queries that may find something in it.
    fn visit(&mut self, group: &Group<'_>, block: usize, queries: Range<usize>, tops: &mut [Top]) {
        let (segment, number) = (group.segment, block);
        let Block { first_panel, end_panel, ball, .. } = segment.blocks[number];
        self.wanted.clear();
        for query in queries {
            let (bound, threshold) = (group.bounds(query)[number], tops[query].threshold());
            if bound >= threshold && bound > f32::NEG_INFINITY {
                let at_least = ball.at_least(&group.prepared.reach[query], threshold);
                self.wanted.push(Wanted { query: query as u32, at_least });
            }
        }
        let allowed = |panel: u32| group.search.allowed.map_or(u16::MAX, |allowed| allowed.lanes(panel));
        if self.wanted.is_empty() || (first_panel..end_panel).all(|panel| allowed(panel) == 0) {
            return;
        }
        let panels = first_panel as usize..end_panel as usize;
        screen(&segment.screened, panels, &group.prepared.screened, &self.wanted, &mut self.hits);
        for hit in &mut self.hits {
            hit.lanes &= allowed(hit.panel);
            places(*hit).for_each(|place| prefetch_row(segment.vector(place)));
        }
        self.score(group, tops);
        std::mem::swap(&mut self.hits, &mut self.coming);
    }

    /// Scores what passed the screen.
    fn score(&mut self, group: &Group<'_>, tops: &mut [Top]) {
        let segment = group.segment;
        for hit in self.coming.drain(..) {
            let number = hit.query as usize;
            let excluded = group.search.excluded.get(group.first + number).copied().unwrap_or_default();
            for place in places(hit) {
                let row = segment.rows[place];
                if row != HOLE && excluded.binary_search(&row).is_err() {
                    let score = score(segment.isa, group.query(number), segment.vector(place));
                    tops[number].show(Scored { row, score });
                }
            }
        }
    }
}

/// The places of a hit, in order.
fn places(hit: Hit) -> impl Iterator<Item = usize> {
    let first = (hit.panel * PANEL) as usize;
    let mut lanes = hit.lanes;
    std::iter::from_fn(move || {
        let lane = (lanes != 0).then(|| lanes.trailing_zeros())?;
        lanes &= lanes - 1;
        Some(first + lane as usize)
    })
}

#[cfg(test)]
mod tests;
