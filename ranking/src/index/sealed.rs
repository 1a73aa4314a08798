//! A segment with its items' attributes, and which of them are still alive.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Allowed, IndexError, Item, Segment};
use crate::attributes::{Columns, Schema, Value};
use crate::filter::{Bound, Filter};

/// What never changes once it is built; attributes are by place.
#[derive(Debug)]
struct Base {
    segment: Segment,
    columns: Columns,
    /// The places that hold items, by rising row.
    by_row: Vec<u32>,
}

/// A segment of an index. Cloning shares all but the bits of the living.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    /// Never used again.
    pub id: u32,
    base: Arc<Base>,
    live: Allowed,
    /// How many are alive.
    pub items: usize,
}

impl Base {
    fn new(segment: Segment, columns: Columns) -> Self {
        let places = (0..).zip(segment.places()).filter_map(|(place, row)| Some((row?, place)));
        let mut by_row: Vec<(u32, u32)> = places.collect();
        by_row.sort_unstable();
        Self { by_row: by_row.into_iter().map(|(_, place)| place).collect(), segment, columns }
    }
}

impl Sealed {
    /// Lays out items, whose rows differ and whose attributes fit the schema.
    pub(super) fn build(
        id: u32,
        items: &[Item],
        width: usize,
        schema: &Schema,
        threads: usize,
    ) -> Result<Self, IndexError> {
        let vectors = items.iter().flat_map(|item| item.vector.iter().copied()).collect::<Vec<_>>();
        let rows: Vec<u32> = items.iter().map(|item| item.row).collect();
        let segment = Segment::build(&vectors, width, &rows, threads)?;
        let by_row: HashMap<u32, &Item> = items.iter().map(|item| (item.row, item)).collect();
        let mut columns = Columns::builder(schema);
        for row in segment.places() {
            let attributes = row.map_or(&[][..], |row| &by_row[&row].attributes);
            columns.push(attributes)?;
        }
        let taken = segment.places().enumerate().filter_map(|(place, row)| row.map(|_| place as u32));
        let live = Allowed::new(segment.places().len(), taken);
        let base = Base::new(segment, columns.finish());
        Ok(Self { id, base: Arc::new(base), live, items: items.len() })
    }

    /// From its parts, which fit each other.
    pub(super) fn restore(id: u32, segment: Segment, columns: Columns, live: Allowed) -> Self {
        let items = live.count();
        Self { id, base: Arc::new(Base::new(segment, columns)), live, items }
    }

    pub(super) fn columns(&self) -> &Columns {
        &self.base.columns
    }

    pub(super) fn live(&self) -> &Allowed {
        &self.live
    }

    /// Whether its attributes are those of the schema.
    pub(super) fn has(&self, schema: &Schema) -> bool {
        Columns::builder(schema).finish().attributes().eq(self.base.columns.attributes())
    }

    pub(super) fn segment(&self) -> &Segment {
        &self.base.segment
    }

    /// The living that a filter selects.
    pub(super) fn allowed(&self, filter: Option<&Filter>) -> Allowed {
        filter.map_or_else(|| self.live.clone(), |filter| self.live.and(&filter.select(&self.base.columns)))
    }

    /// The living whose row is in a set.
    pub(super) fn allowed_rows(&self, rows: &Allowed) -> Allowed {
        let rows = self.base.segment.places().map(|row| row.is_some_and(|row| rows.contains(row)));
        self.live.and_each(rows)
    }

    /// The rows at some places, which hold items.
    pub(super) fn rows_at<'a>(&'a self, places: &'a Allowed) -> impl Iterator<Item = u32> + 'a {
        places.iter().filter_map(|place| self.base.segment.row(place))
    }

    /// A filter made ready for the places of this segment.
    pub(super) fn bind<'a>(&'a self, filter: &'a Filter) -> Bound<'a> {
        filter.bind(&self.base.columns)
    }

    /// The place of the living item of a row.
    pub(super) fn place(&self, row: u32) -> Option<u32> {
        let row_at = |place: &u32| self.base.segment.row(*place).expect("places that hold items");
        let at = self.base.by_row.binary_search_by_key(&row, row_at).ok()?;
        Some(self.base.by_row[at]).filter(|place| self.live.contains(*place))
    }

    /// The largest row, of the living or not.
    pub(super) fn row_max(&self) -> Option<u32> {
        self.base.by_row.last().and_then(|place| self.base.segment.row(*place))
    }

    pub(super) fn vector(&self, place: u32) -> &[f32] {
        self.base.segment.vector(place as usize)
    }

    pub(super) fn value(&self, place: u32, attribute: &str) -> Option<Value> {
        self.base.columns.value(attribute, place)
    }

    /// How many items it was built with.
    pub(super) fn items_built(&self) -> usize {
        self.base.segment.items()
    }

    pub(super) fn kill(&mut self, place: u32) {
        self.items -= usize::from(self.live.remove(place));
    }

    /// The places and rows of the living.
    pub(super) fn living(&self) -> impl Iterator<Item = (u32, u32)> {
        let living = |(place, row): (u32, Option<u32>)| Some((place, row.filter(|_| self.live.contains(place))?));
        (0..).zip(self.base.segment.places()).filter_map(living)
    }

    /// The item at a place that is alive.
    pub(super) fn item(&self, place: u32, row: u32) -> Item {
        let attributes = self.base.columns.row(place).into_iter().map(|(name, value)| (name.to_owned(), value));
        Item { row, vector: self.base.segment.vector(place as usize).to_vec(), attributes: attributes.collect() }
    }

    /// Bytes held by vectors and their screen.
    pub(super) fn bytes(&self) -> usize {
        self.base.segment.bytes()
    }
}
