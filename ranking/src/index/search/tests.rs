use attune_kernels::Isa;
use proptest::prelude::*;

use super::*;
use crate::index::bound::score;

/// Values from a multiplicative sequence, roughly normal.
pub(in crate::index) fn normal(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    (0..count).map(|_| (0..6).map(|_| next()).sum::<f32>() - 3.0).collect()
}

/// Vectors around `centres` centres, of lengths that differ.
pub(in crate::index) fn clustered(count: usize, width: usize, centres: usize, seed: u64) -> Vec<f32> {
    let (centre, noise) = (normal(centres * width, seed), normal(count * width, seed + 1));
    let item = |i: usize| (0..width).map(move |k| (i, k));
    let value =
        |(i, k): (usize, usize)| (1 + i % 5) as f32 * (centre[i % centres * width + k] + 0.5 * noise[i * width + k]);
    (0..count).flat_map(item).map(value).collect()
}

/// Every score, sorted: what a search must find.
pub(in crate::index) fn brute(
    vectors: &[f32],
    rows: &[u32],
    query: &[f32],
    k: usize,
    may: impl Fn(u32) -> bool,
) -> Vec<Scored> {
    let isa = Isa::active().unwrap();
    let scored = vectors.chunks_exact(query.len()).zip(rows).filter(|(_, row)| may(**row));
    let mut all: Vec<_> = scored.map(|(vector, &row)| Scored { row, score: score(isa, query, vector) }).collect();
    all.sort_by(Scored::rank);
    all.truncate(k);
    all
}

pub(in crate::index) fn plain<'a>(queries: &'a [f32], k: usize, threads: usize) -> Search<'a> {
    Search { queries, k, allowed: None, excluded: &[], threads }
}

#[test]
fn a_search_finds_exactly_what_a_scan_finds() {
    for (count, width, centres) in [(1, 1, 1), (40, 3, 2), (700, 16, 9), (3_000, 67, 20)] {
        let vectors = clustered(count, width, centres, 7);
        let rows: Vec<u32> = (0..count as u32).rev().collect();
        let segment = Segment::build(&vectors, width, &rows, 2).unwrap();
        let queries = clustered(70, width, centres, 99);
        for (k, threads) in [(1, 1), (10, 2), (count + 5, 3)] {
            let found = segment.search(&plain(&queries, k, threads)).unwrap();
            assert_eq!(found.len(), 70);
            for (query, found) in queries.chunks_exact(width).zip(&found) {
                assert_eq!(
                    *found,
                    brute(&vectors, &rows, query, k, |_| true),
                    "{count} x {width}, k {k}, {threads} threads"
                );
            }
        }
    }
}

#[test]
fn more_threads_than_queries_find_the_same() {
    // Without structure, so that no block is skipped and every thread has its part.
    let (count, width) = (140_000, 4);
    let vectors = normal(count * width, 21);
    let rows: Vec<u32> = (0..count as u32).collect();
    let segment = Segment::build(&vectors, width, &rows, 2).unwrap();
    let queries = normal(2 * width, 22);
    let alone = segment.search(&plain(&queries, 30, 1)).unwrap();
    assert_eq!(alone[1], brute(&vectors, &rows, &queries[width..], 30, |_| true));
    assert_eq!(segment.search(&plain(&queries, 30, 3)).unwrap(), alone);
}

#[test]
fn filter_and_exclusions_are_part_of_the_scan() {
    let (count, width) = (2_000, 24);
    let vectors = clustered(count, width, 12, 3);
    let rows: Vec<u32> = (0..count as u32).collect();
    let segment = Segment::build(&vectors, width, &rows, 2).unwrap();
    let queries = clustered(5, width, 12, 4);
    for keep in [1, 3, 50, 100_000] {
        let may = |row: u32| row % keep == 1 % keep;
        let places =
            segment.places().enumerate().filter(|(_, row)| row.is_some_and(may)).map(|(place, _)| place as u32);
        let allowed = Allowed::new(segment.places().len(), places);
        let seen: Vec<u32> = (0..count as u32).filter(|row| row % 2 == 0).collect();
        let excluded: [&[u32]; 2] = [&seen, &[]];
        let search = Search { allowed: Some(&allowed), excluded: &excluded, ..plain(&queries, 20, 2) };
        let found = segment.search(&search).unwrap();
        for (number, (query, found)) in queries.chunks_exact(width).zip(&found).enumerate() {
            let expected = brute(&vectors, &rows, query, 20, |row| may(row) && (number != 0 || row % 2 == 1));
            assert_eq!(*found, expected, "one in {keep}, query {number}");
        }
    }
}

#[test]
fn equal_scores_are_ordered_by_row_and_zeros_are_items() {
    let vectors = [1.0, 0.0].repeat(600).into_iter().chain([0.0; 20]).collect::<Vec<f32>>();
    let rows: Vec<u32> = (0..610).map(|row| (row * 7) % 610).collect();
    let segment = Segment::build(&vectors, 2, &rows, 2).unwrap();
    let found = segment.search(&plain(&[2.0, 1.0, 0.0, 0.0, -1.0, 0.0], 5, 1)).unwrap();
    let mut ones = rows[..600].to_vec();
    ones.sort_unstable();
    assert_eq!(found[0].iter().map(|scored| scored.row).collect::<Vec<_>>(), ones[..5]);
    assert_eq!(found[1].iter().map(|scored| scored.row).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    let mut zeros = rows[600..].to_vec();
    zeros.sort_unstable();
    assert_eq!(found[2].iter().map(|scored| scored.row).collect::<Vec<_>>(), zeros[..5]);
}

#[test]
fn what_cannot_be_searched_is_said() {
    let segment = Segment::build(&[1.0, 2.0], 2, &[0], 1).unwrap();
    assert_eq!(segment.search(&plain(&[1.0, 2.0], 0, 1)), Err(IndexError::K { k: 0 }));
    assert_eq!(segment.search(&plain(&[1.0], 1, 1)), Err(IndexError::Shape { values: 1, vectors: 0, width: 2 }));
    let infinite = segment.search(&plain(&[0.0, 1.0, 1.0, f32::INFINITY], 1, 1)).unwrap_err();
    assert_eq!(infinite, IndexError::Value { vector: 1, place: 1, value: f32::INFINITY });
    assert!(infinite.to_string().contains("value 1 of vector 1 is inf"), "{infinite}");
    assert!(matches!(Segment::build(&[f32::NAN], 1, &[0], 1), Err(IndexError::Value { .. })));
    assert_eq!(Segment::build(&[], 0, &[], 1).err(), Some(IndexError::Width { width: 0 }));
    let empty = Segment::build(&[], 3, &[], 1).unwrap();
    assert_eq!(empty.search(&plain(&[1.0, 2.0, 3.0], 4, 1)).unwrap(), [[]]);
    assert_eq!(segment.search(&plain(&[], 4, 2)).unwrap(), Vec::<Vec<Scored>>::new());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    /// Whatever the magnitudes, from a query that fits an item exactly to one that is 0.
    #[test]
    fn magnitudes_do_not_matter(
        seed in any::<u64>(),
        exponents in prop::collection::vec(-12_i32..12, 1..300),
        query_exponent in -12_i32..12,
        k in 1_usize..20,
    ) {
        let width = 5;
        let mut vectors = normal(exponents.len() * width, seed);
        for (vector, exponent) in vectors.chunks_exact_mut(width).zip(&exponents) {
            vector.iter_mut().for_each(|value| *value *= 10.0_f32.powi(*exponent));
        }
        let mut query = normal(width, seed ^ 1);
        query.iter_mut().for_each(|value| *value *= 10.0_f32.powi(query_exponent));
        let rows: Vec<u32> = (0..exponents.len() as u32).collect();
        let segment = Segment::build(&vectors, width, &rows, 1).unwrap();
        let found = segment.search(&plain(&query, k, 1)).unwrap();
        prop_assert_eq!(&found[0], &brute(&vectors, &rows, &query, k, |_| true));
    }

    /// Whatever share of the items a filter keeps, at random or neighbours only, whatever was seen, and however many ask.
    #[test]
    fn a_filter_takes_nothing_away_but_what_it_forbids(
        seed in any::<u64>(),
        share in prop::sample::select(vec![0.9, 0.5, 0.1, 0.01, 0.001]),
        neighbours in any::<bool>(),
        queries in prop::sample::select(vec![1_usize, 2, 7, 40]),
        (k, threads) in (1_usize..60, 1_usize..3),
        seen in prop::sample::select(vec![0.0, 0.02, 0.9]),
    ) {
        let (count, width) = (4_000, 12);
        let vectors = clustered(count, width, 15, seed);
        let rows: Vec<u32> = (0..count as u32).map(|row| row * 7 % count as u32).collect();
        let segment = Segment::build(&vectors, width, &rows, 1).unwrap();
        // Of the items around a centre all are allowed or none, or else each by a number of its own.
        let hash = |value: u32, salt: u64| {
            ((u64::from(value) ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64 / (1 << 24) as f64
        };
        let mut may = vec![false; count];
        for (item, &row) in (0..).zip(&rows) {
            may[row as usize] = hash(if neighbours { item % 15 } else { row }, seed) < share;
        }
        let places = segment.places().enumerate();
        let places = places.filter(|(_, row)| row.is_some_and(|row| may[row as usize])).map(|(place, _)| place as u32);
        let allowed = Allowed::new(segment.places().len(), places);
        let excluded: Vec<u32> = (0..count as u32).filter(|row| hash(*row, !seed) < seen).collect();
        let wanted = clustered(queries, width, 15, seed ^ 77);
        let excluded_of: Vec<&[u32]> = vec![&excluded; queries / 2];
        let search = Search { allowed: Some(&allowed), excluded: &excluded_of, ..plain(&wanted, k, threads) };
        for (number, (query, found)) in wanted.chunks_exact(width).zip(segment.search(&search).unwrap()).enumerate() {
            let unseen = |row: u32| number >= queries / 2 || excluded.binary_search(&row).is_err();
            let expected = brute(&vectors, &rows, query, k, |row| may[row as usize] && unseen(row));
            prop_assert_eq!(found, expected, "query {} of {}", number, queries);
        }
    }
}
