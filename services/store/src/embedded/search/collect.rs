//! One pass over everything that matches: the hits of a page, how many there are, and the values of facets.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use attune_ranking::attributes::{Kind, number_key};
use tantivy::collector::{Collector, SegmentCollector};
use tantivy::columnar::{Column, StrColumn};
use tantivy::{DocAddress, DocId, Score, SegmentOrdinal, SegmentReader};

use super::fields::TIE;
use crate::search::Cursor;

/// Where an entry stands in an order; the earlier is the lesser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) key: Reverse<i64>,
    pub(super) tie: i64,
}

impl From<Cursor> for Place {
    fn from(cursor: Cursor) -> Self {
        Self { key: Reverse(cursor.key), tie: cursor.tie }
    }
}

/// What to collect.
#[derive(Clone, Debug)]
pub(super) struct PageCollector {
    /// The column to sort by and whether the greatest is first; by score, if absent.
    pub(super) order: Option<(String, bool)>,
    /// Hits are behind this place.
    pub(super) after: Option<Place>,
    /// How many hits there are at most.
    pub(super) limit: usize,
    /// The columns to count, with their kinds.
    pub(super) facets: Vec<(String, Kind)>,
}

/// What was collected.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// From the first.
    pub(super) hits: Vec<(Place, DocAddress)>,
    pub(super) matches: u64,
    pub(super) facets: Vec<HashMap<String, u64>>,
}

/// The same of one segment.
pub(super) struct OfSegment {
    segment: SegmentOrdinal,
    order: Ranks,
    tie: Column<i64>,
    after: Option<Place>,
    limit: usize,
    /// The last of the hits on top.
    hits: BinaryHeap<(Place, DocAddress)>,
    matches: u64,
    facets: Vec<Counts>,
}

enum Ranks {
    Score,
    Column(Column<i64>, bool),
    /// No entry of the segment has a value.
    Absent,
}

enum Counts {
    Keywords(StrColumn, Vec<u64>),
    Flags(Column<bool>, [u64; 2]),
    Absent,
}

impl Collector for PageCollector {
    type Fruit = Collected;
    type Child = OfSegment;

    fn for_segment(&self, segment: SegmentOrdinal, reader: &SegmentReader) -> tantivy::Result<OfSegment> {
        let columns = reader.fast_fields();
        let order = match &self.order {
            None => Ranks::Score,
            Some((name, descending)) => {
                columns.column_opt(name)?.map_or(Ranks::Absent, |column| Ranks::Column(column, *descending))
            }
        };
        let counts = |(name, kind): &(String, Kind)| -> tantivy::Result<Counts> {
            Ok(match kind {
                Kind::Boolean => {
                    columns.column_opt(name)?.map_or(Counts::Absent, |column| Counts::Flags(column, [0, 0]))
                }
                _ => columns.str(name)?.map_or(Counts::Absent, |column| {
                    let terms = column.num_terms();
                    Counts::Keywords(column, vec![0; terms])
                }),
            })
        };
        Ok(OfSegment {
            segment,
            order,
            tie: columns.i64(TIE)?,
            after: self.after,
            limit: self.limit,
            hits: BinaryHeap::with_capacity(self.limit + 1),
            matches: 0,
            facets: self.facets.iter().map(counts).collect::<tantivy::Result<_>>()?,
        })
    }

    fn requires_scoring(&self) -> bool {
        self.order.is_none()
    }

    fn merge_fruits(&self, segments: Vec<tantivy::Result<Collected>>) -> tantivy::Result<Collected> {
        let mut merged = Collected { facets: vec![HashMap::new(); self.facets.len()], ..Collected::default() };
        for segment in segments {
            let segment = segment?;
            merged.hits.extend(segment.hits);
            merged.matches += segment.matches;
            for (all, counts) in merged.facets.iter_mut().zip(segment.facets) {
                counts.into_iter().for_each(|(value, count)| *all.entry(value).or_default() += count);
            }
        }
        merged.hits.sort_unstable();
        merged.hits.truncate(self.limit);
        Ok(merged)
    }
}

impl SegmentCollector for OfSegment {
    type Fruit = tantivy::Result<Collected>;

    fn collect(&mut self, document: DocId, score: Score) {
        self.matches += 1;
        self.facets.iter_mut().for_each(|counts| counts.add(document));
        let place = Place { key: Reverse(self.order.key(document, score)), tie: self.tie.first(document).unwrap_or(0) };
        if self.limit == 0 || self.after.is_some_and(|after| place <= after) {
            return;
        }
        if self.hits.len() == self.limit {
            if self.hits.peek().is_some_and(|(last, _)| place > *last) {
                return;
            }
            self.hits.pop();
        }
        self.hits.push((place, DocAddress::new(self.segment, document)));
    }

    fn harvest(self) -> tantivy::Result<Collected> {
        let facets = self.facets.into_iter().map(Counts::values).collect::<std::io::Result<_>>()?;
        Ok(Collected { hits: self.hits.into_vec(), matches: self.matches, facets })
    }
}

impl Ranks {
    /// Greater is earlier; entries without a value have the least.
    fn key(&self, document: DocId, score: Score) -> i64 {
        match self {
            Self::Score => number_key(f64::from(score)),
            Self::Column(column, descending) => {
                column.first(document).map_or(i64::MIN, |key| if *descending { key } else { !key })
            }
            Self::Absent => i64::MIN,
        }
    }
}

impl Counts {
    fn add(&mut self, document: DocId) {
        match self {
            Self::Keywords(column, counts) => {
                column.ords().values_for_doc(document).for_each(|term| counts[term as usize] += 1);
            }
            Self::Flags(column, counts) => {
                column.values_for_doc(document).for_each(|flag| counts[usize::from(flag)] += 1);
            }
            Self::Absent => {}
        }
    }

    fn values(self) -> std::io::Result<HashMap<String, u64>> {
        let mut values = HashMap::new();
        match self {
            Self::Keywords(column, counts) => {
                for (term, count) in counts.into_iter().enumerate().filter(|(_, count)| *count > 0) {
                    let mut text = String::new();
                    column.ord_to_str(term as u64, &mut text)?;
                    values.insert(text, count);
                }
            }
            Self::Flags(_, counts) => {
                let named = ["false", "true"].into_iter().zip(counts).filter(|(_, count)| *count > 0);
                values.extend(named.map(|(flag, count)| (flag.to_owned(), count)));
            }
            Self::Absent => {}
        }
        Ok(values)
    }
}
