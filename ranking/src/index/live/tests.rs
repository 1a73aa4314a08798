use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::attributes::Kind;
use crate::filter::parse;
use crate::index::bound::score;

const WIDTH: usize = 3;

fn schema() -> Schema {
    Schema::new([("colour", Kind::Keyword), ("price", Kind::Number)]).unwrap()
}

fn index(metric: Metric) -> Index {
    Index::new(WIDTH, metric, schema()).unwrap()
}

fn item(row: u32, values: [i8; WIDTH]) -> Item {
    let colour = if row.is_multiple_of(2) { "red" } else { "blue" };
    let attributes = vec![
        ("colour".to_owned(), Value::Keyword(colour.to_owned())),
        ("price".to_owned(), Value::Number(f64::from(row))),
    ];
    Item { row, vector: values.map(f32::from).to_vec(), attributes }
}

fn query<'a>(queries: &'a [f32], k: usize, filter: Option<&'a Filter>) -> Query<'a> {
    Query { queries, k, filter, excluded: &[], threads: 2 }
}

/// What a plain map of items would answer.
fn expected(model: &BTreeMap<u32, Item>, query: &[f32], k: usize, may: impl Fn(&Item) -> bool) -> Vec<Scored> {
    let isa = Isa::active().unwrap();
    let scored = model
        .values()
        .filter(|item| may(item))
        .map(|item| Scored { row: item.row, score: score(isa, query, &item.vector) });
    let mut all: Vec<_> = scored.collect();
    all.sort_by(Scored::rank);
    all.truncate(k);
    all
}

#[derive(Clone, Debug)]
enum Step {
    Upsert(Vec<(u32, [i8; WIDTH])>),
    Delete(Vec<u32>),
    Merge,
}

fn step() -> impl Strategy<Value = Step> {
    let row = 0_u32..60;
    prop_oneof![
        3 => prop::collection::btree_map(row.clone(), any::<[i8; WIDTH]>(), 0..20).prop_map(|items| Step::Upsert(items.into_iter().collect())),
        1 => prop::collection::vec(row, 0..20).prop_map(Step::Delete),
        1 => Just(Step::Merge),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    /// After any steps the index answers as a plain map of items does; a view taken before does not change.
    #[test]
    fn an_index_is_a_map_that_can_be_searched(steps in prop::collection::vec(step(), 1..12), values in any::<[i8; WIDTH]>()) {
        let (index, mut model) = (index(Metric::InnerProduct), BTreeMap::new());
        let vector = values.map(f32::from);
        let filter = Filter::check(&parse(r#"colour == "red" and price < 40"#).unwrap(), &schema()).unwrap();
        let may = |item: &Item| item.row.is_multiple_of(2) && item.row < 40;
        for step in steps {
            let before = index.view();
            let was = before.search(&query(&vector, 9, None)).unwrap();
            match step {
                Step::Upsert(items) => {
                    let items: Vec<Item> = items.into_iter().map(|(row, values)| item(row, values)).collect();
                    model.extend(items.iter().map(|item| (item.row, item.clone())));
                    index.upsert(items, 2).unwrap();
                }
                Step::Delete(rows) => {
                    let expected = rows.iter().filter(|row| model.remove(row).is_some()).count();
                    prop_assert_eq!(index.delete(&rows), expected);
                }
                Step::Merge => while index.merge(2).unwrap() {},
            }
            let view = index.view();
            prop_assert_eq!(view.items(), model.len());
            prop_assert_eq!(&view.search(&query(&vector, 9, None)).unwrap()[0], &expected(&model, &vector, 9, |_| true));
            prop_assert_eq!(&view.search(&query(&vector, 9, Some(&filter))).unwrap()[0], &expected(&model, &vector, 9, may));
            prop_assert_eq!(before.search(&query(&vector, 9, None)).unwrap(), was);
        }
    }
}

#[test]
fn merging_leaves_few_segments_and_no_dead() {
    let index = index(Metric::InnerProduct);
    for batch in 0..40_u32 {
        index.upsert((0..20).map(|i| item(batch * 20 + i, [1, 2, (batch % 100) as i8])).collect(), 1).unwrap();
        while index.merge(1).unwrap() {}
    }
    assert!(index.view().segments() < 8, "{}", index.view().segments());
    index.delete(&(0..790).collect::<Vec<_>>());
    while index.merge(1).unwrap() {}
    let view = index.view();
    assert_eq!(view.items(), 10);
    assert!(view.sealed.iter().all(|segment| segment.items == segment.items_built()));
}

/// Set when the thread that holds it ends, even by a panic.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn readers_and_writers_go_on_while_segments_are_merged() {
    let index = index(Metric::InnerProduct);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _end = End(&done);
            for round in 0..200_u32 {
                // Rows 0 to 9 always exist, each with its newest version; the others come and go.
                index.upsert((0..10).map(|row| item(row, [1, 0, (round % 100) as i8])).collect(), 1).unwrap();
                index.upsert((10..30).map(|row| item(row, [-1, 0, 0])).collect(), 1).unwrap();
                index.delete(&(10..30).collect::<Vec<_>>());
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                index.merge(1).unwrap();
            }
        });
        while !done.load(Ordering::Relaxed) {
            let view = index.view();
            let found = view.search(&query(&[1.0, 0.0, 0.0], 10, None)).unwrap();
            let rows: Vec<u32> = found[0].iter().filter(|scored| scored.score > 0.0).map(|scored| scored.row).collect();
            assert!(view.items() == 0 || rows == (0..10).collect::<Vec<_>>(), "{rows:?}");
        }
    });
    while index.merge(1).unwrap() {}
    assert_eq!((index.view().items(), index.view().segments()), (10, 1));
}

#[test]
fn cosine_compares_directions_only() {
    let index = index(Metric::Cosine);
    index.upsert(vec![item(0, [100, 0, 0]), item(1, [1, 1, 0]), item(2, [0, 0, -5])], 1).unwrap();
    let tiny = [1e-30, 1e-30, 0.0];
    let found = index.view().search(&query(&tiny, 3, None)).unwrap();
    let scores: Vec<(u32, f32)> = found[0].iter().map(|scored| (scored.row, scored.score)).collect();
    assert_eq!(scores.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [1, 0, 2]);
    assert!((scores[0].1 - 1.0).abs() < 1e-6 && (scores[1].1 - 0.5_f32.sqrt()).abs() < 1e-6 && scores[2].1 == 0.0);
    assert_eq!(index.upsert(vec![item(4, [0, 0, 0])], 1), Err(IndexError::Zero { vector: 0 }));
    assert_eq!(index.view().search(&query(&[0.0; 3], 1, None)), Err(IndexError::Zero { vector: 0 }));
}

#[test]
fn a_batch_with_one_bad_item_changes_nothing() {
    let index = index(Metric::InnerProduct);
    index.upsert(vec![item(7, [1, 2, 3])], 1).unwrap();
    let bad = |bad: Item| index.upsert(vec![item(7, [9, 9, 9]), bad], 1).unwrap_err();
    assert_eq!(bad(item(7, [1, 1, 1])), IndexError::Twice { row: 7, first: 0, second: 1 });
    assert_eq!(bad(item(u32::MAX, [1, 1, 1])), IndexError::Row { item: 1, row: u32::MAX });
    let wide = bad(Item { vector: vec![1.0; 4], ..item(8, [0; 3]) });
    assert_eq!(wide, IndexError::Shape { values: 4, vectors: 1, width: 3 });
    let nan = bad(Item { vector: vec![1.0, f32::NAN, 1.0], ..item(8, [0; 3]) });
    assert!(matches!(nan, IndexError::Value { vector: 1, place: 1, .. }), "{nan:?}");
    let unknown = bad(Item { attributes: vec![("size".to_owned(), Value::Number(1.0))], ..item(8, [0; 3]) });
    assert!(unknown.to_string().contains("size"), "{unknown}");
    assert_eq!(index.view().search(&query(&[1.0, 0.0, 0.0], 5, None)).unwrap()[0], [Scored { row: 7, score: 1.0 }]);
}
