//! Columns give back what they were given, also as bytes, and damaged bytes are refused or are columns.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

type Row = Vec<(String, Value)>;

fn schema() -> Schema {
    let attributes = [
        ("boolean", Kind::Boolean),
        ("keyword", Kind::Keyword),
        ("list", Kind::KeywordList),
        ("number", Kind::Number),
        ("time", Kind::Time),
    ];
    Schema::new(attributes).unwrap()
}

/// Attributes in the order of their names, as columns give them back.
fn row() -> impl Strategy<Value = Row> {
    let number = any::<f64>().prop_filter("finite", |number| number.is_finite());
    let values = vec![
        ("boolean", any::<bool>().prop_map(Value::Boolean).boxed()),
        ("keyword", "[a-cä]{0,2}".prop_map(Value::Keyword).boxed()),
        ("list", vec("[a-cä]{0,2}", 1..4).prop_map(Value::Keywords).boxed()),
        ("number", number.prop_map(Value::Number).boxed()),
        ("time", any::<i64>().prop_map(Value::Time).boxed()),
    ];
    let values: Vec<_> =
        values.into_iter().map(|(name, value)| prop::option::of((Just(name.to_owned()), value))).collect();
    values.prop_map(|values| values.into_iter().flatten().collect())
}

fn columns(rows: &[Row]) -> Columns {
    let mut builder = Columns::builder(&schema());
    for (number, row) in rows.iter().enumerate() {
        assert_eq!(builder.push(row), Ok(number as u32));
    }
    builder.finish()
}

fn encoded(columns: &Columns) -> Vec<u8> {
    let mut bytes = Vec::new();
    columns.encode(&mut bytes);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_come_back_as_they_were(rows in vec(row(), 0..40)) {
        let columns = columns(&rows);
        prop_assert_eq!(columns.rows() as usize, rows.len());
        for (number, row) in rows.iter().enumerate() {
            let again = columns.row(number as u32);
            let again: Row = again.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            prop_assert_eq!(&again, row);
        }
        prop_assert!(columns.row(columns.rows()).is_empty());
        prop_assert_eq!(Columns::decode(&encoded(&columns)).unwrap(), columns);
    }

    /// A segment made of rows of another is as if made of the rows themselves.
    #[test]
    fn rows_can_be_taken_over(rows in vec(row(), 0..20), kept in any::<Index>()) {
        let kept = kept.index(rows.len() + 1);
        let whole = columns(&rows);
        let mut builder = Columns::builder(&schema());
        for number in kept..rows.len() {
            builder.push(&whole.row(number as u32)).unwrap();
        }
        prop_assert_eq!(builder.finish(), columns(&rows[kept..]));
    }

    #[test]
    fn bytes_that_end_too_soon_or_late_are_refused(rows in vec(row(), 0..10)) {
        let mut bytes = encoded(&columns(&rows));
        for end in 0..bytes.len() {
            prop_assert!(Columns::decode(&bytes[..end]).is_err(), "cut at {}", end);
        }
        bytes.push(0);
        prop_assert!(Columns::decode(&bytes).is_err());
    }

    /// What is read in spite of damage is columns all the same: every row can be read, and they are those bytes.
    #[test]
    fn damaged_bytes_are_refused_or_are_columns(
        rows in vec(row(), 0..20),
        flips in vec((any::<Index>(), 0_u32..8), 1..4),
    ) {
        let mut bytes = encoded(&columns(&rows));
        for (place, bit) in flips {
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
        }
        if let Ok(columns) = Columns::decode(&bytes) {
            (0..columns.rows()).for_each(|row| drop(columns.row(row)));
            prop_assert_eq!(encoded(&columns), bytes);
        }
    }

    #[test]
    fn no_bytes_are_too_much(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(Columns::decode(&bytes).is_err());
    }
}
