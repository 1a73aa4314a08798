//! A segment with its items' attributes, and which of them are still alive.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Allowed, IndexError, Item, Segment};
use crate::attributes::{Columns, Schema};
use crate::filter::Filter;

/// What never changes once it is built; attributes are by place.
#[derive(Debug)]
struct Base {
    segment: Segment,
    columns: Columns,
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
        Ok(Self { id, base: Arc::new(Base { segment, columns: columns.finish() }), live, items: items.len() })
    }

    /// From its parts, which fit each other.
    pub(super) fn restore(id: u32, segment: Segment, columns: Columns, live: Allowed) -> Self {
        let items = live.count();
        Self { id, base: Arc::new(Base { segment, columns }), live, items }
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
