//! Messages as the requests that they stand for, and answers as messages.

use attune_api::{
    ApiError, ErrorCode,
    catalogue::AttributeKind,
    content::Condition,
    rest::{
        Timestamp,
        content::{
            Asset, AssetList, AssetRequest, Facet, FacetValue, Highlight, Hit, Item, ItemBody, ItemSchema, Review,
            ReviewBody, ReviewList, ReviewPatch, SearchAnswer, SearchMode, SearchRequest,
        },
        sentiment::SentimentResult,
    },
    structs, v1,
};
use prost_types::{Struct, Timestamp as ProtoTimestamp};
use serde_json::{Map, Value};

/// What a write demands.
pub(crate) fn condition(message: Option<v1::Condition>) -> Condition {
    use v1::condition::Expect;
    match message.and_then(|message| message.expect) {
        None => Condition::None,
        Some(Expect::Absent(())) => Condition::Absent,
        Some(Expect::Present(())) => Condition::Present,
        Some(Expect::Version(version)) => Condition::Version(version),
    }
}

/// Free fields as JSON.
pub(crate) fn fields(of: Option<Struct>, pointer: &str) -> Result<Map<String, Value>, ApiError> {
    structs::to_json(of.unwrap_or_default())
        .ok_or_else(|| ApiError::at(ErrorCode::Invalid, pointer, "a number is not finite: JSON has no such numbers"))
}

/// A moment of an answer. What a service wrote is one.
pub(crate) fn moment(text: &str) -> Option<ProtoTimestamp> {
    Timestamp::parse(text).map(Timestamp::to_proto)
}

/// Numbers of answers are bounded far below 2^32.
pub(crate) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

pub(super) fn item_body(message: Option<v1::ItemBody>) -> Result<ItemBody, ApiError> {
    let v1::ItemBody { title, text, attributes, hidden, published_at, expires_at } = message.unwrap_or_default();
    Ok(ItemBody {
        title,
        text,
        attributes: fields(attributes, "/attributes")?,
        hidden,
        published_at: written(published_at, "/published_at")?,
        expires_at: written(expires_at, "/expires_at")?,
    })
}

fn written(time: Option<ProtoTimestamp>, pointer: &str) -> Result<Option<Value>, ApiError> {
    let Some(time) = time else { return Ok(None) };
    let outside = || ApiError::at(ErrorCode::Invalid, pointer, "a time of the years 1 to 9999 is needed");
    let time = Timestamp::from_proto(&time).ok_or_else(outside)?;
    Ok(Some(Value::String(time.text())))
}

pub(super) fn item(item: Item) -> v1::Item {
    let Item { id, version, body, review_count, sentiment, sentiment_trend } = item;
    let shown = |time: Option<Value>| time.as_ref().and_then(Value::as_str).and_then(moment);
    let body = v1::ItemBody {
        title: body.title,
        text: body.text,
        attributes: Some(structs::from_json(body.attributes)),
        hidden: body.hidden,
        published_at: shown(body.published_at),
        expires_at: shown(body.expires_at),
    };
    v1::Item { id, version, body: Some(body), review_count, sentiment, sentiment_trend }
}

pub(super) fn rejected(index: usize, id: Option<String>, error: &ApiError) -> v1::RejectedItem {
    v1::RejectedItem { index: count(index), id: id.unwrap_or_default(), error: Some(error.into()) }
}

pub(super) fn schema(message: v1::ItemSchema) -> Result<ItemSchema, ApiError> {
    use v1::AttributeKind as Said;
    let kind = |(name, number): (String, i32)| {
        let kind = match Said::try_from(number) {
            Ok(Said::Keyword) => AttributeKind::Keyword,
            Ok(Said::Keywords) => AttributeKind::Keywords,
            Ok(Said::Number) => AttributeKind::Number,
            Ok(Said::Boolean) => AttributeKind::Boolean,
            Ok(Said::Time) => AttributeKind::Time,
            Ok(Said::Unspecified) | Err(_) => {
                let pointer = format!("/attributes/{}", attune_api::pointer::escaped(&name));
                let detail = format!("there is no AttributeKind of number {number}");
                return Err(ApiError::at(ErrorCode::Invalid, pointer, detail));
            }
        };
        Ok((name, kind))
    };
    Ok(ItemSchema { attributes: message.attributes.into_iter().map(kind).collect::<Result<_, _>>()? })
}

pub(super) fn schema_message(schema: ItemSchema) -> v1::ItemSchema {
    let kind = |kind: AttributeKind| match kind {
        AttributeKind::Keyword => v1::AttributeKind::Keyword,
        AttributeKind::Keywords => v1::AttributeKind::Keywords,
        AttributeKind::Number => v1::AttributeKind::Number,
        AttributeKind::Boolean => v1::AttributeKind::Boolean,
        AttributeKind::Time => v1::AttributeKind::Time,
    };
    let attributes = schema.attributes.into_iter().map(|(name, of)| (name, kind(of).into())).collect();
    v1::ItemSchema { attributes }
}

pub(super) fn search(message: v1::SearchRequest) -> Result<SearchRequest, ApiError> {
    let v1::SearchRequest { q, filter, facets, k, cursor, mode } = message;
    let mode = match v1::SearchMode::try_from(mode) {
        Ok(v1::SearchMode::Unspecified | v1::SearchMode::Text) => SearchMode::Text,
        Ok(v1::SearchMode::Semantic) => SearchMode::Semantic,
        Ok(v1::SearchMode::Hybrid) => SearchMode::Hybrid,
        Err(_) => {
            return Err(ApiError::at(ErrorCode::Invalid, "/mode", format!("there is no SearchMode of number {mode}")));
        }
    };
    let facets = (!facets.is_empty()).then(|| facets.join(","));
    Ok(SearchRequest { q, filter, facets, k: k.map(|k| k as usize), cursor, mode })
}

pub(super) fn found(answer: SearchAnswer) -> v1::SearchResponse {
    let SearchAnswer { hits, matches, facets, approximate, next_cursor } = answer;
    let mark = |(start, end)| v1::Mark { start: count(start), end: count(end) };
    let highlight = |Highlight { text, marks }| v1::Highlight { text, marks: marks.into_iter().map(mark).collect() };
    let hit =
        |hit: Hit| v1::Hit { score: hit.score, highlight: hit.highlight.map(highlight), item: Some(item(hit.item)) };
    let value = |FacetValue { value, count }| v1::FacetValue { value, count };
    let facet = |Facet { attribute, values }| v1::Facet { attribute, values: values.into_iter().map(value).collect() };
    v1::SearchResponse {
        hits: hits.into_iter().map(hit).collect(),
        matches,
        facets: facets.into_iter().map(facet).collect(),
        approximate,
        next_cursor,
    }
}

pub(super) fn review_body(message: Option<v1::ReviewBody>) -> ReviewBody {
    let v1::ReviewBody { user_id, rating, text } = message.unwrap_or_default();
    ReviewBody { user_id, rating, text }
}

pub(super) fn decided(message: &v1::ModerateReviewRequest) -> ReviewPatch {
    ReviewPatch { moderated: message.moderated, hidden: message.hidden }
}

pub(super) fn review(review: Review) -> v1::Review {
    let Review { id, item_id, created_at, body, sentiment, moderated, hidden } = review;
    let ReviewBody { user_id, rating, text } = body;
    let judged = |SentimentResult { label, score, scores, truncated }| v1::Sentiment {
        label,
        score,
        scores: scores.into_iter().collect(),
        truncated,
    };
    v1::Review {
        id,
        item_id,
        created_at: moment(&created_at),
        body: Some(v1::ReviewBody { user_id, rating, text }),
        sentiment: sentiment.map(judged),
        moderated,
        hidden,
    }
}

pub(super) fn reviews(list: ReviewList) -> v1::ListReviewsResponse {
    v1::ListReviewsResponse { reviews: list.reviews.into_iter().map(review).collect(), next_cursor: list.next_cursor }
}

pub(super) fn asset_request(message: v1::AddAssetRequest) -> (String, AssetRequest) {
    let v1::AddAssetRequest { item_id, name, good_for_s } = message;
    (item_id, AssetRequest { name, good_for_s })
}

pub(super) fn asset(asset: Asset) -> v1::Asset {
    let Asset { name, url, method, expires_at, bytes } = asset;
    v1::Asset { name, url, method, expires_at: moment(&expires_at), bytes }
}

pub(super) fn assets(list: AssetList) -> v1::ListAssetsResponse {
    v1::ListAssetsResponse { assets: list.assets.into_iter().map(asset).collect(), next_cursor: list.next_cursor }
}
