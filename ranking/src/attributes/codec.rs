//! Columns as bytes, for snapshots of an index.
//!
//! Little-endian throughout:
//!
//! ```text
//! columns  = version u8, rows u32, count u16, count * column          names rise
//! column   = name length u8, name, kind u8, body of the kind
//! keywords = terms u32, ends of the terms u32 each, text of the terms (terms rise),
//!            ends of the rows u32 each, numbers of their terms u32 each
//! ordered  = rows with a value (one bit a row), their keys i64 each, in the order of rows
//! flags    = rows with a value (one bit a row), rows with true (one bit a row)
//! ```
//!
//! Only what cannot be computed from the rest is written: bitmaps of terms and the order of values are made anew. It
//! takes a sort, which is little beside reading the vectors of the same rows, and what is not there cannot contradict
//! the rest. Everything is checked, so that bytes either are refused or are columns; that they are the columns once
//! written is for the checksum of the snapshot to say.

use super::bytes::{DecodeError, Reader, put_rows, put_u32s};
use super::keywords::Dictionary;
use super::ordered::key_number;
use super::schema::{NAME_BYTES_MAX, check_name};
use super::{Column, Columns, Flags, Keywords, Kind, Ordered, ROWS_MAX, number_key};

const VERSION: u8 = 1;

const _: () = assert!(NAME_BYTES_MAX <= u8::MAX as usize, "the length of a name is written in one byte");

/// The number of each kind is its place.
const KINDS: [Kind; 5] = [Kind::Keyword, Kind::KeywordList, Kind::Number, Kind::Boolean, Kind::Time];

impl Columns {
    /// Appends the columns to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        put_u32s(out, &[self.rows]);
        out.extend((self.columns.len() as u16).to_le_bytes());
        for (name, column) in &self.columns {
            out.push(name.len() as u8);
            out.extend(name.as_bytes());
            out.extend(KINDS.iter().position(|kind| *kind == column.kind()).map(|place| place as u8));
            match column {
                Column::Keyword(keywords) | Column::KeywordList(keywords) => put_keywords(out, keywords),
                Column::Number(ordered) | Column::Time(ordered) => put_ordered(out, ordered, self.rows),
                Column::Boolean(flags) => {
                    put_rows(out, flags.present(), self.rows);
                    put_rows(out, flags.yes(), self.rows);
                }
            }
        }
    }

    /// Reads what [`encode`](Self::encode) wrote, all of `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`] says what is wrong with the bytes, and where.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(DecodeError::Version { version, known: VERSION });
        }
        let rows = reader.u32()?;
        reader.ensure(rows <= ROWS_MAX, "it has more rows than a segment can")?;
        let mut columns = Self { rows, columns: Default::default() };
        for _ in 0..reader.u16()? {
            let name = read_name(&mut reader)?;
            let rises = columns.columns.last_key_value().is_none_or(|(last, _)| *last < name);
            reader.ensure(rises, "the names of attributes do not rise")?;
            let column = read_column(&mut reader, rows)?;
            columns.columns.insert(name, column);
        }
        reader.end()?;
        Ok(columns)
    }
}

fn read_name(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let bytes = reader.u8()?;
    let name = reader.text(bytes.into())?;
    reader.ensure(check_name(name).is_ok(), "an attribute has a name that it may not have")?;
    Ok(name.to_owned())
}

fn read_column(reader: &mut Reader<'_>, rows: u32) -> Result<Column, DecodeError> {
    let kind = usize::from(reader.u8()?);
    match KINDS.get(kind).ok_or_else(|| reader.damaged("there is no such kind of attribute"))? {
        Kind::Keyword => {
            let column = read_keywords(reader, rows)?;
            let single = (0..rows).all(|row| column.row(row).len() <= 1);
            reader.ensure(single, "a row has several values for a keyword")?;
            Ok(Column::Keyword(column))
        }
        Kind::KeywordList => Ok(Column::KeywordList(read_keywords(reader, rows)?)),
        Kind::Number => Ok(Column::Number(read_ordered(reader, rows, |key| {
            let number = key_number(key);
            number.is_finite() && number_key(number) == key
        })?)),
        Kind::Boolean => {
            let flags = Flags::new(reader.rows(rows)?, reader.rows(rows)?);
            Ok(Column::Boolean(flags.ok_or_else(|| reader.damaged("a row without a value is true"))?))
        }
        Kind::Time => Ok(Column::Time(read_ordered(reader, rows, |_| true)?)),
    }
}

fn put_keywords(out: &mut Vec<u8>, column: &Keywords) {
    let dictionary = column.dictionary();
    put_u32s(out, &[dictionary.len() as u32]);
    put_u32s(out, dictionary.ends());
    out.extend(dictionary.text().as_bytes());
    put_u32s(out, column.ends());
    put_u32s(out, column.ids());
}

fn read_keywords(reader: &mut Reader<'_>, rows: u32) -> Result<Keywords, DecodeError> {
    let terms = reader.u32()? as usize;
    let dictionary = read_dictionary(reader, terms)?;
    let ends = reader.u32s(rows as usize)?;
    reader.ensure(ends.is_sorted(), "the ends of rows do not rise")?;
    let ids = reader.u32s(ends.last().map_or(0, |end| *end as usize))?;
    reader.ensure(ids.iter().all(|id| (*id as usize) < terms), "a row has a term that is not in the dictionary")?;
    Ok(Keywords::new(dictionary, ends, ids))
}

fn read_dictionary(reader: &mut Reader<'_>, terms: usize) -> Result<Dictionary, DecodeError> {
    let ends = reader.u32s(terms)?;
    reader.ensure(ends.is_sorted(), "the ends of terms do not rise")?;
    let text = reader.text(ends.last().map_or(0, |end| *end as usize))?;
    let mut dictionary = Dictionary::default();
    let mut start = 0;
    for end in ends.into_iter().map(|end| end as usize) {
        let term = text.get(start..end).ok_or_else(|| reader.damaged("a term ends within a character"))?;
        let rises = dictionary.push(term);
        reader.ensure(rises, "the terms of a dictionary do not rise")?;
        start = end;
    }
    Ok(dictionary)
}

fn put_ordered(out: &mut Vec<u8>, column: &Ordered, rows: u32) {
    put_rows(out, column.present(), rows);
    let keys = column.present().iter().filter_map(|row| column.key(row));
    out.extend(keys.flat_map(i64::to_le_bytes));
}

fn read_ordered(reader: &mut Reader<'_>, rows: u32, is_key: fn(i64) -> bool) -> Result<Ordered, DecodeError> {
    let present = reader.rows(rows)?;
    let mut keys = vec![0; rows as usize];
    for row in &present {
        let key = reader.i64()?;
        reader.ensure(is_key(key), "a number is not finite")?;
        keys[row as usize] = key;
    }
    Ok(Ordered::new(keys, present))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::{Schema, Value};

    /// Columns of one row with one number, whose key is the last 8 bytes.
    fn bytes() -> Vec<u8> {
        let mut builder = Columns::builder(&Schema::new([("n", Kind::Number)]).unwrap());
        builder.push(&[("n", Value::Number(1.0))]).unwrap();
        let mut bytes = Vec::new();
        builder.finish().encode(&mut bytes);
        bytes
    }

    #[test]
    fn only_keys_of_finite_numbers_are_read() {
        for key in [number_key(f64::INFINITY), number_key(f64::NAN), number_key(0.0) - 1, i64::MIN, i64::MAX] {
            let mut bytes = bytes();
            let start = bytes.len() - size_of::<i64>();
            bytes[start..].copy_from_slice(&key.to_le_bytes());
            let error = Columns::decode(&bytes).unwrap_err();
            assert_eq!(error, DecodeError::Damaged { offset: bytes.len(), what: "a number is not finite" }, "{key}");
        }
    }

    #[test]
    fn another_version_is_said_to_be_one() {
        let mut bytes = bytes();
        bytes[0] = 2;
        assert_eq!(Columns::decode(&bytes), Err(DecodeError::Version { version: 2, known: VERSION }));
    }

    /// More rows than a segment can have are refused before anything is made for them.
    #[test]
    fn a_count_without_bytes_is_refused() {
        let mut bytes = bytes();
        bytes[1..5].copy_from_slice(&(ROWS_MAX + 1).to_le_bytes());
        assert!(Columns::decode(&bytes).unwrap_err().to_string().contains("more rows"));
        bytes[1..5].copy_from_slice(&ROWS_MAX.to_le_bytes());
        assert!(Columns::decode(&bytes).unwrap_err().to_string().contains("end too soon"));
    }
}
