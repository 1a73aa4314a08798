//! JSON lines: one object a line.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::ReadError;
use super::columns::{ColumnMap, Field};
use super::source::{Found, Source};
use super::text::{Line, ROW_BYTES_MAX, TextFile, read_line};
use super::value::Value;

/// Rows that are looked at before the first one is read: a column that none of them has is missing.
const PROBED_ROWS: usize = 100;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The rows of a file of JSON lines.
pub(super) struct JsonSource {
    objects: Objects,
    row: Map<String, Json>,
    /// What each of our fields is called there.
    names: Vec<String>,
}

impl JsonSource {
    pub(super) fn open(path: &Path, fields: &[Field<'_>], map: &ColumnMap) -> Result<Self, ReadError> {
        let unreadable = |source| ReadError::File { path: path.to_owned(), source };
        if let Some(found) = columns(&mut Lines::open(path).map_err(unreadable)?).map_err(unreadable)? {
            map.places(path, fields, &found)?;
        }
        let names = fields.iter().map(|field| map.theirs(field.name).to_owned()).collect();
        Ok(Self { objects: Objects::open(path)?, row: Map::new(), names })
    }
}

impl Source for JsonSource {
    fn next(&mut self) -> Result<Option<Found<'_>>, ReadError> {
        self.row = match self.objects.next()? {
            None => return Ok(None),
            Some(Ok(row)) => row,
            Some(Err(reason)) => return Ok(Some(Err(reason))),
        };
        Ok(Some(Ok(self.names.iter().map(|name| value(self.row.get(name))).collect())))
    }

    fn file_bytes(&self) -> u64 {
        self.objects.file_bytes()
    }
}

/// The object of a line, or why there is none.
pub(super) type Object = Result<Map<String, Json>, String>;

/// The objects of a file, one a line that is not blank.
pub(super) struct Objects {
    path: PathBuf,
    lines: Lines,
}

impl Objects {
    pub(super) fn open(path: &Path) -> Result<Self, ReadError> {
        let lines = Lines::open(path).map_err(|source| ReadError::File { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), lines })
    }

    /// The next one, or what is wrong with its line; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Object>, ReadError> {
        let unreadable = |source| ReadError::File { path: self.path.clone(), source };
        Ok(match self.lines.next().map_err(unreadable)? {
            Line::End => None,
            Line::TooLong => Some(Err(format!("the line has more than {ROW_BYTES_MAX} bytes"))),
            Line::Whole => Some(parse(&self.lines.line)),
        })
    }

    pub(super) fn file_bytes(&self) -> u64 {
        self.lines.input.file_bytes()
    }
}

/// Lines that are not blank.
struct Lines {
    input: TextFile,
    line: Vec<u8>,
    is_first: bool,
}

impl Lines {
    fn open(path: &Path) -> std::io::Result<Self> {
        Ok(Self { input: TextFile::open(path)?, line: Vec::new(), is_first: true })
    }

    fn next(&mut self) -> std::io::Result<Line> {
        loop {
            let found = read_line(&mut self.input, &mut self.line)?;
            if std::mem::take(&mut self.is_first) && self.line.starts_with(BYTE_ORDER_MARK) {
                self.line.drain(..BYTE_ORDER_MARK.len());
            }
            if found != Line::Whole || !self.line.trim_ascii().is_empty() {
                return Ok(found);
            }
        }
    }
}

/// The columns that the first rows have; `None` where none of them is a row.
fn columns(lines: &mut Lines) -> std::io::Result<Option<Vec<String>>> {
    let (mut columns, mut rows) = (BTreeSet::new(), 0);
    for _ in 0..PROBED_ROWS {
        match lines.next()? {
            Line::End => break,
            Line::TooLong => continue,
            Line::Whole => {}
        }
        if let Ok(row) = parse(&lines.line) {
            columns.extend(row.into_iter().map(|(name, _)| name));
            rows += 1;
        }
    }
    Ok((rows > 0).then(|| columns.into_iter().collect()))
}

fn parse(line: &[u8]) -> Result<Map<String, Json>, String> {
    match serde_json::from_slice(line) {
        Ok(Json::Object(row)) => Ok(row),
        Ok(_) => Err("the line is not a JSON object".to_owned()),
        // The parser counts lines; there is one, and the row's number says which.
        Err(error) => {
            Err(format!("the line is not valid JSON: {}", error.to_string().replace(" at line 1 column", " at byte")))
        }
    }
}

/// A value as rows are made of.
pub(super) fn value(json: Option<&Json>) -> Value<'_> {
    match json {
        None | Some(Json::Null) => Value::Absent,
        Some(Json::String(text)) => Value::Text(text),
        Some(Json::Number(number)) => match (number.as_i128(), number.as_f64()) {
            (Some(whole), _) => Value::Integer(whole),
            (None, float) => Value::Number(float.unwrap_or(f64::NAN)),
        },
        Some(Json::Bool(flag)) => Value::Flag(*flag),
        Some(Json::Array(list)) => Value::List(list),
        Some(Json::Object(_)) => Value::Other("an object"),
    }
}
