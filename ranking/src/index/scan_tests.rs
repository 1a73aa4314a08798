use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::scan::{Scan, ScanItems, Scanner};
use super::{Scored, Search, Segment};

/// Answers every third query, and knows how many it was asked.
#[derive(Debug, Default)]
struct Lazy(Arc<AtomicUsize>);

#[derive(Debug)]
struct Half {
    segment: Segment,
    asked: Arc<AtomicUsize>,
}

impl Scanner for Lazy {
    fn take(&self, items: ScanItems) -> Option<Arc<dyn Scan>> {
        let ScanItems { vectors, width, rows } = items;
        let living = vectors.chunks_exact(width).zip(&*rows).filter(|(_, row)| **row != u32::MAX);
        let (vectors, rows): (Vec<&[f32]>, Vec<u32>) = living.unzip();
        let segment = Segment::build(&vectors.concat(), width, &rows, 1).unwrap();
        Some(Arc::new(Half { segment, asked: Arc::clone(&self.0) }))
    }
}

impl Scan for Half {
    fn scan(&self, search: &Search<'_>) -> Vec<Option<Vec<Scored>>> {
        let all = self.segment.search(search).unwrap().into_iter().enumerate();
        all.map(|(number, found)| {
            self.asked.fetch_add(1, Ordering::Relaxed);
            (number % 3 == 1).then_some(found)
        })
        .collect()
    }
}

fn values(count: usize) -> Vec<f32> {
    (0..count as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
}

fn segment(items: usize, width: usize) -> Segment {
    let rows: Vec<u32> = (0..items as u32).map(|row| row * 7 % items as u32).collect();
    Segment::build(&values(items * width), width, &rows, 2).unwrap()
}

#[test]
fn what_a_scan_leaves_the_segment_answers() {
    let plain = segment(500, 8);
    let lazy = Lazy::default();
    let helped = plain.clone().with_scanner(&lazy);
    let queries = values(8 * 8);
    let excluded: [&[u32]; 3] = [&[1, 2, 3], &[4, 5], &[6]];
    let search = Search { queries: &queries, k: 20, allowed: None, excluded: &excluded, threads: 1 };
    assert_eq!(helped.search(&search).unwrap(), plain.search(&search).unwrap());
    assert_eq!(lazy.0.load(Ordering::Relaxed), 8, "it was asked for all of them");
}
