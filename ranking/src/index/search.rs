//! The scan: bounds, screen, scores.

mod each;
mod mask;
mod sweep;

use std::borrow::Cow;
use std::ops::Range;
use std::thread;

use self::sweep::Sweep;
use super::error::{IndexError, check};
use super::layout::Layout;
use super::query::Prepared;
use super::subset::Key;
use super::top::Top;
use super::{Allowed, K_MAX, Scored, Segment};

pub(super) use self::mask::{FEW, Mask};

/// Queries that share one pass over the items: their levels and thresholds stay in the first-level cache.
const GROUP: usize = 32;
/// With fewer queries than this for each thread, threads share the items instead.
const QUERIES_A_THREAD: usize = 4;
/// Before that pass each query sees its most promising clusters, so that the pass starts with a threshold: as many as hold
/// this many times `k` items, and no more than so many.
const WARM_ITEMS: usize = 8;
const WARM_CLUSTERS: usize = 8;
/// Another thread is worth starting for so many blocks: it costs some 30 us, a block .2 us.
const BLOCKS_A_THREAD: usize = 500;

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

    /// The rows that a query shall not find.
    fn excluded(&self, query: usize) -> &'a [u32] {
        self.excluded.get(query).copied().unwrap_or_default()
    }
}

impl Segment {
    /// The best items of each query by inner product, best first, equal scores by row; fewer than `k` where no more are
    /// allowed.
    ///
    /// # Errors
    /// [`IndexError`] says what is wrong with the queries or `k`.
    pub fn search(&self, search: &Search<'_>) -> Result<Vec<Vec<Scored>>, IndexError> {
        let mut tops = tops(search, self.width(), self.items())?;
        let subset = search
            .allowed
            .and_then(|allowed| self.subset(Key::Places(Cow::Borrowed(allowed)), tops.len(), || allowed.clone()));
        match subset {
            Some(subset) => subset.search_into(search, Mask::All, &mut tops),
            None => self.search_into(search, search.allowed.map_or(Mask::All, Mask::Places), &mut tops),
        }
        Ok(tops.into_iter().map(Top::into_sorted).collect())
    }

    /// Shows the tops of all queries what is here, among what the mask lets through, which must say the same as
    /// `search.allowed` where the segment has a scan. The search must be a checked one, see [`tops`].
    pub(super) fn search_into(&self, search: &Search<'_>, mask: Mask<'_>, tops: &mut [Top]) {
        let Some(scan) = &self.scan else { return self.layout.search_into(search, mask, tops) };
        let answers = scan.scan(search);
        let mut first = 0;
        for run in answers.chunk_by(|left, right| left.is_some() == right.is_some()) {
            let here = first..first + run.len();
            first = here.end;
            if run[0].is_none() {
                self.layout.search_into(&search.part(here.clone(), self.width()), mask, &mut tops[here]);
                continue;
            }
            for (top, found) in tops[here].iter_mut().zip(run) {
                found.iter().flatten().for_each(|&scored| top.show(scored));
            }
        }
    }
}

impl Layout {
    /// Shows the tops of all queries what is here, among what the mask lets through. The search must be a checked one.
    pub(super) fn search_into(&self, search: &Search<'_>, mask: Mask<'_>, tops: &mut [Top]) {
        if let Some(places) = mask.few(self) {
            return self.score_each(search, &places, tops);
        }
        let threads = search.threads.max(1);
        if threads == 1 || tops.len() < QUERIES_A_THREAD * threads {
            return self.scan(search, mask, 0, tops, threads);
        }
        let share = tops.len().div_ceil(threads);
        thread::scope(|scope| {
            let (mine, others) = tops.split_at_mut(share);
            for (tops, first) in others.chunks_mut(share).zip((share..).step_by(share)) {
                scope.spawn(move || self.scan(search, mask, first, tops, 1));
            }
            self.scan(search, mask, 0, mine, 1);
        });
    }

    /// Scans for the queries from `first` on, as many as there are tops; on this thread, and on others where there is much
    /// to scan.
    fn scan(&self, search: &Search<'_>, mask: Mask<'_>, first: usize, tops: &mut [Top], threads: usize) {
        let (mut group, mut sweep) = (Group::new(self, search, mask), Sweep::new(self));
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

/// A few queries that share a pass over a layout.
struct Group<'a> {
    layout: &'a Layout,
    search: &'a Search<'a>,
    mask: Mask<'a>,
    /// Number of its first query.
    first: usize,
    prepared: Prepared,
    /// By query and cluster: no score is above. Clusters that are done are below everything.
    bounds: Vec<f32>,
}

impl<'a> Group<'a> {
    fn new(layout: &'a Layout, search: &'a Search<'a>, mask: Mask<'a>) -> Self {
        Self { layout, search, mask, first: 0, prepared: Prepared::default(), bounds: Vec::new() }
    }

    fn query(&self, number: usize) -> &'a [f32] {
        let width = self.layout.width;
        &self.search.queries[(self.first + number) * width..][..width]
    }

    fn bounds(&self, query: usize) -> &[f32] {
        let clusters = self.layout.clusters.len();
        &self.bounds[query * clusters..][..clusters]
    }

    /// Prepares `count` queries from `first` on, with the bounds of all clusters.
    fn set(&mut self, first: usize, count: usize) {
        let layout = self.layout;
        self.first = first;
        self.prepared.set(layout, &self.search.queries[first * layout.width..][..count * layout.width]);
        self.bounds.clear();
        (0..count).for_each(|query| self.prepared.bounds(layout, query, &mut self.bounds));
    }

    /// The rows that a query shall not find.
    fn excluded(&self, query: usize) -> &'a [u32] {
        self.search.excluded(self.first + query)
    }

    /// Scans the most promising clusters of each query.
    fn warm(&mut self, sweep: &mut Sweep, tops: &mut [Top]) {
        let clusters = self.layout.clusters.len();
        for query in 0..tops.len() {
            let mut items = 0;
            for cluster in self.promising(query) {
                sweep.plan(self, cluster, query..query + 1, tops);
                items += sweep.items();
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
        let mut best = vec![f32::NEG_INFINITY; self.layout.clusters.len()];
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
    fn run_together(&self, sweep: &mut Sweep, order: &[usize], tops: &mut [Top], threads: usize) {
        let part = |first: usize| order.iter().copied().skip(first).step_by(threads);
        let found = thread::scope(|scope| {
            let start = |first: usize| {
                let mut tops = tops.iter().map(Top::above).collect::<Vec<_>>();
                scope.spawn(move || {
                    Sweep::new(self.layout).run(self, part(first), &mut tops);
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

#[cfg(test)]
pub(super) mod tests;
