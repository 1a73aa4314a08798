//! What a store takes, the same for every backend: checked before anything is asked of one.

use attune_ranking::attributes::{KEYWORD_BYTES_MAX, Kind, LIST_KEYWORDS_MAX, Schema, Value};

use super::{Change, Entry, Order, Query};
use crate::{ErrorKind, StoreError, StoreKind};

/// How long an id is at most: what Elasticsearch takes.
pub const ID_BYTES_MAX: usize = 512;
/// How long a title or a text is at most.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
/// How many changes one write has at most.
pub const CHANGES_MAX: usize = 1_000;
/// How large the texts and attributes of one write are in all, at most.
pub const WRITE_BYTES_MAX: usize = 16 << 20;
/// How long the text of a query is at most.
pub const QUERY_BYTES_MAX: usize = 1_024;
/// How many words it has at most.
pub const QUERY_WORDS_MAX: usize = 32;
/// How many hits a page has at most.
pub const HITS_MAX: usize = 1_000;
/// How many facets a query has at most.
pub const FACETS_MAX: usize = 16;
/// How many values a facet has at most.
pub const FACET_VALUES_MAX: usize = 200;

/// An error for a query or change that makes no sense.
pub(crate) fn invalid(call: &'static str, detail: impl Into<String>) -> StoreError {
    StoreError::new(StoreKind::Search, call, ErrorKind::Invalid, detail)
}

/// Holds changes against the limits.
///
/// # Errors
/// `Invalid` or `TooLarge`, with the place of the first change that cannot be.
pub(crate) fn check_changes(changes: &[Change]) -> Result<(), StoreError> {
    let too_large = |detail: String| Err(StoreError::new(StoreKind::Search, "write", ErrorKind::TooLarge, detail));
    if changes.len() > CHANGES_MAX {
        return too_large(format!("{} changes, a write takes {CHANGES_MAX}: make several", changes.len()));
    }
    let mut bytes = 0;
    for (place, change) in changes.iter().enumerate() {
        let (id, version) = match change {
            Change::Put(entry) => (&entry.id, entry.version),
            Change::Delete { id, version } => (id, *version),
        };
        if !(1..=ID_BYTES_MAX).contains(&id.len()) {
            return Err(invalid(
                "write",
                format!("change {place}: an id of {} bytes, not 1 to {ID_BYTES_MAX}", id.len()),
            ));
        }
        if i64::try_from(version).is_err() {
            return Err(invalid("write", format!("change {place}: the version {version} is above {}", i64::MAX)));
        }
        let Change::Put(entry) = change else { continue };
        bytes += check_entry(entry).map_err(|error| at(place, error))?;
    }
    if bytes > WRITE_BYTES_MAX {
        return too_large(format!("{bytes} bytes, a write takes {WRITE_BYTES_MAX}: make several"));
    }
    Ok(())
}

fn at(place: usize, error: StoreError) -> StoreError {
    StoreError { detail: format!("change {place}: {}", error.detail), ..error }
}

/// The bytes of an entry's texts and keywords.
fn check_entry(entry: &Entry) -> Result<usize, StoreError> {
    let longest = entry.title.len().max(entry.text.len());
    if longest > TEXT_BYTES_MAX {
        let detail = format!("a text of {longest} bytes, at most {TEXT_BYTES_MAX} are indexed: shorten it");
        return Err(StoreError::new(StoreKind::Search, "write", ErrorKind::TooLarge, detail));
    }
    let mut bytes = entry.title.len() + entry.text.len();
    for (name, value) in &entry.attributes {
        bytes += name.len() + check_value(name, value)?;
    }
    Ok(bytes)
}

fn check_value(name: &str, value: &Value) -> Result<usize, StoreError> {
    let keywords = match value {
        Value::Keyword(keyword) => std::slice::from_ref(keyword),
        Value::Keywords(keywords) => keywords,
        Value::Number(number) if !number.is_finite() => {
            return Err(invalid("write", format!("{name} is {number}: a number has to be finite")));
        }
        _ => return Ok(size_of::<i64>()),
    };
    if keywords.len() > LIST_KEYWORDS_MAX {
        return Err(invalid("write", format!("{name} has {} keywords, at most {LIST_KEYWORDS_MAX}", keywords.len())));
    }
    match keywords.iter().find(|keyword| keyword.len() > KEYWORD_BYTES_MAX) {
        Some(long) => {
            Err(invalid("write", format!("{name}: a keyword of {} bytes, at most {KEYWORD_BYTES_MAX}", long.len())))
        }
        None => Ok(keywords.iter().map(String::len).sum()),
    }
}

/// Holds a query against the limits; its attributes are for whoever has the schema.
///
/// # Errors
/// `Invalid`, with what is too long or too many.
pub(crate) fn check_query(query: &Query) -> Result<(), StoreError> {
    let words = query.text.split_whitespace().count();
    let bounds = [
        ("the text's bytes", query.text.len(), 0, QUERY_BYTES_MAX),
        ("the text's words", words, 0, QUERY_WORDS_MAX),
        ("hits_max", query.hits_max, 0, HITS_MAX),
        ("the facets", query.facets.len(), 0, FACETS_MAX),
    ];
    let facets = query.facets.iter().map(|facet| ("a facet's values_max", facet.values_max, 1, FACET_VALUES_MAX));
    for (what, value, min, max) in bounds.into_iter().chain(facets) {
        if !(min..=max).contains(&value) {
            return Err(invalid("search", format!("{what}: {value}, not {min} to {max}")));
        }
    }
    Ok(())
}

/// The kind of an attribute whose values can be counted.
///
/// # Errors
/// `Invalid`: there is no such attribute, or it is a number or a time.
pub(crate) fn facet_kind(schema: &Schema, attribute: &str) -> Result<Kind, StoreError> {
    match schema.kind(attribute) {
        Some(kind @ (Kind::Keyword | Kind::KeywordList | Kind::Boolean)) => Ok(kind),
        Some(kind) => Err(invalid(
            "search",
            format!("the facet {attribute:?} is a {kind}: only keywords and booleans are counted"),
        )),
        None => Err(invalid("search", format!("the facet {attribute:?} is no attribute of the schema"))),
    }
}

/// The attribute that hits are sorted by with its kind, and whether the greatest is first; `None` is by relevance.
///
/// # Errors
/// `Invalid`: there is no such attribute, or it has no order.
pub(crate) fn order_kind<'q>(schema: &Schema, order: &'q Order) -> Result<Option<(&'q str, Kind, bool)>, StoreError> {
    let Order::By { attribute, descending } = order else { return Ok(None) };
    match schema.kind(attribute) {
        Some(kind @ (Kind::Number | Kind::Time)) => Ok(Some((attribute, kind, *descending))),
        Some(kind) => {
            Err(invalid("search", format!("{attribute:?} is a {kind}: only numbers and times have an order")))
        }
        None => Err(invalid("search", format!("the order {attribute:?} is no attribute of the schema"))),
    }
}
