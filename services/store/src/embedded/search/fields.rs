//! How an entry lies in a tantivy index: which fields there are, and what they are for.

use std::collections::BTreeMap;

use attune_ranking::attributes::{Kind, Schema, Value, number_key};
use tantivy::TantivyDocument;
use tantivy::schema::{
    self as tantivy_schema, FAST, Field, INDEXED, IndexRecordOption, NumericOptions, STORED, STRING, TextFieldIndexing,
    TextOptions,
};
use tantivy::tokenizer::{AsciiFoldingFilter, LowerCaser, RemoveLongFilter, SimpleTokenizer, TextAnalyzer};

use crate::search::Entry;

/// The name of the analyser of titles and texts.
pub(super) const WORDS: &str = "words";
/// Words of more bytes are not searched.
const WORD_BYTES_MAX: usize = 64;
const RAW: &str = "raw";

/// The fields of one index.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub(super) id: Field,
    pub(super) title: Field,
    pub(super) text: Field,
    /// Set where an entry was deleted: such a document keeps the version of the deletion, and is never found.
    pub(super) deleted: Field,
    version: Field,
    tie: Field,
    attributes: BTreeMap<String, Column>,
}

/// The field of one attribute.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) field: Field,
    pub(super) name: String,
    pub(super) kind: Kind,
}

pub(super) const VERSION: &str = "version";
pub(super) const TIE: &str = "tie";

impl Fields {
    /// The fields for a schema. Attributes are called by their place in it, since their names may have any characters.
    pub(super) fn new(schema: &Schema) -> (tantivy_schema::Schema, Self) {
        let mut builder = tantivy_schema::Schema::builder();
        // Without positions: nothing asks for phrases.
        let words = TextFieldIndexing::default().set_tokenizer(WORDS).set_index_option(IndexRecordOption::WithFreqs);
        let words = TextOptions::default().set_indexing_options(words).set_stored();
        let fields = Self {
            id: builder.add_text_field("id", STRING | STORED),
            title: builder.add_text_field("title", words.clone()),
            text: builder.add_text_field("text", words),
            deleted: builder.add_bool_field("deleted", INDEXED),
            version: builder.add_u64_field(VERSION, FAST),
            tie: builder.add_i64_field(TIE, FAST),
            attributes: schema
                .iter()
                .enumerate()
                .map(|(place, (attribute, kind))| {
                    let name = format!("a{place}");
                    (attribute.to_owned(), Column { field: add(&mut builder, &name, kind), name, kind })
                })
                .collect(),
        };
        (builder.build(), fields)
    }

    /// The field of an attribute.
    pub(super) fn column(&self, attribute: &str) -> Option<&Column> {
        self.attributes.get(attribute)
    }

    /// A document for an entry. What the schema does not have, or has as another kind, is left out.
    pub(super) fn document(&self, entry: &Entry) -> TantivyDocument {
        let mut document = self.bare(&entry.id, entry.version);
        document.add_text(self.title, &entry.title);
        document.add_text(self.text, &entry.text);
        for (attribute, value) in &entry.attributes {
            let Some(column) = self.column(attribute).filter(|column| column.kind == value.kind()) else { continue };
            match value {
                Value::Keyword(keyword) => document.add_text(column.field, keyword),
                Value::Keywords(keywords) => {
                    let distinct: std::collections::BTreeSet<&String> = keywords.iter().collect();
                    distinct.into_iter().for_each(|keyword| document.add_text(column.field, keyword));
                }
                Value::Number(number) => document.add_i64(column.field, number_key(*number)),
                Value::Boolean(flag) => document.add_bool(column.field, *flag),
                Value::Time(micros) => document.add_i64(column.field, *micros),
            }
        }
        document
    }

    /// What stays of a deleted entry.
    pub(super) fn tombstone(&self, id: &str, version: u64) -> TantivyDocument {
        let mut document = self.bare(id, version);
        document.add_bool(self.deleted, true);
        document
    }

    fn bare(&self, id: &str, version: u64) -> TantivyDocument {
        let mut document = TantivyDocument::default();
        document.add_text(self.id, id);
        document.add_u64(self.version, version);
        document.add_i64(self.tie, crate::search::tie(id));
        document
    }
}

/// Numbers and times are read as columns alone: they have too many values for lists of the documents of each.
fn add(builder: &mut tantivy_schema::SchemaBuilder, name: &str, kind: Kind) -> Field {
    match kind {
        Kind::Keyword | Kind::KeywordList => {
            let raw = TextFieldIndexing::default()
                .set_tokenizer(RAW)
                .set_fieldnorms(false)
                .set_index_option(IndexRecordOption::Basic);
            builder.add_text_field(name, TextOptions::default().set_indexing_options(raw).set_fast(RAW))
        }
        Kind::Number | Kind::Time => builder.add_i64_field(name, FAST),
        Kind::Boolean => builder.add_bool_field(name, NumericOptions::default().set_indexed().set_fast()),
    }
}

/// How titles, texts and queries become words: runs of letters and digits, in lower case, without accents.
pub(super) fn analyser() -> TextAnalyzer {
    TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(RemoveLongFilter::limit(WORD_BYTES_MAX))
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .build()
}
