//! One pass over everything that matches: the hits of a page, how many there are, and the values of facets.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use attune_ranking::attributes::{Kind, number_key};
use tantivy::collector::{Collector, SegmentCollector};
use tantivy::columnar::{Column, StrColumn};
use tantivy::{COLLECT_BLOCK_BUFFER_LEN, DocAddress, DocId, Score, SegmentOrdinal, SegmentReader};

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

/// The score of everything where no words are sought.
const SCORE_WITHOUT_WORDS: Score = 1.0;

/// What hits are sorted by.
#[derive(Clone, Debug)]
pub(super) enum Order {
    /// How well they have the words.
    Score,
    /// Nothing: there are no words, so that all are as good as each other, and need no score.
    Alike,
    /// A column, and whether the greatest is first.
    Column(String, bool),
}

/// What to collect.
#[derive(Clone, Debug)]
pub(super) struct PageCollector {
    pub(super) order: Order,
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
    /// Matches that are not counted in the facets yet: a block of them costs a part of what each by itself does.
    uncounted: Vec<DocId>,
    rows: Rows,
}

enum Ranks {
    Score,
    Alike,
    Column(Column<i64>, bool),
    /// No entry of the segment has a value.
    Absent,
}

enum Counts {
    /// How often each term occurs, and the terms of a block.
    Keywords(StrColumn, Vec<u64>, Vec<u64>),
    Flags(Column<bool>, [u64; 2], Vec<bool>),
    Absent,
}

/// Where the values of a block of documents stand in a column.
#[derive(Default)]
struct Rows {
    documents: Vec<DocId>,
    rows: Vec<u32>,
}

impl Rows {
    /// Writes all values of some documents.
    fn values<T: Copy + Default + PartialOrd + std::fmt::Debug + Send + Sync + 'static>(
        &mut self,
        column: &Column<T>,
        documents: &[DocId],
        values: &mut Vec<T>,
    ) {
        self.documents.clear();
        self.rows.clear();
        column.row_ids_for_docs(documents, &mut self.documents, &mut self.rows);
        values.resize(self.rows.len(), T::default());
        column.values.get_vals(&self.rows, values);
    }
}

impl Collector for PageCollector {
    type Fruit = Collected;
    type Child = OfSegment;

    fn for_segment(&self, segment: SegmentOrdinal, reader: &SegmentReader) -> tantivy::Result<OfSegment> {
        let columns = reader.fast_fields();
        let order = match &self.order {
            Order::Score => Ranks::Score,
            Order::Alike => Ranks::Alike,
            Order::Column(name, descending) => {
                columns.column_opt(name)?.map_or(Ranks::Absent, |column| Ranks::Column(column, *descending))
            }
        };
        let counts = |(name, kind): &(String, Kind)| -> tantivy::Result<Counts> {
            Ok(match kind {
                Kind::Boolean => {
                    columns.column_opt(name)?.map_or(Counts::Absent, |column| Counts::Flags(column, [0, 0], Vec::new()))
                }
                _ => columns.str(name)?.map_or(Counts::Absent, |column| {
                    let terms = column.num_terms();
                    Counts::Keywords(column, vec![0; terms], Vec::new())
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
            uncounted: Vec::with_capacity(2 * COLLECT_BLOCK_BUFFER_LEN),
            rows: Rows::default(),
        })
    }

    fn requires_scoring(&self) -> bool {
        matches!(self.order, Order::Score)
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
        self.show(document, score);
        self.count(&[document]);
    }

    fn collect_block(&mut self, documents: &[DocId]) {
        documents.iter().for_each(|document| self.show(*document, SCORE_WITHOUT_WORDS));
        self.count(documents);
    }

    fn harvest(mut self) -> tantivy::Result<Collected> {
        self.count_block();
        let facets = self.facets.into_iter().map(Counts::values).collect::<std::io::Result<_>>()?;
        Ok(Collected { hits: self.hits.into_vec(), matches: self.matches, facets })
    }
}

impl OfSegment {
    /// Keeps a match if it is among the first behind the place that was asked for.
    fn show(&mut self, document: DocId, score: Score) {
        if self.limit == 0 {
            return;
        }
        let key = Reverse(self.order.key(document, score));
        let last = self.hits.peek().filter(|_| self.hits.len() == self.limit).map(|(last, _)| *last);
        // Most are told apart by what they are sorted by, and what decides between equals need not be read.
        if last.is_some_and(|last| key > last.key) || self.after.is_some_and(|after| key < after.key) {
            return;
        }
        let place = Place { key, tie: self.tie.first(document).unwrap_or(0) };
        if last.is_some_and(|last| place > last) || self.after.is_some_and(|after| place <= after) {
            return;
        }
        if last.is_some() {
            self.hits.pop();
        }
        self.hits.push((place, DocAddress::new(self.segment, document)));
    }

    fn count(&mut self, documents: &[DocId]) {
        self.matches += documents.len() as u64;
        if self.facets.is_empty() {
            return;
        }
        self.uncounted.extend_from_slice(documents);
        if self.uncounted.len() >= COLLECT_BLOCK_BUFFER_LEN {
            self.count_block();
        }
    }

    fn count_block(&mut self) {
        self.facets.iter_mut().for_each(|counts| counts.add(&self.uncounted, &mut self.rows));
        self.uncounted.clear();
    }
}

impl Ranks {
    /// Greater is earlier; entries without a value have the least.
    fn key(&self, document: DocId, score: Score) -> i64 {
        match self {
            Self::Score => number_key(f64::from(score)),
            Self::Alike => number_key(f64::from(SCORE_WITHOUT_WORDS)),
            Self::Column(column, descending) => {
                column.first(document).map_or(i64::MIN, |key| if *descending { key } else { !key })
            }
            Self::Absent => i64::MIN,
        }
    }
}

impl Counts {
    fn add(&mut self, documents: &[DocId], rows: &mut Rows) {
        match self {
            Self::Keywords(column, counts, terms) => {
                rows.values(column.ords(), documents, terms);
                terms.iter().for_each(|term| counts[*term as usize] += 1);
            }
            Self::Flags(column, counts, flags) => {
                rows.values(column, documents, flags);
                flags.iter().for_each(|flag| counts[usize::from(*flag)] += 1);
            }
            Self::Absent => {}
        }
    }

    fn values(self) -> std::io::Result<HashMap<String, u64>> {
        let mut values = HashMap::new();
        match self {
            Self::Keywords(column, counts, _) => {
                let (terms, counts): (Vec<u64>, Vec<u64>) = (0..).zip(counts).filter(|(_, count)| *count > 0).unzip();
                let mut counts = counts.into_iter();
                // In one pass: to look up a term by itself is to unpack the block that it is in.
                column.dictionary().sorted_ords_to_term_cb(&terms, |text| {
                    let text = String::from_utf8_lossy(text).into_owned();
                    values.extend(Some(text).zip(counts.next()));
                })?;
            }
            Self::Flags(_, counts, _) => {
                let named = ["false", "true"].into_iter().zip(counts).filter(|(_, count)| *count > 0);
                values.extend(named.map(|(flag, count)| (flag.to_owned(), count)));
            }
            Self::Absent => {}
        }
        Ok(values)
    }
}
