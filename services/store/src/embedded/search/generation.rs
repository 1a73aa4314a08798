//! One index on disk, and what it answers.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

use attune_ranking::attributes::{Schema, key_number};
use attune_ranking::filter::Filter;
use tantivy::collector::Collector;
use tantivy::indexer::IndexWriterOptions;
use tantivy::query::{BooleanQuery, ConstScoreQuery, Occur, Query as TantivyQuery, TermQuery};
use tantivy::schema::{IndexRecordOption, Value as _};
use tantivy::{
    DocAddress, DocSet, Index, IndexReader, IndexWriter, ReloadPolicy, Searcher, TERMINATED, TantivyDocument, Term,
};

use super::collect::{Collected, Order, PageCollector, Place};
use super::error::fault;
use super::fields::{self, Fields, VERSION};
use super::filter;
use super::words::Words;
use crate::search::{Change, Cursor, Facet, Hit, Page, Query, Written, facet_kind, invalid, order_kind};
use crate::{ErrorKind, StoreError, StoreKind};

/// The schema beside tantivy's own files.
const SCHEMA_FILE: &str = "schema.json";
/// What tantivy asks for at least for one thread of a writer. It is used up as documents come, and freed at a commit.
const WRITER_BYTES: usize = 15_000_000;
/// Blocks of stored texts that a reader keeps unpacked, of 16 KiB each.
const STORE_BLOCKS: usize = 8;

/// One index. A reader sees what was committed when it was last reloaded.
pub(super) struct Generation {
    pub(super) schema: Schema,
    index: Index,
    reader: IndexReader,
    fields: Fields,
}

impl Generation {
    /// An empty index in a folder that is not there yet.
    pub(super) fn create(folder: &Path, schema: &Schema) -> Result<Self, StoreError> {
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(folder)?;
            fs::write(folder.join(SCHEMA_FILE), serde_json::to_vec(schema)?)?;
            fs::File::open(folder.join(SCHEMA_FILE))?.sync_all()
        };
        write().map_err(|error| fault("begin", error))?;
        let (tantivy_schema, fields) = Fields::new(schema);
        let index = Index::create_in_dir(folder, tantivy_schema).map_err(|error| fault("begin", error))?;
        Self::over(index, schema.clone(), fields)
    }

    /// The index in a folder, every file of it checked.
    ///
    /// # Errors
    /// `Corrupt`: a file is missing or damaged.
    pub(super) fn open(folder: &Path) -> Result<Self, StoreError> {
        let corrupt = |what: String| {
            let detail = format!("the index in {} cannot be read ({what}): build a new one", folder.display());
            StoreError::new(StoreKind::Search, "open", ErrorKind::Corrupt, detail)
        };
        let text = fs::read(folder.join(SCHEMA_FILE)).map_err(|error| corrupt(format!("{SCHEMA_FILE}: {error}")))?;
        let schema: Schema =
            serde_json::from_slice(&text).map_err(|error| corrupt(format!("{SCHEMA_FILE}: {error}")))?;
        let (tantivy_schema, fields) = Fields::new(&schema);
        let index = Index::open_in_dir(folder).map_err(|error| corrupt(error.to_string()))?;
        if index.schema() != tantivy_schema {
            return Err(corrupt("its fields are not those of its schema".to_owned()));
        }
        let damaged = index.validate_checksum().map_err(|error| corrupt(error.to_string()))?;
        if let Some(file) = damaged.iter().next() {
            return Err(corrupt(format!("the checksum of {} is wrong", file.display())));
        }
        Self::over(index, schema, fields).map_err(|error| corrupt(error.detail))
    }

    fn over(index: Index, schema: Schema, fields: Fields) -> Result<Self, StoreError> {
        index.tokenizers().register(fields::WORDS, fields::analyser());
        let reader =
            index.reader_builder().reload_policy(ReloadPolicy::Manual).doc_store_cache_num_blocks(STORE_BLOCKS);
        let reader = reader.try_into().map_err(|error| fault("open", error))?;
        Ok(Self { schema, index, reader, fields })
    }

    /// A writer: one thread that indexes and one that merges.
    pub(super) fn writer(&self) -> Result<IndexWriter, StoreError> {
        let options = IndexWriterOptions::builder()
            .memory_budget_per_thread(WRITER_BYTES)
            .num_worker_threads(1)
            .num_merge_threads(1)
            .build();
        self.index.writer_with_options(options).map_err(|error| fault("write", error))
    }

    /// Lets what was committed be found.
    pub(super) fn reload(&self) -> Result<(), StoreError> {
        self.reader.reload().map_err(|error| fault("write", error))
    }

    /// Gives the writer those changes that are newer than what there is. `pending` are the versions that the writer has
    /// got since the last commit.
    pub(super) fn apply(
        &self,
        writer: &IndexWriter,
        pending: &mut HashMap<String, u64>,
        changes: &[Change],
    ) -> Result<Written, StoreError> {
        let searcher = self.reader.searcher();
        let mut written = Written::default();
        for change in changes {
            let (id, version) = match change {
                Change::Put(entry) => (&entry.id, entry.version),
                Change::Delete { id, version } => (id, *version),
            };
            let known = match pending.get(id) {
                Some(version) => Some(*version),
                None => self.version(&searcher, id).map_err(|error| fault("write", error))?,
            };
            if known.is_some_and(|known| known >= version) {
                written.stale += 1;
                continue;
            }
            let document = match change {
                Change::Put(entry) => self.fields.document(entry),
                Change::Delete { .. } => self.fields.tombstone(id, version),
            };
            writer.delete_term(Term::from_field_text(self.fields.id, id));
            writer.add_document(document).map_err(|error| fault("write", error))?;
            pending.insert(id.clone(), version);
            written.applied += 1;
        }
        Ok(written)
    }

    fn version(&self, searcher: &Searcher, id: &str) -> tantivy::Result<Option<u64>> {
        let term = Term::from_field_text(self.fields.id, id);
        for segment in searcher.segment_readers() {
            let index = segment.inverted_index(self.fields.id)?;
            let Some(mut postings) = index.read_postings(&term, IndexRecordOption::Basic)? else { continue };
            let mut document = postings.doc();
            while document != TERMINATED {
                if !segment.is_deleted(document) {
                    return Ok(segment.fast_fields().u64(VERSION)?.first(document));
                }
                document = postings.advance();
            }
        }
        Ok(None)
    }

    /// Answers a query.
    pub(super) fn search(&self, query: &Query) -> Result<Page, StoreError> {
        let words = Words::new(&query.text);
        let collector = self.collector(query, &words)?;
        let condition = self.condition(query)?;
        let searcher = self.reader.searcher();
        let run = |is_approximate: bool| -> Result<Collected, StoreError> {
            let query = self.query(words.query(&self.fields, is_approximate), condition.as_deref());
            search_segments(&searcher, query.as_ref(), &collector).map_err(|error| fault("search", error))
        };
        let mut is_approximate = query.after.is_some_and(|cursor| cursor.is_approximate);
        let mut collected = run(is_approximate)?;
        if collected.matches == 0 && !is_approximate && words.can_be_approximate() {
            collected = run(true)?;
            is_approximate = collected.matches > 0;
        }
        self.page(&searcher, query, &words, collected, is_approximate)
    }

    fn collector(&self, query: &Query, words: &Words) -> Result<PageCollector, StoreError> {
        let name = |attribute: &str| self.fields.column(attribute).map(|column| column.name.clone());
        let order = order_kind(&self.schema, &query.order)?;
        let facets = query.facets.iter().map(|facet| {
            let kind = facet_kind(&self.schema, &facet.attribute)?;
            Ok((name(&facet.attribute).unwrap_or_default(), kind))
        });
        Ok(PageCollector {
            order: match order.and_then(|(attribute, _, descending)| Some((name(attribute)?, descending))) {
                Some((column, descending)) => Order::Column(column, descending),
                None if words.are_none() => Order::Alike,
                None => Order::Score,
            },
            after: query.after.map(Place::from),
            // One more says whether there is another page.
            limit: if query.hits_max == 0 { 0 } else { query.hits_max + 1 },
            facets: facets.collect::<Result<_, StoreError>>()?,
        })
    }

    fn condition(&self, query: &Query) -> Result<Option<Box<dyn TantivyQuery>>, StoreError> {
        let Some(expr) = &query.filter else { return Ok(None) };
        let filter = Filter::check(expr, &self.schema)
            .map_err(|error| invalid("search", format!("the filter: {error}")).caused_by(error))?;
        Ok(Some(filter::compile(filter.root(), &self.fields)))
    }

    /// Entries that have the words and meet the condition, which does not count for the score.
    fn query(&self, words: Box<dyn TantivyQuery>, condition: Option<&dyn TantivyQuery>) -> Box<dyn TantivyQuery> {
        let deleted = TermQuery::new(Term::from_field_bool(self.fields.deleted, true), IndexRecordOption::Basic);
        let mut parts: Vec<(Occur, Box<dyn TantivyQuery>)> =
            vec![(Occur::Must, words), (Occur::MustNot, Box::new(deleted))];
        if let Some(condition) = condition {
            parts.push((Occur::Must, Box::new(ConstScoreQuery::new(condition.box_clone(), 0.0))));
        }
        Box::new(BooleanQuery::new(parts))
    }

    fn page(
        &self,
        searcher: &Searcher,
        query: &Query,
        words: &Words,
        mut collected: Collected,
        is_approximate: bool,
    ) -> Result<Page, StoreError> {
        let has_more = collected.hits.len() > query.hits_max;
        collected.hits.truncate(query.hits_max);
        let last = collected.hits.last().filter(|_| has_more);
        let next = last.map(|(place, _)| Cursor { key: place.key.0, tie: place.tie, is_approximate });
        let hits = collected.hits.into_iter().map(|(place, address)| {
            self.hit(searcher, query, words, place, address, is_approximate).map_err(|error| fault("search", error))
        });
        let facets = query.facets.iter().zip(collected.facets).map(|(facet, counts)| {
            let mut values: Vec<(String, u64)> = counts.into_iter().collect();
            values.sort_unstable_by(|(a, ours), (b, theirs)| (Reverse(ours), a).cmp(&(Reverse(theirs), b)));
            values.truncate(facet.values_max);
            Facet { attribute: facet.attribute.clone(), values }
        });
        Ok(Page {
            hits: hits.collect::<Result<_, StoreError>>()?,
            matches: collected.matches,
            facets: facets.collect(),
            next,
            is_approximate,
        })
    }

    fn hit(
        &self,
        searcher: &Searcher,
        query: &Query,
        words: &Words,
        place: Place,
        address: DocAddress,
        is_approximate: bool,
    ) -> tantivy::Result<Hit> {
        let document: TantivyDocument = searcher.doc(address)?;
        let stored = |field| document.get_first(field).and_then(|value| value.as_str()).unwrap_or_default();
        let is_by_score = query.order == crate::search::Order::Relevance;
        let score = if is_by_score { key_number(place.key.0) as f32 } else { 0.0 };
        let texts = [stored(self.fields.text), stored(self.fields.title)];
        let fragment = query.highlight.then(|| words.fragment(texts, is_approximate)).flatten();
        Ok(Hit { id: stored(self.fields.id).to_owned(), score, fragment })
    }
}

fn search_segments(
    searcher: &Searcher,
    query: &dyn TantivyQuery,
    collector: &PageCollector,
) -> tantivy::Result<<PageCollector as Collector>::Fruit> {
    searcher.search(query, collector)
}
