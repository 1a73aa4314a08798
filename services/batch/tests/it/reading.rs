//! Rows of every format: the good ones as they are, the bad ones set aside with a reason, broken files refused with
//! one.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Decimal128Array, Float32Array, Float64Array, Int64Array, LargeStringArray, ListArray, NullArray,
    RecordBatch, StringArray, StructArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Int32Type};
use attune_batch::read::{
    Batch, BatchLimits, ColumnMap, Done, Event, ROW_BYTES_MAX, ReadError, Reader, Row, TEXT_BYTES_MAX, Text, User,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

const ALL: BatchLimits = BatchLimits { rows_max: u64::MAX, bytes_max: usize::MAX };

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn gzip(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(bytes).unwrap();
        self.write(name, packed.finish().unwrap())
    }

    fn parquet(&self, columns: Vec<(&str, ArrayRef)>) -> PathBuf {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let path = self.0.path().join("rows.parquet");
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(100)).build();
        let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        path
    }
}

fn map(pairs: &[&str]) -> ColumnMap {
    ColumnMap::parse(pairs).unwrap()
}

fn all<R: Row>(path: &Path, pairs: &[&str]) -> Batch<R> {
    let mut reader = Reader::open(path, &map(pairs), 0).unwrap();
    reader.next_batch(ALL).unwrap().unwrap_or(Batch { rows: Vec::new(), rejected: Vec::new() })
}

fn texts(path: &Path, pairs: &[&str]) -> Vec<(u64, Option<String>, String)> {
    let rows = all::<Text>(path, pairs).rows.into_iter();
    rows.map(|row| (row.number, row.row.id, row.row.text)).collect()
}

fn reasons(batch: &Batch<impl Row>) -> Vec<(u64, &str)> {
    batch.rejected.iter().map(|row| (row.row, row.reason.as_str())).collect()
}

fn refusal<R: Row>(path: &Path, pairs: &[&str]) -> ReadError {
    match Reader::<R>::open(path, &map(pairs), 0) {
        Ok(_) => panic!("{} was read", path.display()),
        Err(error) => error,
    }
}

#[test]
fn texts_of_csv_and_json_lines_packed_or_not() {
    let files = Files::new();
    let csv = b"\xef\xbb\xbfid,stars,review\r\n7,5,\"Good, \"\"very\"\" good\nindeed\"\r\n\r\n,1,bad\r\n";
    let json = b"\xef\xbb\xbf{\"id\": 7, \"review\": \"Good, \\\"very\\\" good\\nindeed\"}\n\n\
        {\"review\": \"bad\", \"id\": null}";
    let expected = [(1, Some("7".to_owned()), "Good, \"very\" good\nindeed".to_owned()), (2, None, "bad".to_owned())];
    for path in [
        files.write("a.csv", csv),
        files.gzip("b.CSV.gz", csv),
        files.write("a.jsonl", json),
        files.gzip("b.ndjson.gz", json),
    ] {
        assert_eq!(texts(&path, &["text=review"]), expected, "{}", path.display());
    }
}

#[test]
fn bad_rows_of_csv_are_set_aside() {
    let files = Files::new();
    let mut csv = b"text,id\nfine,1\n\xff\xfe,2\nfine,3,4\n,5\nfine,\x07\n".to_vec();
    csv.extend(vec![b'a'; TEXT_BYTES_MAX + 1]);
    csv.extend(b",6\n");
    csv.extend(vec![b'a'; ROW_BYTES_MAX + 1]);
    csv.extend(b",7\nfine,8");
    let batch = all::<Text>(&files.write("a.csv", csv), &[]);
    assert_eq!(batch.rows.iter().map(|row| row.number).collect::<Vec<_>>(), [1, 8]);
    let reasons = reasons(&batch);
    let expected = [
        (2, "column 1 is not UTF-8 from its byte 0 on"),
        (3, "the row has 3 columns, the header has 2"),
        (4, "text is missing or empty"),
        (5, "id \"\\u{7}\" has a control character"),
        (6, "text has 1048577 bytes, at most 1048576 are taken"),
    ];
    assert_eq!(reasons[..5], expected);
    assert!(reasons[5].0 == 7 && reasons[5].1.contains("is a quote never closed?"), "{:?}", reasons[5]);
}

#[test]
fn bad_rows_of_json_lines_are_set_aside() {
    let files = Files::new();
    let mut json =
        b"{\"text\": \"fine\"}\n[1]\n{\"text\": }\n{\"text\": [\"a\"]}\n{\"id\": 1}\n{\"text\": \"\xff\"}\n".to_vec();
    json.extend(vec![b' '; ROW_BYTES_MAX]);
    json.extend(b"{}\n");
    json.extend("[".repeat(100_000).as_bytes());
    json.extend(b"\n{\"text\": 1.5}\n{\"text\": 12}\n");
    let batch = all::<Text>(&files.write("a.jsonl", json), &[]);
    assert_eq!(
        batch.rows.iter().map(|row| (row.number, row.row.text.as_str())).collect::<Vec<_>>(),
        [(1, "fine"), (10, "12")]
    );
    let beginnings = [
        (2, "the line is not a JSON object"),
        (3, "the line is not valid JSON: expected value at byte"),
        (4, "text is a list where text is wanted"),
        (5, "text is missing or empty"),
        (6, "the line is not valid JSON: "),
        (7, "the line has more than 4194304 bytes"),
        (8, "the line is not valid JSON: recursion limit"),
        (9, "text is a number with a fraction"),
    ];
    let reasons = reasons(&batch);
    assert_eq!(reasons.len(), beginnings.len());
    for ((row, reason), (expected, beginning)) in reasons.iter().zip(beginnings) {
        assert!(*row == expected && reason.starts_with(beginning), "{row}: {reason}");
    }
}

#[test]
fn events_of_every_format() {
    let files = Files::new();
    let csv = "type,user_id,item_id,timestamp,value\n\
               rating,u1,i1,2026-01-31T12:00:00Z,4.5\nview,u2,2,1769860800,\n";
    let csv = files.write("a.csv", csv);
    let json = concat!(
        r#"{"type":"rating","user_id":"u1","item_id":"i1","timestamp":"2026-01-31T13:00:00+01:00","value":4.5}"#,
        "\n",
        r#"{"type":"view","user_id":"u2","item_id":2,"timestamp":1769860800}"#
    );
    let json = files.write("a.jsonl", json);
    let text = |texts: [&str; 2]| Arc::new(StringArray::from(texts.to_vec())) as ArrayRef;
    let times = TimestampMicrosecondArray::from(vec![1_769_860_800_000_000; 2]).with_timezone("+02:00");
    let parquet = files.parquet(vec![
        ("kind", text(["rating", "view"])),
        ("user_id", Arc::new(LargeStringArray::from(vec!["u1", "u2"]))),
        ("item_id", text(["i1", "2"])),
        ("timestamp", Arc::new(times)),
        ("value", Arc::new(Float32Array::from(vec![Some(4.5), None]))),
    ]);
    let event = |kind: &str, user: &str, item: &str, value| Event {
        user_id: user.into(),
        item_id: item.into(),
        kind: kind.into(),
        value,
        timestamp_ms: 1_769_860_800_000,
        event_id: None,
    };
    let expected = [event("rating", "u1", "i1", Some(4.5)), event("view", "u2", "2", None)];
    for (path, pairs) in [(csv, &[][..]), (json, &[][..]), (parquet, &["type=kind"][..])] {
        let batch = all::<Event>(&path, pairs);
        assert!(batch.rejected.is_empty(), "{:?}", batch.rejected);
        assert_eq!(batch.rows.into_iter().map(|row| row.row).collect::<Vec<_>>(), expected, "{}", path.display());
    }
}

#[test]
fn bad_events_say_which_field_is_wrong() {
    let csv = "user_id,item_id,type,value,timestamp\n\
               ,i,view,,1\nu,i,view,much,1\nu,i,view,,soon\nu,i,view,,\nu,i,view,,1769860800000\n";
    let files = Files::new();
    let batch = all::<Event>(&files.write("a.csv", csv), &[]);
    let reasons = reasons(&batch);
    for ((_, reason), beginning) in reasons.iter().zip([
        "user_id is missing",
        "value \"much\" is not a number",
        "timestamp \"soon\" is neither RFC 3339",
        "timestamp is missing",
        "timestamp lies outside the years 0 to 9999",
    ]) {
        assert!(reason.starts_with(beginning), "{reason}");
    }
    assert_eq!(reasons.len(), 5);
}

#[test]
fn parquet_gives_the_columns_that_are_wanted_and_its_number_of_rows() {
    let files = Files::new();
    let ids = UInt64Array::from((0..1_000).map(|nr| if nr == 1 { u64::MAX } else { nr }).collect::<Vec<_>>());
    let texts: StringArray = (0..1_000).map(|nr| (nr != 2).then(|| format!("text {nr}"))).collect();
    let path = files.parquet(vec![
        ("unread", Arc::new(Int64Array::from(vec![1; 1_000]))),
        ("text", Arc::new(texts)),
        ("id", Arc::new(ids)),
    ]);
    let batch = all::<Text>(&path, &[]);
    assert_eq!(batch.rows.len(), 999);
    assert_eq!(batch.rows[1].row.id.as_deref(), Some("18446744073709551615"));
    assert_eq!(reasons(&batch), [(3, "text is missing or empty")]);

    let mut reader = Reader::<Text>::open(&path, &ColumnMap::default(), 250).unwrap();
    assert_eq!((reader.rows_total(), reader.rows_read()), (Some(1_000), 250));
    let batch = reader.next_batch(BatchLimits { rows_max: 2, bytes_max: usize::MAX }).unwrap().unwrap();
    assert_eq!(batch.rows[0].number, 251);
    assert_eq!(batch.rows[0].row.text, "text 250");
    assert!(reader.next_batch(ALL).unwrap().is_some_and(|rest| rest.rows.len() == 748));
    assert!(reader.next_batch(ALL).unwrap().is_none());
    assert_eq!(reader.file_bytes(), path.metadata().unwrap().len());
}

#[test]
fn a_parquet_column_that_nobody_filled_is_one_that_is_not_there() {
    let files = Files::new();
    let nothing = || Arc::new(NullArray::new(2)) as ArrayRef;
    let path = files.parquet(vec![
        ("user_id", Arc::new(StringArray::from(vec!["a", "b"]))),
        ("item_id", Arc::new(StringArray::from(vec!["x", "y"]))),
        ("type", Arc::new(StringArray::from(vec!["view", "view"]))),
        ("value", nothing()),
        ("timestamp", Arc::new(Int64Array::from(vec![1, 2]))),
        ("event_id", nothing()),
        ("history", nothing()),
    ]);
    let events = all::<Event>(&path, &[]);
    assert_eq!((events.rows.len(), events.rejected.len()), (2, 0));
    assert!(events.rows.iter().all(|row| row.row.value.is_none() && row.row.event_id.is_none()));
    assert!(all::<User>(&path, &[]).rows.iter().all(|row| row.row.history.is_empty()));
    let batch = all::<Text>(&path, &["text=value"]);
    assert_eq!(reasons(&batch), [(1, "text is missing or empty"), (2, "text is missing or empty")]);
}

#[test]
fn whole_numbers_are_ids_however_parquet_keeps_them() {
    let files = Files::new();
    // Above 2^53, where a float would round.
    let decimals = Decimal128Array::from(vec![Some(9_007_199_254_740_993), None, Some(-7)]);
    let path = files.parquet(vec![
        ("text", Arc::new(StringArray::from(vec!["a", "b", "c"]))),
        ("id", Arc::new(decimals.with_precision_and_scale(38, 0).unwrap())),
        ("float", Arc::new(Float64Array::from(vec![Some(1.0), None, Some(1.5)]))),
    ]);
    let ids: Vec<_> = texts(&path, &[]).into_iter().map(|(_, id, _)| id).collect();
    assert_eq!(ids, [Some("9007199254740993".to_owned()), None, Some("-7".to_owned())]);
    let batch = all::<Text>(&path, &["id=float"]);
    assert_eq!((batch.rows[0].row.id.as_deref(), batch.rows[1].row.id.as_deref()), (Some("1"), None));
    let reason = "id is a number with a fraction, or one too large to be exact: store it as text or as a whole number";
    assert_eq!(reasons(&batch), [(3, reason)]);
}

#[test]
fn a_parquet_history_of_structs_is_one_of_objects() {
    let files = Files::new();
    let field = |name: &str, kind: DataType| Arc::new(Field::new(name, kind, true));
    let items: ArrayRef = Arc::new(Int64Array::from(vec![7, 8]));
    let kinds: ArrayRef = Arc::new(StringArray::from(vec![Some("rating"), None]));
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(5_250_000), None]));
    let things = StructArray::from(vec![
        (field("item_id", DataType::Int64), items),
        (field("type", DataType::Utf8), kinds),
        (field("timestamp", times.data_type().clone()), times),
    ]);
    let thing = field("element", things.data_type().clone());
    let history = ListArray::new(thing, OffsetBuffer::from_lengths([2, 0]), Arc::new(things), None);
    let path =
        files.parquet(vec![("user_id", Arc::new(StringArray::from(vec!["a", "b"]))), ("history", Arc::new(history))]);
    let users = all::<User>(&path, &[]).rows;
    let done = |item: &str, kind: Option<&str>, timestamp_ms| Done {
        item_id: item.to_owned(),
        kind: kind.map(str::to_owned),
        value: None,
        timestamp_ms,
    };
    assert_eq!(users[0].row.history, [done("7", Some("rating"), Some(5_250)), done("8", None, None)]);
    assert!(users[1].row.history.is_empty());
    // A list of lists is none of what a history can be.
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)])]);
    let inner = Arc::new(Field::new("element", lists.data_type().clone(), true));
    let nested = ListArray::new(inner, OffsetBuffer::from_lengths([1]), Arc::new(lists), None);
    let path = files.parquet(vec![("user_id", Arc::new(StringArray::from(vec!["a"]))), ("history", Arc::new(nested))]);
    let error = refusal::<User>(&path, &[]).to_string();
    assert!(error.ends_with("and lists of these or of structs of them can"), "{error}");
}

#[test]
fn batches_are_bounded_and_a_skip_gives_the_rest() {
    let files = Files::new();
    let csv: String = std::iter::once("text\n".to_owned()).chain((1..=10).map(|nr| format!("text {nr}\n"))).collect();
    let path = files.write("a.csv", csv);
    let mut reader = Reader::<Text>::open(&path, &ColumnMap::default(), 3).unwrap();
    let mut sizes = Vec::new();
    while let Some(batch) = reader.next_batch(BatchLimits { rows_max: 4, bytes_max: 100_000 }).unwrap() {
        sizes.push((batch.rows[0].number, batch.rows.len()));
    }
    assert_eq!(sizes, [(4, 4), (8, 3)]);
    let mut reader = Reader::<Text>::open(&path, &ColumnMap::default(), 0).unwrap();
    let one = reader.next_batch(BatchLimits { rows_max: 4, bytes_max: 1 }).unwrap().unwrap();
    assert_eq!(one.rows.len(), 1, "one row may always be in a batch");
}

#[test]
fn a_missing_column_is_named_with_those_there_are() {
    let files = Files::new();
    let csv = files.write("a.csv", "id,review\n1,good\n");
    let json = files.write("a.jsonl", "no row\n{\"id\": 1, \"review\": \"good\"}\n");
    let parquet = files.parquet(vec![
        ("id", Arc::new(Int64Array::from(vec![1]))),
        ("review", Arc::new(StringArray::from(vec!["good"]))),
    ]);
    for path in [csv, json, parquet] {
        let error = refusal::<Text>(&path, &[]).to_string();
        assert!(error.contains("has no column \"text\"; it has \"id\", \"review\""), "{error}");
        assert!(error.contains("--map text=COLUMN") && error.contains(path.to_str().unwrap()), "{error}");
    }
    let empty = refusal::<Text>(&files.write("b.csv", ""), &[]).to_string();
    assert!(empty.contains("it has none"), "{empty}");
    let mapping = refusal::<Text>(&files.write("c.csv", "text\n"), &["txt=text"]).to_string();
    assert!(mapping.contains("there is no \"txt\" among id, text"), "{mapping}");
}

#[test]
fn files_that_cannot_be_read_say_so() {
    let files = Files::new();
    let absent = refusal::<Text>(&files.0.path().join("absent.csv"), &[]);
    assert!(matches!(&absent, ReadError::File { path, .. } if path.ends_with("absent.csv")), "{absent}");
    let unknown = refusal::<Text>(&files.write("a.xlsx", ""), &[]).to_string();
    assert!(unknown.contains(".csv, .jsonl, .ndjson"), "{unknown}");
    let folder = files.0.path().join("parts.parquet");
    fs::create_dir(&folder).unwrap();
    let told = refusal::<Text>(&folder, &[]).to_string();
    assert!(told.ends_with("parts.parquet is a folder: name one of the files in it"), "{told}");
    let damaged = refusal::<Text>(&files.write("a.parquet", "no parquet at all"), &[]).to_string();
    assert!(damaged.contains("is not valid Parquet"), "{damaged}");
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1)])]);
    let lists = refusal::<Text>(&files.parquet(vec![("text", Arc::new(lists))]), &[]).to_string();
    assert!(lists.contains("column \"text\"") && lists.contains("cannot be read as text"), "{lists}");

    let packed = fs::read(files.gzip("a.csv.gz", format!("text\n{}", "fine\n".repeat(1000)).as_bytes())).unwrap();
    let cut = files.write("b.csv.gz", &packed[..packed.len() - 8]);
    let mut reader = Reader::<Text>::open(&cut, &ColumnMap::default(), 0).unwrap();
    let error = reader.next_batch(ALL).unwrap_err().to_string();
    assert!(error.contains("b.csv.gz"), "{error}");
}
