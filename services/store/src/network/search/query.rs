//! A query as Elasticsearch takes it, and a page out of what it answers. Pure.

use attune_ranking::attributes::{Kind, Schema, key_number, number_key};
use attune_ranking::filter::Filter;
use serde_json::{Map, Value, json};

use super::filter;
use super::mapping::field;
use crate::search::{Cursor, Facet, Fragment, Hit, MARKS, Order, Page, Query, facet_kind, invalid, order_kind};
use crate::{ErrorKind, StoreError, StoreKind};

/// How much more a word in a title counts.
const TITLE_BOOST: f32 = 2.0;

/// The body of a search.
///
/// # Errors
/// `Invalid`: the filter, a facet or the order does not fit the schema.
pub(super) fn body(query: &Query, schema: &Schema, is_approximate: bool) -> Result<Value, StoreError> {
    let mut condition = Map::new();
    condition.insert("must_not".into(), json!([{"term": {"deleted": true}}]));
    if !query.text.trim().is_empty() {
        let words = |boost: f32| {
            let mut words = json!({"query": query.text, "operator": "and", "boost": boost});
            if is_approximate {
                words["fuzziness"] = "AUTO".into();
            }
            words
        };
        condition.insert("must".into(), json!([{"match": {"all": words(1.0)}}]));
        let mut title = words(TITLE_BOOST - 1.0);
        title["operator"] = "or".into();
        condition.insert("should".into(), json!([{"match": {"title": title}}]));
    }
    if let Some(expr) = &query.filter {
        let filter = Filter::check(expr, schema)
            .map_err(|error| invalid("search", format!("the filter: {error}")).caused_by(error))?;
        condition.insert("filter".into(), json!([filter::compile(filter.root())?]));
    }
    let mut body = json!({
        "query": {"bool": condition},
        // One more says whether there is another page.
        "size": if query.hits_max == 0 { 0 } else { query.hits_max + 1 },
        "sort": sort(query, schema)?,
        "aggs": facets(query, schema)?,
        "_source": false,
        "track_total_hits": true,
        "track_scores": false,
    });
    if let Some(cursor) = query.after {
        body["search_after"] = match query.order {
            Order::Relevance => json!([key_number(cursor.key), cursor.tie]),
            Order::By { .. } => json!([cursor.key, cursor.tie]),
        };
    }
    if query.highlight {
        body["highlight"] = json!({
            "fields": {"text": {}, "title": {}},
            "require_field_match": false,
            "number_of_fragments": 1,
            "fragment_size": 150,
            "pre_tags": [MARKS.0],
            "post_tags": [MARKS.1],
        });
    }
    Ok(body)
}

fn sort(query: &Query, schema: &Schema) -> Result<Value, StoreError> {
    let first = match order_kind(schema, &query.order)? {
        None => json!({"_score": "desc"}),
        Some((attribute, kind, descending)) => {
            // A number in place of `_last`, so that a cursor has one for entries without a value too. No number has it for
            // its key, and no time is that far.
            let (order, missing) = if descending { ("desc", i64::MIN) } else { ("asc", i64::MAX) };
            json!({field(attribute, kind): {"order": order, "missing": missing, "unmapped_type": "long"}})
        }
    };
    Ok(json!([first, {"tie": "asc"}]))
}

fn facets(query: &Query, schema: &Schema) -> Result<Value, StoreError> {
    let mut facets = Map::new();
    for (place, facet) in query.facets.iter().enumerate() {
        let field = field(&facet.attribute, facet_kind(schema, &facet.attribute)?);
        let order = json!([{"_count": "desc"}, {"_key": "asc"}]);
        facets.insert(place.to_string(), json!({"terms": {"field": field, "size": facet.values_max, "order": order}}));
    }
    Ok(facets.into())
}

/// The page that an answer is.
///
/// # Errors
/// `Internal`: the answer lacks what every answer has.
pub(super) fn page(query: &Query, schema: &Schema, answer: &Value, is_approximate: bool) -> Result<Page, StoreError> {
    read(query, schema, answer, is_approximate).ok_or_else(|| {
        StoreError::new(
            StoreKind::Search,
            "search",
            ErrorKind::Internal,
            "the server's answer is not what it should be",
        )
    })
}

fn read(query: &Query, schema: &Schema, answer: &Value, is_approximate: bool) -> Option<Page> {
    let found = answer["hits"]["hits"].as_array()?;
    let shown = &found[..found.len().min(query.hits_max)];
    let hits = shown.iter().map(|hit| {
        let score = if query.order == Order::Relevance { hit["sort"][0].as_f64()? as f32 } else { 0.0 };
        let text = ["text", "title"].into_iter().find_map(|field| hit["highlight"][field][0].as_str());
        Some(Hit { id: hit["_id"].as_str()?.to_owned(), score, fragment: text.map(Fragment::marked) })
    });
    let next = match shown.last() {
        Some(last) if found.len() > shown.len() => Some(cursor(query, &last["sort"], is_approximate)?),
        _ => None,
    };
    let facets = query.facets.iter().enumerate().map(|(place, facet)| {
        let kind = schema.kind(&facet.attribute)?;
        let buckets = answer["aggregations"][place.to_string()]["buckets"].as_array()?;
        let value = |bucket: &Value| {
            let key = if kind == Kind::Boolean { "key_as_string" } else { "key" };
            Some((bucket[key].as_str()?.to_owned(), bucket["doc_count"].as_u64()?))
        };
        Some(Facet { attribute: facet.attribute.clone(), values: buckets.iter().map(value).collect::<Option<_>>()? })
    });
    Some(Page {
        hits: hits.collect::<Option<_>>()?,
        matches: answer["hits"]["total"]["value"].as_u64()?,
        facets: facets.collect::<Option<_>>()?,
        next,
        is_approximate,
    })
}

fn cursor(query: &Query, sort: &Value, is_approximate: bool) -> Option<Cursor> {
    let key = match query.order {
        // As the server has it, in 32 bits.
        Order::Relevance => number_key(f64::from(sort[0].as_f64()? as f32)),
        Order::By { .. } => sort[0].as_i64()?,
    };
    Some(Cursor { key, tie: sort[1].as_i64()?, is_approximate })
}
