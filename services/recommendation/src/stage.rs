//! Makes lists: on a thread of the pool, from a world and a state, without a wait.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use attune_api::error::quoted;
use attune_api::log::{Arm, Recent};
use attune_api::rest::recommendation::HistoryEvent;
use attune_api::{ApiError, ErrorCode};
use attune_ranking::index::Allowed;
use attune_ranking::pipeline::{self, Answer, AnswerError, Pipeline, Wanted};
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

/// Makes lists, together as far as they ask the same sources among the same items; what each is does not depend on the
/// others.
///
/// # Errors
/// What is asked for makes no sense; a missing or late source does not fail it.
pub fn make(
    replica: &Replica,
    config: &Settings,
    asked: &[(&Ask, &Known)],
    scratch: &mut Scratch,
) -> Vec<Result<Made, ApiError>> {
    let (world, now) = (replica.world(), now());
    let begun: Vec<_> = asked.iter().map(|(ask, known)| begin(replica, &world, config, ask, known, now)).collect();
    let mut outcomes = retrieve(&begun, &world, now, scratch);
    let made = begun.into_iter().enumerate().map(|(place, begun)| {
        let begun = begun?;
        finish(replica, &world, asked[place].0, begun, std::mem::take(&mut outcomes[place]), now)
    });
    made.collect()
}

/// A list of which is known what it shall be.
struct Begun {
    chosen: Chosen,
    request: Checked,
    wanted: Wanted,
    /// Rows that may be shown; all that may be at all if absent.
    selected: Option<Arc<Allowed>>,
    /// The caller's own rows, which are all that may be shown then.
    only: Option<(Vec<u32>, Allowed)>,
    /// The caller's own items that are unknown or may not be shown.
    missing: usize,
    /// When late sources are left out.
    deadline: Instant,
}

impl Begun {
    fn allowed<'b>(&'b self, world: &'b World) -> &'b Allowed {
        match (&self.only, &self.selected) {
            (Some((_, among)), _) => among,
            (None, Some(selected)) => selected,
            (None, None) => &world.stock.visible,
        }
    }

    fn around<'b>(&'b self, world: &'b World, now: i64) -> pipeline::World<'b> {
        let include = self.only.as_ref().map_or(&[][..], |(rows, _)| rows);
        pipeline::World {
            catalogue: &world.stock.catalogue,
            allowed: Some(self.allowed(world)),
            include,
            now,
            threads: 1,
        }
    }

    /// Whether sources can be asked for both at once.
    fn goes_with(&self, other: &Self, world: &World) -> bool {
        Arc::ptr_eq(&self.chosen.pipeline, &other.chosen.pipeline)
            && std::ptr::eq(self.allowed(world), other.allowed(world))
    }
}

/// Everything that has to be known before sources are asked.
fn begin(
    replica: &Replica,
    world: &World,
    config: &Settings,
    ask: &Ask,
    known: &Known,
    now: i64,
) -> Result<Begun, ApiError> {
    let chosen = world.choose(&ask.pipeline, ask.who.key().as_deref())?;
    let selected = ask.filter.as_deref().map(|text| world.stock.select(text)).transpose();
    let selected = selected.map_err(|error| ApiError::at(ErrorCode::Invalid, "/filter", error.to_string()))?;
    let (request, only) = {
        let state = replica.state();
        let may_be_shown = selected.as_deref().unwrap_or(&world.stock.visible);
        let only = ask.only.as_ref().map(|ids| own(ids, &state, may_be_shown));
        (request(&state, &replica.rules, config, ask, known, now)?, only)
    };
    let missing = only.as_ref().map_or(0, |(_, missing)| *missing);
    let only = only.map(|(mut rows, _)| {
        rows.sort_unstable();
        rows.dedup();
        let among = Allowed::new(rows.last().map_or(0, |row| *row as usize + 1), rows.iter().copied());
        (rows, among)
    });
    let request = request.check().map_err(|error| ApiError::new(ErrorCode::Invalid, error.to_string()))?;
    let wanted = Wanted { k: ask.k, diversity: ask.diversity, seed: rand::random(), explain: ask.explain };
    chosen.pipeline.check(&request, &wanted).map_err(|error| ApiError::new(ErrorCode::Invalid, error.to_string()))?;
    Ok(Begun { chosen, request, wanted, selected, only, missing, deadline: known.deadline })
}

/// What the sources say to each, by source; nothing to those that could not be begun.
fn retrieve(begun: &[Result<Begun, ApiError>], world: &World, now: i64, scratch: &mut Scratch) -> Vec<Vec<Outcome>> {
    let mut outcomes: Vec<Vec<Outcome>> = begun.iter().map(|_| Vec::new()).collect();
    let mut left: Vec<(usize, &Begun)> =
        begun.iter().enumerate().filter_map(|(place, begun)| Some((place, begun.as_ref().ok()?))).collect();
    while let Some(&(_, first)) = left.first() {
        let (together, others) = left.into_iter().partition(|(_, begun)| first.goes_with(begun, world));
        left = others;
        for (place, said) in ask_sources(together, &first.around(world, now), scratch) {
            outcomes[place] = said;
        }
    }
    outcomes
}

/// Asks the sources of one pipeline one after the other, with a look at the clock before each. Lists that are the same for
/// everybody cost next to nothing, so that there is always something to show.
fn ask_sources(
    together: Vec<(usize, &Begun)>,
    around: &pipeline::World<'_>,
    scratch: &mut Scratch,
) -> Vec<(usize, Vec<Outcome>)> {
    let pipeline = &together[0].1.chosen.pipeline;
    let requests: Cow<'_, [Checked]> = match &together[..] {
        [(_, alone)] => Cow::Borrowed(std::slice::from_ref(&alone.request)),
        many => many.iter().map(|(_, begun)| begun.request.clone()).collect(),
    };
    let wanted: Vec<Wanted> = together.iter().map(|(_, begun)| begun.wanted).collect();
    let mut said: Vec<(usize, Vec<Outcome>)> = together.iter().map(|(place, _)| (*place, Vec::new())).collect();
    for source in 0..pipeline.sources().len() {
        let now = Instant::now();
        let in_time = together.iter().any(|(_, begun)| now < begun.deadline) || pipeline.is_for_everyone(source);
        let outcomes = match in_time {
            true => pipeline.retrieve(source, &requests, &wanted, around, scratch),
            false => vec![Outcome::Late; together.len()],
        };
        said.iter_mut().zip(outcomes).for_each(|((_, said), outcome)| said.push(outcome));
    }
    said
}

/// Makes the list of what the sources have said.
fn finish(
    replica: &Replica,
    world: &Arc<World>,
    ask: &Ask,
    begun: Begun,
    outcomes: Vec<Outcome>,
    now: i64,
) -> Result<Made, ApiError> {
    let around = begun.around(world, now);
    let Begun { chosen: Chosen { pipeline, .. }, request, wanted, .. } = &begun;
    let item_features = |rows: &[u32]| {
        let (names, surface) = (pipeline.item_features(), ask.surface.as_deref());
        features::columns(names, rows, around.catalogue, &replica.state(), surface)
    };
    let gathered = pipeline.gather(request, outcomes, wanted, &around);
    let scored = pipeline.score(gathered, &item_features).map_err(|error| {
        tracing::error!(%error, "candidates could not be scored");
        ApiError::internal()
    })?;
    let answer = pipeline.answer(request, &scored, wanted, &around);
    let answer = answer.map_err(|error: AnswerError| ApiError::new(ErrorCode::Invalid, error.to_string()))?;
    let (names, stats) = {
        let state = replica.state();
        let counts = |item: &pipeline::Answered| (item.row, state.stats().counts(item.row, None));
        let stats = answer.items.iter().filter(|_| ask.explain).map(counts).collect();
        (names(&answer, &state), stats)
    };
    let (Chosen { name: made_by, pipeline, arm }, missing) = (begun.chosen, begun.missing);
    Ok(Made { answer, world: Arc::clone(world), pipeline, made_by, arm, names, stats, missing })
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
    use attune_api::rest::recommendation::{RankRequest, RecommendRequest, SimilarRequest};
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
        make(&replica(), &settings, &[(&ask, &known)], &mut Scratch::default()).remove(0).unwrap().answer
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

    #[test]
    fn lists_that_are_made_together_are_those_that_are_made_alone() {
        let replica = replica();
        let list = |user: Option<&str>, k, filter: Option<&str>| {
            let (user_id, filter) = (user.map(str::to_owned), filter.map(str::to_owned));
            Ask::try_from(RecommendRequest { user_id, k: Some(k), filter, ..RecommendRequest::default() }).unwrap()
        };
        let rank = |ids: &[&str]| {
            let item_ids = ids.iter().map(|id| (*id).to_owned()).collect();
            Ask::try_from(RankRequest { user_id: Some("ada".into()), item_ids, ..RankRequest::default() }).unwrap()
        };
        let similar = SimilarRequest { item_id: "i2".into(), ..SimilarRequest::default() };
        let asks = [
            list(Some("ada"), 3, None),
            list(None, 9, None),
            rank(&["i8", "i5", "i4"]),
            list(Some("ada"), 1, Some("no such attribute")),
            similar.try_into().unwrap(),
            rank(&["i4", "i8", "i7"]),
            list(Some("ada"), 9, None),
        ];
        let known = |ask: &Ask| Known {
            subject: (ask.who != Who::Nobody).then_some(7),
            fresh: Fresh::default(),
            deadline: Instant::now() + Duration::from_secs(600),
        };
        let known: Vec<Known> = asks.iter().map(known).collect();
        let asked: Vec<(&Ask, &Known)> = asks.iter().zip(&known).collect();
        let (settings, mut scratch) = (Settings { seen_days: None }, Scratch::default());
        let mut items = |asked: &[(&Ask, &Known)]| {
            let item = |item: &pipeline::Answered| (item.row, item.score);
            let items = |made: Made| made.answer.items.iter().map(item).collect::<Vec<_>>();
            let made = make(&replica, &settings, asked, &mut scratch).into_iter();
            made.map(|made| made.map(items).map_err(|error| error.code)).collect::<Vec<_>>()
        };
        let together = items(&asked);
        let alone: Vec<_> = asked.iter().flat_map(|one| items(std::slice::from_ref(one))).collect();
        assert_eq!(together, alone);
        assert_eq!(
            together.iter().map(|list| list.as_ref().map_or(0, Vec::len)).collect::<Vec<_>>(),
            [3, 3, 3, 0, 8, 3, 6]
        );
        assert_eq!(together[3], Err(ErrorCode::Invalid));
    }
}
