//! Makes one list: on a thread of the pool, from a world and a state, without a wait.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use attune_api::error::quoted;
use attune_api::log::{Arm, Recent};
use attune_api::rest::recommendation::HistoryEvent;
use attune_api::{ApiError, ErrorCode};
use attune_ranking::index::Allowed;
use attune_ranking::pipeline::{self, Answer, AnswerError, ItemFeatures, Pipeline, Wanted};
use attune_ranking::retrieve::{Checked, Outcome, Request, Scratch};

use crate::ask::{Ask, Who};
use crate::features;
use crate::fold::{Counts, Rules, State, SubjectKey, User};
use crate::fresh::Fresh;
use crate::replica::Replica;
use crate::world::{Chosen, World};

/// What an event of a history is where it does not say.
const TYPE_DEFAULT: &str = "click";
/// Stands for items that nobody has heard of: no item has it.
pub const NO_ROW: u32 = u32::MAX - 1;
const SECONDS_PER_DAY: f64 = 86_400.0;

/// What was looked up before.
pub struct Known {
    /// Who asks, if he was ever here.
    pub subject: Option<SubjectKey>,
    /// What the state may lack of him.
    pub fresh: Fresh,
    /// When late sources are left out.
    pub deadline: Instant,
}

/// A list with what belongs to it.
pub struct Made {
    pub answer: Answer,
    pub world: Arc<World>,
    pub pipeline: Arc<Pipeline>,
    /// The name of the pipeline.
    pub made_by: String,
    /// The experiment that chose it, where one did.
    pub arm: Option<Arm>,
    /// Ids by row of the answer and of what its reasons name, as far as they are known.
    pub names: Vec<(u32, String)>,
    /// What became of the items before, by row, where it is to be explained.
    pub stats: HashMap<u32, Counts>,
    /// The caller's own items that are unknown or may not be shown.
    pub missing: usize,
}

/// Unix seconds.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// Makes the list.
///
/// # Errors
/// What is asked for makes no sense; a missing or late source does not fail it.
pub fn make(
    replica: &Replica,
    config: &Settings,
    ask: &Ask,
    known: &Known,
    scratch: &mut Scratch,
) -> Result<Made, ApiError> {
    let world = replica.world();
    let Chosen { name: made_by, pipeline, arm } = world.choose(&ask.pipeline, ask.who.key().as_deref())?;
    let stock = &world.stock;
    let selected = ask.filter.as_deref().map(|text| stock.select(text)).transpose();
    let selected = selected.map_err(|error| ApiError::at(ErrorCode::Invalid, "/filter", error.to_string()))?;
    let selected = selected.as_deref().unwrap_or(&stock.visible);
    let now = now();
    let (request, only, missing) = {
        let state = replica.state();
        let only = ask.only.as_ref().map(|ids| own(ids, &state, selected));
        let request = request(&state, &replica.rules, config, ask, known, now)?;
        let missing = only.as_ref().map_or(0, |(_, missing)| *missing);
        (request, only.map(|(rows, _)| rows), missing)
    };
    let mut include = only.unwrap_or_default();
    include.sort_unstable();
    include.dedup();
    let among = ask
        .only
        .is_some()
        .then(|| Allowed::new(include.last().map_or(0, |row| *row as usize + 1), include.iter().copied()));
    let allowed = among.as_ref().unwrap_or(selected);
    let request = request.check().map_err(|error| ApiError::new(ErrorCode::Invalid, error.to_string()))?;
    let wanted = Wanted { k: ask.k, diversity: ask.diversity, seed: rand::random(), explain: ask.explain };
    let around =
        pipeline::World { catalogue: &stock.catalogue, allowed: Some(allowed), include: &include, now, threads: 1 };
    let item_features =
        |rows: &[u32]| features::columns(pipeline.item_features(), rows, &replica.state(), ask.surface.as_deref());
    let answer = run(&pipeline, &request, &wanted, &around, &item_features, (known.deadline, scratch))?;
    let (names, stats) = {
        let state = replica.state();
        let counts = |item: &pipeline::Answered| (item.row, state.stats().counts(item.row, None));
        let stats = answer.items.iter().filter(|_| ask.explain).map(counts).collect();
        (names(&answer, &state), stats)
    };
    Ok(Made { answer, world, pipeline, made_by, arm, names, stats, missing })
}

/// What of the configuration a list depends on.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub seen_days: Option<f32>,
}

/// Rows of the caller's own items, and how many of them may not be shown.
fn own(ids: &[String], state: &State, allowed: &Allowed) -> (Vec<u32>, usize) {
    let rows = ids.iter().filter_map(|id| state.items().row(id)).filter(|row| allowed.contains(*row));
    let rows: Vec<u32> = rows.collect();
    let missing = ids.len() - rows.len();
    (rows, missing)
}

/// Who asks, in rows.
fn request(
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

/// The pipeline's stages, with a look at the clock before each source. Lists that are the same for everybody cost next to
/// nothing, so that there is always something to show.
fn run(
    pipeline: &Pipeline,
    request: &Checked,
    wanted: &Wanted,
    world: &pipeline::World<'_>,
    item_features: &ItemFeatures<'_>,
    (deadline, scratch): (Instant, &mut Scratch),
) -> Result<Answer, ApiError> {
    let refused = |error: &dyn std::fmt::Display| ApiError::new(ErrorCode::Invalid, error.to_string());
    pipeline.check(request, wanted).map_err(|error| refused(&error))?;
    let (requests, wants) = (std::slice::from_ref(request), std::slice::from_ref(wanted));
    let ask = |source: usize| {
        if Instant::now() >= deadline && !pipeline.is_for_everyone(source) {
            return Outcome::Late;
        }
        pipeline.retrieve(source, requests, wants, world, scratch).pop().expect("one outcome a request")
    };
    let outcomes = (0..pipeline.sources().len()).map(ask).collect();
    let gathered = pipeline.gather(request, outcomes, wanted, world);
    let scored = pipeline.score(gathered, item_features).map_err(|error| {
        tracing::error!(%error, "candidates could not be scored");
        ApiError::internal()
    })?;
    pipeline.answer(request, &scored, wanted, world).map_err(|error: AnswerError| refused(&error))
}

/// The ids of all that an answer names.
fn names(answer: &Answer, state: &State) -> Vec<(u32, String)> {
    let said = |item: &pipeline::Answered| {
        let said = item.explanation.iter().flat_map(|explanation| &explanation.sources);
        let reasons: Vec<u32> = said.filter_map(|said| crate::answer::item_of(said.reason)).collect();
        reasons.into_iter().chain([item.row])
    };
    let mut rows: Vec<u32> = answer.items.iter().flat_map(said).collect();
    rows.sort_unstable();
    rows.dedup();
    rows.into_iter().filter_map(|row| Some((row, state.items().get(row)?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use attune_api::catalogue::Entry;
    use attune_api::log::{Event, Record};
    use attune_api::rest::recommendation::RecommendRequest;
    use attune_ranking::data::Worth;
    use attune_store::events::{Event as Logged, Position};

    use super::*;
    use crate::RecommendationConfig;
    use crate::definitions::InForce;
    use crate::world::MoreSources;

    fn replica() -> Replica {
        let config = RecommendationConfig::default();
        let replica = Replica::new("shop".parse().unwrap(), Arc::new(Rules::new(&config, Worth::default())), &config);
        let entry = |number: u32| Entry {
            item_id: format!("i{number}"),
            vector: Some(vec![1.0, number as f32]),
            ..Entry::default()
        };
        let mut stocking = crate::shelf::Stocking::new(Vec::new());
        stocking.put(replica.with_rows((0..9).map(entry).collect())).unwrap();
        replica.stock(stocking).unwrap();
        let click = |(offset, item): (u64, u64)| {
            let event = Event {
                event_id: offset.to_string(),
                r#type: "click".into(),
                item_id: Some(format!("i{item}")),
                ..Event::default()
            };
            Logged {
                position: Position { partition: 0, offset },
                appended_ms: 0,
                subject: format!("{:032x}", 7),
                payload: serde_json::to_vec(&Record::Event(event)).unwrap().into(),
            }
        };
        let clicks: Vec<Logged> = [(0, 1), (1, 2), (2, 3)].map(click).to_vec();
        assert_eq!(replica.consume(&clicks, &[Position { partition: 0, offset: 3 }]).counted, 3);
        replica.publish(&config, &InForce::default(), &MoreSources::default()).unwrap();
        replica
    }

    fn list(deadline: Instant) -> Answer {
        let user_id = Some("ada".to_owned());
        let ask = Ask::try_from(RecommendRequest { user_id, k: Some(3), ..RecommendRequest::default() }).unwrap();
        let known = Known { subject: Some(7), fresh: Fresh::default(), deadline };
        let settings = Settings { seen_days: None };
        make(&replica(), &settings, &ask, &known, &mut Scratch::default()).unwrap().answer
    }

    #[test]
    fn a_source_that_would_be_late_is_left_out_and_everybodys_lists_are_not() {
        let in_time = list(Instant::now() + Duration::from_secs(600));
        assert!(!in_time.degraded && in_time.items.len() == 3);
        let late = list(Instant::now());
        let code = |note: &pipeline::Note| note.code;
        assert!(late.degraded && late.notes.iter().map(code).any(|code| code == pipeline::Code::SourceLate));
        let shares: Vec<&str> =
            late.sources.iter().filter(|(_, share)| *share > 0.0).map(|(name, _)| name.as_str()).collect();
        assert!(shares.iter().all(|name| ["popular", "trending", "latest"].contains(name)), "{shares:?}");
    }
}
