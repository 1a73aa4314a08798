//! What is asked for, whichever method asks, checked before anything is looked up.

use attune_api::recommendation::{EXCLUDE_IDS_MAX, HISTORY_EVENTS_MAX, K_DEFAULT, K_MAX, RANK_ITEMS_MAX};
use attune_api::rest::recommendation::{
    Context, HistoryEvent, RankRequest, RecommendRequest, SimilarRequest, TrendingRequest,
};
use attune_api::{ApiError, ErrorCode};
use attune_store::relational::PersonId;

use crate::cursor::Served;
use crate::world::{DEFAULT, SIMILAR, TRENDING};

/// The longest id of the wire contract, in bytes.
const ID_BYTES_MAX: usize = 256;

/// Whom a list is for.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Who {
    /// Nobody in particular.
    #[default]
    Nobody,
    /// Somebody with an id.
    Person(PersonId),
    /// Somebody who did this.
    Stranger(Vec<HistoryEvent>),
}

impl Who {
    /// What experiments know somebody by: his id, which he has before anything is known of him, and keeps.
    pub fn key(&self) -> Option<String> {
        match self {
            Self::Person(PersonId::User(id)) => Some(format!("user/{id}")),
            Self::Person(PersonId::Anonymous(id)) => Some(format!("anonymous/{id}")),
            Self::Nobody | Self::Stranger(_) => None,
        }
    }
}

/// One list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ask {
    pub who: Who,
    pub k: usize,
    pub filter: Option<String>,
    pub exclude: Vec<String>,
    /// The caller's own candidates, for a ranking.
    pub only: Option<Vec<String>>,
    pub item: Option<String>,
    pub session: Vec<String>,
    pub surface: Option<String>,
    pub diversity: Option<f32>,
    pub explain: bool,
    pub pipeline: String,
    /// What the pages before have served, for lists that can be paged.
    pub served: Option<Served>,
}

impl TryFrom<RecommendRequest> for Ask {
    type Error = ApiError;

    fn try_from(request: RecommendRequest) -> Result<Self, ApiError> {
        let Context { item_id: item, session_item_ids, surface } = context(request.context)?;
        let exclude = request.exclude_ids.unwrap_or_default();
        ids("/exclude_ids", &exclude, EXCLUDE_IDS_MAX)?;
        let served = request.cursor.as_deref().map(Served::parse).transpose()?;
        Ok(Self {
            who: who(request.user_id, request.anonymous_id, request.history)?,
            k: k(request.k.unwrap_or(K_DEFAULT), K_MAX)?,
            filter: request.filter,
            exclude,
            only: None,
            item,
            session: session_item_ids.unwrap_or_default(),
            surface,
            diversity: diversity(request.diversity)?,
            explain: request.explain.unwrap_or(false),
            pipeline: request.pipeline.unwrap_or_else(|| DEFAULT.to_owned()),
            served: Some(served.unwrap_or_default()),
        })
    }
}

impl TryFrom<RankRequest> for Ask {
    type Error = ApiError;

    fn try_from(request: RankRequest) -> Result<Self, ApiError> {
        let Context { item_id: item, session_item_ids, surface } = context(request.context)?;
        if request.item_ids.is_empty() {
            return Err(ApiError::at(ErrorCode::Empty, "/item_ids", "the list is empty; give at least one item"));
        }
        ids("/item_ids", &request.item_ids, RANK_ITEMS_MAX)?;
        Ok(Self {
            who: who(request.user_id, request.anonymous_id, request.history)?,
            k: k(request.k.unwrap_or(request.item_ids.len()), K_MAX)?,
            filter: request.filter,
            exclude: Vec::new(),
            only: Some(request.item_ids),
            item,
            session: session_item_ids.unwrap_or_default(),
            surface,
            diversity: diversity(request.diversity)?,
            explain: request.explain.unwrap_or(false),
            pipeline: request.pipeline.unwrap_or_else(|| DEFAULT.to_owned()),
            served: None,
        })
    }
}

impl TryFrom<SimilarRequest> for Ask {
    type Error = ApiError;

    fn try_from(request: SimilarRequest) -> Result<Self, ApiError> {
        id("/item_id", &request.item_id)?;
        Ok(Self {
            k: k(request.k.unwrap_or(K_DEFAULT), K_MAX)?,
            filter: request.filter,
            item: Some(request.item_id),
            explain: request.explain.unwrap_or(false),
            pipeline: SIMILAR.to_owned(),
            ..Self::default()
        })
    }
}

impl TryFrom<TrendingRequest> for Ask {
    type Error = ApiError;

    fn try_from(request: TrendingRequest) -> Result<Self, ApiError> {
        let k = k(request.k.unwrap_or(K_DEFAULT), K_MAX)?;
        Ok(Self { k, filter: request.filter, pipeline: TRENDING.to_owned(), ..Self::default() })
    }
}

fn invalid(pointer: &str, detail: impl Into<String>) -> ApiError {
    ApiError::at(ErrorCode::Invalid, pointer, detail)
}

fn who(user: Option<String>, anonymous: Option<String>, history: Option<Vec<HistoryEvent>>) -> Result<Who, ApiError> {
    match (user, anonymous, history) {
        (None, None, None) => Ok(Who::Nobody),
        (Some(user), None, None) => {
            id("/user_id", &user)?;
            Ok(Who::Person(PersonId::User(user)))
        }
        (None, Some(anonymous), None) => {
            id("/anonymous_id", &anonymous)?;
            Ok(Who::Person(PersonId::Anonymous(anonymous)))
        }
        (None, None, Some(events)) => {
            if events.len() > HISTORY_EVENTS_MAX {
                let detail = format!("there are {} events, at most {HISTORY_EVENTS_MAX} are taken", events.len());
                return Err(invalid("/history", detail));
            }
            for (place, event) in events.iter().enumerate() {
                id(&format!("/history/{place}/item_id"), &event.item_id)?;
                if event.value.is_some_and(|value| !value.is_finite()) {
                    return Err(invalid(&format!("/history/{place}/value"), "a finite number is needed"));
                }
            }
            Ok(Who::Stranger(events))
        }
        _ => Err(invalid("", "give one of `user_id`, `anonymous_id` and `history`, or none of them")),
    }
}

fn context(context: Option<Context>) -> Result<Context, ApiError> {
    let context = context.unwrap_or_default();
    if let Some(item) = &context.item_id {
        id("/context/item_id", item)?;
    }
    if let Some(surface) = &context.surface {
        id("/context/surface", surface)?;
    }
    let session = context.session_item_ids.as_deref().unwrap_or_default();
    ids("/context/session_item_ids", session, HISTORY_EVENTS_MAX)?;
    Ok(context)
}

fn id(pointer: &str, id: &str) -> Result<(), ApiError> {
    let fits = (1..=ID_BYTES_MAX).contains(&id.len()) && !id.chars().any(char::is_control);
    if fits {
        return Ok(());
    }
    Err(invalid(pointer, format!("an id has 1 to {ID_BYTES_MAX} bytes without control characters")))
}

fn ids(pointer: &str, list: &[String], max: usize) -> Result<(), ApiError> {
    if list.len() > max {
        return Err(invalid(pointer, format!("there are {} ids, at most {max} are taken", list.len())));
    }
    list.iter().enumerate().try_for_each(|(place, one)| id(&format!("{pointer}/{place}"), one))
}

fn k(k: usize, max: usize) -> Result<usize, ApiError> {
    let detail = || invalid("/k", format!("k is {k}: 1 to {max} are possible"));
    (1..=max).contains(&k).then_some(k).ok_or_else(detail)
}

fn diversity(diversity: Option<f32>) -> Result<Option<f32>, ApiError> {
    match diversity {
        Some(amount) if !(0.0..=1.0).contains(&amount) => {
            Err(invalid("/diversity", format!("diversity is {amount}: a number from 0 to 1 is needed")))
        }
        fine => Ok(fine),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let base = RecommendRequest::default;
        let many = Some(vec!["x".to_owned(); EXCLUDE_IDS_MAX + 1]);
        let event = |item_id: &str, value| HistoryEvent { item_id: item_id.into(), value, ..HistoryEvent::default() };
        let context = Context { item_id: Some("a\nb".into()), ..Context::default() };
        for (request, pointer) in [
            (RecommendRequest { k: Some(0), ..base() }, "/k"),
            (RecommendRequest { k: Some(K_MAX + 1), ..base() }, "/k"),
            (RecommendRequest { user_id: Some(String::new()), ..base() }, "/user_id"),
            (RecommendRequest { user_id: Some("a".into()), anonymous_id: Some("b".into()), ..base() }, ""),
            (RecommendRequest { exclude_ids: many, ..base() }, "/exclude_ids"),
            (RecommendRequest { exclude_ids: Some(vec!["x".into(), "x".repeat(257)]), ..base() }, "/exclude_ids/1"),
            (RecommendRequest { diversity: Some(f32::NAN), ..base() }, "/diversity"),
            (RecommendRequest { history: Some(vec![event("a", Some(f64::NAN))]), ..base() }, "/history/0/value"),
            (RecommendRequest { history: Some(vec![event("a", None); 1_001]), ..base() }, "/history"),
            (RecommendRequest { context: Some(context), ..base() }, "/context/item_id"),
            (RecommendRequest { cursor: Some("nonsense".into()), ..base() }, "/cursor"),
        ] {
            let error = Ask::try_from(request.clone()).unwrap_err();
            assert_eq!((error.code, &*error.fields[0].pointer), (ErrorCode::Invalid, pointer), "{request:?}");
        }
        assert_eq!(Ask::try_from(base()).unwrap().k, K_DEFAULT);
        let empty = Ask::try_from(RankRequest::default()).unwrap_err();
        assert_eq!((empty.code, &*empty.fields[0].pointer), (ErrorCode::Empty, "/item_ids"));
    }
}
