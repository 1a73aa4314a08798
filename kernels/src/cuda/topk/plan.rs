//! How a search becomes passes over the items, and what memory it takes. Pure.

use std::ops::Range;

use super::super::launch::Kernel;
use super::super::plan::Shape;
use super::TopkKernel;

/// The largest `k`.
pub const TOPK_MAX: usize = 1024;
/// The largest `k` together with what a query excludes.
pub const TOPK_WANTED_MAX: usize = 2048;
/// Queries of one pass at most.
pub const TOPK_QUERIES_MAX: usize = 4096;
/// Widths that rows are filled up to.
const PADDED: [usize; 6] = [64, 128, 256, 384, 512, 768];
/// The widest items.
pub const TOPK_WIDTH_MAX: usize = PADDED[PADDED.len() - 1];
/// Items of a tile of the screen, and groups of it that a sample keeps the best of.
const TILE_ITEMS: usize = 64;
const TILE_GROUPS: usize = 4;
/// Candidates of a query that there is room for, at least and at most.
const CAPACITY_MIN: usize = 8192;
const CAPACITY_MAX: usize = 32_768;
/// Queries that the kernel for few takes.
const FEW: usize = 16;
/// Up to so many queries a scan waits for memory and not for tensor cores: then passes are few, and their sample is large.
const MEMORY_BOUND: usize = 64;
/// By how much a round has more items than were seen before it: so the candidates it finds are so many times k.
const GROWTH: usize = 8;
const GROWTH_MEMORY_BOUND: usize = 24;

/// Values that rows of `width` are filled up to; `None` when they are too wide.
pub(super) fn padded(width: usize) -> Option<usize> {
    PADDED.into_iter().find(|padded| (1..=*padded).contains(&width))
}

/// Room for candidates of a query that wants so many.
pub(super) fn capacity(wanted: usize) -> usize {
    (16 * wanted).next_power_of_two().clamp(CAPACITY_MIN, CAPACITY_MAX)
}

/// The passes of one search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Passes {
    /// So many items give the first threshold; none where all of them are candidates anyway.
    pub sample: usize,
    /// Where rounds end that have one threshold each; the first begins at 0.
    pub ends: Vec<usize>,
}

impl Passes {
    pub(super) fn new(items: usize, padded: usize, wanted: usize, queries: usize) -> Self {
        let capacity = capacity(wanted);
        if items <= capacity {
            return Self { sample: 0, ends: vec![items] };
        }
        let is_memory_bound = queries <= MEMORY_BOUND;
        // Of 16 groups for each that is wanted, hardly two have the same group.
        let least = 16 * wanted * (TILE_ITEMS / TILE_GROUPS);
        let sample = least.max(if is_memory_bound { items / 16 } else { 0 }).next_multiple_of(TILE_ITEMS);
        // The best of groups lie where the candidates will.
        let sample = sample.min(2 * capacity / TILE_GROUPS * TILE_ITEMS).min(items);
        let most = capacity / (room_for_one(padded, queries) * wanted);
        let growth = if is_memory_bound { GROWTH_MEMORY_BOUND } else { GROWTH }.min(most).max(2);
        let (mut ends, mut seen) = (Vec::new(), sample);
        while ends.last() != Some(&items) {
            let end = (seen * growth).next_multiple_of(TILE_ITEMS);
            // No round for a small rest.
            seen = if end + end / 2 >= items { items } else { end };
            ends.push(seen);
        }
        Self { sample, ends }
    }

    /// Items that are screened against one threshold each.
    pub(super) fn rounds(&self) -> impl Iterator<Item = Range<usize>> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| start..end)
    }

    /// Values that the sample leaves of each query.
    pub(super) fn groups(&self) -> usize {
        self.sample.div_ceil(TILE_ITEMS) * TILE_GROUPS
    }
}

/// Whether so many queries are screened as levels: there the memory is what is waited for.
pub(super) fn are_few(queries: usize) -> bool {
    queries <= FEW
}

/// Candidates that there should be room for, for each that is wanted: bf16 lets through half as many again, levels about 3 at
/// 128 values and, since they are as wrong at each width while scores lie closer together, 10 at 384 and 24 at 768; and a
/// round may be half as long again. That is for vectors in all directions. Embeddings lie less close.
fn room_for_one(padded: usize, queries: usize) -> usize {
    if are_few(queries) { (padded / 24).max(5) } else { 2 }
}

/// A kernel of the screen, the queries that a block of it takes, and how many blocks of it a multiprocessor is given.
fn screen_kernel(padded: usize, queries: usize) -> (TopkKernel, usize, usize) {
    use TopkKernel::*;
    // Where queries are few, memory is busy with fewer blocks than fit: the others are room for another worker's kernels.
    match (padded, are_few(queries)) {
        (64, true) => (ScreenFew64, FEW, 4),
        (128, true) => (ScreenFew128, FEW, 3),
        (256, true) => (ScreenFew256, FEW, 3),
        (384, true) => (ScreenFew384, FEW, 3),
        (512, true) => (ScreenFew512, FEW, 3),
        (_, true) => (ScreenFew768, FEW, 3),
        (64, false) => (Screen64, 128, 3),
        (128, false) => (Screen128, 128, 3),
        (256, false) => (Screen256, 128, 2),
        (384, false) => (Screen384, 64, 3),
        (512, false) => (Screen512, 64, 2),
        (_, false) => (Screen768, 32, 2),
    }
}

/// For screening a range of so many items.
pub(super) fn screen(padded: usize, queries: usize, items: usize, multiprocessors: u32) -> Shape {
    let (kernel, block_queries, resident) = screen_kernel(padded, queries);
    let (x, tiles) = (queries.div_ceil(block_queries), items.div_ceil(TILE_ITEMS).max(1));
    let resident = resident * multiprocessors as usize;
    // One wave of blocks where each goes through many tiles; several where they are many, so that the last wave costs little.
    let wave = resident.div_ceil(x);
    let parts = if x <= 2 { resident / x } else { (8 * wave).min(tiles / 16).max(wave) };
    Shape {
        kernel: Kernel::Topk(kernel),
        grid: [x as u32, parts.clamp(1, tiles) as u32, 1],
        threads: 128,
        shared_bytes: 0,
    }
}

/// For the preparation of queries.
pub(super) fn prepare(queries: usize) -> Shape {
    let grid = [queries.div_ceil(8) as u32, 1, 1];
    Shape { kernel: Kernel::Topk(TopkKernel::Prepare), grid, threads: 256, shared_bytes: 0 }
}

/// For the list of what a filter allows of so many items.
pub(super) fn list(items: usize) -> Shape {
    Shape {
        kernel: Kernel::Topk(TopkKernel::List),
        grid: [items.div_ceil(4096) as u32, 1, 1],
        threads: 256,
        shared_bytes: 0,
    }
}

/// For what is done with each query.
pub(super) fn select(kernel: TopkKernel, queries: usize) -> Shape {
    Shape { kernel: Kernel::Topk(kernel), grid: [queries as u32, 1, 1], threads: 512, shared_bytes: 0 }
}

/// For scoring the candidates of few queries, with a share of the card for each; `None` where one block each does it in
/// passing.
pub(super) fn score(queries: usize, multiprocessors: u32) -> Option<Shape> {
    let parts = (multiprocessors / queries.max(1) as u32).max(1);
    let grid = [queries as u32, parts, 1];
    are_few(queries).then_some(Shape { kernel: Kernel::Topk(TopkKernel::Score), grid, threads: 512, shared_bytes: 0 })
}

/// Memory of a worker, in cells. It never grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Workspace {
    /// Queries of a pass at most.
    pub queries: usize,
    /// Words that a pass brings: queries, offsets and rows of what is excluded, a counter, bits of a filter.
    pub input: usize,
    /// Excluded rows of a pass at most.
    pub excluded: usize,
    /// Candidates of all queries together.
    pub candidates: usize,
    /// Words of all answers together.
    pub results: usize,
}

impl Workspace {
    /// For `queries` at a time over `items` items of `width` values, whose filters have `numbers` bits.
    pub(super) fn new(queries: usize, width: usize, numbers: usize) -> Self {
        let queries = queries.clamp(1, TOPK_QUERIES_MAX);
        let excluded = (64 * queries).max(TOPK_WANTED_MAX);
        Self {
            queries,
            input: queries * width + queries + 1 + excluded + 1 + 2 * numbers.div_ceil(64),
            excluded,
            candidates: (queries * CAPACITY_MIN).max(CAPACITY_MAX),
            results: (queries * (1 + 2 * 128)).max(1 + 2 * TOPK_MAX),
        }
    }

    /// Bytes on the device, besides the list of what a filter allows.
    pub(super) fn bytes(&self, padded: usize) -> usize {
        self.input * 4 + self.candidates * 8 + self.results * 4 + self.queries * (padded * 2 + 5 * 4)
    }

    /// How many of the first queries fit in a pass, by how many rows each excludes. At least one, if it wants no more than
    /// [`TOPK_WANTED_MAX`].
    pub(super) fn fit(&self, k: usize, excluded: impl Iterator<Item = usize>) -> usize {
        let (mut wanted_max, mut excluded_sum) = (0, 0);
        let mut fit = 0;
        for count in excluded {
            wanted_max = wanted_max.max(k + count);
            excluded_sum += count;
            let next = fit + 1;
            let is_room = next <= self.queries
                && next * capacity(wanted_max) <= self.candidates
                && next * (1 + 2 * k) <= self.results
                && excluded_sum <= self.excluded;
            if !is_room {
                break;
            }
            fit = next;
        }
        fit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_cover_every_item_once() {
        for items in [1, 63, 8192, 8193, 20_000, 262_144, 1_000_000, 10_000_000, 1 << 30] {
            for wanted in [1, 10, 100, 1000, 1024, 2048] {
                let queries = [1, 16, 64, 65, 4096];
                for (padded, queries) in queries.into_iter().flat_map(|queries| PADDED.map(|padded| (padded, queries)))
                {
                    let passes = Passes::new(items, padded, wanted, queries);
                    for round in passes.rounds() {
                        assert!(round.end > round.start, "{passes:?}");
                        assert!(round.end.is_multiple_of(TILE_ITEMS) || round.end == items, "{passes:?}");
                    }
                    assert_eq!(passes.ends.last(), Some(&items), "{passes:?}");
                    assert!(passes.groups() <= 2 * capacity(wanted) && passes.sample <= items, "{passes:?}");
                    assert!(passes.ends.len() <= 12, "{passes:?}");
                }
            }
        }
    }

    #[test]
    fn one_query_makes_one_pass_over_a_million_and_many_make_two() {
        assert_eq!(Passes::new(1_000_000, 128, 100, 1), Passes { sample: 62_528, ends: vec![1_000_000] });
        let many = Passes::new(1_000_000, 128, 100, 4096);
        assert_eq!(many, Passes { sample: 25_600, ends: vec![204_800, 1_000_000] });
        assert_eq!(Passes::new(5_000, 128, 100, 4096), Passes { sample: 0, ends: vec![5_000] });
    }

    #[test]
    fn candidates_that_are_expected_have_room() {
        // More of wide ones have none: what found no room is looked for again.
        let wide = [(256, 300), (384, 300), (512, 100), (768, 100)];
        for items in [100_000, 1_000_000, 10_000_000] {
            for (padded, wanted) in [1, 100, 300, 512, 1024, 2048].map(|wanted| (128, wanted)).into_iter().chain(wide) {
                for queries in [1, 1000] {
                    let passes = Passes::new(items, padded, wanted, queries);
                    let mut seen = passes.sample;
                    for round in passes.rounds().filter(|_| passes.sample > 0) {
                        // What slack lets through, and those that were there before.
                        let through = if are_few(queries) { room_for_one(padded, 1) * 6 / 5 } else { 3 };
                        let expected = through * wanted * round.len() / (2 * seen) + wanted;
                        assert!(expected <= capacity(wanted), "{items} x {padded}, {wanted} {queries}: {passes:?}");
                        seen = round.end;
                    }
                }
            }
        }
    }

    #[test]
    fn blocks_fill_the_card_and_no_tile_is_without_one() {
        let grid = |padded, queries, items| screen(padded, queries, items, 132).grid;
        assert_eq!(grid(128, 1, 1_000_000), [1, 396, 1]);
        assert_eq!(grid(128, 64, 1_000_000), [1, 396, 1]);
        assert_eq!(grid(128, 4096, 1_000_000), [32, 104, 1]);
        assert_eq!(grid(128, 4096, 25_600), [32, 25, 1]);
        assert_eq!(grid(64, 1, 100), [1, 2, 1]);
        assert_eq!(grid(256, 200, 0), [2, 1, 1]);
        assert_eq!(grid(384, 1, 1_000_000), [1, 396, 1]);
        assert_eq!(grid(384, 100, 1_000_000), [2, 198, 1]);
        assert_eq!(grid(512, 200, 1_000), [4, 16, 1]);
        let scoring = |queries| score(queries, 132).map(|shape| shape.grid);
        assert_eq!([1, 16, 17].map(scoring), [Some([1, 132, 1]), Some([16, 8, 1]), None]);
        assert_eq!(grid(768, 33, 1_000_000), [2, 132, 1]);
    }

    #[test]
    fn a_pass_takes_as_many_queries_as_there_is_room_for() {
        let space = Workspace::new(4096, 128, 1_000_000);
        assert_eq!(space.fit(100, [0; 5000].into_iter()), 4096);
        assert_eq!(space.fit(1024, [0; 5000].into_iter()), 513, "results");
        assert_eq!(space.fit(100, [924; 5000].into_iter()), 283, "excluded");
        assert_eq!(space.fit(600, [0; 5000].into_iter()), 876, "results");
        assert_eq!(space.fit(100, std::iter::empty()), 0);
        let least = Workspace::new(1, 8, 1);
        assert_eq!(least.fit(TOPK_MAX, [TOPK_WANTED_MAX - TOPK_MAX; 2].into_iter()), 1);
        assert!(space.bytes(128) < 320 << 20, "{}", space.bytes(128));
    }

    #[test]
    fn rows_are_filled_up_to_the_next_kernel() {
        assert_eq!([1, 8, 64, 65, 128, 200, 256].map(padded), [64, 64, 64, 128, 128, 256, 256].map(Some));
        assert_eq!([257, 384, 400, 512, 513, 768].map(padded), [384, 384, 512, 512, 768, 768].map(Some));
        assert_eq!([0, 769, 1024].map(padded), [None; 3]);
    }
}
