//! Top-k against brute force: the same rows, the same bits.

use super::inputs::Random;
use super::{Finding, LIMIT};
use crate::Isa;
use crate::cpu::pool::inner_products;
use crate::cuda::{Arithmetic, CudaError, Device, Found, ItemTable, NO_ROW, TopkQuery, TopkWorker};

/// A table and what is asked of it.
#[derive(Clone, Copy, Debug)]
struct Case {
    name: &'static str,
    items: usize,
    width: usize,
    queries: usize,
    k: usize,
    /// Of so many items one is allowed; 1: no filter.
    one_in: u32,
    /// Rows that each query excludes.
    excluded: usize,
    items_are: Shape,
}

/// How items lie.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    /// Each for itself.
    Random,
    /// Hundreds that are equal, and the rest equal too.
    Twins,
    /// Of lengths from one to a thousandth.
    Lengths,
    /// So near each other, by this part of their length, that bf16 cannot tell who is best.
    Close(f32),
}

const PLAIN: Case =
    Case { name: "plain", items: 300, width: 64, queries: 3, k: 10, one_in: 1, excluded: 0, items_are: Shape::Random };

/// At and around the edges: tiles of 64 items, 16 queries (up to which they are screened as levels) and 128, widths with and
/// without a rest, more than is there.
const CASES: [Case; 29] = [
    PLAIN,
    Case { name: "one item", items: 1, k: 5, ..PLAIN },
    Case { name: "narrow", items: 65, width: 8, queries: 1, ..PLAIN },
    Case { name: "width 72", items: 127, width: 72, queries: 16, ..PLAIN },
    Case { name: "width 200", items: 200, width: 200, queries: 17, k: 100, ..PLAIN },
    Case { name: "width 256, all", items: 130, width: 256, queries: 2, k: 1000, ..PLAIN },
    Case { name: "width 256, bf16", items: 130, width: 248, queries: 18, k: 20, ..PLAIN },
    Case { name: "width 384", items: 130, width: 384, queries: 16, k: 30, ..PLAIN },
    Case { name: "width 384, bf16", items: 193, width: 384, queries: 65, k: 20, excluded: 5, ..PLAIN },
    Case { name: "width 260, filter", items: 500, width: 260, queries: 2, one_in: 3, ..PLAIN },
    Case { name: "width 512", items: 130, width: 500, k: 30, items_are: Shape::Close(1e-3), ..PLAIN },
    Case { name: "width 512, bf16", items: 130, width: 512, queries: 70, items_are: Shape::Close(1e-3), ..PLAIN },
    Case { name: "width 768", items: 130, width: 768, queries: 3, items_are: Shape::Lengths, ..PLAIN },
    Case { name: "width 768, bf16", items: 130, width: 760, queries: 40, one_in: 2, k: 20, ..PLAIN },
    Case { name: "129 queries", items: 100, queries: 129, k: 1, ..PLAIN },
    Case { name: "filter", items: 1000, width: 24, one_in: 10, ..PLAIN },
    Case { name: "filter, bf16", items: 1000, width: 24, queries: 20, one_in: 10, excluded: 9, ..PLAIN },
    Case { name: "fewer than k", items: 400, width: 8, one_in: 50, k: 20, ..PLAIN },
    Case { name: "excluded", items: 500, width: 16, excluded: 40, ..PLAIN },
    Case { name: "twins", items: 700, width: 16, k: 100, items_are: Shape::Twins, ..PLAIN },
    Case { name: "lengths", items: 700, width: 40, k: 50, items_are: Shape::Lengths, excluded: 3, ..PLAIN },
    Case { name: "lengths, bf16", items: 700, width: 40, queries: 17, items_are: Shape::Lengths, ..PLAIN },
    Case { name: "close", items: 400, k: 40, items_are: Shape::Close(1e-3), ..PLAIN },
    Case { name: "close, bf16", items: 400, queries: 17, k: 40, items_are: Shape::Close(1e-3), ..PLAIN },
    Case { name: "close, many", items: 6_000, width: 16, queries: 2, k: 30, items_are: Shape::Close(1e-3), ..PLAIN },
    Case { name: "close, sample", items: 9_000, width: 8, k: 20, items_are: Shape::Close(0.1), ..PLAIN },
    Case {
        name: "close, sample, bf16",
        items: 9_000,
        width: 8,
        queries: 17,
        k: 20,
        items_are: Shape::Close(0.1),
        ..PLAIN
    },
    Case { name: "sample", items: 9_000, width: 8, queries: 2, k: 7, ..PLAIN },
    Case { name: "sample, filter", items: 20_000, width: 8, queries: 70, k: 3, one_in: 2, excluded: 2, ..PLAIN },
];

/// Cases that show nothing new and take long where the device is emulated.
const LARGE: [Case; 8] = [
    Case { name: "large", items: 300_000, width: 128, queries: 300, k: 100, ..PLAIN },
    Case { name: "large, one", items: 300_000, width: 128, queries: 1, k: 100, ..PLAIN },
    Case { name: "large, filter", items: 300_000, width: 104, queries: 20, k: 1024, one_in: 9, excluded: 100, ..PLAIN },
    Case { name: "large, width 384", items: 200_000, width: 384, queries: 300, k: 100, ..PLAIN },
    Case { name: "large, width 384, few", items: 200_000, width: 384, queries: 16, k: 100, excluded: 9, ..PLAIN },
    Case { name: "large, width 512", items: 100_000, width: 512, queries: 100, k: 1000, one_in: 2, ..PLAIN },
    Case { name: "large, width 768", items: 100_000, width: 768, queries: 100, k: 100, ..PLAIN },
    Case { name: "large, twins", items: 100_000, width: 64, queries: 20, k: 50, items_are: Shape::Twins, ..PLAIN },
];

/// Every case on a device that has bf16; none on another.
pub(super) fn checks(device: &Device, random: &mut Random) -> Result<Vec<Finding>, CudaError> {
    if device.arithmetic() != Arithmetic::Bf16 {
        return Ok(Vec::new());
    }
    let large: &[Case] = if device.is_emulated() { &[] } else { &LARGE };
    CASES.iter().chain(large).map(|case| check(device, case, random)).collect()
}

/// The error is the number of queries whose answers differ in anything.
fn check(device: &Device, case: &Case, random: &mut Random) -> Result<Finding, CudaError> {
    let vectors = case.items_are.vectors(case, random);
    let rows = rows(case.items, random);
    let table = ItemTable::new(device, &vectors, case.width, &rows)?;
    let mut worker = TopkWorker::new(&table, case.queries)?;
    let queries = random.values(case.queries * case.width, 1.0);
    let allowed: Vec<u64> = (0..case.items.div_ceil(64))
        .map(|_| (0..64).fold(0, |word, bit| word | u64::from(random.below(case.one_in) == 0) << bit))
        .collect();
    let excluded: Vec<Vec<u32>> = (0..case.queries)
        .map(|_| {
            let mut rows: Vec<u32> =
                (0..case.excluded).map(|_| rows[random.below(case.items as u32) as usize]).collect();
            rows.sort_unstable();
            rows.dedup();
            rows
        })
        .collect();
    let excluded: Vec<&[u32]> = excluded.iter().map(Vec::as_slice).collect();
    let allowed = (case.one_in > 1).then_some(&allowed[..]);
    let query = TopkQuery { queries: &queries, k: case.k, allowed, excluded: &excluded };
    let found = worker.search(&query, LIMIT)?;
    let mut differ = usize::from(found.len() != case.queries);
    for ((query, excluded), found) in queries.chunks_exact(case.width).zip(&excluded).zip(&found) {
        let expected = brute_force(query, &vectors, &rows, allowed, excluded, case.k);
        // What the device leaves to the CPU is no mistake where it has to.
        let left = found.is_none() && case.items_are == Shape::Twins;
        let same = found.as_ref().is_some_and(|found| is_same(found, &expected));
        differ += usize::from(!same && !left);
    }
    let Case { name, items, width, queries, k, .. } = case;
    let case = format!("{name}: {k} of {items} x {width}, {queries} queries");
    Ok(Finding { kernel: "topk", case, error: 2.0 * differ as f64 })
}

fn is_same(found: &[Found], expected: &[Found]) -> bool {
    let bits = |found: &Found| (found.row, found.score.to_bits());
    found.iter().map(bits).eq(expected.iter().map(bits))
}

/// Rows in no order, some of them missing.
fn rows(items: usize, random: &mut Random) -> Vec<u32> {
    let row = |place: usize| ((place * 7919) % items.next_power_of_two()) as u32 * 3 + 1;
    (0..items).map(|place| if items > 1 && random.below(20) == 0 { NO_ROW } else { row(place) }).collect()
}

/// All scores, sorted.
fn brute_force(
    query: &[f32],
    vectors: &[f32],
    rows: &[u32],
    allowed: Option<&[u64]>,
    excluded: &[u32],
    k: usize,
) -> Vec<Found> {
    let mut scores = vec![0.0; rows.len()];
    // The scalar tier adds up in another order.
    let isa = Isa::active().unwrap_or(Isa::Scalar);
    inner_products(isa, query, vectors, &mut scores);
    let is_allowed = |place: usize| allowed.is_none_or(|bits| bits[place / 64] >> (place % 64) & 1 == 1);
    let mut all: Vec<Found> = (rows.iter().zip(scores).enumerate())
        .filter(|(place, (row, _))| **row != NO_ROW && is_allowed(*place) && excluded.binary_search(row).is_err())
        .map(|(_, (&row, score))| Found { row, score: score + 0.0 })
        .collect();
    all.sort_by(|left, right| right.score.total_cmp(&left.score).then(left.row.cmp(&right.row)));
    all.truncate(k);
    all
}

impl Shape {
    fn vectors(self, case: &Case, random: &mut Random) -> Vec<f32> {
        let mut vectors = random.values(case.items * case.width, 1.0);
        let rows = vectors.chunks_exact_mut(case.width);
        match self {
            Self::Random => {}
            Self::Twins => {
                let pair = [random.values(case.width, 1.0), random.values(case.width, 1.0)];
                rows.enumerate().for_each(|(number, row)| row.copy_from_slice(&pair[number % 2]));
            }
            Self::Close(distance) => {
                let centre = random.values(case.width, 1.0);
                rows.for_each(|row| {
                    row.iter_mut().zip(&centre).for_each(|(value, centre)| *value = centre + distance * *value);
                });
            }
            Self::Lengths => rows.enumerate().for_each(|(number, row)| {
                let length = 1.0 / (1 + number * 7919 % 1000) as f32;
                row.iter_mut().for_each(|value| *value *= length);
            }),
        }
        vectors
    }
}
