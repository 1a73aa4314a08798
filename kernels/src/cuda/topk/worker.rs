//! Searches: one worker's stream, its memory, and the passes.

use std::ffi::c_void;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::CudaError;
use super::super::device::Argument;
use super::super::launch::arguments;
use super::super::memory::{Buffer, Element};
use super::super::plan::Shape;
use super::super::stream::{Stream, StreamSize};
use super::plan::{self, Passes, TOPK_MAX, TOPK_WANTED_MAX, Workspace};
use super::table::bytes_of;
use super::{ItemTable, TopkKernel};

/// How often candidates that found no room are looked for again: each time the threshold is higher.
const RETRIES: usize = 3;
/// What `topk.cuh` says of a query that lost candidates.
const PENDING: u32 = u32::MAX;

/// What is asked of a table.
#[derive(Clone, Copy, Debug)]
pub struct TopkQuery<'a> {
    /// Row-major, of the table's width; numbers of a magnitude of 1e15 at most.
    pub queries: &'a [f32],
    /// How many items each query wants: 1 to [`TOPK_MAX`].
    pub k: usize,
    /// A bit for each place of what the table was made from: whether it may be found. All may if absent.
    pub allowed: Option<&'a [u64]>,
    /// By query, rows that shall not be found, in order. Queries beyond the end of the list have none.
    pub excluded: &'a [&'a [u32]],
}

/// An item with its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// What the caller calls it.
    pub row: u32,
    /// Inner product with the query: the sum of [`inner_products`](crate::inner_products), plus 0.
    pub score: f32,
}

/// How long one pass of a search took, with the wait for it.
#[derive(Clone, Copy, Debug)]
pub struct TopkPass {
    /// What it does.
    pub name: &'static str,
    /// From launch to done, launch and wait included.
    pub time: Duration,
}

/// A worker that searches a table. Its memory is taken when it is made.
#[derive(Debug)]
pub struct TopkWorker {
    table: Arc<ItemTable>,
    space: Workspace,
    stream: Stream,
    /// Words of [`Batch`].
    input: Buffer<u32>,
    /// Statuses, then answers.
    output: Buffer<u32>,
    candidates: Buffer<u64>,
    /// Queries as the screen sees them, and what a level is worth.
    rounded: Buffer<Element>,
    steps: Buffer<f32>,
    slack: Buffer<f32>,
    thresholds: Buffer<f32>,
    counts: Buffer<u32>,
    lost: Buffer<u32>,
    list: Buffer<u32>,
    words: Vec<u32>,
    /// In a search whose passes are timed: the end of the last, and all of them.
    timed: Option<(Instant, Vec<TopkPass>)>,
    /// Scans that were done again for candidates that had found no room.
    pub(super) scans_again: u64,
}

/// Some queries of a search, as they lie in the worker's input: vectors, offsets of what is excluded, that, a counter, bits.
#[derive(Clone, Copy, Debug)]
struct Batch {
    queries: usize,
    k: usize,
    /// The largest number that a query has to find.
    wanted: usize,
    /// Items that are allowed, if not all are.
    allowed: Option<usize>,
    offsets: u64,
    excluded: u64,
    counter: u64,
    bits: u64,
}

impl TopkWorker {
    /// A worker that takes up to `queries` at a time (and any number one after the other).
    ///
    /// # Errors
    /// [`CudaError::Memory`] when the device has too little left; else what it said.
    pub fn new(table: &Arc<ItemTable>, queries: usize) -> Result<Self, CudaError> {
        let device = table.device();
        let space = Workspace::new(queries, table.width, table.present.len() * 64);
        let size = StreamSize { tokens: 0, download_bytes: space.results * 4, upload_bytes: space.input * 4 };
        Ok(Self {
            table: Arc::clone(table),
            space,
            stream: device.stream(size)?,
            input: device.allocate(space.input)?,
            output: device.allocate(space.results)?,
            candidates: device.allocate(space.candidates)?,
            rounded: device.allocate(space.queries * table.padded)?,
            steps: device.allocate(space.queries)?,
            slack: device.allocate(space.queries)?,
            thresholds: device.allocate(space.queries)?,
            counts: device.allocate(space.queries)?,
            lost: device.allocate(space.queries)?,
            list: device.allocate(table.count)?,
            words: Vec::new(),
            timed: None,
            scans_again: 0,
        })
    }

    /// The table.
    pub fn table(&self) -> &Arc<ItemTable> {
        &self.table
    }

    /// Bytes that a worker for `queries` at a time takes on the device, for a table made from `places` places.
    pub fn bytes_of(queries: usize, width: usize, places: usize) -> Option<usize> {
        Some(Workspace::new(queries, width, places).bytes(plan::padded(width)?) + 4 * places)
    }

    /// The best items of each query, best first, equal scores by row; fewer than `k` where no more are allowed. `None` for a
    /// query that the device does not answer: it excludes too much, or thousands of items are as good as its k-th.
    ///
    /// # Errors
    /// [`CudaError::Capacity`] when `k` is too large; [`CudaError::TimedOut`] when a batch is not done within the limit;
    /// else what the device said.
    ///
    /// # Panics
    /// If the queries are not whole rows of the table's width, or `k` is 0.
    pub fn search(&mut self, query: &TopkQuery<'_>, limit: Duration) -> Result<Vec<Option<Vec<Found>>>, CudaError> {
        let width = self.table.width;
        assert!(query.queries.len().is_multiple_of(width) && query.k > 0, "queries of {width} values that want some");
        if query.k > TOPK_MAX {
            return Err(CudaError::Capacity { what: "items that a query wants", asked: query.k, limit: TOPK_MAX });
        }
        let count = query.queries.len() / width;
        let excluded = |number: usize| query.excluded.get(number).copied().unwrap_or_default();
        let allowed = query.allowed.map(|bits| self.table.allowed(bits)).filter(|count| *count < self.table.count);
        let mut answers = Vec::with_capacity(count);
        while answers.len() < count {
            let first = answers.len();
            let fit = self.space.fit(query.k, (first..count).map(|number| excluded(number).len()));
            if fit == 0 || query.k + excluded(first).len() > TOPK_WANTED_MAX {
                answers.push(None);
                continue;
            }
            let batch = self.bring(query, first..first + fit, allowed, limit)?;
            self.run(&batch, limit)?;
            self.answers(&batch, limit, &mut answers)?;
            self.passed("answer", limit)?;
        }
        Ok(answers)
    }

    /// The same, and how long each pass took; waits after each, so the sum is more than a search takes.
    ///
    /// # Errors
    /// As [`search`](Self::search).
    ///
    /// # Panics
    /// As [`search`](Self::search).
    pub fn passes(&mut self, query: &TopkQuery<'_>, limit: Duration) -> Result<Vec<TopkPass>, CudaError> {
        self.timed = Some((Instant::now(), Vec::new()));
        let answers = self.search(query, limit);
        let (_, passes) = self.timed.take().unwrap_or((Instant::now(), Vec::new()));
        answers.map(|_| passes)
    }

    /// Sends some queries to the device, with what belongs to them.
    fn bring(
        &mut self,
        query: &TopkQuery<'_>,
        range: Range<usize>,
        allowed: Option<usize>,
        limit: Duration,
    ) -> Result<Batch, CudaError> {
        let (queries, width) = (range.len(), self.table.width);
        let words = &mut self.words;
        words.clear();
        words.extend(query.queries[range.start * width..range.end * width].iter().map(|value| value.to_bits()));
        let (mut offset, mut most) = (0, 0);
        words.push(0);
        let excluded = |number: usize| query.excluded.get(number).copied().unwrap_or_default();
        for number in range.clone() {
            offset += excluded(number).len();
            most = most.max(excluded(number).len());
            words.push(offset as u32);
        }
        range.for_each(|number| words.extend_from_slice(excluded(number)));
        words.push(0);
        if let (Some(bits), Some(_)) = (query.allowed, allowed) {
            let all = bits.iter().chain(std::iter::repeat(&0)).take(self.table.present.len());
            words.extend(all.flat_map(|word| [*word as u32, (word >> 32) as u32]));
        }
        let at = |word: usize| self.input.address + 4 * word as u64;
        let offsets = queries * width;
        let batch = Batch {
            queries,
            k: query.k,
            wanted: query.k + most,
            allowed,
            offsets: at(offsets),
            excluded: at(offsets + queries + 1),
            counter: at(offsets + queries + 1 + offset),
            bits: at(offsets + queries + 2 + offset),
        };
        self.stream.send(&self.input, bytes_of(words), limit)?;
        self.passed("bring", limit)?;
        Ok(batch)
    }

    /// Queues every pass of a batch.
    fn run(&mut self, batch: &Batch, limit: Duration) -> Result<(), CudaError> {
        self.prepare(batch)?;
        self.passed("prepare", limit)?;
        if batch.allowed.is_some() {
            self.list(batch)?;
            self.passed("list", limit)?;
        }
        let items = batch.allowed.unwrap_or(self.table.count);
        let passes = Passes::new(items, self.table.padded, batch.wanted, batch.queries);
        if passes.sample > 0 {
            self.screen(batch, 0..passes.sample, Some(passes.groups()))?;
            self.passed("sample", limit)?;
            self.threshold(batch, passes.groups())?;
            self.passed("threshold", limit)?;
        }
        for (number, round) in passes.rounds().enumerate() {
            if number > 0 {
                self.narrow(batch)?;
                self.passed("narrow", limit)?;
            }
            self.screen(batch, round, None)?;
            self.passed("screen", limit)?;
        }
        self.finish(batch, limit)
    }

    /// In a search whose passes are timed: waits, and takes the time since the last.
    fn passed(&mut self, name: &'static str, limit: Duration) -> Result<(), CudaError> {
        let Some((last, passes)) = &mut self.timed else { return Ok(()) };
        self.stream.finish(limit)?;
        let now = Instant::now();
        passes.push(TopkPass { name, time: now - *last });
        *last = now;
        Ok(())
    }

    /// Reads the answers of a batch, after looking again for what found no room.
    fn answers(
        &mut self,
        batch: &Batch,
        limit: Duration,
        answers: &mut Vec<Option<Vec<Found>>>,
    ) -> Result<(), CudaError> {
        let (queries, k) = (batch.queries, batch.k);
        let items = batch.allowed.unwrap_or(self.table.count);
        let words = queries + queries * k * 2;
        for attempt in 0..=RETRIES {
            let statuses =
                self.stream.read(self.output.address, if attempt == 0 { words } else { queries } * 4, limit)?;
            let is_pending = |status: &[u8; 4]| u32::from_ne_bytes(*status) == PENDING;
            let pending = statuses.as_chunks::<4>().0[..queries].iter().filter(|status| is_pending(status)).count();
            if pending == 0 && attempt == 0 {
                break;
            }
            if pending == 0 || attempt == RETRIES {
                self.stream.read(self.output.address, words * 4, limit)?;
                break;
            }
            tracing::debug!(pending, attempt, "more candidates than room: the scan is done again");
            self.scans_again += 1;
            self.screen(batch, 0..items, None)?;
            self.finish(batch, limit)?;
        }
        let read = self.stream.staged(words * 4)?.as_chunks::<4>().0;
        let (statuses, results) = read.split_at(queries);
        let found = |pair: &[[u8; 4]; 2]| {
            let [row, score] = pair.map(u32::from_ne_bytes);
            Found { row, score: f32::from_bits(score) }
        };
        answers.extend(statuses.iter().zip(results.chunks_exact(2 * k)).map(|(status, results)| {
            let results = results.as_chunks::<2>().0.get(..u32::from_ne_bytes(*status) as usize)?;
            Some(results.iter().map(found).collect())
        }));
        Ok(())
    }

    fn status_address(&self) -> u64 {
        self.output.address
    }

    fn prepare(&mut self, batch: &Batch) -> Result<(), CudaError> {
        let table = Arc::clone(&self.table);
        let as_levels = plan::are_few(batch.queries);
        let bounds = if as_levels { table.level_bounds } else { table.rounded_bounds };
        let (mut as_levels, mut steps) = (i32::from(as_levels), self.steps.address);
        let (mut queries, mut count) = (self.input.address, batch.queries as i32);
        let (mut width, mut padded) = (table.width as i32, table.padded as i32);
        let (mut items_max, mut unseen_max) = (bounds.items_max, bounds.unseen_max);
        let (mut sum_error, mut underflow) = (bounds.sum_error, bounds.underflow);
        let (mut rounded, mut slack, mut thresholds) =
            (self.rounded.address, self.slack.address, self.thresholds.address);
        let (mut counts, mut lost, mut status) = (self.counts.address, self.lost.address, self.status_address());
        let mut arguments = arguments![
            queries, count, width, padded, as_levels, items_max, unseen_max, sum_error, underflow, rounded, steps,
            slack, thresholds, counts, lost, status
        ];
        // SAFETY: the types are the kernel's; a batch is no larger than the workspace.
        unsafe { self.stream.launch(plan::prepare(batch.queries), &mut arguments) }
    }

    fn list(&mut self, batch: &Batch) -> Result<(), CudaError> {
        let (mut places, mut bits, mut items) = (self.table.places.address, batch.bits, self.table.count as i32);
        let (mut list, mut counter) = (self.list.address, batch.counter);
        let mut arguments = arguments![places, bits, items, list, counter];
        // SAFETY: the types are the kernel's; there is a bit for every place, and room for every item.
        unsafe { self.stream.launch(plan::list(self.table.count), &mut arguments) }
    }

    /// Screens a range of the allowed items: for the best of `groups`, or for candidates.
    fn screen(&mut self, batch: &Batch, range: Range<usize>, groups: Option<usize>) -> Result<(), CudaError> {
        let table = Arc::clone(&self.table);
        let multiprocessors = table.device.card().multiprocessors;
        let shape: Shape = plan::screen(table.padded, batch.queries, range.len(), multiprocessors);
        let as_levels = plan::are_few(batch.queries);
        let mut items = if as_levels { table.levels.address } else { table.rounded.address };
        let (mut scales, mut query_scales) = (table.steps.address, self.steps.address);
        let mut list = batch.allowed.map_or(0, |_| self.list.address);
        let (mut first, mut last) = (range.start as i32, range.end as i32);
        let (mut queries, mut count) = (self.rounded.address, batch.queries as i32);
        let (mut thresholds, mut counts) = (self.thresholds.address, self.counts.address);
        let (mut candidates, mut capacity) = (self.candidates.address, plan::capacity(batch.wanted) as i32);
        // The best of groups lie where candidates will.
        let mut maxima = groups.map_or(0, |_| candidates);
        let mut groups = groups.unwrap_or(0) as i32;
        let mut arguments = arguments![
            items,
            scales,
            list,
            first,
            last,
            queries,
            query_scales,
            count,
            thresholds,
            counts,
            candidates,
            capacity,
            maxima,
            groups
        ];
        // SAFETY: the types are the kernel's; the range is one of the items, or of the list, which has as many places as the
        // batch allows; queries times capacity is no more than there is room for, and `groups` is below twice the capacity.
        unsafe { self.stream.launch(shape, &mut arguments) }
    }

    fn threshold(&mut self, batch: &Batch, groups: usize) -> Result<(), CudaError> {
        let (mut maxima, mut groups) = (self.candidates.address, groups as i32);
        let (mut offsets, mut k) = (batch.offsets, batch.k as i32);
        let (mut slack, mut thresholds) = (self.slack.address, self.thresholds.address);
        let mut arguments = arguments![maxima, groups, offsets, k, slack, thresholds];
        // SAFETY: the types are the kernel's; `screen` wrote so many groups.
        unsafe { self.stream.launch(plan::select(TopkKernel::Threshold, batch.queries), &mut arguments) }
    }

    fn narrow(&mut self, batch: &Batch) -> Result<(), CudaError> {
        let (mut counts, mut candidates) = (self.counts.address, self.candidates.address);
        let (mut capacity, mut offsets, mut k) = (plan::capacity(batch.wanted) as i32, batch.offsets, batch.k as i32);
        let (mut slack, mut thresholds, mut lost) = (self.slack.address, self.thresholds.address, self.lost.address);
        let mut arguments = arguments![counts, candidates, capacity, offsets, k, slack, thresholds, lost];
        // SAFETY: the types are the kernel's; queries times capacity is no more than there is room for.
        unsafe { self.stream.launch(plan::select(TopkKernel::Narrow, batch.queries), &mut arguments) }
    }

    /// Queues what makes answers of candidates.
    fn finish(&mut self, batch: &Batch, limit: Duration) -> Result<(), CudaError> {
        let scoring = plan::score(batch.queries, self.table.device.card().multiprocessors);
        if let Some(shape) = scoring {
            self.narrow(batch)?;
            self.passed("narrow", limit)?;
            self.score(batch, shape)?;
            self.passed("score", limit)?;
        }
        self.select(batch, scoring.is_some())?;
        self.passed("finish", limit)
    }

    fn score(&mut self, batch: &Batch, shape: Shape) -> Result<(), CudaError> {
        let table = Arc::clone(&self.table);
        let (mut counts, mut candidates) = (self.counts.address, self.candidates.address);
        let (mut capacity, mut offsets) = (plan::capacity(batch.wanted) as i32, batch.offsets);
        let (mut excluded, mut queries) = (batch.excluded, self.input.address);
        let (mut items, mut rows, mut width) = (table.exact.address, table.rows.address, table.width as i32);
        let mut status = self.status_address();
        let mut arguments =
            arguments![counts, candidates, capacity, offsets, excluded, queries, items, rows, width, status];
        // SAFETY: the types are the kernel's; `narrow` left no more candidates than there is room for, items of the table.
        unsafe { self.stream.launch(shape, &mut arguments) }
    }

    fn select(&mut self, batch: &Batch, is_scored: bool) -> Result<(), CudaError> {
        let table = Arc::clone(&self.table);
        let (mut counts, mut candidates) = (self.counts.address, self.candidates.address);
        let (mut capacity, mut offsets) = (plan::capacity(batch.wanted) as i32, batch.offsets);
        let (mut excluded, mut k) = (batch.excluded, batch.k as i32);
        let (mut slack, mut thresholds, mut lost) = (self.slack.address, self.thresholds.address, self.lost.address);
        let (mut queries, mut items, mut rows) = (self.input.address, table.exact.address, table.rows.address);
        let (mut width, mut scored, mut status) = (table.width as i32, i32::from(is_scored), self.status_address());
        let mut results = self.output.address + 4 * batch.queries as u64;
        let mut arguments = arguments![
            counts, candidates, capacity, offsets, excluded, k, slack, thresholds, lost, queries, items, rows, width,
            scored, status, results
        ];
        // SAFETY: the types are the kernel's; candidates are items of the table; the workspace has room for the answers.
        unsafe { self.stream.launch(plan::select(TopkKernel::Finish, batch.queries), &mut arguments) }
    }
}
