use super::*;

/// Rows around every boundary: a group, a line, two lines, a usual width.
const WIDTHS: [usize; 8] = [1, 3, 4, 63, 64, 65, 130, 384];
/// Items around a panel and a pair of panels.
const COUNTS: [usize; 7] = [1, 15, 16, 17, 33, 64, 100];
/// Queries around the rows of every kernel.
const QUERIES: [usize; 5] = [1, 4, 5, 8, 19];

/// Levels in -largest..=largest, from a multiplicative sequence.
fn levels(count: usize, largest: i8, seed: u64) -> Vec<i8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as i64
    };
    (0..count).map(|_| (next() % (2 * i64::from(largest) + 1) - i64::from(largest)) as i8).collect()
}

fn dot(left: &[i8], right: &[i8]) -> i32 {
    left.iter().zip(right).map(|(&l, &r)| i32::from(l) * i32::from(r)).sum()
}

/// Every (query, item) that reaches its threshold, one by one.
fn expected(items: &[i8], queries: &[i8], width: usize, panels: &Range<usize>, wanted: &[Wanted]) -> Vec<(u32, usize)> {
    let mut pairs = Vec::new();
    for one in wanted {
        let query = &queries[one.query as usize * width..][..width];
        for (item, row) in items.chunks_exact(width).enumerate() {
            if panels.contains(&(item / LANES)) && dot(query, row) >= one.at_least {
                pairs.push((one.query, item));
            }
        }
    }
    pairs.sort_unstable();
    pairs
}

fn found(hits: &[Hit]) -> Vec<(u32, usize)> {
    let lanes = |hit: &Hit| {
        (0..LANES).filter({
            let lanes = hit.lanes;
            move |lane| lanes & (1 << lane) != 0
        })
    };
    let items = |hit: &Hit| lanes(hit).map(|lane| (hit.query, hit.panel as usize * LANES + lane)).collect::<Vec<_>>();
    let mut pairs: Vec<_> = hits.iter().flat_map(items).collect();
    pairs.sort_unstable();
    pairs
}

fn check(isa: Isa, width: usize, count: usize, query_count: usize) {
    let items = levels(count * width, 127, (width * count) as u64);
    let packed = ScreenItems::pack(isa, &items, width);
    let query_levels = levels(query_count * width, packed.query_level_max(), width as u64);
    let mut queries = ScreenQueries::default();
    queries.set(&packed, &query_levels);
    assert_eq!((queries.len(), packed.items(), packed.panels()), (query_count, count, count.div_ceil(LANES)));

    // Thresholds that equal a product, so that "at least" is told from "above"; every second query, out of order.
    let threshold =
        |query: usize| dot(&query_levels[query * width..][..width], &items[query % count * width..][..width]);
    let wanted = |query: usize| Wanted { query: query as u32, at_least: threshold(query) };
    let wanted: Vec<_> = (0..query_count).rev().step_by(2).map(wanted).collect();
    for panels in [0..packed.panels(), packed.panels() / 2..packed.panels(), 0..0] {
        let mut hits = Vec::new();
        screen(&packed, panels.clone(), &queries, &wanted, &mut hits);
        assert!(hits.iter().all(|hit| hit.lanes != 0));
        let expected = expected(&items, &query_levels, width, &panels, &wanted);
        assert_eq!(found(&hits), expected, "{isa}, width {width}, {count} items, panels {panels:?}");
    }
}

/// Items that are gathered are screened as if they had been packed alone.
fn check_gathered(isa: Isa, width: usize, count: usize) {
    let items = levels(count * width, 127, 3);
    let packed = ScreenItems::pack(isa, &items, width);
    let mut queries = ScreenQueries::default();
    queries.set(&packed, &levels(2 * width, packed.query_level_max(), 5));
    let mut gathered = packed.none();
    // Many, then few, then none: what was there before must not show.
    for step in [1, 3, 40, count + 1] {
        let chosen: Vec<u32> = (0..count as u32).rev().step_by(step).skip(usize::from(step > count)).collect();
        let alone: Vec<i8> =
            chosen.iter().flat_map(|&item| &items[item as usize * width..][..width]).copied().collect();
        let expected = ScreenItems::pack(isa, &alone, width);
        gathered.gather(&packed, &chosen);
        assert_eq!((gathered.items(), gathered.panels()), (expected.items(), expected.panels()));
        for at_least in [i32::MIN, 0, 5_000] {
            let wanted = [Wanted { query: 1, at_least }, Wanted { query: 0, at_least: 100 }];
            let (mut hits, mut expected_hits) = (Vec::new(), Vec::new());
            screen(&gathered, 0..gathered.panels(), &queries, &wanted, &mut hits);
            screen(&expected, 0..expected.panels(), &queries, &wanted, &mut expected_hits);
            assert_eq!(hits, expected_hits, "{isa}, width {width}, {} of {count} items", chosen.len());
        }
    }
}

/// Items that are looked at one by one, some of them twice and in any order.
fn check_rows(isa: Isa, width: usize, count: usize, largest: bool) {
    let items = if largest { vec![-127; count * width] } else { levels(count * width, 127, 9) };
    let packed = ScreenRows::pack(isa, &items, width);
    let most = packed.query_level_max();
    let query_levels = if largest { vec![most; 2 * width] } else { levels(2 * width, most, 11) };
    let mut queries = RowQueries::default();
    queries.set(&packed, &query_levels);
    let chosen: Vec<u32> = (0..2 * count as u32).map(|item| item * 7 % count as u32).collect();
    for query in 0..2 {
        let expected = chosen
            .iter()
            .map(|&item| dot(&query_levels[query * width..][..width], &items[item as usize * width..][..width]));
        let mut products = vec![0; chosen.len()];
        packed.products(&queries, query, &chosen, &mut products);
        assert_eq!(products, expected.collect::<Vec<_>>(), "{isa}, width {width}, {count} items");
    }
    packed.products(&queries, 0, &[], &mut []);
}

#[test]
fn every_tier_has_the_products_of_single_rows() {
    for isa in Isa::supported() {
        WIDTHS.iter().for_each(|&width| COUNTS.iter().for_each(|&count| check_rows(isa, width, count, false)));
        check_rows(isa, SCREEN_WIDTH_MAX, 2, true);
    }
}

#[test]
#[should_panic(expected = "an item beyond")]
fn a_row_that_is_not_there_is_refused() {
    let (packed, mut queries) = (ScreenRows::pack(Isa::Scalar, &[1; 8], 4), RowQueries::default());
    queries.set(&packed, &[1; 4]);
    packed.products(&queries, 0, &[2], &mut [0]);
}

#[test]
fn items_that_are_gathered_are_screened_like_items_that_were_packed() {
    for isa in Isa::supported() {
        WIDTHS.iter().for_each(|&width| COUNTS.iter().for_each(|&count| check_gathered(isa, width, count)));
    }
}

#[test]
fn every_tier_finds_what_reaches_the_threshold_and_nothing_else() {
    for isa in Isa::supported() {
        for width in WIDTHS {
            COUNTS.iter().for_each(|&count| QUERIES.iter().for_each(|&queries| check(isa, width, count, queries)));
        }
    }
}

#[test]
fn the_largest_levels_neither_saturate_nor_wrap() {
    for isa in Isa::supported() {
        for sign in [1, -1] {
            let width = SCREEN_WIDTH_MAX;
            let packed = ScreenItems::pack(isa, &vec![127 * sign; width], width);
            let largest = packed.query_level_max();
            let mut queries = ScreenQueries::default();
            queries.set(&packed, &vec![largest; width]);
            let product = i32::from(largest) * 127 * i32::from(sign) * width as i32;
            for (at_least, reaches) in [(product, true), (product + 1, false), (i32::MIN, true), (i32::MAX, false)] {
                let mut hits = Vec::new();
                screen(&packed, 0..1, &queries, &[Wanted { query: 0, at_least }], &mut hits);
                assert_eq!(!hits.is_empty(), reaches, "{isa}: {product} at least {at_least}");
                assert!(hits.iter().all(|hit| hit.lanes == 1), "only one item exists");
            }
        }
    }
}

#[test]
#[should_panic(expected = "a level beyond")]
fn a_level_that_a_tier_cannot_multiply_is_refused() {
    let packed = ScreenItems::pack(Isa::Scalar, &[1; 4], 4);
    ScreenQueries::default().set(&packed, &[0, 0, 0, -128]);
}

#[test]
#[should_panic(expected = "other items")]
fn queries_of_another_width_are_refused() {
    let (four, eight) = (ScreenItems::pack(Isa::Scalar, &[1; 4], 4), ScreenItems::pack(Isa::Scalar, &[1; 8], 8));
    let mut queries = ScreenQueries::default();
    queries.set(&four, &[1; 4]);
    screen(&eight, 0..1, &queries, &[Wanted { query: 0, at_least: 0 }], &mut Vec::new());
}
