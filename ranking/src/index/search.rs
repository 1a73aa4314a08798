//! The scan: bounds, screen, scores.

use std::ops::Range;
use std::thread;

use attune_kernels::{Hit, Wanted, prefetch_row, screen};

use super::bound::score;
use super::error::{IndexError, check};
use super::query::{Prepared, View};
use super::segment::HOLE;
use super::top::Top;
use super::{Allowed, K_MAX, Scored, Segment};

/// Queries that share one pass over the items: their levels and thresholds stay in the first-level cache.
const GROUP: usize = 32;
/// With fewer queries than this for each thread, threads share the items instead.
const QUERIES_A_THREAD: usize = 4;
/// Before that pass each query sees its most promising clusters, so that the pass starts with a threshold: as many as hold
/// this many times `k` items, and no more than so many.
const WARM_ITEMS: usize = 8;
const WARM_CLUSTERS: usize = 8;
/// Blocks that are chosen before they are scanned, each of which is then fetched while the one before is scanned.
const PLANNED: usize = 64;
/// Another thread is worth starting for so many blocks: it costs some 30 us, a block .2 us.
const BLOCKS_A_THREAD: usize = 500;
/// A block with so few allowed items is not screened: its items are scored at once.
const FEW_ALLOWED: u32 = 2;
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

impl<'a> Search<'a> {
    /// The same of some of the queries, of `width` values.
    fn part(&self, queries: Range<usize>, width: usize) -> Self {
        let excluded = &self.excluded[queries.start.min(self.excluded.len())..queries.end.min(self.excluded.len())];
        Self { queries: &self.queries[queries.start * width..queries.end * width], excluded, ..*self }
    }
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
        let Some(scan) = &self.scan else { return self.search_here(search, tops) };
        let answers = scan.scan(search);
        let mut first = 0;
        for run in answers.chunk_by(|left, right| left.is_some() == right.is_some()) {
            let here = first..first + run.len();
            first = here.end;
            if run[0].is_none() {
                self.search_here(&search.part(here.clone(), self.width), &mut tops[here]);
                continue;
            }
            for (top, found) in tops[here].iter_mut().zip(run) {
                found.iter().flatten().for_each(|&scored| top.show(scored));
            }
        }
    }

    /// The same without help.
    fn search_here(&self, search: &Search<'_>, tops: &mut [Top]) {
        let threads = search.threads.max(1);
        if threads == 1 || tops.len() < QUERIES_A_THREAD * threads {
            return self.scan(search, 0, tops, threads);
        }
        let share = tops.len().div_ceil(threads);
        thread::scope(|scope| {
            let (mine, others) = tops.split_at_mut(share);
            for (tops, first) in others.chunks_mut(share).zip((share..).step_by(share)) {
                scope.spawn(move || self.scan(search, first, tops, 1));
            }
            self.scan(search, 0, mine, 1);
        });
    }

    /// Scans for the queries from `first` on, as many as there are tops; on this thread, and on others where there is much
    /// to scan.
    fn scan(&self, search: &Search<'_>, first: usize, tops: &mut [Top], threads: usize) {
        let (mut group, mut sweep) = (Group::new(self, search), Sweep::default());
        for (tops, first) in tops.chunks_mut(GROUP).zip((first..).step_by(GROUP)) {
            group.set(first, tops.len());
            group.warm(&mut sweep, tops);
            let order = group.order(tops);
            if threads == 1 {
                sweep.run(&group, order.iter().copied(), tops);
            } else if sweep.plan_up_to(BLOCKS_A_THREAD * threads, &group, &order, tops) {
                sweep.carry_out(&group, tops);
            } else {
                group.run_together(&mut sweep, &order, tops, threads);
            }
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
    /// By query and cluster: no score is above. Clusters that are done are below everything.
    bounds: Vec<f32>,
}

impl<'a> Group<'a> {
    fn new(segment: &'a Segment, search: &'a Search<'a>) -> Self {
        Self { segment, search, first: 0, prepared: Prepared::default(), bounds: Vec::new() }
    }

    fn query(&self, number: usize) -> &'a [f32] {
        let width = self.segment.width;
        &self.search.queries[(self.first + number) * width..][..width]
    }

    fn bounds(&self, query: usize) -> &[f32] {
        let clusters = self.segment.clusters.len();
        &self.bounds[query * clusters..][..clusters]
    }

    /// Prepares `count` queries from `first` on, with the bounds of all clusters.
    fn set(&mut self, first: usize, count: usize) {
        let segment = self.segment;
        self.first = first;
        self.prepared.set(segment, &self.search.queries[first * segment.width..][..count * segment.width]);
        self.bounds.clear();
        (0..count).for_each(|query| self.bounds.extend(self.prepared.bounds(segment, query)));
    }

    /// Scans the most promising clusters of each query.
    fn warm(&mut self, sweep: &mut Sweep<'a>, tops: &mut [Top]) {
        let clusters = self.segment.clusters.len();
        for query in 0..tops.len() {
            let mut items = 0;
            for cluster in self.promising(query) {
                sweep.plan(self, cluster, query..query + 1, tops);
                items += sweep.items;
                sweep.carry_out(self, tops);
                self.bounds[query * clusters + cluster] = f32::NEG_INFINITY;
                if items >= WARM_ITEMS * self.search.k {
                    break;
                }
            }
            tops[query].settle();
        }
    }

    /// The clusters with the highest bounds, the highest first.
    fn promising(&self, query: usize) -> Vec<usize> {
        let bounds = self.bounds(query);
        let mut best: Vec<usize> = Vec::with_capacity(WARM_CLUSTERS + 1);
        for (cluster, bound) in bounds.iter().enumerate() {
            if best.len() == WARM_CLUSTERS && best.last().is_some_and(|&last| bounds[last] >= *bound) {
                continue;
            }
            let place = best.partition_point(|&other| bounds[other] >= *bound);
            best.insert(place, cluster);
            best.truncate(WARM_CLUSTERS);
        }
        best
    }

    /// The clusters that some query still has to see, as far as is known now, the most promising first.
    fn order(&self, tops: &[Top]) -> Vec<usize> {
        let mut best = vec![f32::NEG_INFINITY; self.segment.clusters.len()];
        for (query, top) in tops.iter().enumerate() {
            for (best, &bound) in best.iter_mut().zip(self.bounds(query)) {
                *best = if bound >= top.threshold() && bound > *best { bound } else { *best };
            }
        }
        let mut order: Vec<usize> = (0..best.len()).filter(|&cluster| best[cluster] > f32::NEG_INFINITY).collect();
        order.sort_unstable_by(|&left, &right| best[right].total_cmp(&best[left]));
        order
    }

    /// Each thread takes every so-manieth cluster, and starts from the thresholds that there are.
    fn run_together(&self, sweep: &mut Sweep<'a>, order: &[usize], tops: &mut [Top], threads: usize) {
        let part = |first: usize| order.iter().copied().skip(first).step_by(threads);
        let found = thread::scope(|scope| {
            let start = |first: usize| {
                let mut tops = tops.iter().map(Top::above).collect::<Vec<_>>();
                scope.spawn(move || {
                    Sweep::default().run(self, part(first), &mut tops);
                    tops
                })
            };
            let others: Vec<_> = (1..threads).map(start).collect();
            sweep.run(self, part(0), tops);
            others.into_iter().map(|other| other.join().expect("a scan does not panic")).collect::<Vec<_>>()
        });
        for others in found {
            tops.iter_mut().zip(others).for_each(|(top, other)| top.take_over(other));
        }
    }
}

/// A query that may find something in a block.
struct Aim {
    query: u32,
    /// No score is above.
    bound: f32,
}

/// A block that will be scanned.
struct Planned {
    block: usize,
    /// Allowed items in it.
    items: u32,
    /// The end of its aims.
    aims: usize,
}

/// A pass over blocks, on one thread, and its memory.
#[derive(Default)]
struct Sweep<'a> {
    views: Vec<View<'a>>,
    planned: Vec<Planned>,
    aims: Vec<Aim>,
    /// In all that is planned.
    items: usize,
    wanted: Vec<Wanted>,
    hits: Vec<Hit>,
    /// What passed the screen of the block before: its vectors are on their way from memory, and it has no score yet.
    coming: Vec<Hit>,
}

impl<'a> Sweep<'a> {
    /// Scans what may hold something for a query.
    fn run(&mut self, group: &Group<'a>, clusters: impl Iterator<Item = usize>, tops: &mut [Top]) {
        for cluster in clusters {
            self.plan(group, cluster, 0..tops.len(), tops);
            if self.planned.len() >= PLANNED {
                self.carry_out(group, tops);
            }
        }
        self.carry_out(group, tops);
    }

    /// Plans all clusters, if that comes to no more than so many blocks; otherwise nothing.
    fn plan_up_to(&mut self, most: usize, group: &Group<'a>, clusters: &[usize], tops: &[Top]) -> bool {
        for &cluster in clusters {
            self.plan(group, cluster, 0..tops.len(), tops);
            if self.planned.len() > most {
                self.clear();
                return false;
            }
        }
        true
    }

    /// Chooses the blocks of a cluster that may hold something for one of the queries.
    fn plan(&mut self, group: &Group<'a>, cluster: usize, queries: Range<usize>, tops: &[Top]) {
        let segment = group.segment;
        self.views.clear();
        for query in queries {
            let bound = group.bounds(query)[cluster];
            if bound >= tops[query].threshold() && bound > f32::NEG_INFINITY {
                self.views.push(group.prepared.blocks(segment, query, cluster));
            }
        }
        if self.views.is_empty() {
            return;
        }
        for number in segment.clusters[cluster].blocks.clone() {
            let block = &segment.blocks[number];
            let items = group.search.allowed.map_or(block.places(), |allowed| allowed.count_in(block.panels()));
            if items == 0 {
                continue;
            }
            let before = self.aims.len();
            for view in &self.views {
                let (query, bound) = (view.query, view.bound(number, &block.cone));
                if bound >= tops[query as usize].threshold() {
                    self.aims.push(Aim { query, bound });
                }
            }
            if self.aims.len() > before {
                self.items += items as usize;
                self.planned.push(Planned { block: number, items, aims: self.aims.len() });
            }
        }
    }

    /// Scans what is planned.
    fn carry_out(&mut self, group: &Group<'_>, tops: &mut [Top]) {
        let (planned, aims) = (std::mem::take(&mut self.planned), std::mem::take(&mut self.aims));
        let mut first = 0;
        for (number, one) in planned.iter().enumerate() {
            if let Some(next) = planned.get(number + 1) {
                group.fetch(next);
            }
            self.scan(group, one, &aims[first..one.aims], tops);
            first = one.aims;
        }
        self.score(group, tops);
        (self.planned, self.aims) = (planned, aims);
        self.clear();
    }

    fn clear(&mut self) {
        self.planned.clear();
        self.aims.clear();
        self.items = 0;
    }

    /// Scans one block, and scores what passed in the one before.
    fn scan(&mut self, group: &Group<'_>, planned: &Planned, aims: &[Aim], tops: &mut [Top]) {
        let (segment, block) = (group.segment, &group.segment.blocks[planned.block]);
        self.wanted.clear();
        for aim in aims {
            let threshold = tops[aim.query as usize].threshold();
            if aim.bound >= threshold {
                let at_least = block.grid.at_least(&group.prepared.reach[aim.query as usize], threshold);
                self.wanted.push(Wanted { query: aim.query, at_least });
            }
        }
        let allowed = |panel: u32| group.search.allowed.map_or(u16::MAX, |allowed| allowed.lanes(panel));
        if planned.is_screened() {
            screen(&segment.screened, block.panels(), &group.prepared.screened, &self.wanted, &mut self.hits);
            self.hits.iter_mut().for_each(|hit| hit.lanes &= allowed(hit.panel));
        } else {
            let panels = (block.first_panel..block.end_panel).map(|panel| (panel, allowed(panel)));
            for (panel, lanes) in panels.filter(|(_, lanes)| *lanes != 0) {
                self.hits.extend(self.wanted.iter().map(|wanted| Hit { panel, query: wanted.query, lanes }));
            }
        }
        self.hits.iter().for_each(|hit| places(*hit).for_each(|place| prefetch_row(segment.vector(place))));
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

impl Planned {
    fn is_screened(&self) -> bool {
        self.items > FEW_ALLOWED
    }
}

impl Group<'_> {
    /// Asks for what a scan of a block reads first.
    fn fetch(&self, next: &Planned) {
        let panels = self.segment.blocks[next.block].panels();
        if next.is_screened() {
            self.segment.screened.prefetch(panels);
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
