//! The embeddings of a tenant's items in memory, with the attributes that filters read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use attune_ranking::attributes::{Schema, Value};
use attune_ranking::filter::{Expr, Filter};
use attune_ranking::index::{Index, IndexError, Item, Metric, Query};

/// What became of an item.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum State {
    /// It is gone.
    Gone,
    /// Its attributes are these; its embedding stays, if it has one.
    Attributes(Vec<(String, Value)>),
    /// Both.
    Whole(Vec<f32>, Vec<(String, Value)>),
}

/// A change of one item.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub id: String,
    /// Of the document; an older one changes nothing.
    pub version: u64,
    pub state: State,
}

/// Ids with their cosine, the nearest first.
pub(crate) type Found = Vec<(Arc<str>, f32)>;

/// All items of a tenant that have an embedding. Everything here takes processor time in proportion to what it is given,
/// and belongs on a thread that may block.
#[derive(Debug)]
pub(crate) struct Live {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    index: Arc<Index>,
    schema: Schema,
    ids: Vec<Arc<str>>,
    known: HashMap<Arc<str>, Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    row: u32,
    version: u64,
}

impl Live {
    /// Without items; `width` values an embedding.
    ///
    /// # Errors
    /// The width is none.
    pub fn new(width: usize, schema: Schema) -> Result<Self, IndexError> {
        let index = Arc::new(Index::new(width, Metric::Cosine, schema.clone())?);
        Ok(Self { inner: Mutex::new(Inner { index, schema, ids: Vec::new(), known: HashMap::new() }) })
    }

    /// Takes changes, and the schema that they go by, which may have grown.
    ///
    /// # Errors
    /// A vector that is no direction.
    pub fn apply(&self, schema: &Schema, changes: Vec<Change>) -> Result<(), IndexError> {
        let index = {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            inner.grow(schema)?;
            inner.apply(changes)?;
            Arc::clone(&inner.index)
        };
        while index.merge(1)? {}
        Ok(())
    }

    /// The `k` items nearest to `vector` that fulfil the filter, the nearest first, with their cosine.
    ///
    /// # Errors
    /// The filter does not fit the schema yet, which is [`None`]; or the vector is no direction.
    pub fn nearest(&self, vector: &[f32], k: usize, filter: &Expr) -> Result<Option<Found>, IndexError> {
        let (view, schema) = {
            let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            (inner.index.view(), inner.schema.clone())
        };
        let Ok(filter) = Filter::check(filter, &schema) else { return Ok(None) };
        let query = Query { queries: vector, k, filter: Some(&filter), excluded: &[], threads: 1 };
        let found = view.search(&query)?.pop().unwrap_or_default();
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Some(found.into_iter().map(|hit| (Arc::clone(&inner.ids[hit.row as usize]), hit.score)).collect()))
    }

    /// How many items there are.
    #[cfg(test)]
    pub fn items(&self) -> usize {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).index.view().items()
    }
}

impl Inner {
    /// Lays all items out anew where the schema has grown. Rows stay, so that a search which began before ends well.
    fn grow(&mut self, schema: &Schema) -> Result<(), IndexError> {
        if self.schema.iter().count() >= schema.iter().count() {
            return Ok(());
        }
        let view = self.index.view();
        let index = Index::new(view.width(), Metric::Cosine, schema.clone())?;
        let items = (0..self.ids.len() as u32).filter_map(|row| {
            let vector = view.vector(row)?.to_vec();
            let values = self.schema.iter().filter_map(|(name, _)| Some((name.to_owned(), view.value(row, name)?)));
            Some(Item { row, vector, attributes: values.collect() })
        });
        index.upsert(items.collect(), 1)?;
        (self.index, self.schema) = (Arc::new(index), schema.clone());
        Ok(())
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), IndexError> {
        let view = self.index.view();
        let (mut gone, mut items) = (Vec::new(), HashMap::new());
        for Change { id, version, state } in changes {
            let Some(row) = self.newest(&id, version) else { continue };
            match state {
                State::Gone => {
                    items.remove(&row);
                    gone.push(row);
                }
                State::Whole(vector, attributes) => drop(items.insert(row, Item { row, vector, attributes })),
                State::Attributes(attributes) => {
                    let earlier = items.remove(&row).map(|item: Item| item.vector);
                    if let Some(vector) = earlier.or_else(|| view.vector(row).map(<[f32]>::to_vec)) {
                        items.insert(row, Item { row, vector, attributes });
                    }
                }
            }
        }
        self.index.delete(&gone);
        let mut items: Vec<Item> = items.into_values().collect();
        items.sort_unstable_by_key(|item| item.row);
        // The schema may have grown since these attributes were read, but never shrinks: what it lacks is new.
        for item in &mut items {
            item.attributes.retain(|(name, _)| self.schema.kind(name).is_some());
        }
        self.index.upsert(items, 1)
    }

    /// The row of an item, if the version is not older than what is known of it.
    fn newest(&mut self, id: &str, version: u64) -> Option<u32> {
        if let Some(known) = self.known.get_mut(id) {
            if known.version > version {
                return None;
            }
            known.version = version;
            return Some(known.row);
        }
        let (id, row): (Arc<str>, u32) = (Arc::from(id), u32::try_from(self.ids.len()).ok()?);
        self.ids.push(Arc::clone(&id));
        self.known.insert(id, Known { row, version });
        Some(row)
    }
}

#[cfg(test)]
mod tests {
    use attune_ranking::attributes::Kind;
    use attune_ranking::filter::parse;

    use super::*;

    fn schema(names: &[&str]) -> Schema {
        Schema::new(names.iter().map(|name| (*name, Kind::Boolean))).unwrap()
    }

    fn whole(id: &str, version: u64, vector: [f32; 2], is_a: bool) -> Change {
        let attributes = vec![("a".to_owned(), Value::Boolean(is_a))];
        Change { id: id.to_owned(), version, state: State::Whole(vector.to_vec(), attributes) }
    }

    fn found(live: &Live, filter: &str) -> Vec<String> {
        let hits = live.nearest(&[1.0, 0.0], 10, &parse(filter).unwrap()).unwrap().unwrap();
        hits.into_iter().map(|(id, _)| id.to_string()).collect()
    }

    #[test]
    fn older_versions_change_nothing_and_the_gone_stay_gone() {
        let live = Live::new(2, schema(&["a"])).unwrap();
        let fill = vec![whole("x", 5, [1.0, 0.0], true), whole("y", 5, [1.0, 1.0], true)];
        live.apply(&schema(&["a"]), fill).unwrap();
        assert_eq!(found(&live, "a"), ["x", "y"]);
        live.apply(&schema(&["a"]), vec![whole("x", 4, [0.0, 1.0], true)]).unwrap();
        assert_eq!(found(&live, "a"), ["x", "y"]);
        live.apply(&schema(&["a"]), vec![Change { id: "x".into(), version: 6, state: State::Gone }]).unwrap();
        live.apply(&schema(&["a"]), vec![whole("x", 5, [1.0, 0.0], true)]).unwrap();
        assert_eq!((found(&live, "a"), live.items()), (vec!["y".to_owned()], 1));
    }

    #[test]
    fn attributes_change_without_a_vector_and_the_schema_grows() {
        let live = Live::new(2, schema(&["a"])).unwrap();
        live.apply(&schema(&["a"]), vec![whole("x", 1, [1.0, 0.0], true)]).unwrap();
        assert!(live.nearest(&[1.0, 0.0], 1, &parse("b").unwrap()).unwrap().is_none());
        let both = vec![("a".to_owned(), Value::Boolean(true)), ("b".to_owned(), Value::Boolean(true))];
        let change = |id: &str| Change { id: id.into(), version: 2, state: State::Attributes(both.clone()) };
        live.apply(&schema(&["a", "b"]), vec![change("x"), change("without a vector")]).unwrap();
        assert_eq!((found(&live, "a and b"), live.items()), (vec!["x".to_owned()], 1));
    }
}
