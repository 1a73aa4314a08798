//! An index that changes while it is read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use attune_kernels::{Isa, l2_normalize};
use serde::{Deserialize, Serialize};

use super::Scored;
use super::error::{IndexError, check};
use super::sealed::{Among, Sealed};
use super::search::{Search, tops};
use super::top::Top;
use crate::attributes::{Columns, Schema, Value};
use crate::filter::Filter;

/// Segments with fewer items are searched by one thread: starting another would take longer.
const ITEMS_A_THREAD: usize = 20_000;

/// What an inner product is taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The vectors as they are.
    InnerProduct,
    /// The vectors scaled to length 1.
    Cosine,
}

/// One item.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its number, which stays with it: below `u32::MAX`.
    pub row: u32,
    /// As long as the index is wide.
    pub vector: Vec<f32>,
    /// Attributes of the schema; those that it does not have are left out.
    pub attributes: Vec<(String, Value)>,
}

/// What is asked of an index.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// Row-major, of the index's width.
    pub queries: &'a [f32],
    /// How many items each query wants.
    pub k: usize,
    /// What an item must fulfil.
    pub filter: Option<&'a Filter>,
    /// By query, rows that shall not be found, in order. Queries beyond the end of the list have none.
    pub excluded: &'a [&'a [u32]],
    /// Threads that share the work.
    pub threads: usize,
}

/// Items that can be searched, added, changed and deleted at the same time.
#[derive(Debug)]
pub struct Index {
    pub(super) width: usize,
    metric: Metric,
    pub(super) schema: Schema,
    pub(super) view: RwLock<View>,
    pub(super) writer: Mutex<Writer>,
}

/// Where the newest version of each row is: segment and place.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub places: HashMap<u32, (u32, u32)>,
    pub id_last: u32,
}

impl Writer {
    pub(super) fn next_id(&mut self) -> u32 {
        self.id_last += 1;
        self.id_last
    }
}

/// The index at one moment. Cheap to clone; what happens to the index later does not show.
#[derive(Clone, Debug)]
pub struct View {
    pub(super) width: usize,
    pub(super) metric: Metric,
    pub(super) sealed: Arc<Vec<Sealed>>,
}

impl Index {
    /// An empty index of vectors of `width` values.
    ///
    /// # Errors
    /// [`IndexError::Width`].
    pub fn new(width: usize, metric: Metric, schema: Schema) -> Result<Self, IndexError> {
        check(&[], 0, width)?;
        let view = View { width, metric, sealed: Arc::default() };
        Ok(Self { width, metric, schema, view: RwLock::new(view), writer: Mutex::default() })
    }

    /// The index as it is now.
    pub fn view(&self) -> View {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds items, or replaces those of the same row: all of them, at once, or none.
    ///
    /// # Errors
    /// [`IndexError`] names the item at fault.
    pub fn upsert(&self, mut items: Vec<Item>, threads: usize) -> Result<(), IndexError> {
        self.check(&items)?;
        if items.is_empty() {
            return Ok(());
        }
        if self.metric == Metric::Cosine {
            items.iter_mut().for_each(|item| normalize(&mut item.vector, self.width));
        }
        let mut writer = self.lock();
        let new = Sealed::build(writer.next_id(), items, self.width, &self.schema, threads)?;
        let mut sealed = self.view().sealed.to_vec();
        new.living().for_each(|(_, row)| bury(&mut sealed, writer.places.remove(&row)));
        writer.places.extend(new.living().map(|(place, row)| (row, (new.id, place))));
        sealed.push(new);
        self.install(sealed);
        Ok(())
    }

    /// Deletes items, and says how many there were.
    pub fn delete(&self, rows: &[u32]) -> usize {
        let mut writer = self.lock();
        let mut sealed = self.view().sealed.to_vec();
        let found: Vec<_> = rows.iter().filter_map(|row| writer.places.remove(row)).collect();
        found.iter().for_each(|place| bury(&mut sealed, Some(*place)));
        self.install(sealed);
        found.len()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows readers another list of segments. The caller holds the writer's lock.
    pub(super) fn install(&self, mut sealed: Vec<Sealed>) {
        sealed.retain(|segment| segment.items > 0);
        self.view.write().unwrap_or_else(PoisonError::into_inner).sealed = Arc::new(sealed);
    }

    fn check(&self, items: &[Item]) -> Result<(), IndexError> {
        let mut seen = HashMap::with_capacity(items.len());
        let mut columns = Columns::builder(&self.schema);
        for (number, item) in items.iter().enumerate() {
            if item.row == u32::MAX {
                return Err(IndexError::Row { item: number, row: item.row });
            }
            if let Some(first) = seen.insert(item.row, number) {
                return Err(IndexError::Twice { row: item.row, first, second: number });
            }
            check(&item.vector, 1, self.width).map_err(|error| error.of_vector(number))?;
            if self.metric == Metric::Cosine {
                check_direction(&item.vector, number)?;
            }
            columns.push(&item.attributes)?;
        }
        Ok(())
    }
}

/// Marks the item at a place as dead.
pub(super) fn bury(sealed: &mut [Sealed], at: Option<(u32, u32)>) {
    if let Some((id, place)) = at
        && let Some(segment) = sealed.iter_mut().find(|segment| segment.id == id)
    {
        segment.kill(place);
    }
}

fn check_direction(vector: &[f32], number: usize) -> Result<(), IndexError> {
    if vector.iter().all(|&value| value == 0.0) { Err(IndexError::Zero { vector: number }) } else { Ok(()) }
}

/// Scales to length 1. By the largest value first: squares of tiny values would vanish.
fn normalize(vectors: &mut [f32], width: usize) {
    for vector in vectors.chunks_exact_mut(width) {
        let largest = vector.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        vector.iter_mut().for_each(|value| *value /= largest);
    }
    l2_normalize(Isa::active().expect("checked at start"), vectors, width);
}

impl View {
    /// Whether nothing has changed between the two.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.sealed, &other.sealed)
    }

    /// How many items there are.
    pub fn items(&self) -> usize {
        self.sealed.iter().map(|segment| segment.items).sum()
    }

    /// How many segments they are in.
    pub fn segments(&self) -> usize {
        self.sealed.len()
    }

    /// Bytes held by vectors, their screen and their rows.
    pub fn bytes(&self) -> usize {
        self.sealed.iter().map(Sealed::bytes).sum()
    }

    /// The best items of each query, best first, equal scores by row; fewer than `k` where no more fulfil the filter.
    ///
    /// # Errors
    /// [`IndexError`] says what is wrong with the queries or `k`.
    pub fn search(&self, query: &Query<'_>) -> Result<Vec<Vec<Scored>>, IndexError> {
        let Query { queries, k, filter, excluded, threads } = *query;
        let search = Search { queries, k, allowed: None, excluded, threads };
        self.search_among(&search, Among::Filter(filter))
    }

    /// Searches each segment among some of its items; `search` allows all.
    pub(super) fn search_among(&self, search: &Search<'_>, among: Among<'_>) -> Result<Vec<Vec<Scored>>, IndexError> {
        let mut tops = tops(search, self.width, self.items())?;
        let mut scaled = Vec::new();
        if self.metric == Metric::Cosine {
            let mut vectors = search.queries.chunks_exact(self.width).enumerate();
            vectors.try_for_each(|(number, vector)| check_direction(vector, number))?;
            scaled.extend_from_slice(search.queries);
            normalize(&mut scaled, self.width);
        }
        let queries = if self.metric == Metric::Cosine { &scaled } else { search.queries };
        // The largest first: what it finds lets most of the others be skipped.
        let mut sealed: Vec<&Sealed> = self.sealed.iter().collect();
        sealed.sort_by_key(|segment| std::cmp::Reverse((segment.items, segment.id)));
        for segment in sealed {
            let threads = if segment.items < ITEMS_A_THREAD { 1 } else { search.threads };
            segment.search_into(&Search { queries, threads, ..*search }, among, &mut tops);
        }
        Ok(tops.into_iter().map(Top::into_sorted).collect())
    }

    /// Values a vector.
    pub fn width(&self) -> usize {
        self.width
    }
}

#[cfg(test)]
mod tests;
