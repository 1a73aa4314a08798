use proptest::prelude::*;
use proptest::sample::Index as Chosen;

use super::*;
use crate::attributes::{Kind, Value};
use crate::filter::{Filter, parse};
use crate::index::{Item, Query, Scored};

const WIDTH: usize = 3;

fn schema() -> Schema {
    Schema::new([("colour", Kind::Keyword), ("price", Kind::Number)]).unwrap()
}

fn item(row: u32) -> Item {
    let vector = [7, 11, 13].map(|factor| (row * factor % 17) as f32 - 8.5).to_vec();
    let colour = if row.is_multiple_of(2) { "red" } else { "blue" };
    let attributes = vec![
        ("colour".to_owned(), Value::Keyword(colour.to_owned())),
        ("price".to_owned(), Value::Number(f64::from(row))),
    ];
    Item { row, vector, attributes }
}

/// Two segments, with some of their items changed or deleted.
fn index(metric: Metric) -> Index {
    let index = Index::new(WIDTH, metric, schema()).unwrap();
    index.upsert((0..40).map(item).collect(), 1).unwrap();
    index.upsert((30..45).map(item).collect(), 1).unwrap();
    index.delete(&[3, 31, 44]);
    index
}

fn written(index: &Index) -> Vec<u8> {
    let mut bytes = Vec::new();
    index.write(&mut bytes).unwrap();
    bytes
}

fn found(index: &Index) -> Vec<Vec<Scored>> {
    let filter = Filter::check(&parse(r#"colour == "red" and price < 36"#).unwrap(), &schema()).unwrap();
    let ask = |filter| Query { queries: &[1.0, 0.5, -2.0, 0.1, 3.0, 1.0], k: 20, filter, excluded: &[], threads: 1 };
    let view = index.view();
    [None, Some(&filter)].into_iter().flat_map(|filter| view.search(&ask(filter)).unwrap()).collect()
}

fn read(bytes: &[u8]) -> Result<Index, SnapshotError> {
    Index::read(bytes, 1)
}

#[test]
fn what_is_read_answers_like_what_was_written() {
    for metric in METRICS {
        let index = index(metric);
        let again = read(&written(&index)).unwrap();
        assert_eq!((found(&again), again.view().items()), (found(&index), 42));
        assert_eq!(written(&again), written(&index));

        // It goes on living.
        for index in [&index, &again] {
            index.upsert(vec![item(3), item(50)], 1).unwrap();
            assert_eq!(index.delete(&[3, 44, 10]), 2);
            while index.merge(1).unwrap() {}
        }
        assert_eq!(found(&again), found(&index));
    }
}

#[test]
fn an_index_of_many_clusters_comes_back() {
    let index = Index::new(WIDTH, Metric::InnerProduct, schema()).unwrap();
    index.upsert((0..3_000).map(item).collect(), 2).unwrap();
    let again = Index::read(&written(&index)[..], 3).unwrap();
    assert_eq!(found(&again), found(&index));
    assert_eq!(again.view().bytes(), index.view().bytes());
}

#[test]
fn an_empty_index_comes_back_with_its_schema() {
    let again = read(&written(&Index::new(WIDTH, Metric::Cosine, schema()).unwrap())).unwrap();
    assert_eq!((again.view().items(), &again.schema), (0, &schema()));
}

#[test]
fn what_is_no_snapshot_is_said_to_be_none() {
    assert!(matches!(read(b"PAR1, and more"), Err(SnapshotError::Foreign)));
    let mut bytes = written(&index(Metric::Cosine));
    bytes[8] = 2;
    assert!(matches!(read(&bytes), Err(SnapshotError::Version { version: 2, known: 1 })));
    bytes[8] = 1;
    bytes.push(0);
    assert!(read(&bytes).unwrap_err().to_string().contains("more bytes"));
}

/// Every length, and every byte: the index is small enough.
#[test]
fn a_cut_anywhere_is_refused() {
    let bytes = written(&index(Metric::InnerProduct));
    for length in 0..bytes.len() {
        let error = read(&bytes[..length]).expect_err("a cut snapshot");
        assert!(matches!(error, SnapshotError::Damaged { what: "the bytes end too soon", .. }), "{length}: {error}");
    }
}

#[test]
fn a_flip_anywhere_is_refused() {
    let mut bytes = written(&index(Metric::InnerProduct));
    for place in 0..bytes.len() {
        bytes[place] ^= 1 << (place % 8);
        assert!(read(&bytes).is_err(), "byte {place}");
        bytes[place] ^= 1 << (place % 8);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Parts put elsewhere, doubled or left out.
    #[test]
    fn bytes_that_were_moved_are_refused(from in any::<Chosen>(), to in any::<Chosen>(), length in 1_usize..200) {
        let bytes = written(&index(Metric::InnerProduct));
        let from = from.index(bytes.len() - length);
        let to = to.index(bytes.len() - length);
        let mut moved = bytes.clone();
        moved.copy_within(from..from + length, to);
        prop_assert!(moved == bytes || read(&moved).is_err());
        let mut shorter = bytes;
        shorter.drain(from..from + length);
        prop_assert!(read(&shorter).is_err());
    }
}

/// Seals that are right do not save what contradicts itself.
#[test]
fn impossible_parts_are_refused_behind_right_seals() {
    let bytes = written(&index(Metric::InnerProduct));
    // The first segment's head follows that of the snapshot (29 bytes), the schema and three seals' worth.
    let schema = encoded(&Columns::builder(&schema()).finish()).len();
    let head = 29 + 32 + schema + 32;
    let sealed = |from: usize, length: usize, change: &dyn Fn(&mut [u8])| {
        let mut bytes = bytes.clone();
        change(&mut bytes[from..from + length]);
        let seal = Sha256::digest(&bytes[from..from + length]);
        bytes[from + length..][..32].copy_from_slice(&seal);
        read(&bytes).unwrap_err().to_string()
    };
    assert!(sealed(0, 29, &|head| head[16] = 9).contains("no such metric"));
    assert!(sealed(0, 29, &|head| head[12..16].fill(0)).contains("width"));
    let clusters = sealed(head, 20, &|head| head[8] = 17);
    assert!(clusters.contains("do not fill it"), "{clusters}");
    let none = sealed(head + 52, 4, &|items| items.fill(0));
    assert!(none.contains("do not fill it"), "{none}");
    let (body, places) = (head + 52 + 36, 48);
    let columns = u64::from_le_bytes(bytes[head + 12..head + 20].try_into().unwrap()) as usize;
    let length = 4 * WIDTH + 4 * places + 4 * WIDTH * places + 8 + 1 + columns;
    let long = sealed(body, length, &|body| body[..4].copy_from_slice(&2.0_f32.to_le_bytes()));
    assert!(long.contains("length 1"), "{long}");
    let nan =
        sealed(body, length, &|body| body[4 * WIDTH + 4 * places..][..4].copy_from_slice(&f32::NAN.to_le_bytes()));
    assert!(nan.contains("finite"), "{nan}");
    let hole = sealed(body, length, &|body| body[4 * WIDTH..][..4].fill(0xff));
    assert!(hole.contains("where none can be"), "{hole}");
    let living = sealed(body, length, &|body| body[4 * WIDTH + 4 * places + 4 * WIDTH * places + 5] |= 0x80);
    assert!(living.contains("lives where none is"), "{living}");
}
