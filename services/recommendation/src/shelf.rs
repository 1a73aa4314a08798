//! What the catalogue says of the items, laid out for ranking: attributes in columns, vectors in an index.
//!
//! Vectors are of length 1 and compared by inner product, so that an item without one can stand among them as zeros: it
//! is like no other, and filters and lists have it all the same. Hidden items are not here.

use std::collections::{BTreeSet, HashMap};

use attune_api::catalogue::{AttributeKind, Entry};
use attune_ranking::attributes::{Kind, Schema, SchemaError, Value, time_from_text};
use attune_ranking::index::{Index, IndexError, Item, Metric, View};
use serde_json::Value as Json;

use crate::stage;

/// The attribute that says since when an item is there.
const PUBLISHED: &str = "published";
/// The attribute that says until when.
const EXPIRES: &str = "expires";
const MICROSECONDS: i64 = 1_000_000;
/// Versions that stand for an earlier time, in Unix seconds, are no times: 2001.
const MADE_MIN: i64 = 1_000_000_000;

/// Items that are laid out at once while the whole catalogue is read: a merge of parts would lay them out again, and hold
/// all of their vectors twice.
pub const STOCKED_AT_ONCE: usize = 100_000;

/// Attributes by name, as the catalogue lists them.
pub type Kinds = Vec<(String, AttributeKind)>;

/// Items that may be shown.
pub struct Shelf {
    kinds: Kinds,
    schema: Schema,
    index: Index,
    /// By row, the version of what is kept, hidden or not.
    versions: HashMap<u32, u64>,
    /// By row, since when an item is there, in Unix seconds.
    published: HashMap<u32, i64>,
    /// When items come or go by themselves, in Unix seconds.
    due: BTreeSet<(i64, u32)>,
}

/// A shelf in the making: the whole catalogue, some of it at a time. The first vector says how long all are; those of
/// another length wait for their embedding to be made anew.
pub struct Stocking {
    kinds: Kinds,
    threads: usize,
    shelf: Option<Shelf>,
    /// Items before the first that has a vector.
    bare: Vec<(u32, Entry)>,
}

impl Stocking {
    /// With nothing in it.
    pub fn new(kinds: Kinds) -> Self {
        Self { kinds, threads: 1, shelf: None, bare: Vec::new() }
    }

    /// Laid out by so many threads.
    #[must_use]
    pub fn by(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// Adds items with their rows.
    ///
    /// # Errors
    /// [`ShelfError::Schema`], [`ShelfError::Index`].
    pub fn put(&mut self, mut entries: Vec<(u32, Entry)>) -> Result<(), ShelfError> {
        let mut vectors = entries.iter().filter_map(|(_, entry)| entry.vector.as_ref());
        let shelf = match (&mut self.shelf, vectors.next().map(Vec::len)) {
            (Some(shelf), _) => shelf,
            (none, Some(width)) => {
                entries.splice(..0, std::mem::take(&mut self.bare));
                none.insert(Shelf::new(self.kinds.clone(), width)?)
            }
            (None, None) => {
                self.bare.extend(entries);
                return Ok(());
            }
        };
        let width = shelf.view().width();
        for (_, entry) in &mut entries {
            entry.vector.take_if(|vector| vector.len() != width);
        }
        shelf.put_by(entries, self.threads)
    }

    /// The shelf.
    ///
    /// # Errors
    /// As [`Stocking::put`].
    pub fn finish(self) -> Result<Shelf, ShelfError> {
        if let Some(shelf) = self.shelf {
            return Ok(shelf);
        }
        let mut shelf = Shelf::new(self.kinds, 1)?;
        shelf.put_by(self.bare, self.threads)?;
        Ok(shelf)
    }
}

/// Why items cannot be put here.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    /// Vectors of another length have come: everything has to be laid out anew.
    #[error("the vectors have {width} values now")]
    Width {
        /// Their length.
        width: usize,
    },
    /// The catalogue's attributes make no schema.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The index refused.
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl Shelf {
    /// An empty one, for vectors of `width` values.
    ///
    /// # Errors
    /// [`ShelfError::Schema`] where attributes have no proper names.
    pub fn new(kinds: Kinds, width: usize) -> Result<Self, ShelfError> {
        let schema = Schema::new(kinds.iter().map(|(name, kind)| (name.clone(), kind_of(*kind))))?;
        let index = Index::new(width, Metric::InnerProduct, schema.clone())?;
        let (versions, published, due) = (HashMap::new(), HashMap::new(), BTreeSet::new());
        Ok(Self { kinds, schema, index, versions, published, due })
    }

    /// As the catalogue listed them.
    pub fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    /// The attributes.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The items as they are now.
    pub fn view(&self) -> View {
        self.index.view()
    }

    /// Rows of items, and since when they are there, in Unix seconds.
    pub fn published(&self) -> impl Iterator<Item = (u32, i64)> {
        self.published.iter().map(|(row, time)| (*row, *time))
    }

    /// Puts items in the place of what was there. One that is older than what is there is passed over.
    ///
    /// # Errors
    /// [`ShelfError::Width`]: nothing was changed then.
    pub fn put(&mut self, entries: Vec<(u32, Entry)>) -> Result<(), ShelfError> {
        self.put_by(entries, 1)
    }

    fn put_by(&mut self, entries: Vec<(u32, Entry)>, threads: usize) -> Result<(), ShelfError> {
        let width = self.index.view().width();
        let mut vectors = entries.iter().filter_map(|(_, entry)| entry.vector.as_ref());
        if let Some(other) = vectors.find(|vector| vector.len() != width) {
            return Err(ShelfError::Width { width: other.len() });
        }
        let newer =
            |(row, entry): &(u32, Entry)| self.versions.get(row).is_none_or(|version| *version <= entry.version);
        let (mut shown, mut hidden) = (HashMap::new(), Vec::new());
        for (row, entry) in entries.into_iter().filter(newer).collect::<Vec<_>>() {
            self.versions.insert(row, entry.version);
            self.due.extend(moments(&entry).map(|time| (time, row)));
            shown.remove(&row);
            if entry.is_hidden {
                hidden.push(row);
            } else {
                let item = self.item(row, entry, width);
                shown.insert(row, item);
            }
        }
        self.remove(&hidden);
        let mut items: Vec<Item> = shown.into_values().collect();
        items.sort_unstable_by_key(|item| item.row);
        self.index.upsert(items, threads)?;
        Ok(())
    }

    /// Takes items away that are no more.
    pub fn remove(&mut self, rows: &[u32]) {
        self.index.delete(rows);
        for row in rows {
            self.published.remove(row);
        }
    }

    /// Takes the rows of items of which the time has come, in Unix seconds: they have to be read again.
    pub fn take_due(&mut self, now: i64) -> Vec<u32> {
        let later = self.due.split_off(&(now + 1, 0));
        std::mem::replace(&mut self.due, later).into_iter().map(|(_, row)| row).collect()
    }

    /// Merges what changes have left in pieces.
    ///
    /// # Errors
    /// None that items could cause.
    pub fn tidy(&self) -> Result<(), ShelfError> {
        while self.index.merge(1)? {}
        Ok(())
    }

    fn item(&mut self, row: u32, entry: Entry, width: usize) -> Item {
        let value = |(name, kind): &(String, AttributeKind)| {
            let value = value_of(kind_of(*kind), entry.attributes.get(name)?)?;
            Some((name.clone(), value))
        };
        let attributes: Vec<(String, Value)> = self.kinds.iter().filter_map(value).collect();
        let published = attributes.iter().find(|(name, _)| name == PUBLISHED);
        let since = match published {
            Some((_, Value::Time(time))) => Some(time.div_euclid(MICROSECONDS)),
            _ => made(entry.version),
        };
        match since {
            Some(time) => self.published.insert(row, time),
            None => self.published.remove(&row),
        };
        Item { row, vector: entry.vector.unwrap_or_else(|| vec![0.0; width]), attributes }
    }
}

/// When an item was made, by its version, in Unix seconds: a first version is the time in microseconds, and later ones are
/// hardly greater.
fn made(version: u64) -> Option<i64> {
    let time = i64::try_from(version).ok()? / MICROSECONDS;
    (MADE_MIN..=stage::now()).contains(&time).then_some(time)
}

/// When an item comes or goes, in Unix seconds, rounded up.
fn moments(entry: &Entry) -> impl Iterator<Item = i64> {
    let time = |name: &&str| time_from_text(entry.attributes.get(*name)?.as_str()?);
    let times: Vec<i64> = [PUBLISHED, EXPIRES].iter().filter_map(time).collect();
    times.into_iter().map(|time| time.div_euclid(MICROSECONDS) + 1).filter(|time| *time > stage::now())
}

fn kind_of(kind: AttributeKind) -> Kind {
    match kind {
        AttributeKind::Keyword => Kind::Keyword,
        AttributeKind::Keywords => Kind::KeywordList,
        AttributeKind::Number => Kind::Number,
        AttributeKind::Boolean => Kind::Boolean,
        AttributeKind::Time => Kind::Time,
    }
}

/// What does not fit its kind counts as absent: who keeps the items has checked them against the same schema, and a
/// schema that changes meanwhile is read again.
fn value_of(kind: Kind, value: &Json) -> Option<Value> {
    match (kind, value) {
        (Kind::Keyword, Json::String(text)) => Some(Value::Keyword(text.clone())),
        (Kind::KeywordList, Json::Array(list)) => {
            let texts: Option<Vec<String>> = list.iter().map(|one| one.as_str().map(str::to_owned)).collect();
            texts.filter(|texts| !texts.is_empty()).map(Value::Keywords)
        }
        (Kind::KeywordList, Json::String(text)) => Some(Value::Keywords(vec![text.clone()])),
        (Kind::Number, Json::Number(number)) => number.as_f64().filter(|number| number.is_finite()).map(Value::Number),
        (Kind::Boolean, Json::Bool(flag)) => Some(Value::Boolean(*flag)),
        (Kind::Time, Json::String(text)) => time_from_text(text).map(Value::Time),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(id: &str, version: u64, vector: Option<Vec<f32>>, attributes: Json) -> Entry {
        let attributes = attributes.as_object().unwrap().clone();
        Entry { item_id: id.into(), version, vector, attributes, ..Entry::default() }
    }

    fn kinds() -> Kinds {
        vec![("genre".into(), AttributeKind::Keywords), (PUBLISHED.into(), AttributeKind::Time)]
    }

    #[test]
    fn items_come_change_hide_and_go() {
        let mut shelf = Shelf::new(kinds(), 2).unwrap();
        let published = json!({"genre": ["war", "love"], "published": "1970-01-01T00:00:09Z", "odd": 1});
        let first = entry("a", 3, Some(vec![1.0, 0.0]), published);
        shelf.put(vec![(0, first), (1, entry("b", 3, None, json!({"genre": 7})))]).unwrap();
        let view = shelf.view();
        assert_eq!(view.value(0, "genre"), Some(Value::Keywords(vec!["war".into(), "love".into()])));
        assert_eq!((view.value(1, "genre"), view.vector(1)), (None, Some(&[0.0, 0.0][..])));
        assert_eq!(shelf.published().collect::<Vec<_>>(), [(0, 9)]);

        shelf.put(vec![(0, entry("a", 2, None, json!({})))]).unwrap();
        assert_eq!(shelf.view().vector(0), Some(&[1.0, 0.0][..]), "an older state changes nothing");
        shelf.put(vec![(0, Entry { is_hidden: true, ..entry("a", 4, None, json!({})) })]).unwrap();
        assert!(!shelf.view().contains(0) && shelf.published().next().is_none());
        shelf.put(vec![(1, entry("b", 1_500_000_000_000_003, None, json!({})))]).unwrap();
        assert_eq!(shelf.published().collect::<Vec<_>>(), [(1, 1_500_000_000)], "made then");
        shelf.put(vec![(0, entry("a", 5, None, json!({})))]).unwrap();
        assert!(shelf.view().contains(0));
        shelf.remove(&[0, 1]);
        assert_eq!(shelf.view().items(), 0);
    }

    #[test]
    fn a_catalogue_is_laid_out_some_of_it_at_a_time() {
        let bare = || entry("a", 1, None, json!({}));
        let with = |vector: &[f32]| entry("b", 1, Some(vector.to_vec()), json!({}));
        let mut stocking = Stocking::new(kinds()).by(2);
        stocking.put(vec![(0, bare())]).unwrap();
        stocking.put(vec![(1, with(&[0.0, 1.0])), (2, with(&[1.0]))]).unwrap();
        stocking.put(vec![(3, bare()), (4, with(&[1.0, 0.0]))]).unwrap();
        let view = stocking.finish().unwrap().view();
        assert_eq!((view.items(), view.width()), (5, 2));
        assert_eq!([1, 4].map(|row| view.vector(row).unwrap().to_vec()), [[0.0, 1.0], [1.0, 0.0]]);
        assert_eq!([0, 2, 3].map(|row| view.vector(row).unwrap().to_vec()), [[0.0, 0.0]; 3], "no or another length");

        let mut stocking = Stocking::new(kinds()).by(2);
        stocking.put(vec![(0, bare())]).unwrap();
        let view = stocking.finish().unwrap().view();
        assert_eq!((view.items(), view.width()), (1, 1));
    }

    #[test]
    fn items_that_come_or_go_by_themselves_are_read_again_then() {
        let mut shelf = Shelf::new(kinds(), 2).unwrap();
        let attributes = json!({"published": "1999-01-01T00:00:00Z", "expires": "9000-01-01T00:00:00Z"});
        shelf.put(vec![(4, entry("a", 1, None, attributes))]).unwrap();
        assert!(shelf.take_due(stage::now()).is_empty());
        let later = i64::MAX - 1;
        assert_eq!((shelf.take_due(later), shelf.take_due(later)), (vec![4], vec![]));
    }

    #[test]
    fn vectors_of_another_length_are_told() {
        let mut shelf = Shelf::new(kinds(), 1).unwrap();
        let wide = entry("a", 1, Some(vec![1.0, 0.0]), json!({}));
        assert!(matches!(shelf.put(vec![(0, wide)]), Err(ShelfError::Width { width: 2 })));
    }
}
