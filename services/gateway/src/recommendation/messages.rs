//! Messages as the requests that they stand for.

use attune_api::{
    ApiError, ErrorCode,
    rest::{
        Timestamp,
        recommendation::{Context, HistoryEvent, RankRequest, RecommendRequest, SimilarRequest, TrendingRequest},
    },
    v1,
};

/// Who it is for, as REST says it.
#[derive(Default)]
struct Who {
    user_id: Option<String>,
    anonymous_id: Option<String>,
    history: Option<Vec<HistoryEvent>>,
}

pub(super) fn recommend(message: v1::RecommendRequest) -> Result<RecommendRequest, ApiError> {
    use v1::recommend_request::Who as Said;
    let Who { user_id, anonymous_id, history } = match message.who {
        Some(Said::UserId(id)) => Who { user_id: Some(id), ..Who::default() },
        Some(Said::AnonymousId(id)) => Who { anonymous_id: Some(id), ..Who::default() },
        Some(Said::History(events)) => Who { history: Some(history(events)?), ..Who::default() },
        None => Who::default(),
    };
    Ok(RecommendRequest {
        user_id,
        anonymous_id,
        history,
        k: message.k.map(|k| k as usize),
        filter: message.filter,
        exclude_ids: Some(message.exclude_ids),
        context: message.context.map(context),
        diversity: message.diversity,
        explain: Some(message.explain),
        pipeline: message.pipeline,
        cursor: message.cursor,
    })
}

pub(super) fn rank(message: v1::RankRequest) -> Result<RankRequest, ApiError> {
    use v1::rank_request::Who as Said;
    let Who { user_id, anonymous_id, history } = match message.who {
        Some(Said::UserId(id)) => Who { user_id: Some(id), ..Who::default() },
        Some(Said::AnonymousId(id)) => Who { anonymous_id: Some(id), ..Who::default() },
        Some(Said::History(events)) => Who { history: Some(history(events)?), ..Who::default() },
        None => Who::default(),
    };
    Ok(RankRequest {
        user_id,
        anonymous_id,
        history,
        item_ids: message.item_ids,
        k: message.k.map(|k| k as usize),
        filter: message.filter,
        context: message.context.map(context),
        diversity: message.diversity,
        explain: Some(message.explain),
        pipeline: message.pipeline,
    })
}

pub(super) fn similar(message: v1::SimilarRequest) -> SimilarRequest {
    let v1::SimilarRequest { item_id, k, filter, explain } = message;
    SimilarRequest { item_id, k: k.map(|k| k as usize), filter, explain: Some(explain) }
}

pub(super) fn trending(message: v1::TrendingRequest) -> TrendingRequest {
    TrendingRequest { k: message.k.map(|k| k as usize), filter: message.filter }
}

fn context(message: v1::Context) -> Context {
    let v1::Context { item_id, session_item_ids, surface } = message;
    Context { item_id, session_item_ids: Some(session_item_ids), surface }
}

fn history(message: v1::History) -> Result<Vec<HistoryEvent>, ApiError> {
    let event = |(place, event): (usize, v1::HistoryEvent)| {
        let v1::HistoryEvent { item_id, r#type, value, timestamp } = event;
        let outside = || {
            let pointer = format!("/history/events/{place}/timestamp");
            ApiError::at(ErrorCode::Invalid, pointer, "a time of the years 1 to 9999 is needed")
        };
        let timestamp = timestamp.map(|time| Timestamp::from_proto(&time).ok_or_else(outside)).transpose()?;
        Ok(HistoryEvent { item_id, r#type, value, timestamp })
    };
    message.events.into_iter().enumerate().map(event).collect()
}
