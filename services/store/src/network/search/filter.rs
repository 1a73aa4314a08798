//! A filter as an Elasticsearch query.

use std::ops::RangeInclusive;

use attune_ranking::filter::{Node, Set, Test};
use serde_json::{Map, Value, json};

use super::mapping::field;
use crate::StoreError;
use crate::search::invalid;

/// How deep the server lets queries nest by default (`indices.query.bool.max_nested_depth`), less the one around filters.
const DEPTH_MAX: usize = 29;

/// The entries for which a condition holds.
///
/// # Errors
/// `Invalid`: it nests deeper than the server takes.
pub(super) fn compile(node: &Node) -> Result<Value, StoreError> {
    if depth(node) > DEPTH_MAX {
        let detail =
            format!("the filter nests deeper than {DEPTH_MAX} levels, more than Elasticsearch takes: simplify it");
        return Err(invalid("search", detail));
    }
    Ok(query(node))
}

fn depth(node: &Node) -> usize {
    match node {
        Node::All(nodes) | Node::Any(nodes) => 1 + nodes.iter().map(depth).max().unwrap_or(0),
        Node::Not(node) => 1 + depth(node),
        Node::Test(_) => 2,
    }
}

fn query(node: &Node) -> Value {
    let all = |nodes: &[Node]| nodes.iter().map(query).collect::<Vec<_>>();
    match node {
        Node::All(nodes) => json!({"bool": {"filter": all(nodes)}}),
        Node::Any(nodes) => json!({"bool": {"should": all(nodes), "minimum_should_match": 1}}),
        Node::Not(node) => json!({"bool": {"must_not": [query(node)]}}),
        Node::Test(test) => {
            let field = field(&test.attribute, test.kind);
            let among = among(test, &field);
            match test.outside {
                true => json!({"bool": {"filter": [{"exists": {"field": field}}], "must_not": [among]}}),
                false => among,
            }
        }
    }
}

/// The entries that have a value in the set.
fn among(test: &Test, field: &str) -> Value {
    match &test.set {
        Set::Keywords(keywords) => json!({"terms": {field: keywords}}),
        Set::Flags { yes, no } => {
            let flags: Vec<bool> =
                [(true, *yes), (false, *no)].into_iter().filter(|(_, is_in)| *is_in).map(|(flag, _)| flag).collect();
            json!({"terms": {field: flags}})
        }
        Set::Keys(ranges) => {
            let is_values = ranges.iter().all(|range| range.start() == range.end());
            if is_values {
                return json!({"terms": {field: ranges.iter().map(|range| *range.start()).collect::<Vec<i64>>()}});
            }
            let ranges: Vec<Value> = ranges.iter().map(|range| between(range, field)).collect();
            json!({"bool": {"should": ranges, "minimum_should_match": 1}})
        }
    }
}

fn between(range: &RangeInclusive<i64>, field: &str) -> Value {
    let mut bounds = Map::new();
    if *range.start() != i64::MIN {
        bounds.insert("gte".into(), (*range.start()).into());
    }
    if *range.end() != i64::MAX {
        bounds.insert("lte".into(), (*range.end()).into());
    }
    json!({"range": {field: bounds}})
}
