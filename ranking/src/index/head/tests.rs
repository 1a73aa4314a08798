use proptest::prelude::*;

use super::*;
use crate::attributes::Schema;
use crate::index::bound::{Reach, score};
use crate::index::layout::Layout;
use crate::index::search::tests::{brute, normal, plain};
use crate::index::{Allowed, Index, Item, Metric, Query, Search, Segment};

/// What vectors are like.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Most of their length is along few axes, which are not those of the values, and they have much in common.
    Decaying,
    /// Every value is as large as another: a head sees next to nothing.
    Isotropic,
    /// One value each.
    Axis,
    /// Few different ones.
    Twins,
    /// Lengths from almost nothing to a lot.
    Lengths,
    /// Zeros, and a few that are none.
    Zeros,
}

const KINDS: [Kind; 6] = [Kind::Decaying, Kind::Isotropic, Kind::Axis, Kind::Twins, Kind::Lengths, Kind::Zeros];

fn vectors(kind: Kind, count: usize, width: usize, seed: u64) -> Vec<f32> {
    let mut vectors = normal(count * width, seed);
    for (number, vector) in vectors.chunks_exact_mut(width).enumerate() {
        match kind {
            Kind::Isotropic => {}
            Kind::Decaying | Kind::Lengths => decay(vector),
            Kind::Axis => (0..width).filter(|place| *place != number * 5 % width).for_each(|place| vector[place] = 0.0),
            Kind::Twins => {
                (0..width).for_each(|place| vector[place] = ((number % 7 * 31 + place * 17) % 13) as f32 - 6.0)
            }
            Kind::Zeros if number % 5 != 0 => vector.fill(0.0),
            Kind::Zeros => {}
        }
        if matches!(kind, Kind::Lengths) {
            let factor = 10.0_f32.powi((number * 7 % 27) as i32 - 15);
            vector.iter_mut().for_each(|value| *value *= factor);
        }
    }
    vectors
}

/// Makes later values smaller, adds what all have in common, and turns pairs of values into each other.
fn decay(vector: &mut [f32]) {
    let width = vector.len();
    let share = |place: usize| (-6.0 * place as f32 / width as f32).exp();
    (0..width).for_each(|place| vector[place] *= share(place));
    vector[0] += 2.0;
    for round in 1..5 {
        for place in 0..width {
            let (left, right) = (vector[place], vector[(place + round) % width]);
            (vector[place], vector[(place + round) % width]) = (0.6 * left - 0.8 * right, 0.8 * left + 0.6 * right);
        }
    }
}

fn axes(vectors: &[f32], width: usize, heads: usize) -> Axes {
    Axes::of(Isa::active().unwrap(), vectors, width, heads).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    /// With the threshold at any item's own score, the item passes: the sum of its levels is large enough.
    #[test]
    fn no_item_is_lost(
        kind in prop::sample::select(&KINDS[..]),
        asked in prop::sample::select(&KINDS[..]),
        (width, heads) in prop::sample::select(vec![(4, 8), (5, 6), (24, 8), (67, 64), (130, 64)]),
        (seed, exponent, is_item) in (any::<u64>(), -14_i32..14, any::<bool>()),
    ) {
        let (isa, count) = (Isa::active().unwrap(), 40);
        let mut items = vectors(kind, count, width, seed);
        let axes = axes(&items, width, heads);
        items.iter_mut().for_each(|value| *value *= 10.0_f32.powi(exponent));
        let query = if is_item { items[..width].to_vec() } else { vectors(asked, 1, width, !seed) };
        let (mut of_items, mut of_query, mut scratch) = (Vec::new(), Vec::new(), Scratch::default());
        axes.of_items(&items, &mut of_items, &mut scratch);
        axes.of_queries(&query, &mut of_query, &mut scratch);
        let mut levels = vec![0; of_items.len()];
        let unseen = items.chunks_exact(width).map(|item| axes.unseen(item));
        let grid = Grid::of_heads(&of_items, heads, unseen, width, &mut levels);
        for level_max in [63, 127] {
            let mut asked = vec![0; heads];
            let reach = Reach::of_head(&of_query, length(&query), axes.common(&of_query), level_max, &mut asked);
            for (item, levels) in items.chunks_exact(width).zip(levels.chunks_exact(heads)) {
                let exact = score(isa, &query, item);
                let product: i32 = levels.iter().zip(&asked).map(|(&w, &v)| i32::from(w) * i32::from(v)).sum();
                prop_assert!(product >= grid.at_least(&reach, exact), "product {product}, score {exact}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 48, ..ProptestConfig::default() })]

    /// Whatever the vectors and however little heads say: what is found is what a scan finds.
    #[test]
    fn a_search_by_heads_finds_exactly_what_a_scan_finds(
        kind in prop::sample::select(&KINDS[..]),
        (width, heads) in prop::sample::select(vec![(24, 8), (130, 64)]),
        (seed, k) in (any::<u64>(), 1_usize..60),
        (queries, threads) in (prop::sample::select(vec![1_usize, 2, 8, 40, 64]), 1_usize..3),
        keep in prop::sample::select(vec![1_u32, 3, 10, 60]),
        seen in prop::sample::select(vec![2_u32, 40]),
    ) {
        let count = 1_500;
        let items = vectors(kind, count, width, seed);
        let rows: Vec<u32> = (0..count as u32).map(|row| row * 7 % count as u32).collect();
        let segment = Segment::of(Layout::with_heads(&items, width, &rows, heads));
        prop_assert!(segment.layout.heads.is_some());
        let may = |row: u32| row.is_multiple_of(keep);
        let places = segment.places().enumerate();
        let places = places.filter(|(_, row)| row.is_some_and(may)).map(|(place, _)| place as u32);
        let allowed = Allowed::new(segment.places().len(), places);
        let excluded: Vec<u32> = (0..count as u32).filter(|row| row.is_multiple_of(seen)).collect();
        let excluded: Vec<&[u32]> = vec![&excluded; queries / 2];
        let wanted = vectors(kind, queries, width, !seed);
        let allowed = (keep > 1).then_some(&allowed);
        let search = Search { allowed, excluded: &excluded, ..plain(&wanted, k, threads) };
        for (number, (query, found)) in wanted.chunks_exact(width).zip(segment.search(&search).unwrap()).enumerate() {
            let unseen = |row: u32| number >= queries / 2 || !row.is_multiple_of(seen);
            let expected = brute(&items, &rows, query, k, |row| may(row) && unseen(row));
            prop_assert_eq!(found, expected, "query {} of {}", number, queries);
        }
    }
}

#[test]
fn heads_are_for_wide_vectors_that_lie_along_few_axes() {
    let isa = Isa::active().unwrap();
    let find = |kind, count, width| Axes::find(isa, &vectors(kind, count, width, 5), width);
    let found = find(Kind::Decaying, ITEMS_MIN, WIDTH_MIN).expect("a head sees most of these");
    assert_eq!(found.width(), 64);
    assert!(find(Kind::Isotropic, ITEMS_MIN, WIDTH_MIN).is_none(), "a head sees half of these");
    assert!(find(Kind::Zeros, ITEMS_MIN, WIDTH_MIN).is_none());
    assert!(find(Kind::Decaying, ITEMS_MIN - 1, WIDTH_MIN).is_none(), "few are scanned at once");
    assert!(find(Kind::Decaying, ITEMS_MIN, WIDTH_MIN - 1).is_none(), "these are not wide");
}

/// Through changes, deletions, a merge that makes heads, and a snapshot.
#[test]
fn an_index_with_heads_changes_and_comes_back() {
    let (width, part) = (WIDTH_MIN, ITEMS_MIN / 4 + 100);
    let count = 4 * part;
    let mut all = vectors(Kind::Decaying, count, width, 9);
    let index = Index::new(width, Metric::InnerProduct, Schema::default()).unwrap();
    let item = |row: usize, all: &[f32]| Item {
        row: row as u32,
        vector: all[row * width..][..width].to_vec(),
        attributes: Vec::new(),
    };
    for first in (0..count).step_by(part) {
        index.upsert((first..first + part).map(|row| item(row, &all)).collect(), 1).unwrap();
    }
    let has_heads = |index: &Index| index.view().sealed.iter().any(|sealed| sealed.segment().layout.heads.is_some());
    assert!(!has_heads(&index));
    while index.merge(2).unwrap() {}
    assert!(has_heads(&index));

    let changed = 100..200;
    let others = vectors(Kind::Isotropic, changed.len(), width, 10);
    all[changed.start * width..changed.end * width].copy_from_slice(&others);
    index.upsert(changed.map(|row| item(row, &all)).collect(), 1).unwrap();
    let dead: Vec<u32> = (0..count as u32).filter(|row| row.is_multiple_of(6)).collect();
    index.delete(&dead);

    let queries = vectors(Kind::Decaying, 9, width, 11);
    let query = Query { queries: &queries, k: 50, filter: None, excluded: &[], threads: 1 };
    let rows: Vec<u32> = (0..count as u32).collect();
    let expected: Vec<_> =
        queries.chunks_exact(width).map(|query| brute(&all, &rows, query, 50, |row| !row.is_multiple_of(6))).collect();
    assert_eq!(index.view().search(&query).unwrap(), expected);
    let mut bytes = Vec::new();
    index.write(&mut bytes).unwrap();
    let again = Index::read(&bytes[..], 2).unwrap();
    assert!(has_heads(&again));
    assert_eq!(again.view().search(&query).unwrap(), expected);
    assert_eq!(again.view().bytes(), index.view().bytes());
}
