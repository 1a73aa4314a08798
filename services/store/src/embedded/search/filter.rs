//! A filter as a tantivy query.
//!
//! Columns say which entries have an attribute, so that every comparison wants it to be there and `not` is the exact
//! complement, as [`attune_ranking::filter`] defines.

use std::ops::{Bound, RangeInclusive};

use attune_ranking::filter::{Node, Set, Test};
use tantivy::Term;
use tantivy::query::{AllQuery, BooleanQuery, EmptyQuery, ExistsQuery, Occur, Query, RangeQuery, TermSetQuery};

use super::fields::{Column, Fields};

/// The entries, and what is left of deleted ones, for which a condition holds.
pub(super) fn compile(node: &Node, fields: &Fields) -> Box<dyn Query> {
    let all = |nodes: &[Node]| nodes.iter().map(|node| compile(node, fields)).collect();
    match node {
        Node::All(nodes) => Box::new(BooleanQuery::intersection(all(nodes))),
        Node::Any(nodes) => Box::new(BooleanQuery::union(all(nodes))),
        Node::Not(node) => without(Box::new(AllQuery), compile(node, fields)),
        Node::Test(test) => match fields.column(&test.attribute).filter(|column| column.kind == test.kind) {
            None => Box::new(EmptyQuery),
            Some(column) if test.outside => without(exists(column), among(test, column)),
            Some(column) => among(test, column),
        },
    }
}

fn without(query: Box<dyn Query>, excluded: Box<dyn Query>) -> Box<dyn Query> {
    Box::new(BooleanQuery::new(vec![(Occur::Must, query), (Occur::MustNot, excluded)]))
}

fn exists(column: &Column) -> Box<dyn Query> {
    Box::new(ExistsQuery::new(column.name.clone(), false))
}

/// The entries that have a value in the set.
fn among(test: &Test, column: &Column) -> Box<dyn Query> {
    match &test.set {
        Set::Keywords(keywords) => {
            Box::new(TermSetQuery::new(keywords.iter().map(|keyword| Term::from_field_text(column.field, keyword))))
        }
        Set::Flags { yes, no } => {
            let flags = [(true, *yes), (false, *no)].into_iter().filter(|(_, is_in)| *is_in);
            Box::new(TermSetQuery::new(flags.map(|(flag, _)| Term::from_field_bool(column.field, flag))))
        }
        Set::Keys(ranges) => match &ranges[..] {
            [] => Box::new(EmptyQuery),
            [range] => between(range, column),
            ranges => Box::new(BooleanQuery::union(ranges.iter().map(|range| between(range, column)).collect())),
        },
    }
}

fn between(range: &RangeInclusive<i64>, column: &Column) -> Box<dyn Query> {
    let term = |key: i64| Term::from_field_i64(column.field, key);
    match (*range.start(), *range.end()) {
        (i64::MIN, i64::MAX) => exists(column),
        (i64::MIN, end) => Box::new(RangeQuery::new(Bound::Unbounded, Bound::Included(term(end)))),
        (start, i64::MAX) => Box::new(RangeQuery::new(Bound::Included(term(start)), Bound::Unbounded)),
        (start, end) => Box::new(RangeQuery::new(Bound::Included(term(start)), Bound::Included(term(end)))),
    }
}
