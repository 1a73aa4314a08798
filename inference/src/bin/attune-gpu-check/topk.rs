//! How fast exact top-k is: a million items of 128 values and of 384, as MiniLM's, batches of 1 to 4,096 queries, with and
//! without a filter; and whether it is exact at that size.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use attune_kernels::cuda::{Arithmetic, Found, ItemTable, TopkPass, TopkQuery, TopkWorker};
use attune_kernels::{Isa, inner_products, l2_normalize};
use serde_json::{Value, json};

use crate::Open;
use crate::timing::middle;

const K: usize = 100;

/// How much there is of everything.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    items: usize,
    /// Values an item.
    width: usize,
    batches: &'static [usize],
    /// Batches with a filter that allows a tenth.
    filtered: &'static [usize],
}

/// What the targets are for, and the same of embeddings.
pub(crate) const MILLION: [Extent; 2] = [
    Extent { items: 1_000_000, width: 128, batches: &[1, 16, 64, 256, 1024, 4096], filtered: &[1, 64, 4096] },
    Extent { items: 1_000_000, width: 384, batches: &[1, 16, 64, 256, 1024], filtered: &[1, 64] },
];
/// What an emulated card can do in seconds; with a sample, and a filter that needs none.
pub(crate) const THOUSANDS: [Extent; 1] = [Extent { items: 12_000, width: 128, batches: &[1, 20], filtered: &[2] }];

/// Queries of each batch whose answers are held against a scan on the CPU.
const COMPARED: usize = 4;
const LIMIT: Duration = Duration::from_secs(10);

/// By extent rates, times of each pass, and the number of batches with a wrong answer.
pub(crate) fn measure(open: Open<'_>, extents: &[Extent], seconds: f64) -> (Value, usize) {
    let (answers, wrong): (Vec<Value>, Vec<usize>) =
        extents.iter().map(|&extent| measure_one(open, extent, seconds)).unzip();
    (Value::Array(answers), wrong.iter().sum())
}

fn measure_one(open: Open<'_>, extent: Extent, seconds: f64) -> (Value, usize) {
    match Scene::new(open, extent).and_then(|mut scene| scene.measure(seconds)) {
        Ok(answer) => answer,
        Err(error) => {
            println!("top-k: {error}");
            (json!({"error": error}), 1)
        }
    }
}

impl Extent {
    fn largest(self) -> usize {
        self.batches.iter().copied().max().unwrap_or(1)
    }
}

/// A table on the card, the same items here, and two workers.
struct Scene {
    extent: Extent,
    items: Vec<f32>,
    queries: Vec<f32>,
    tenth: Vec<u64>,
    table: Arc<ItemTable>,
    workers: Vec<TopkWorker>,
    made_s: f64,
    loaded_s: f64,
}

impl Scene {
    fn new(open: Open<'_>, extent: Extent) -> Result<Self, String> {
        let (count, width, largest) = (extent.items, extent.width, extent.largest());
        let started = Instant::now();
        let (items, queries) = (unit_vectors(1, count, width), unit_vectors(2, largest, width));
        let made_s = started.elapsed().as_secs_f64();
        let device = open(Arithmetic::Bf16).map_err(|error| error.to_string())?;
        let rows: Vec<u32> = (0..count as u32).collect();
        let started = Instant::now();
        let table = ItemTable::new(&device, &items, width, &rows).map_err(|error| error.to_string())?;
        let loaded_s = started.elapsed().as_secs_f64();
        println!("top-k: {count} x {width} made in {made_s:.1} s, on the card in {loaded_s:.1} s");
        let worker = |_| TopkWorker::new(&table, largest).map_err(|error| error.to_string());
        let workers = (0..2).map(worker).collect::<Result<_, _>>()?;
        let tenth = (0..count.div_ceil(64) as u64)
            .map(|word| {
                (0..64)
                    .fold(0, |bits, bit| bits | u64::from(mixed(3 << 40 | word << 6 | bit).is_multiple_of(10)) << bit)
            })
            .collect();
        Ok(Self { extent, items, queries, tenth, table, workers, made_s, loaded_s })
    }

    fn measure(&mut self, seconds: f64) -> Result<(Value, usize), String> {
        let (mut answers, mut wrong) = (Vec::new(), 0);
        let Extent { items, width, batches, filtered } = self.extent;
        let cases = batches.iter().map(|batch| (*batch, false)).chain(filtered.iter().map(|batch| (*batch, true)));
        for (batch, filtered) in cases {
            let (answer, is_right) = self.case(batch, filtered, seconds)?;
            wrong += usize::from(!is_right);
            answers.push(answer);
        }
        let value = json!({
            "items": items, "width": width, "k": K, "made_s": self.made_s, "loaded_s": self.loaded_s,
            "table_bytes": ItemTable::bytes_of(items, width),
            "worker_bytes": TopkWorker::bytes_of(self.extent.largest(), width, items), "batches": answers,
        });
        Ok((value, wrong))
    }

    fn case(&mut self, batch: usize, filtered: bool, seconds: f64) -> Result<(Value, bool), String> {
        let Self { items, queries, tenth, table, workers, .. } = self;
        let width = table.width();
        let allowed = filtered.then_some(&tenth[..]);
        let query = TopkQuery { queries: &queries[..batch * width], k: K, allowed, excluded: &[] };
        let found = workers[0].search(&query, LIMIT).map_err(|error| error.to_string())?;
        let unanswered = found.iter().filter(|found| found.is_none()).count();
        let answered = found.iter().flatten().take(COMPARED);
        let is_right = unanswered < batch.min(COMPARED)
            && (answered.zip(query.queries.chunks_exact(width)))
                .all(|(found, query)| is_same(found, &brute_force(query, items, allowed)));
        let mut rates = Vec::new();
        for count in 1..=workers.len() {
            rates.push(rate(&mut workers[..count], &query, seconds)?);
        }
        let passes = shares(&mut workers[0], &query)?;
        let scanned = if allowed.is_some() { table.items() / 10 } else { table.items() };
        let tflops = 2.0 * (scanned * width) as f64 * rates[1].0 / 1e12;
        let filter = if filtered { ", a tenth allowed" } else { "" };
        let mark = if is_right { "" } else { " WRONG" };
        println!(
            "top-k batch {batch:4}{filter}: {:8.0} q/s, {:9.3} ms; two workers {:8.0} q/s, {tflops:5.1} TFLOP/s{mark}",
            rates[0].0,
            rates[0].1 * 1e3,
            rates[1].0
        );
        for (name, time) in &passes {
            println!("    {name:10} {:9.1} us", time * 1e6);
        }
        let passes: Vec<Value> = passes.iter().map(|(name, time)| json!({"pass": name, "seconds": time})).collect();
        let answer = json!({
            "batch": batch, "filter_allows": if filtered { 0.1 } else { 1.0 }, "queries_per_s": rates[0].0,
            "median_s": rates[0].1, "two_workers_queries_per_s": rates[1].0, "two_workers_tflop_per_s": tflops,
            "unanswered": unanswered, "as_brute_force": is_right, "passes": passes,
        });
        Ok((answer, is_right))
    }
}

/// Queries a second of all workers together, from queries on the host to answers on the host; and a batch's median seconds.
fn rate(workers: &mut [TopkWorker], query: &TopkQuery<'_>, seconds: f64) -> Result<(f64, f64), String> {
    let run = |worker: &mut TopkWorker| -> Result<Vec<f64>, String> {
        let (started, mut times) = (Instant::now(), Vec::new());
        while times.len() < 3 || started.elapsed().as_secs_f64() < seconds {
            let begun = Instant::now();
            worker.search(query, LIMIT).map_err(|error| error.to_string())?;
            times.push(begun.elapsed().as_secs_f64());
        }
        Ok(times)
    };
    let started = Instant::now();
    let times: Vec<Result<Vec<f64>, String>> = thread::scope(|scope| {
        let handles: Vec<_> = workers.iter_mut().map(|worker| scope.spawn(move || run(worker))).collect();
        handles.into_iter().map(|handle| handle.join().unwrap_or_else(|_| Err("a worker panicked".into()))).collect()
    });
    let elapsed = started.elapsed().as_secs_f64();
    let times: Vec<f64> = times.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    let queries = query.queries.len() / workers[0].table().width() * times.len();
    Ok((queries as f64 / elapsed, middle(times)))
}

/// Median seconds of each pass, in order.
fn shares(worker: &mut TopkWorker, query: &TopkQuery<'_>) -> Result<Vec<(&'static str, f64)>, String> {
    let runs: Vec<Vec<TopkPass>> =
        (0..9).map(|_| worker.passes(query, LIMIT).map_err(|error| error.to_string())).collect::<Result<_, _>>()?;
    let pass = |number: usize| {
        let times = runs.iter().filter_map(|run| run.get(number)).map(|pass| pass.time.as_secs_f64()).collect();
        (runs[0][number].name, middle(times))
    };
    Ok((0..runs[0].len()).map(pass).collect())
}

fn is_same(found: &[Found], expected: &[(u32, f32)]) -> bool {
    let found = found.iter().map(|found| (found.row, found.score.to_bits()));
    found.eq(expected.iter().map(|(row, score)| (*row, score.to_bits())))
}

/// The best rows of a scan on the CPU, on all its threads.
fn brute_force(query: &[f32], items: &[f32], allowed: Option<&[u64]>) -> Vec<(u32, f32)> {
    let isa = Isa::active().unwrap_or(Isa::Scalar);
    let width = query.len();
    let count = items.len() / width;
    let mut scores = vec![0.0; count];
    let share = count.div_ceil(threads());
    thread::scope(|scope| {
        for (items, scores) in items.chunks(share * width).zip(scores.chunks_mut(share)) {
            scope.spawn(move || inner_products(isa, query, items, scores));
        }
    });
    let is_allowed = |row: usize| allowed.is_none_or(|bits| bits[row / 64] >> (row % 64) & 1 == 1);
    let mut all: Vec<(u32, f32)> =
        (0..count).filter(|row| is_allowed(*row)).map(|row| (row as u32, scores[row])).collect();
    let order = |left: &(u32, f32), right: &(u32, f32)| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0));
    all.select_nth_unstable_by(K, order);
    all.truncate(K);
    all.sort_unstable_by(order);
    all
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, |threads| threads.get())
}

/// Vectors of length 1 in all directions: each value is a sum of four uniform ones before that, which is nearly normal.
fn unit_vectors(seed: u64, count: usize, width: usize) -> Vec<f32> {
    let mut vectors = vec![0.0_f32; count * width];
    let share = count.div_ceil(threads()) * width;
    thread::scope(|scope| {
        for (part, vectors) in (0_u64..).zip(vectors.chunks_mut(share)) {
            scope.spawn(move || {
                for (place, value) in (0_u64..).zip(vectors.iter_mut()) {
                    let bits = mixed(seed << 56 | part << 40 | place);
                    let quarter = |number: u64| (bits >> (16 * number) & 0xffff) as f32;
                    *value = quarter(0) + quarter(1) + quarter(2) + quarter(3) - 2.0 * 65535.0;
                }
                l2_normalize(Isa::active().unwrap_or(Isa::Scalar), vectors, width);
            });
        }
    });
    vectors
}

/// SplitMix64's output function (Steele, Lea and Flood, 2014).
fn mixed(number: u64) -> u64 {
    let bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}
