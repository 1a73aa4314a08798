//! What the parity checks of [`crate::cuda::check`] do not reach: lack of room, lack of memory, bad input, a lost device.

use std::sync::Arc;
use std::time::Duration;

use super::super::{Arithmetic, CudaError, Device, ThreadOrder};
use super::plan::{TOPK_MAX, TOPK_WANTED_MAX, TOPK_WIDTH_MAX};
use super::{Found, GuardedItems, ItemTable, Items, TopkQuery, TopkWorker};
use crate::{Isa, inner_products};

const LIMIT: Duration = Duration::from_secs(10);
const WIDTH: usize = 8;

/// The emulated device; `None` where there is no C++ compiler, and says so.
fn emulated(arithmetic: Arithmetic) -> Option<Device> {
    Device::emulated(arithmetic, ThreadOrder::default()).inspect_err(|error| eprintln!("SKIPPED: {error}")).ok()
}

/// Values that differ, between -1 and 1.
fn values(count: usize) -> Vec<f32> {
    (0..count as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
}

fn worker(device: &Device, vectors: &[f32], queries: usize) -> TopkWorker {
    let rows: Vec<u32> = (0..(vectors.len() / WIDTH) as u32).collect();
    TopkWorker::new(&ItemTable::new(device, vectors, WIDTH, &rows).unwrap(), queries).unwrap()
}

fn plain(queries: &[f32], k: usize) -> TopkQuery<'_> {
    TopkQuery { queries, k, allowed: None, excluded: &[] }
}

fn brute_force(query: &[f32], vectors: &[f32], k: usize) -> Vec<Found> {
    let mut scores = vec![0.0; vectors.len() / query.len()];
    inner_products(Isa::active().unwrap(), query, vectors, &mut scores);
    let mut all: Vec<Found> = (0..).zip(scores).map(|(row, score)| Found { row, score: score + 0.0 }).collect();
    all.sort_by(|left, right| right.score.total_cmp(&left.score).then(left.row.cmp(&right.row)));
    all.truncate(k);
    all
}

/// The prefix that is sampled has low scores alone, so nearly everything passes the first threshold: more than has room.
#[test]
fn candidates_that_find_no_room_are_looked_for_again() {
    let Some(device) = emulated(Arithmetic::Bf16) else { return };
    let count = 20_000;
    let mut vectors = values(count * WIDTH);
    let rows: Vec<u32> = (0..count as u32).collect();
    let probe = ItemTable::new(&device, &vectors, WIDTH, &rows).unwrap();
    // By item, its place: those that come first are made small.
    let mut stream =
        device.stream(super::super::StreamSize { download_bytes: count * 4, ..Default::default() }).unwrap();
    let places = stream.read(probe.places.address, count * 4, LIMIT).unwrap().as_chunks::<4>().0;
    for place in places[..10_000].iter().map(|place| u32::from_ne_bytes(*place) as usize) {
        vectors[place * WIDTH..][..WIDTH].iter_mut().for_each(|value| *value *= 1e-3);
    }
    let mut worker = worker(&device, &vectors, 4);
    let queries = values(4 * WIDTH);
    let found = worker.search(&plain(&queries, 5), LIMIT).unwrap();
    assert!(worker.scans_again > 0, "there was room for all: this shows nothing");
    for (query, found) in queries.chunks_exact(WIDTH).zip(found) {
        assert_eq!(found.unwrap(), brute_force(query, &vectors, 5));
    }
}

/// Where the best of groups will be lie the candidates of an earlier search: a group that nobody writes would keep one of
/// them, and its score be taken for one of this search.
#[test]
fn a_sample_knows_nothing_of_an_earlier_search() {
    let Some(device) = emulated(Arithmetic::Bf16) else { return };
    for (width, queries) in [(8, 2), (8, 17), (520, 18)] {
        let count = 8_300;
        let vectors = values(count * width);
        let rows: Vec<u32> = (0..count as u32).collect();
        let mut worker = TopkWorker::new(&ItemTable::new(&device, &vectors, width, &rows).unwrap(), queries).unwrap();
        let queries = values(queries * width);
        let longer: Vec<f32> = queries.iter().map(|value| value * 100.0).collect();
        worker.search(&plain(&longer, 5), LIMIT).unwrap();
        let found = worker.search(&plain(&queries, 5), LIMIT).unwrap();
        for (query, found) in queries.chunks_exact(width).zip(found) {
            assert_eq!(found.unwrap(), brute_force(query, &vectors, 5), "{width}");
        }
    }
}

#[test]
fn a_query_with_too_many_equals_is_left_to_the_cpu_and_the_others_are_not() {
    let Some(device) = emulated(Arithmetic::Bf16) else { return };
    let count = 9_000;
    let mut vectors = vec![0.0; count * WIDTH];
    for (number, row) in vectors.chunks_exact_mut(WIDTH).enumerate() {
        (row[0], row[1]) = (1.0, number as f32);
    }
    let mut worker = worker(&device, &vectors, 2);
    let queries = [[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]].concat();
    let found = worker.search(&plain(&queries, 5), LIMIT).unwrap();
    assert_eq!(found[0], None);
    assert_eq!(found[1].as_deref(), Some(&brute_force(&queries[WIDTH..], &vectors, 5)[..]));
}

#[test]
fn a_query_that_excludes_too_much_is_left_to_the_cpu() {
    let Some(device) = emulated(Arithmetic::Bf16) else { return };
    let vectors = values(100 * WIDTH);
    let mut worker = worker(&device, &vectors, 3);
    let queries = values(3 * WIDTH);
    let (many, few): (Vec<u32>, Vec<u32>) = ((0..TOPK_WANTED_MAX as u32).collect(), (0..50).collect());
    let query = TopkQuery { excluded: &[&few, &many, &few], ..plain(&queries, 7) };
    let found = worker.search(&query, LIMIT).unwrap();
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    assert!(found.iter().flatten().flatten().all(|found| found.row >= 50));
}

#[test]
fn more_queries_than_fit_are_several_passes() {
    let Some(device) = emulated(Arithmetic::Bf16) else { return };
    let vectors = values(70 * WIDTH);
    let mut worker = worker(&device, &vectors, 4);
    let queries = values(11 * WIDTH);
    let found = worker.search(&plain(&queries, 3), LIMIT).unwrap();
    assert_eq!(found.len(), 11);
    for (query, found) in queries.chunks_exact(WIDTH).zip(found) {
        assert_eq!(found.unwrap(), brute_force(query, &vectors, 3));
    }
    assert_eq!(worker.search(&plain(&[], 3), LIMIT), Ok(Vec::new()));
}

#[test]
fn an_empty_table_answers_with_nothing() {
    let Some(device) = emulated(Arithmetic::Bf16) else { return };
    let mut worker = worker(&device, &[], 1);
    assert_eq!(worker.search(&plain(&values(WIDTH), 3), LIMIT), Ok(vec![Some(Vec::new())]));
    let none = [0_u64; 2];
    let mut worker = self::worker(&device, &values(100 * WIDTH), 1);
    let query = TopkQuery { allowed: Some(&none), ..plain(&[1.0; WIDTH], 3) };
    assert_eq!(worker.search(&query, LIMIT), Ok(vec![Some(Vec::new())]), "a filter that allows nothing");
}

/// Scores far from 1, and some that are 0 or less than the normal numbers.
#[test]
fn magnitudes_do_not_matter() {
    let Some(device) = emulated(Arithmetic::Bf16) else { return };
    for scales in [(1e15, 1e15), (1e-18, 1e-18), (1e-25, 1e-25), (1e-40, 1.0), (0.0, 1.0)] {
        let vectors: Vec<f32> = values(300 * WIDTH).iter().map(|value| value * scales.0).collect();
        let queries: Vec<f32> = values(2 * WIDTH).iter().map(|value| value * scales.1).collect();
        let found = worker(&device, &vectors, 2).search(&plain(&queries, 20), LIMIT).unwrap();
        for (query, found) in queries.chunks_exact(WIDTH).zip(found) {
            assert_eq!(found.unwrap(), brute_force(query, &vectors, 20), "{scales:?}");
        }
    }
}

#[test]
fn what_the_device_cannot_do_is_said() {
    let Some(device) = emulated(Arithmetic::Bf16) else { return };
    let table = |device: &Device, width: usize| ItemTable::new(device, &vec![1.0; width], width, &[0]);
    let refused = table(&device, TOPK_WIDTH_MAX + 1).unwrap_err().to_string();
    assert!(refused.contains("items of 769 values: 1 to 768 have one"), "{refused}");
    let mut worker = worker(&device, &values(WIDTH), 1);
    let refused = worker.search(&plain(&[1.0; WIDTH], TOPK_MAX + 1), LIMIT).unwrap_err();
    assert!(matches!(refused, CudaError::Capacity { asked: 1025, limit: 1024, .. }), "{refused}");
    let Some(other) = emulated(Arithmetic::F32) else { return };
    let refused = table(&other, 8).unwrap_err().to_string();
    assert!(refused.contains("top-k needs bf16"), "{refused}");
}

#[test]
fn items_that_do_not_fit_are_refused_before_anything_is_taken() {
    let Some(device) = emulated(Arithmetic::Bf16) else { return };
    let (free, _) = device.memory().unwrap();
    let items = free / ItemTable::bytes_of(1, WIDTH).unwrap() + 1;
    let refused = ItemTable::check_memory(&device, items, WIDTH);
    assert!(matches!(refused, Err(CudaError::Memory { free_mib: 1024, .. })), "{refused:?}");
    assert_eq!(ItemTable::check_memory(&device, items - 1, WIDTH), Ok(()));
}

#[test]
fn a_lost_device_answers_nothing_and_hangs_nobody() {
    let Some(device) = emulated(Arithmetic::Bf16) else { return };
    let mut worker = worker(&device, &values(100 * WIDTH), 1);
    device.retire();
    assert_eq!(worker.search(&plain(&[1.0; WIDTH], 3), LIMIT), Err(CudaError::Lost));
    assert_eq!(TopkWorker::new(&Arc::clone(worker.table()), 1).map(|_| ()), Err(CudaError::Lost));
}

/// Waits for something that comes by itself, for longer than any machine takes.
fn comes(happened: impl Fn() -> bool) -> bool {
    let started = std::time::Instant::now();
    while !happened() {
        if started.elapsed() > Duration::from_secs(120) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

#[test]
fn items_on_a_card_that_failed_are_left_to_the_cpu_until_it_is_back() {
    if emulated(Arithmetic::Bf16).is_none() {
        return;
    }
    let vectors = values(100 * WIDTH);
    let rows = Arc::new((0..100).collect());
    let items = Items { vectors: Arc::new(vectors.clone()), width: WIDTH, rows };
    let guarded = GuardedItems::new(items, || Device::emulated(Arithmetic::Bf16, ThreadOrder::default())).unwrap();
    let queries = values(2 * WIDTH);
    let expected: Vec<Option<Vec<Found>>> =
        queries.chunks_exact(WIDTH).map(|query| Some(brute_force(query, &vectors, 3))).collect();
    assert_eq!(guarded.search(&plain(&queries, 3), WIDTH), expected);
    assert_eq!(guarded.search(&plain(&queries, TOPK_MAX + 1), WIDTH), [None, None]);
    assert!(guarded.state().in_use, "to ask for too much is no failure");
    guarded.fail("a test");
    assert_eq!(guarded.search(&plain(&queries, 3), WIDTH), [None, None]);
    assert!(comes(|| guarded.state().in_use), "{:?}", guarded.state());
    assert_eq!(guarded.search(&plain(&queries, 3), WIDTH), expected);
    let state = guarded.state();
    assert_eq!((state.failures, state.reason.as_str()), (1, "a test"));
}
