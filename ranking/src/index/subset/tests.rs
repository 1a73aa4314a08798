use std::time::Duration;

use attune_kernels::Isa;
use proptest::prelude::*;

use super::*;
use crate::attributes::{Kind, Schema, Value};
use crate::filter::parse;
use crate::index::search::tests::{brute, clustered, plain};
use crate::index::search::{Mask, tops};
use crate::index::{Index, Item, Metric, Query, Scored, Search, View, Within};

const WIDTH: usize = 64;
const ITEMS: usize = ITEMS_MIN + 500;

/// One in `share` of all numbers, without any order.
fn is_kept(number: u32, share: u32, salt: u32) -> bool {
    (number ^ salt).wrapping_mul(2_654_435_769) < u32::MAX / share
}

fn places(segment: &Segment, kept: impl Fn(u32) -> bool) -> Allowed {
    let places = (0..).zip(segment.places()).filter(|(_, row)| row.is_some_and(&kept)).map(|(place, _)| place);
    Allowed::new(segment.places().len(), places)
}

/// Values that are few, so that scores are often equal.
fn coarse(count: usize, width: usize, centres: usize, seed: u64) -> Vec<f32> {
    clustered(count, width, centres, seed).into_iter().map(|value| (2.0 * value).round() / 2.0).collect()
}

fn segment() -> (Vec<f32>, Vec<u32>, Segment) {
    let (vectors, rows) = (coarse(ITEMS, WIDTH, 20, 5), (0..ITEMS as u32).collect::<Vec<_>>());
    let segment = Segment::build(&vectors, WIDTH, &rows, 2).unwrap();
    (vectors, rows, segment)
}

/// Asks again and again, until the filter that is asked with has a subset.
fn until_ready(segment: &Segment, is: impl Fn(&Key<'_>) -> bool, mut ask: impl FnMut()) {
    for _ in 0..20_000 {
        ask();
        if segment.subsets.lock().iter().any(|known| is(&known.key) && known.subset().is_some()) {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("no subset is laid out");
}

fn is_places(allowed: &Allowed) -> impl Fn(&Key<'_>) -> bool {
    move |key| matches!(key, Key::Places(places) if **places == *allowed)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    /// Whatever is kept, excluded and dead, with heads and without.
    #[test]
    fn a_subset_holds_what_brute_force_finds_at_its_places(
        seed in any::<u64>(),
        (heads, count) in prop::sample::select(vec![(0, 1), (0, 90), (0, 2_500), (64, 700)]),
        share in prop::sample::select(vec![1_u32, 2, 10, 300]),
        queries in prop::sample::select(vec![1_usize, 2, 7, 40]),
        (k, threads) in (prop::sample::select(vec![1_usize, 15, 400]), 1_usize..4),
        (dead, seen) in (prop::sample::select(vec![2_u32, 9, 1_000_000]), prop::sample::select(vec![2_u32, 30, 1_000_000])),
    ) {
        let width = if heads > 0 { 160 } else { 12 };
        let vectors = coarse(count, width, 9, seed);
        let rows: Vec<u32> = (0..count as u32).map(|row| count as u32 - row).collect();
        let layout = match heads {
            0 => Layout::build(Isa::active().unwrap(), (&vectors[..]).into(), width, &rows, 1),
            heads => Layout::with_heads(&vectors, width, &rows, heads),
        };
        let segment = Segment::of(layout);
        let salt = seed as u32;
        let is_excluded = |row: u32| is_kept(row, seen, !salt);
        let is_alive = |row: u32| !is_kept(row, dead, salt.rotate_left(9));
        // Holes are no items, even if a set has them.
        let everywhere = Allowed::new(segment.places().len(), 0..segment.places().len() as u32);
        let kept = if share == 1 { everywhere } else { places(&segment, |row| is_kept(row, share, salt)) };
        let subset = segment.layout.subset(&kept);
        prop_assert_eq!(subset.heads.is_some(), heads > 0);
        prop_assert_eq!(subset.items, (0..count as u32).filter(|at| share == 1 || is_kept(at + 1, share, salt)).count());

        let wanted = coarse(queries, width, 9, seed ^ 77);
        let excluded: Vec<u32> = (0..=count as u32).filter(|row| is_excluded(*row)).collect();
        let excluded_of: Vec<&[u32]> = vec![&excluded; queries / 2];
        let search = Search { excluded: &excluded_of, ..plain(&wanted, k, threads) };
        let mut tops = tops(&search, width, count).unwrap();
        subset.search_into(&search, Mask::Living(&places(&segment, is_alive)), &mut tops);
        for (number, (query, top)) in wanted.chunks_exact(width).zip(tops).enumerate() {
            let may = |row: u32| (share == 1 || is_kept(row, share, salt))
                && is_alive(row)
                && (number >= queries / 2 || !is_excluded(row));
            prop_assert_eq!(top.into_sorted(), brute(&vectors, &rows, query, k, may), "query {}", number);
        }
    }
}

#[test]
fn a_filter_that_comes_again_gets_a_subset_and_the_same_answers() {
    let (vectors, rows, segment) = segment();
    let queries = coarse(3, WIDTH, 20, 6);
    let kept = places(&segment, |row| is_kept(row, 10, 0));
    let other_row = rows.iter().copied().find(|row| !is_kept(*row, 10, 0)).unwrap();
    let other = places(&segment, |row| is_kept(row, 10, 0) || row == other_row);
    let check = |allowed: &Allowed, more: Option<u32>| {
        let found = segment.search(&Search { allowed: Some(allowed), ..plain(&queries, 2_000, 2) }).unwrap();
        for (query, found) in queries.chunks_exact(WIDTH).zip(&found) {
            let may = |row| is_kept(row, 10, 0) || more == Some(row);
            assert_eq!(*found, brute(&vectors, &rows, query, 2_000, may));
        }
    };
    let (alone, set) = (segment.bytes(), size_of_val(kept.words()));
    for asked in 0..QUERIES_BEFORE / 3 {
        assert!(segment.subsets.lock().iter().all(|known| known.subset().is_none()), "after {asked} searches");
        check(&kept, None);
    }
    assert_eq!(segment.bytes(), alone + set, "it is remembered, and that is all");
    until_ready(&segment, is_places(&kept), || check(&kept, None));
    assert!(segment.bytes() > alone + set + kept.count() * WIDTH);
    check(&kept, None);
    check(&other, Some(other_row));
    // Another set of the same bits is the same filter.
    check(&places(&segment, |row| is_kept(row, 10, 0)), None);
    assert_eq!(segment.subsets.lock().len(), 2);
}

#[test]
fn a_filter_of_one_search_gets_no_subset_however_many_ask() {
    let (_, _, segment) = segment();
    let queries = coarse(2 * QUERIES_BEFORE, WIDTH, 20, 6);
    let kept = places(&segment, |row| is_kept(row, 10, 0));
    segment.search(&Search { allowed: Some(&kept), ..plain(&queries, 3, 2) }).unwrap();
    assert!(matches!(segment.subsets.lock()[..], [Known { state: State::Asked(QUERIES_A_SEARCH), .. }]));
}

#[test]
fn a_filter_that_keeps_much_or_little_gets_no_subset() {
    let (_, _, segment) = segment();
    let query = coarse(1, WIDTH, 20, 6);
    for share in [2, 2_000] {
        let kept = places(&segment, |row| is_kept(row, share, 0));
        let is_left = || matches!(segment.subsets.lock().first(), Some(Known { state: State::Left, .. }));
        for _ in 0..20_000 {
            segment.search(&Search { allowed: Some(&kept), ..plain(&query, 3, 1) }).unwrap();
            if is_left() {
                break;
            }
        }
        assert!(is_left(), "one in {share}");
    }
    assert!(segment.subsets.lock().iter().all(|known| known.subset().is_none()));
}

#[test]
fn subsets_have_a_share_of_the_bytes_and_the_last_to_come_stay() {
    let (vectors, rows, segment) = segment();
    let queries = coarse(QUERIES_A_SEARCH, WIDTH, 20, 6);
    let (query, most) = (&queries[..WIDTH], segment.layout.bytes() / BYTES_SHARE);
    let search =
        |allowed: &Allowed| segment.search(&Search { allowed: Some(allowed), ..plain(&queries, 9, 1) }).unwrap();
    let first = places(&segment, |row| is_kept(row, 10, 0));
    until_ready(&segment, is_places(&first), || drop(search(&first)));
    let mut sets = vec![first];
    for salt in 1..CANDIDATES_MAX as u32 {
        let kept = places(&segment, |row| is_kept(row, 10, salt << 20));
        until_ready(&segment, is_places(&kept), || {
            assert_eq!(search(&kept)[0], brute(&vectors, &rows, query, 9, |row| is_kept(row, 10, salt << 20)));
            search(&sets[0]);
        });
        let (bytes, set) = (segment.subsets.bytes(), size_of_val(kept.words()));
        assert!(bytes <= most + CANDIDATES_MAX * set, "{bytes} of {most}");
        sets.push(kept);
    }
    let has_subset = |set: &Allowed| {
        segment.subsets.lock().iter().any(|known| is_places(set)(&known.key) && known.subset().is_some())
    };
    assert!(has_subset(&sets[0]), "it came all the while");
    assert!(has_subset(&sets[CANDIDATES_MAX - 1]), "it came last");
    assert!(!has_subset(&sets[1]), "it has not come for long");
}

#[test]
fn filters_that_come_once_take_no_subset_away() {
    let (_, _, segment) = segment();
    let queries = coarse(QUERIES_A_SEARCH, WIDTH, 20, 6);
    let search =
        |allowed: &Allowed| segment.search(&Search { allowed: Some(allowed), ..plain(&queries, 9, 1) }).unwrap();
    let kept = places(&segment, |row| is_kept(row, 10, 0));
    until_ready(&segment, is_places(&kept), || drop(search(&kept)));
    for salt in 1..100 {
        search(&places(&segment, |row| is_kept(row, 10, salt)));
    }
    let known = segment.subsets.lock();
    assert_eq!(known.len(), CANDIDATES_MAX + 1);
    assert!(known.last().unwrap().subset().is_some());
}

#[test]
fn many_threads_with_many_filters_find_what_each_asks_for() {
    let (vectors, rows, segment) = segment();
    let queries = coarse(QUERIES_A_SEARCH, WIDTH, 20, 6);
    let kept: Vec<Allowed> = (0..3).map(|salt| places(&segment, |row| is_kept(row, 7, salt << 20))).collect();
    let expected = |salt: u32| brute(&vectors, &rows, &queries[..WIDTH], 30, |row| is_kept(row, 7, salt << 20));
    let expected: Vec<Vec<Scored>> = (0..3).map(expected).collect();
    thread::scope(|scope| {
        for number in 0..4 {
            let (segment, kept, expected, queries) = (&segment, &kept, &expected, &queries);
            scope.spawn(move || {
                let mut turns = (number..).map(|turn| turn % 3);
                until_ready(segment, is_places(&kept[number % 3]), || {
                    let turn = turns.next().unwrap();
                    let search = Search { allowed: Some(&kept[turn]), ..plain(queries, 30, 1) };
                    assert_eq!(segment.search(&search).unwrap()[0], expected[turn]);
                });
            });
        }
    });
}

/// What an index is asked, each time compared with a plain scan of its items.
struct Asked {
    query: Vec<f32>,
    filter: Filter,
    rows: Allowed,
}

impl Asked {
    fn check(&self, view: &View, items: &[Item]) {
        let (vectors, rows): (Vec<_>, Vec<_>) = items.iter().map(|item| (item.vector.clone(), item.row)).unzip();
        let vectors = vectors.concat();
        let (queries, k, excluded, threads) = (&self.query[..], 40, &[&[4_u32, 400][..]][..], 1);
        let expected =
            |kept: &dyn Fn(u32) -> bool| brute(&vectors, &rows, queries, k, |row| kept(row) && row != 4 && row != 400);
        let filter = Some(&self.filter);
        let found = view.search(&Query { queries, k, filter, excluded, threads }).unwrap();
        assert_eq!(found[0], expected(&|row| row.is_multiple_of(6)));
        let within = Within { queries, k, allowed: Some(&self.rows), excluded, threads };
        assert_eq!(view.search_within(&within).unwrap()[0], expected(&|row| self.rows.contains(row)));
    }
}

#[test]
fn what_is_deleted_and_changed_after_a_filter_was_laid_out_is_gone() {
    let schema = Schema::new([("group", Kind::Number)]).unwrap();
    let index = Index::new(WIDTH, Metric::InnerProduct, schema.clone()).unwrap();
    let made = |seed: u64, rows: &[u32]| -> Vec<Item> {
        let vectors = coarse(rows.len(), WIDTH, 20, seed);
        let group = |row: u32| vec![("group".to_owned(), Value::Number(f64::from(row % 6)))];
        let item = |(row, vector): (&u32, &[f32])| Item { row: *row, vector: vector.to_vec(), attributes: group(*row) };
        rows.iter().zip(vectors.chunks_exact(WIDTH)).map(item).collect()
    };
    let mut items = made(5, &(0..ITEMS as u32).collect::<Vec<_>>());
    index.upsert(items.clone(), 2).unwrap();
    let asked = Asked {
        query: coarse(1, WIDTH, 20, 6),
        filter: Filter::check(&parse("group == 0").unwrap(), &schema).unwrap(),
        rows: Allowed::new(ITEMS, (0..ITEMS as u32).filter(|row| is_kept(*row, 10, 0))),
    };
    let before = index.view();
    let segment = before.sealed[0].segment();
    let ask = || asked.check(&before, &items);
    until_ready(segment, |key| matches!(key, Key::Filter(_)), ask);
    until_ready(segment, |key| matches!(key, Key::Rows(_)), ask);
    assert!(before.bytes() > segment.layout.bytes());

    // The best go, others change, and some of these twice.
    let was = items.clone();
    let best =
        before.search(&Query { queries: &asked.query, k: 60, filter: Some(&asked.filter), excluded: &[], threads: 1 });
    let gone: Vec<u32> = best.unwrap()[0].iter().map(|scored| scored.row).collect();
    assert_eq!(index.delete(&gone), 60);
    items.retain(|item| !gone.contains(&item.row));
    asked.check(&index.view(), &items);
    for (seed, step) in [(70, 30), (71, 90)] {
        let changed = made(seed, &(0..ITEMS as u32 + 900).step_by(step).collect::<Vec<_>>());
        items.retain(|item| !(item.row as usize).is_multiple_of(step));
        items.extend_from_slice(&changed);
        index.upsert(changed, 1).unwrap();
        asked.check(&index.view(), &items);
    }
    let view = index.view();
    assert!(Arc::ptr_eq(&view.sealed[0].segment().subsets, &segment.subsets), "the subsets are those of before");
    asked.check(&before, &was);
}
