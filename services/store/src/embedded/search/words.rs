//! The words of a query: which entries have them, and where in a text they are.

use tantivy::Term;
use tantivy::query::{AllQuery, BooleanQuery, BoostQuery, EmptyQuery, FuzzyTermQuery, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::tokenizer::TokenStream;

use super::fields::{self, Fields};
use crate::search::Fragment;

/// How much more a word in a title counts than one in a text.
const TITLE_BOOST: f32 = 2.0;

/// The words that a query has, each once.
pub(super) struct Words {
    words: Vec<String>,
    /// Whether the text was empty, which is no condition; one without a word is a condition that nothing meets.
    is_empty: bool,
}

impl Words {
    pub(super) fn new(text: &str) -> Self {
        let mut words = Vec::new();
        let mut analyser = fields::analyser();
        let mut tokens = analyser.token_stream(text);
        while tokens.advance() {
            if !words.contains(&tokens.token().text) {
                words.push(tokens.token().text.clone());
            }
        }
        Self { words, is_empty: text.trim().is_empty() }
    }

    /// Whether none are looked for, so that everything is as good as everything else.
    pub(super) fn are_none(&self) -> bool {
        self.words.is_empty() && self.is_empty
    }

    /// Whether looking for nearly the same words can find anything else.
    pub(super) fn can_be_approximate(&self) -> bool {
        self.words.iter().any(|word| typos_max(word) > 0)
    }

    /// The entries that have every word.
    pub(super) fn query(&self, fields: &Fields, is_approximate: bool) -> Box<dyn Query> {
        if self.words.is_empty() {
            return if self.are_none() { Box::new(AllQuery) } else { Box::new(EmptyQuery) };
        }
        let word = |word: &String| -> Box<dyn Query> {
            let title = boost(in_field(fields.title, word, is_approximate), TITLE_BOOST);
            Box::new(BooleanQuery::union(vec![title, in_field(fields.text, word, is_approximate)]))
        };
        Box::new(BooleanQuery::intersection(self.words.iter().map(word).collect()))
    }

    /// The words in the first of the texts that has any.
    pub(super) fn fragment(&self, texts: [&str; 2], is_approximate: bool) -> Option<Fragment> {
        texts.into_iter().find_map(|text| {
            let mut found = Vec::new();
            let mut analyser = fields::analyser();
            let mut tokens = analyser.token_stream(text);
            while tokens.advance() {
                let token = tokens.token();
                if self.words.iter().any(|word| is_same(word, &token.text, is_approximate)) {
                    found.push(token.offset_from..token.offset_to);
                }
            }
            Fragment::around(text, &found)
        })
    }
}

/// A word as it is scores by BM25, and a nearly equal one by the number of letters that are off: how rare it is says
/// nothing about what was meant.
fn in_field(field: Field, word: &str, is_approximate: bool) -> Box<dyn Query> {
    let term = Term::from_field_text(field, word);
    let typos = if is_approximate { typos_max(word) } else { 0 };
    if typos == 0 {
        return Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs));
    }
    let within = |distance| -> Box<dyn Query> { Box::new(FuzzyTermQuery::new(term.clone(), distance, true)) };
    Box::new(BooleanQuery::union((1..=typos).map(within).collect()))
}

fn boost(query: Box<dyn Query>, by: f32) -> Box<dyn Query> {
    Box::new(BoostQuery::new(query, by))
}

/// How many letters of a word may be off: what Elasticsearch's `fuzziness: AUTO` allows.
fn typos_max(word: &str) -> u8 {
    match word.chars().count() {
        0..=2 => 0,
        3..=5 => 1,
        _ => 2,
    }
}

fn is_same(word: &str, token: &str, is_approximate: bool) -> bool {
    word == token || is_approximate && strsim::osa_distance(word, token) <= usize::from(typos_max(word))
}
