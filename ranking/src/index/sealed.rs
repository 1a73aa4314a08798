//! A segment with its items' attributes, and which of them are still alive.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::by_row::ByRow;
use super::layout::Layout;
use super::search::{Mask, Search};
use super::subset::Key;
use super::top::Top;
use super::{Allowed, IndexError, Item, Segment};
use crate::attributes::{Columns, Schema, Value};
use crate::filter::{Bound, Filter};

/// A set of rows that is smaller than one in so many items is looked up row by row, else place by place.
const ROWS_SOUGHT: usize = 32;
/// More queries than these have the places of a set of rows worked out before the scan, fewer block by block in it.
const QUERIES_AT_ONCE: usize = 2;

/// Which items a search is among.
#[derive(Clone, Copy, Debug)]
pub(super) enum Among<'a> {
    /// Those that fulfil a filter, or all.
    Filter(Option<&'a Filter>),
    /// Those of these rows.
    Rows(&'a Allowed),
}

/// What never changes once it is built; attributes are by place.
#[derive(Debug)]
struct Base {
    segment: Segment,
    columns: Columns,
    by_row: ByRow,
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
        Self { by_row: ByRow::new(places), segment, columns }
    }
}

impl Sealed {
    /// Lays out items, whose rows differ and whose attributes fit the schema. A vector goes as soon as it is copied: all of
    /// them in a third place would be most of what this takes.
    pub(super) fn build(
        id: u32,
        mut items: Vec<Item>,
        width: usize,
        schema: &Schema,
        threads: usize,
    ) -> Result<Self, IndexError> {
        let mut vectors = Vec::with_capacity(items.len() * width);
        items.iter_mut().for_each(|item| vectors.extend(std::mem::take(&mut item.vector)));
        let rows: Vec<u32> = items.iter().map(|item| item.row).collect();
        let segment = Segment::build_of(Cow::Owned(vectors), width, &rows, threads)?;
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

    /// Shows the tops what it has among some of its items; `search` allows all.
    pub(super) fn search_into(&self, search: &Search<'_>, among: Among<'_>, tops: &mut [Top]) {
        let segment = self.segment();
        let among_places = |allowed: &Allowed, tops: &mut [Top]| {
            segment.search_into(&Search { allowed: Some(allowed), ..*search }, Mask::Places(allowed), tops);
        };
        if let Some(subset) = self.subset(among, tops.len()) {
            return subset.search_into(search, Mask::Living(&self.live), tops);
        }
        match among {
            Among::Filter(None) if self.items == segment.items() => segment.search_into(search, Mask::All, tops),
            Among::Filter(None) => among_places(&self.live, tops),
            Among::Filter(Some(filter)) => among_places(&self.live.and(&filter.select(&self.base.columns)), tops),
            Among::Rows(rows) if rows.count() < segment.items() / ROWS_SOUGHT => {
                let places = rows.iter().filter_map(|row| self.place(row));
                among_places(&Allowed::new(self.base.segment.places().len(), places), tops);
            }
            // Many queries look at nearly all blocks, and a scan elsewhere wants places.
            Among::Rows(rows) if tops.len() > QUERIES_AT_ONCE || segment.scan.is_some() => {
                among_places(&self.live.and_rows(rows, &segment.layout.rows), tops);
            }
            Among::Rows(rows) => segment.search_into(search, Mask::Rows { rows, live: &self.live }, tops),
        }
    }

    /// The items, of the living and the dead, if they are laid out for themselves.
    fn subset(&self, among: Among<'_>, queries: usize) -> Option<Arc<Layout>> {
        let Base { segment, columns, by_row } = &*self.base;
        let all = || Allowed::new(segment.places().len(), by_row.places().iter().copied());
        match among {
            Among::Filter(None) => None,
            Among::Filter(Some(filter)) => {
                let places = || all().and(&filter.select(columns));
                segment.subset(Key::Filter(Cow::Borrowed(filter)), queries, places)
            }
            Among::Rows(rows) => {
                let places = || all().and_rows(rows, &segment.layout.rows);
                segment.subset(Key::Rows(Cow::Borrowed(rows)), queries, places)
            }
        }
    }

    /// Shows the rows of the living that a filter selects, or of all.
    pub(super) fn each_row(&self, filter: Option<&Filter>, mut show: impl FnMut(u32)) {
        let rows = &self.base.segment.layout.rows;
        match filter {
            None => self.live.iter().for_each(|place| show(rows[place as usize])),
            Some(filter) => {
                let selected = filter.select(&self.base.columns);
                let living = selected.iter().filter(|place| self.live.contains(*place));
                living.for_each(|place| show(rows[place as usize]));
            }
        }
    }

    /// A filter made ready for the places of this segment.
    pub(super) fn bind<'a>(&'a self, filter: &'a Filter) -> Bound<'a> {
        filter.bind(&self.base.columns)
    }

    /// The place of the living item of a row.
    pub(super) fn place(&self, row: u32) -> Option<u32> {
        self.base.by_row.place(row).filter(|place| self.live.contains(*place))
    }

    /// The largest row, of the living or not.
    pub(super) fn row_max(&self) -> Option<u32> {
        self.base.by_row.row_max()
    }

    pub(super) fn vector(&self, place: u32) -> &[f32] {
        self.base.segment.layout.vector(place as usize)
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
        Item { row, vector: self.base.segment.layout.vector(place as usize).to_vec(), attributes: attributes.collect() }
    }

    /// Bytes held by vectors, their screen and their rows.
    pub(super) fn bytes(&self) -> usize {
        self.base.segment.bytes() + self.base.by_row.bytes()
    }
}
