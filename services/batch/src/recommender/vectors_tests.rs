use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float64Array, Int64Array, ListArray};
use arrow::datatypes::Float64Type;
use parquet::arrow::ArrowWriter;

use super::*;

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, columns: Vec<(&str, ArrayRef)>) -> PathBuf {
        let path = self.0.path().join("vectors.parquet");
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        path
    }

    fn read(&self, columns: Vec<(&str, ArrayRef)>, metric: Metric) -> Result<Table, VectorError> {
        Table::read(&self.write(columns), "item_id", &ColumnMap::default(), metric)
    }
}

fn ids(ids: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(ids.to_vec()))
}

fn lists(rows: Vec<Option<Vec<Option<f32>>>>) -> ArrayRef {
    Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(rows))
}

fn two() -> ArrayRef {
    lists(vec![Some(vec![Some(1.0), Some(2.0)]), Some(vec![Some(-3.0), Some(0.5)])])
}

#[test]
fn lists_of_both_kinds_and_precisions_are_read_in_any_order_of_columns() {
    let files = Files::new();
    let table = files.read(vec![("item_id", ids(&["a", "b"])), ("vector", two())], Metric::Cosine).unwrap();
    assert_eq!((table.width, &table.values[..], table.names.name(1)), (2, &[1.0, 2.0, -3.0, 0.5][..], "b"));
    let doubles = ListArray::from_iter_primitive::<Float64Type, _, _>(vec![Some(vec![Some(1.0), Some(2.0)])]);
    let columns: Vec<(&str, ArrayRef)> =
        vec![("vector", Arc::new(doubles)), ("other", ids(&["x"])), ("item_id", Arc::new(Int64Array::from(vec![7])))];
    let table = files.read(columns, Metric::InnerProduct).unwrap();
    assert_eq!((&table.values[..], table.names.name(0)), (&[1.0, 2.0][..], "7"));
    let folder = Table::read(files.0.path(), "item_id", &ColumnMap::default(), Metric::Cosine).unwrap();
    assert_eq!((folder.names.len(), folder.width), (1, 2), "a folder of parts is one table");
    let fixed = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vec![Some(vec![Some(4.0)])], 1);
    let path = files.write(vec![("nr", ids(&["a"])), ("embedding", Arc::new(fixed))]);
    let map = ColumnMap::parse(["item_id=nr", "vector=embedding"]).unwrap();
    assert_eq!(Table::read(&path, "item_id", &map, Metric::Cosine).unwrap().values, [4.0]);
}

#[test]
fn the_first_bad_row_is_named() {
    let files = Files::new();
    let good = || Some(vec![Some(1.0), Some(2.0)]);
    let why = |names: &[&str], second: Option<Vec<Option<f32>>>| {
        let columns = vec![("item_id", ids(names)), ("vector", lists(vec![good(), second]))];
        files.read(columns, Metric::Cosine).unwrap_err().to_string()
    };
    assert!(
        why(&["a", "b"], Some(vec![Some(1.0)]))
            .contains("row 2: the vector of \"b\" has 1 values, the first one has 2")
    );
    assert!(
        why(&["a", "b"], Some(vec![Some(1.0), Some(f32::NAN)]))
            .contains("row 2: value 2 of the vector of \"b\" is NaN")
    );
    assert!(why(&["a", "b"], Some(vec![Some(f32::INFINITY), Some(0.0)])).contains("is inf"));
    assert!(why(&["a", "b"], Some(vec![Some(1e30), Some(0.0)])).contains("magnitude up to 1e15"));
    assert!(why(&["a", "b"], Some(vec![None, Some(0.0)])).contains("is missing"));
    assert!(why(&["a", "b"], Some(vec![Some(0.0), Some(0.0)])).contains("cosine needs a direction"));
    assert!(why(&["a", "b"], None).contains("\"b\" has no vector"));
    assert!(why(&["a", "a"], good()).contains("row 2: its id \"a\" is that of vector 1 too"));
    assert!(why(&["a", ""], good()).contains("row 2: its id \"\" is none"));
    let zero = vec![("item_id", ids(&["a"])), ("vector", lists(vec![Some(vec![Some(0.0)])]))];
    assert_eq!(files.read(zero, Metric::InnerProduct).unwrap().values, [0.0], "no direction is needed");
}

#[test]
fn other_columns_and_files_are_refused() {
    let files = Files::new();
    let numbers: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    let type_ = files.read(vec![("item_id", ids(&["a"])), ("vector", numbers)], Metric::Cosine).unwrap_err();
    assert!(matches!(type_, VectorError::Type { .. }), "{type_}");
    let missing = files.read(vec![("item_id", ids(&["a"])), ("v", two().slice(0, 1))], Metric::Cosine).unwrap_err();
    assert!(missing.to_string().contains("has no column \"vector\""), "{missing}");
    let empty = files.read(vec![("item_id", ids(&[])), ("vector", two().slice(0, 0))], Metric::Cosine).unwrap_err();
    assert!(matches!(empty, VectorError::Empty { .. }), "{empty}");
    let path = files.0.path().join("cut.parquet");
    std::fs::write(&path, b"PAR1").unwrap();
    let cut = Table::read(&path, "item_id", &ColumnMap::default(), Metric::Cosine).unwrap_err();
    assert!(cut.to_string().contains("not valid Parquet"), "{cut}");
}

#[test]
fn users_and_items_come_from_one_space() {
    let files = Files::new();
    let two = files.read(vec![("item_id", ids(&["a", "b"])), ("vector", two())], Metric::Cosine).unwrap();
    let one =
        files.read(vec![("item_id", ids(&["u"])), ("vector", lists(vec![Some(vec![Some(1.0)])]))], Metric::Cosine);
    assert!(matches!(Vectors::new(Some(one.unwrap()), two.clone(), Metric::Cosine), Err(VectorError::Widths { .. })));
    let (vectors, users, items) = Vectors::new(None, two, Metric::Cosine).unwrap();
    assert_eq!((users.len(), items.len(), vectors.items()), (0, 2, 2));
    let mut scores = [0.0; 2];
    vectors.score(None, History { items: &[0], weights: &[2.0], times: &[0] }, &mut scores);
    let cosine = (-3.0 + 1.0) / (5.0_f32.sqrt() * 9.25_f32.sqrt());
    assert!((scores[0] - 1.0).abs() < 1e-6 && (scores[1] - cosine).abs() < 1e-6, "{scores:?}");
}
