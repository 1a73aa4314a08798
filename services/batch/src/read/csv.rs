//! CSV with a header (RFC 4180): commas, quotes doubled within quotes, line ends of either kind.
//!
//! `csv_core` does the parsing, and not the `csv` crate on top of it: that one keeps a whole row in memory however long
//! it is, and one quote that is never closed makes the rest of a file one row.
//!
//! RecBole's files are the same in another form: tabs, no quotes, and a header of `name:type`.

use std::io::{self, BufRead};
use std::path::{Path, PathBuf};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::ReadError;
use super::columns::{ColumnMap, Field};
use super::source::{Found, Source};
use super::text::{ROW_BYTES_MAX, TextFile};
use super::value::Value;

/// Most columns of a file.
const COLUMNS_MAX: usize = 1 << 14;
const ROW_BYTES_START: usize = 1 << 12;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Commas and quotes.
    Csv,
    /// RecBole's atomic files.
    Recbole,
}

impl Form {
    fn parser(self) -> Reader {
        match self {
            Self::Csv => Reader::new(),
            Self::Recbole => ReaderBuilder::new().delimiter(b'\t').quoting(false).build(),
        }
    }

    /// The name of a column by its place in the header.
    fn name(self, header: &str) -> String {
        let name = match self {
            Self::Csv => header,
            Self::Recbole => header.split_once(':').map_or(header, |(name, _)| name),
        };
        name.trim().to_owned()
    }

    fn what(self) -> &'static str {
        match self {
            Self::Csv => "CSV",
            Self::Recbole => "tab-separated text",
        }
    }
}

/// The rows of a CSV file.
pub(super) struct CsvSource {
    path: PathBuf,
    records: Records<TextFile>,
    /// Columns of the header.
    columns: usize,
    /// Where each of our fields stands.
    places: Vec<Option<usize>>,
}

/// The columns of a CSV file.
pub(super) fn header(path: &Path) -> Result<Vec<String>, ReadError> {
    Ok(begin(path, Form::Csv)?.1)
}

/// The file behind its header, and that.
fn begin(path: &Path, form: Form) -> Result<(Records<TextFile>, Vec<String>), ReadError> {
    let unreadable = |source| ReadError::File { path: path.to_owned(), source };
    let mut records = Records::new(TextFile::open(path).map_err(unreadable)?, form.parser());
    let damaged = |detail: String| ReadError::Damaged { path: path.to_owned(), format: form.what(), detail };
    let header = match records.next().map_err(unreadable)? {
        Record::Whole => (0..records.fields).map(|place| records.field(place)).collect::<Result<Vec<_>, _>>(),
        Record::TooLong => Err("its header has no end".to_owned()),
        Record::End => Ok(Vec::new()),
    };
    let header = header.map_err(damaged)?.into_iter().map(|name| form.name(&name)).collect();
    Ok((records, header))
}

impl CsvSource {
    pub(super) fn open(path: &Path, form: Form, fields: &[Field<'_>], map: &ColumnMap) -> Result<Self, ReadError> {
        let (records, header) = begin(path, form)?;
        let places = map.places(path, fields, &header)?;
        Ok(Self { path: path.to_owned(), records, columns: header.len(), places })
    }
}

impl Source for CsvSource {
    fn next(&mut self) -> Result<Option<Found<'_>>, ReadError> {
        let record = self.records.next().map_err(|source| ReadError::File { path: self.path.clone(), source })?;
        let (records, columns) = (&self.records, self.columns);
        Ok(match record {
            Record::End => None,
            Record::TooLong => Some(Err(format!(
                "the row has more than {ROW_BYTES_MAX} bytes or {COLUMNS_MAX} columns: is a quote never closed?"
            ))),
            Record::Whole if records.fields != columns => {
                Some(Err(format!("the row has {} columns, the header has {columns}", records.fields)))
            }
            Record::Whole => Some(self.places.iter().map(|place| records.value(*place)).collect()),
        })
    }

    fn file_bytes(&self) -> u64 {
        self.records.input.file_bytes()
    }
}

/// What [`Records::next`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Record {
    /// A record, now in the buffer.
    Whole,
    /// A record beyond the bounds, skipped.
    TooLong,
    /// Nothing more.
    End,
}

/// Records one after the other, in a buffer that grows to [`ROW_BYTES_MAX`] and no further.
struct Records<R> {
    input: R,
    parser: Reader,
    bytes: Vec<u8>,
    /// Where each field of the record ends in `bytes`.
    ends: Vec<usize>,
    /// How many fields the record has.
    fields: usize,
}

impl<R: BufRead> Records<R> {
    fn new(input: R, parser: Reader) -> Self {
        let (bytes, ends) = (vec![0; ROW_BYTES_START], vec![0; 16]);
        Self { input, parser, bytes, ends, fields: 0 }
    }

    fn next(&mut self) -> io::Result<Record> {
        let (mut used, mut is_too_long) = (0, false);
        self.fields = 0;
        loop {
            let chunk = self.input.fill_buf()?;
            let (bytes, ends) = (&mut self.bytes[used..], &mut self.ends[self.fields..]);
            let (result, read, written, ended) = self.parser.read_record(chunk, bytes, ends);
            self.input.consume(read);
            used += written;
            self.fields += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.bytes.len() < ROW_BYTES_MAX => {
                    grow(&mut self.bytes, ROW_BYTES_MAX)
                }
                ReadRecordResult::OutputEndsFull if self.ends.len() < COLUMNS_MAX => grow(&mut self.ends, COLUMNS_MAX),
                // The rest of the record is parsed to find its end, over what is already lost.
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    (used, self.fields, is_too_long) = (0, 0, true);
                }
                ReadRecordResult::Record if is_too_long => return Ok(Record::TooLong),
                ReadRecordResult::Record => return Ok(Record::Whole),
                ReadRecordResult::End => return Ok(Record::End),
            }
        }
    }

    fn value(&self, place: Option<usize>) -> Result<Value<'_>, String> {
        let Some(place) = place else { return Ok(Value::Absent) };
        let bytes = self.field_bytes(place);
        let text = std::str::from_utf8(bytes).map_err(|error| not_utf8(place, &error))?;
        Ok(if text.is_empty() { Value::Absent } else { Value::Text(text) })
    }

    fn field(&self, place: usize) -> Result<String, String> {
        let text = std::str::from_utf8(self.field_bytes(place)).map_err(|error| not_utf8(place, &error))?;
        Ok(text.to_owned())
    }

    fn field_bytes(&self, place: usize) -> &[u8] {
        let start = if place == 0 { 0 } else { self.ends[place - 1] };
        &self.bytes[start..self.ends[place]]
    }
}

fn grow<T: Clone + Default>(buffer: &mut Vec<T>, max: usize) {
    buffer.resize((2 * buffer.len()).min(max), T::default());
}

fn not_utf8(place: usize, error: &std::str::Utf8Error) -> String {
    format!("column {} is not UTF-8 from its byte {} on", place + 1, error.valid_up_to())
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};

    use super::*;

    #[test]
    fn a_quote_that_is_never_closed_takes_bounded_memory() {
        let rest = io::repeat(b'x').take(3 * ROW_BYTES_MAX as u64);
        let mut records = Records::new(BufReader::new((&b"a,b\n1,\""[..]).chain(rest)), Reader::new());
        assert_eq!(records.next().unwrap(), Record::Whole);
        assert_eq!(records.next().unwrap(), Record::TooLong);
        assert!(records.bytes.len() <= ROW_BYTES_MAX);
        assert_eq!(records.next().unwrap(), Record::End);
    }

    #[test]
    fn a_row_that_is_too_long_is_followed_by_the_next() {
        let long = io::repeat(b',').take(2 * COLUMNS_MAX as u64);
        let mut records = Records::new(BufReader::new(long.chain(&b"\na,\"b\nc\"\"\"\n"[..])), Reader::new());
        assert_eq!(records.next().unwrap(), Record::TooLong);
        assert_eq!(records.next().unwrap(), Record::Whole);
        assert_eq!(
            (records.fields, records.field(0).unwrap(), records.field(1).unwrap()),
            (2, "a".into(), "b\nc\"".into())
        );
    }
}
