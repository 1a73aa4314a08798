//! Items of a catalogue, as an import takes them: a JSON object a row, in the shape of the wire contract.
//!
//! JSON lines are taken as they are, but for whole numbers as ids, which become text. In CSV the columns `id`, `title`,
//! `text`, `hidden`, `published_at` and `expires_at` are what they say, and every other column is an attribute. A CSV
//! has nothing but text, so the kind of an attribute is the server's where it has one, and otherwise what all values of
//! the column can be, which takes a first pass over the file. What does not fit stays text: the server refuses it with
//! the place, and the row is told of as any other.

use std::collections::BTreeMap;
use std::path::Path;

use attune_ranking::attributes::{Kind, time_from_text};
use serde_json::{Map, Value as Json};

use super::columns::{ColumnMap, Field};
use super::csv::{CsvSource, Form, header};
use super::error::ReadError;
use super::json::{JsonSource, Objects};
use super::source::Source;
use super::value::{Value, flag, quoted};

/// Between the texts of a list in one cell.
const LIST_SEPARATOR: char = '|';
const HIDDEN: &str = "hidden";
/// Columns that are not attributes.
const FIELDS: [&str; 6] = ["id", "title", "text", HIDDEN, "published_at", "expires_at"];

/// The items of one file.
pub struct Items {
    rows: Rows,
    rows_read: u64,
    replaced: Vec<String>,
}

enum Rows {
    Objects(Objects, BTreeMap<String, String>),
    /// A column that is none of ours is passed over.
    Cells {
        source: Box<CsvSource>,
        columns: Vec<Option<Column>>,
    },
}

/// A column of a CSV file, and what becomes of it.
struct Column {
    name: String,
    /// Of an attribute.
    kind: Option<Kind>,
    odd: Option<Odd>,
}

/// The value that makes an attribute text, of which most values are of another kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Odd {
    /// From 1.
    pub row: u64,
    /// Its beginning, in quotes.
    pub value: String,
    /// What most of them are.
    pub mostly: Kind,
}

impl Items {
    /// Opens a file behind its first `skip` rows. `kinds` are those that the server has already.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn open(path: &Path, map: &ColumnMap, kinds: &BTreeMap<String, Kind>, skip: u64) -> Result<Self, ReadError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let plain = name.strip_suffix(".gz").unwrap_or(&name);
        let renamed = renamed(map);
        let (rows, names) = if plain.ends_with(".csv") {
            (cells(path, map, kinds)?, header(path)?)
        } else if plain.ends_with(".jsonl") || plain.ends_with(".ndjson") {
            JsonSource::open(path, &asked(map, &[]), map)?;
            (Rows::Objects(Objects::open(path)?, renamed.clone()), first_names(path)?)
        } else if plain.ends_with(".parquet") {
            return Err(ReadError::ParquetItems { path: path.to_owned() });
        } else {
            let known = ".csv, .jsonl and .ndjson (each also with .gz)";
            return Err(ReadError::UnknownFormat { path: path.to_owned(), known });
        };
        let replaced = names.into_iter().filter(|name| ours(name.clone(), &renamed).is_none()).collect();
        let mut items = Self { rows, rows_read: 0, replaced };
        while items.rows_read < skip && items.next_row()?.is_some() {}
        Ok(items)
    }

    /// The next item, or why its row is none; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read on.
    pub fn next_row(&mut self) -> Result<Option<Result<Json, String>>, ReadError> {
        let row = match &mut self.rows {
            Rows::Objects(objects, renamed) => {
                objects.next()?.map(|row| row.map(|row| with_text_as_id(rename(row, renamed))))
            }
            Rows::Cells { source, columns } => {
                let row = source.next()?;
                row.map(|row| row.and_then(|values| item(columns, &values)))
            }
        };
        self.rows_read += u64::from(row.is_some());
        Ok(row)
    }

    /// The attributes of a CSV, and the kind that each is sent as; none of JSON lines, whose values have kinds.
    pub fn attributes(&self) -> Vec<(&str, Kind)> {
        self.columns().filter_map(|column| Some((column.name.as_str(), column.kind?))).collect()
    }

    /// The attributes that one value or a few make text, where the server does not know their kind yet.
    pub fn odd(&self) -> Vec<(&str, &Odd)> {
        self.columns().filter_map(|column| Some((column.name.as_str(), column.odd.as_ref()?))).collect()
    }

    /// The file's own columns in whose place others were said to stand, which are left out; in JSON lines those of the
    /// first item.
    pub fn replaced(&self) -> &[String] {
        &self.replaced
    }

    fn columns(&self) -> impl Iterator<Item = &Column> {
        let columns: &[Option<Column>] = match &self.rows {
            Rows::Objects(..) => &[],
            Rows::Cells { columns, .. } => columns,
        };
        columns.iter().flatten()
    }

    /// Rows read so far, skipped ones included.
    pub fn rows_read(&self) -> u64 {
        self.rows_read
    }

    /// How far into the file the reading is, in bytes.
    pub fn file_bytes(&self) -> u64 {
        match &self.rows {
            Rows::Objects(objects, _) => objects.file_bytes(),
            Rows::Cells { source, .. } => source.file_bytes(),
        }
    }
}

/// The columns that a file has to have: some, and all that are mapped.
fn asked<'a>(map: &'a ColumnMap, required: &[&'a str]) -> Vec<Field<'a>> {
    let mapped = map.pairs().keys().map(String::as_str).filter(|ours| !required.contains(ours));
    required.iter().copied().map(Field::required).chain(mapped.map(Field::optional)).collect()
}

/// Our name of each column that is mapped, by its name in the file.
fn renamed(map: &ColumnMap) -> BTreeMap<String, String> {
    map.pairs().iter().map(|(ours, theirs)| (theirs.clone(), ours.clone())).collect()
}

/// The names in the first object of a file.
fn first_names(path: &Path) -> Result<Vec<String>, ReadError> {
    let mut objects = Objects::open(path)?;
    while let Some(row) = objects.next()? {
        if let Ok(row) = row {
            return Ok(row.into_iter().map(|(name, _)| name).collect());
        }
    }
    Ok(Vec::new())
}

/// What we call a column of the file; `None` where another column was said to be what this one is called.
fn ours(theirs: String, renamed: &BTreeMap<String, String>) -> Option<String> {
    match renamed.get(&theirs) {
        Some(ours) => Some(ours.clone()),
        None => renamed.values().all(|ours| *ours != theirs).then_some(theirs),
    }
}

fn rename(row: Map<String, Json>, renamed: &BTreeMap<String, String>) -> Json {
    if renamed.is_empty() {
        return Json::Object(row);
    }
    row.into_iter().filter_map(|(name, value)| Some((ours(name, renamed)?, value))).collect()
}

/// Ids are often numbers, here as in files of events.
fn with_text_as_id(mut item: Json) -> Json {
    if let Some(id) = item.get_mut("id").filter(|id| id.is_i64() || id.is_u64()) {
        *id = Json::from(id.to_string());
    }
    item
}

fn cells(path: &Path, map: &ColumnMap, kinds: &BTreeMap<String, Kind>) -> Result<Rows, ReadError> {
    let header = header(path)?;
    map.places(path, &asked(map, &["id", "title"]), &header)?;
    let fields: Vec<Field<'_>> = header.iter().map(|name| Field::optional(name)).collect();
    let open = || CsvSource::open(path, Form::Csv, &fields, &ColumnMap::default());
    let mut seen: Vec<Seen> = header.iter().map(|_| Seen::default()).collect();
    let (mut source, mut rows) = (open()?, 0);
    while let Some(row) = source.next()? {
        rows += 1;
        let Ok(values) = row else { continue };
        seen.iter_mut().zip(values).for_each(|(seen, value)| seen.add(rows, value));
    }
    let renamed = renamed(map);
    let columns = header.iter().zip(seen).map(|(theirs, seen)| {
        let name = ours(theirs.clone(), &renamed)?;
        let is_field = FIELDS.contains(&name.as_str());
        let known = kinds.get(&name).copied();
        let kind = (!is_field).then(|| known.unwrap_or_else(|| seen.kind()));
        let odd = seen.odd().filter(|_| !is_field && known.is_none());
        Some(Column { name, kind, odd })
    });
    Ok(Rows::Cells { columns: columns.collect(), source: Box::new(open()?) })
}

/// Kinds that all texts of a column may be of, the more particular first.
const TOLD_BY_TEXT: [Kind; 3] = [Kind::Time, Kind::Boolean, Kind::Number];

/// What the values of a column can be.
#[derive(Debug, Default)]
struct Seen {
    values: u64,
    is_list: bool,
    /// For each of [`TOLD_BY_TEXT`].
    fits: [Fit; 3],
}

/// How the values of a column fit a kind.
#[derive(Debug, Default)]
struct Fit {
    values: u64,
    /// The row of the first that does not, and its beginning.
    odd: Option<(u64, String)>,
}

impl Seen {
    fn add(&mut self, row: u64, value: Value<'_>) {
        let Value::Text(text) = value else { return };
        let text = text.trim();
        self.values += 1;
        self.is_list |= text.contains(LIST_SEPARATOR);
        for (kind, fit) in TOLD_BY_TEXT.into_iter().zip(&mut self.fits) {
            if is_a(kind, text) {
                fit.values += 1;
            } else {
                fit.odd.get_or_insert_with(|| (row, quoted(text)));
            }
        }
    }

    fn kind(&self) -> Kind {
        match self.by_kind().find(|(_, fit)| fit.values > 0 && fit.odd.is_none()) {
            _ if self.is_list => Kind::KeywordList,
            Some((kind, _)) => kind,
            None => Kind::Keyword,
        }
    }

    /// What makes it text, where most of it is of another kind.
    fn odd(&self) -> Option<Odd> {
        if !matches!(self.kind(), Kind::Keyword | Kind::KeywordList) {
            return None;
        }
        let (mostly, fit) = self.by_kind().find(|(_, fit)| 2 * fit.values > self.values)?;
        let (row, value) = fit.odd.clone()?;
        Some(Odd { row, value, mostly })
    }

    fn by_kind(&self) -> impl Iterator<Item = (Kind, &Fit)> {
        TOLD_BY_TEXT.into_iter().zip(&self.fits)
    }
}

fn is_a(kind: Kind, text: &str) -> bool {
    match kind {
        Kind::Time => time_from_text(text).is_some(),
        Kind::Boolean => flag(text).is_some(),
        Kind::Number => number(text).is_some(),
        Kind::Keyword | Kind::KeywordList => true,
    }
}

fn item(columns: &[Option<Column>], values: &[Value<'_>]) -> Result<Json, String> {
    let (mut item, mut attributes) = (Map::new(), Map::new());
    for (column, value) in columns.iter().zip(values) {
        let (Some(column), Value::Text(text)) = (column, value) else { continue };
        match column.kind {
            Some(kind) => drop(attributes.insert(column.name.clone(), attribute(kind, text))),
            None if column.name == HIDDEN => {
                let hidden = flag(text.trim());
                let hidden = hidden.ok_or_else(|| format!("{HIDDEN} {} is not true or false", quoted(text)))?;
                item.insert(column.name.clone(), hidden.into());
            }
            None => drop(item.insert(column.name.clone(), Json::from(*text))),
        }
    }
    item.insert("attributes".to_owned(), attributes.into());
    Ok(item.into())
}

/// A cell as its kind says; what does not fit stays text.
fn attribute(kind: Kind, text: &str) -> Json {
    let trimmed = text.trim();
    let fit = match kind {
        Kind::Keyword => None,
        Kind::KeywordList => {
            let texts = trimmed.split(LIST_SEPARATOR).map(str::trim).filter(|text| !text.is_empty());
            Some(texts.map(Json::from).collect())
        }
        Kind::Number => number(trimmed).map(Json::from),
        Kind::Boolean => flag(trimmed).map(Json::from),
        Kind::Time => time_from_text(trimmed).and_then(chrono::DateTime::from_timestamp_micros).map(|time| {
            // In full, so that a server that meets the name for the first time takes it for a time.
            Json::from(time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
        }),
    };
    fit.unwrap_or_else(|| Json::from(text))
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use serde_json::json;

    use super::*;

    fn read(end: &str, text: &str, map: &[&str], kinds: &[(&str, Kind)], skip: u64) -> Vec<Result<Json, String>> {
        let mut file = tempfile::Builder::new().suffix(end).tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let kinds = kinds.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
        let mut items = Items::open(file.path(), &ColumnMap::parse(map).unwrap(), &kinds, skip).unwrap();
        std::iter::from_fn(|| items.next_row().unwrap()).collect()
    }

    #[test]
    fn columns_of_csv_are_fields_and_attributes_of_the_kind_that_all_values_can_be() {
        let csv = "sku,title,hidden,price,tags,since,zip,brand\n\
                   a,Tea,true,3.5,green|hot,2026-01-01,01234,\n\
                   b,Pot,,4,hot,2026-02-01,99999,Acme\n";
        let rows = read(".csv", csv, &["id=sku"], &[("zip", Kind::Keyword)], 0);
        let tea = json!({"id": "a", "title": "Tea", "hidden": true, "attributes": {
            "price": 3.5, "tags": ["green", "hot"], "since": "2026-01-01T00:00:00Z", "zip": "01234"
        }});
        assert_eq!(rows[0], Ok(tea));
        assert_eq!(rows[1].as_ref().unwrap()["attributes"]["tags"], json!(["hot"]));
        let odd = read(".csv", "id,title,price\na,Tea,cheap\n", &[], &[("price", Kind::Number)], 0);
        assert_eq!(odd[0].as_ref().unwrap()["attributes"]["price"], json!("cheap"), "for the server to refuse");
    }

    #[test]
    fn the_kinds_that_were_decided_can_be_told() {
        let mut file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
        file.write_all(b"id,title,price,size,new\na,Tea,1,1,true\nb,Pot,cheap,2,false\n").unwrap();
        let items = Items::open(file.path(), &ColumnMap::default(), &BTreeMap::new(), 0).unwrap();
        assert_eq!(items.attributes(), [("price", Kind::Keyword), ("size", Kind::Number), ("new", Kind::Boolean)]);
        assert!(items.odd().is_empty(), "half of a column is not most of it");
    }

    #[test]
    fn the_value_that_makes_a_column_of_numbers_text_is_told() {
        let mut file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
        let csv = "id,title,price,brand\na,Tea,6.5,Acme\nb,Pot\nc,Cup,cheap,Ulm\nd,Jar,1,Ulm\ne,Lid,N/A,7\nf,Pan,2,\n";
        file.write_all(csv.as_bytes()).unwrap();
        let odd = |kinds: &[(&str, Kind)]| {
            let kinds = kinds.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
            let items = Items::open(file.path(), &ColumnMap::default(), &kinds, 3).unwrap();
            items.odd().into_iter().map(|(name, odd)| (name.to_owned(), odd.clone())).collect::<Vec<_>>()
        };
        let cheap = Odd { row: 3, value: "\"cheap\"".to_owned(), mostly: Kind::Number };
        assert_eq!(odd(&[]), [("price".to_owned(), cheap)]);
        assert!(odd(&[("price", Kind::Number)]).is_empty(), "the server refuses these rows");
    }

    #[test]
    fn true_and_false_are_written_in_either_case() {
        let rows = read(".csv", "id,title,hidden,new\na,Tea,True,FALSE\nb,Pot,false,true\n", &[], &[], 0);
        assert_eq!(rows[0], Ok(json!({"id": "a", "title": "Tea", "hidden": true, "attributes": {"new": false}})));
        assert_eq!(rows[1], Ok(json!({"id": "b", "title": "Pot", "hidden": false, "attributes": {"new": true}})));
        let odd = read(".csv", "id,title,hidden\na,Tea,yes\n", &[], &[], 0);
        assert_eq!(odd, [Err("hidden \"yes\" is not true or false".to_owned())]);
    }

    #[test]
    fn json_lines_come_as_they_are_and_bad_rows_are_told() {
        let lines = "{\"sku\": \"a\", \"title\": \"Tea\"}\n\nnot json\n{\"sku\": \"b\"}\n";
        let rows = read(".jsonl", lines, &["id=sku"], &[], 0);
        assert_eq!(rows[0], Ok(json!({"id": "a", "title": "Tea"})));
        assert!(rows[1].is_err() && rows.len() == 3);
        assert_eq!(read(".jsonl", lines, &["id=sku"], &[], 2), [Ok(json!({"id": "b"}))]);
        assert_eq!(read(".csv", "id,title\na,b,c\nd,e\n", &[], &[], 1).len(), 1);
        let numbers = read(".jsonl", "{\"id\": 7, \"n\": 7}\n{\"id\": 1.5}\n", &[], &[], 0);
        assert_eq!(numbers, [Ok(json!({"id": "7", "n": 7})), Ok(json!({"id": 1.5}))]);
    }

    #[test]
    fn a_mapped_column_stands_in_the_place_of_one_that_is_called_like_ours() {
        let tea = json!({"id": "a", "title": "Name", "attributes": {"price": 2.0}});
        let csv = "sku,id,name,title,price\na,1,Name,Title,2\n";
        assert_eq!(read(".csv", csv, &["id=sku", "title=name"], &[], 0), [Ok(tea)]);
        let lines = "{\"id\": \"1\", \"sku\": \"a\", \"name\": \"Name\", \"title\": \"Title\"}\n";
        let tea = json!({"id": "a", "title": "Name"});
        assert_eq!(read(".jsonl", lines, &["id=sku", "title=name"], &[], 0), [Ok(tea)]);
        // Each in the place of the other.
        let turned = json!({"id": "1", "sku": "a", "name": "Title", "title": "Name"});
        assert_eq!(read(".jsonl", lines, &["title=name", "name=title"], &[], 0), [Ok(turned)]);
    }

    #[test]
    fn columns_in_whose_place_others_stand_are_named() {
        let replaced = |end: &str, text: &str, map: &[&str]| {
            let mut file = tempfile::Builder::new().suffix(end).tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let items = Items::open(file.path(), &ColumnMap::parse(map).unwrap(), &BTreeMap::new(), 0).unwrap();
            items.replaced().join(" ")
        };
        for (end, text) in [
            (".csv", "sku,id,name,title\na,1,Name,Title\n"),
            (".jsonl", "no item\n{\"sku\": \"a\", \"id\": \"1\", \"name\": \"Name\", \"title\": \"Title\"}\n"),
        ] {
            assert_eq!(replaced(end, text, &["id=sku"]), "id");
            assert_eq!(replaced(end, text, &["title=name", "old=title"]), "", "it is kept under another name");
            assert_eq!(replaced(end, text, &[]), "");
        }
    }

    #[test]
    fn a_mapped_column_that_is_not_there_is_refused() {
        for (end, text) in [(".csv", "id,title\na,b\n"), (".jsonl", "{\"id\": \"a\", \"title\": \"b\"}\n")] {
            let mut file = tempfile::Builder::new().suffix(end).tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            for ours in ["title", "price"] {
                let map = ColumnMap::parse([format!("{ours}=nothere")]).unwrap();
                let error = Items::open(file.path(), &map, &BTreeMap::new(), 0).err().unwrap().to_string();
                assert!(error.contains("has no column \"nothere\""), "{error}");
            }
        }
    }

    #[test]
    fn a_file_without_the_columns_is_refused() {
        let mut file = tempfile::Builder::new().suffix(".csv").tempfile().unwrap();
        file.write_all(b"name,price\n").unwrap();
        let error = Items::open(file.path(), &ColumnMap::default(), &BTreeMap::new(), 0).err().unwrap();
        assert!(error.to_string().contains("--map id="), "{error}");
    }

    #[test]
    fn a_format_that_items_do_not_have_is_not_offered() {
        let refused = |name: &str| {
            let map = ColumnMap::default();
            Items::open(Path::new(name), &map, &BTreeMap::new(), 0).err().unwrap().to_string()
        };
        assert!(refused("it.parquet").starts_with("items cannot be Parquet"), "{}", refused("it.parquet"));
        let text = refused("it.txt");
        assert!(text.contains("none of .csv") && !text.contains(".parquet"), "{text}");
    }
}
