//! Who asks and what for, in rows.

use std::borrow::Cow;

use attune_api::error::quoted;
use attune_api::log::Recent;
use attune_api::rest::recommendation::HistoryEvent;
use attune_api::{ApiError, ErrorCode};
use attune_ranking::index::Allowed;
use attune_ranking::retrieve::Request;

use crate::ask::{Ask, Who};
use crate::fold::{Rules, State, SubjectKey, User};
use crate::fresh::Fresh;
use crate::stage::{NO_ROW, Settings};

/// What an event of a history is where it does not say.
const TYPE_DEFAULT: &str = "click";
const SECONDS_PER_DAY: f64 = 86_400.0;

/// What was looked up before.
pub struct Known {
    /// Who asks, if he was ever here.
    pub subject: Option<SubjectKey>,
    /// What the state may lack of him.
    pub fresh: Fresh,
}

/// Rows of the caller's own items, and how many of them may not be shown.
pub fn own(ids: &[String], state: &State, allowed: &Allowed) -> (Vec<u32>, usize) {
    let rows = ids.iter().filter_map(|id| state.items().row(id)).filter(|row| allowed.contains(*row));
    let rows: Vec<u32> = rows.collect();
    let missing = ids.len() - rows.len();
    (rows, missing)
}

/// Who asks, in rows.
pub fn request(
    state: &State,
    rules: &Rules,
    config: &Settings,
    ask: &Ask,
    known: &Known,
    now: i64,
) -> Result<Request, ApiError> {
    let rows = |ids: &[String]| ids.iter().filter_map(|id| state.items().row(id)).collect::<Vec<u32>>();
    let mut request = Request { session: rows(&ask.session), excluded: rows(&ask.exclude), ..Request::default() };
    if let Some(served) = &ask.served {
        request.excluded.extend(served.hashes.iter().filter_map(|hash| state.items().row_of_hash(*hash)));
    }
    if let Some(item) = &ask.item {
        request.context = state.items().row(item);
        let is_the_question = ask.who == Who::Nobody && ask.served.is_none() && ask.only.is_none();
        if is_the_question && request.context.is_none() {
            return Err(ApiError::new(ErrorCode::Absent, format!("there is no item {}", quoted(item))));
        }
    }
    match &ask.who {
        Who::Nobody => {}
        Who::Stranger(events) => stranger(events, state, rules, now, &mut request),
        Who::Person(_) => {
            if let Some(user) = known.subject.and_then(|subject| up_to_date(state, rules, subject, &known.fresh)) {
                person(&user, state, rules, now, &mut request);
                if ask.only.is_none() {
                    let since =
                        config.seen_days.map_or(i64::MIN, |days| now - (f64::from(days) * SECONDS_PER_DAY) as i64);
                    request.excluded.extend(user.seen_since(since));
                }
            }
        }
    }
    Ok(request)
}

/// What is known of a user, with what the state has not consumed yet.
pub fn up_to_date<'s>(state: &'s State, rules: &Rules, subject: SubjectKey, fresh: &Fresh) -> Option<Cow<'s, User>> {
    let user = state.user(subject).map(Cow::Borrowed);
    let ahead = |recent: &&Recent| !state.has_consumed(recent.partition, recent.offset);
    let mut ahead = fresh.recent.iter().filter(ahead).peekable();
    if ahead.peek().is_none() {
        return user;
    }
    let mut user = user.map(Cow::into_owned).unwrap_or_default();
    ahead.for_each(|recent| state.preview(&mut user, &recent.event, rules));
    Some(Cow::Owned(user))
}

fn person(user: &User, state: &State, rules: &Rules, now: i64, request: &mut Request) {
    for deed in user.deeds() {
        let weight = state.weigh(deed, rules, now);
        if weight != 0.0 {
            request.items.push(deed.row);
            request.weights.push(weight);
            request.times.push(deed.time());
        }
    }
}

/// A history that came with the request: what it names is seen, too.
fn stranger(events: &[HistoryEvent], state: &State, rules: &Rules, now: i64, request: &mut Request) {
    let mut events: Vec<(i64, &HistoryEvent)> =
        events.iter().map(|event| (event.timestamp.map_or(now, |time| time.0.div_euclid(1_000)), event)).collect();
    events.sort_by_key(|(time, _)| *time);
    for (time, event) in events {
        let kind = event.r#type.as_deref().unwrap_or(TYPE_DEFAULT);
        let value = event.value.map(|value| value as f32);
        let weight = rules.weigh(kind, None, value, time, now);
        let row = state.items().row(&event.item_id);
        if weight != 0.0 {
            request.items.push(row.unwrap_or(NO_ROW));
            request.weights.push(weight);
            request.times.push(time);
        }
        if rules.is_seen(kind) {
            request.excluded.extend(row);
        }
    }
}
