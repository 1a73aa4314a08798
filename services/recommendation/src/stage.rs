//! Makes one list on threads of the pool, from a world and a state, without a wait: first what the sources of this process
//! find, then, with what others have said meanwhile, the list.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use attune_api::rest::outside::OutsideItem;
use attune_api::{ApiError, ErrorCode};
use attune_ranking::index::{Allowed, Scored};
use attune_ranking::pipeline::{self, Answer, AnswerError, Wanted};
use attune_ranking::retrieve::{Checked, Outcome, Scratch, Union};

use crate::ask::Ask;
use crate::asked::{Known, own, request};
use crate::features;
use crate::fold::{Counts, State};
use crate::outside::{self, Outsider, Said};
use crate::replica::Replica;
use crate::world::{Chosen, World};

/// Stands for items that nobody has heard of: no item has it.
pub const NO_ROW: u32 = u32::MAX - 1;

/// A list that is to be made, and all that is settled before anything is looked up.
pub struct Order {
    pub replica: Arc<Replica>,
    pub world: Arc<World>,
    pub chosen: Chosen,
    pub ask: Ask,
    /// What of the configuration it depends on.
    pub settings: Settings,
    /// The server's name of the list.
    pub list_id: String,
    /// When late sources are left out.
    pub deadline: Instant,
}

/// What of the configuration a list depends on.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub seen_days: Option<f32>,
}

/// What the sources found so far.
#[derive(Clone)]
pub struct Retrieved {
    pub order: Arc<Order>,
    request: Checked,
    wanted: Wanted,
    /// Rows that fulfil the filter, where there is one.
    selected: Option<Arc<Allowed>>,
    /// The caller's own rows, which are all that may be shown then.
    only: Option<(Vec<u32>, Allowed)>,
    /// The caller's own items that are unknown or may not be shown.
    missing: usize,
    now: i64,
    /// One a source. Those outside of this process are silent until they are [heard](Retrieved::hear).
    outcomes: Vec<Outcome>,
    /// What they said, by source and row.
    details: HashMap<(usize, u32), String>,
    strange: Vec<Strange>,
    /// How long the sources of this process took, for all that was asked together.
    pub took: Duration,
}

/// Items of a source's answer that are unknown here.
#[derive(Clone)]
pub struct Strange {
    /// What the source is called.
    pub source: String,
    /// How many there are.
    pub items: usize,
}

/// A list with what belongs to it.
pub struct Made {
    pub order: Arc<Order>,
    pub answer: Answer,
    /// Ids by row of the answer and of what its reasons name, as far as they are known.
    pub names: Vec<(u32, String)>,
    /// What became of the items before, by row, where it is to be explained.
    pub stats: HashMap<u32, Counts>,
    /// The caller's own items that are unknown or may not be shown.
    pub missing: usize,
    /// What services of the user's own said of items, by source and row.
    pub details: HashMap<(String, u32), String>,
    /// Whose answers had items that are unknown here.
    pub strange: Vec<Strange>,
}

/// Unix seconds.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// Asks the sources of this process for lists of one replica, together as far as they ask the same sources among the same
/// items; what each gets does not depend on the others.
///
/// # Errors
/// What is asked for makes no sense; a missing or late source does not fail it.
pub fn retrieve(asked: &[(&Arc<Order>, &Known)], scratch: &mut Scratch) -> Vec<Result<Retrieved, ApiError>> {
    let (start, now) = (Instant::now(), now());
    let begun: Vec<_> = asked.iter().map(|(order, known)| begin(order, known, now)).collect();
    let mut outcomes = ask_together(&begun, scratch);
    let retrieved = begun.into_iter().enumerate().map(|(place, begun)| {
        let outcomes = std::mem::take(&mut outcomes[place]);
        Ok(Retrieved { outcomes, took: start.elapsed(), ..begun? })
    });
    retrieved.collect()
}

/// Everything that has to be known before sources are asked.
fn begin(order: &Arc<Order>, known: &Known, now: i64) -> Result<Retrieved, ApiError> {
    let Order { replica, world, chosen, ask, settings, .. } = &**order;
    let selected = ask.filter.as_deref().map(|text| world.stock.select(text)).transpose();
    let selected = selected.map_err(|error| ApiError::at(ErrorCode::Invalid, "/filter", error.to_string()))?;
    let (request, only) = {
        let state = replica.state();
        let may_be_shown = selected.as_deref().unwrap_or(&world.stock.visible);
        let only = ask.only.as_ref().map(|ids| own(ids, &state, may_be_shown));
        (request(&state, &replica.rules, settings, ask, known, now)?, only)
    };
    let missing = only.as_ref().map_or(0, |(_, missing)| *missing);
    let only = only.map(|(mut rows, _)| {
        rows.sort_unstable();
        rows.dedup();
        let among = Allowed::new(rows.last().map_or(0, |row| *row as usize + 1), rows.iter().copied());
        (rows, among)
    });
    let request = request.check().map_err(|error| refused(&error))?;
    let wanted = Wanted { k: ask.k, diversity: ask.diversity, seed: rand::random(), explain: ask.explain };
    chosen.pipeline.check(&request, &wanted).map_err(|error| refused(&error))?;
    let (order, outcomes, details, strange) = (Arc::clone(order), Vec::new(), HashMap::new(), Vec::new());
    let took = Duration::ZERO;
    Ok(Retrieved { order, request, wanted, selected, only, missing, now, outcomes, details, strange, took })
}

/// What the sources say to each, by source; nothing to those that could not be begun.
fn ask_together(begun: &[Result<Retrieved, ApiError>], scratch: &mut Scratch) -> Vec<Vec<Outcome>> {
    let mut outcomes: Vec<Vec<Outcome>> = begun.iter().map(|_| Vec::new()).collect();
    let mut left: Vec<(usize, &Retrieved)> =
        begun.iter().enumerate().filter_map(|(place, begun)| Some((place, begun.as_ref().ok()?))).collect();
    while let Some(&(_, first)) = left.first() {
        let (together, others) = left.into_iter().partition(|(_, begun)| first.goes_with(begun));
        left = others;
        for (place, said) in ask_sources(together, scratch) {
            outcomes[place] = said;
        }
    }
    outcomes
}

/// Asks the sources of one pipeline one after the other, with a look at the clock before each. Lists that are the same for
/// everybody cost next to nothing, so that there is always something to show. Those outside of this process are silent yet.
fn ask_sources(together: Vec<(usize, &Retrieved)>, scratch: &mut Scratch) -> Vec<(usize, Vec<Outcome>)> {
    let first = together[0].1;
    let (Chosen { pipeline, outside, .. }, around) = (&first.order.chosen, first.around());
    let requests: Cow<'_, [Checked]> = match &together[..] {
        [(_, alone)] => Cow::Borrowed(std::slice::from_ref(&alone.request)),
        many => many.iter().map(|(_, begun)| begun.request.clone()).collect(),
    };
    let wanted: Vec<Wanted> = together.iter().map(|(_, begun)| begun.wanted).collect();
    let mut said: Vec<(usize, Vec<Outcome>)> = together.iter().map(|(place, _)| (*place, Vec::new())).collect();
    for source in 0..pipeline.sources().len() {
        let now = Instant::now();
        let is_elsewhere = outside.iter().any(|outsider| outsider.place == source);
        let in_time = together.iter().any(|(_, begun)| now < begun.order.deadline) || pipeline.is_for_everyone(source);
        let outcomes = match (is_elsewhere, in_time) {
            (true, _) => vec![Outcome::Silent; together.len()],
            (false, true) => pipeline.retrieve(source, &requests, &wanted, &around, scratch),
            (false, false) => vec![Outcome::Late; together.len()],
        };
        said.iter_mut().zip(outcomes).for_each(|((_, said), outcome)| said.push(outcome));
    }
    said
}

impl Retrieved {
    /// Rows that may be in the list.
    fn allowed(&self) -> &Allowed {
        match (&self.only, &self.selected) {
            (Some((_, among)), _) => among,
            (None, Some(selected)) => selected,
            (None, None) => &self.order.world.stock.visible,
        }
    }

    fn around(&self) -> pipeline::World<'_> {
        let include = self.only.as_ref().map_or(&[][..], |(rows, _)| rows);
        let catalogue = &self.order.world.stock.catalogue;
        pipeline::World { catalogue, allowed: Some(self.allowed()), include, now: self.now, threads: 1 }
    }

    /// Whether sources can be asked for both at once.
    fn goes_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.order.world, &other.order.world)
            && Arc::ptr_eq(&self.order.chosen.pipeline, &other.order.chosen.pipeline)
            && std::ptr::eq(self.allowed(), other.allowed())
    }

    /// Takes in what services of the user's own have said.
    pub fn hear(&mut self, said: Vec<Said>) {
        let order = Arc::clone(&self.order);
        for Said { place, answer } in said {
            let outsider = order.chosen.outside.iter().find(|outsider| outsider.place == place);
            let outsider = outsider.expect("who was asked is in the pipeline");
            self.outcomes[place] = match answer {
                Ok(items) => Outcome::Found(self.judge(outsider, items)),
                Err(error) => outside::outcome(error),
            };
        }
    }

    fn judge(&mut self, outsider: &Outsider, items: Vec<OutsideItem>) -> Vec<Scored> {
        let admits = |row: u32| {
            self.order.world.stock.catalogue.contains(row)
                && self.allowed().contains(row)
                && !self.request.excludes(row)
        };
        let heard = {
            let state = self.order.replica.state();
            outside::judge(items, outsider.k(&self.order.ask), |id| state.items().row(id), admits)
        };
        if heard.unknown > 0 {
            self.strange.push(Strange { source: outsider.name.clone(), items: heard.unknown });
        }
        if self.wanted.explain {
            self.details.extend(heard.reasons.into_iter().map(|(row, reason)| ((outsider.place, row), reason)));
        }
        heard.proposals
    }

    /// Ids of the best candidates so far, as many as a service is asked about: those first that any source put first.
    pub fn candidates(&self, count: usize) -> Vec<String> {
        let union = Union::new(&self.outcomes, self.around().include);
        let best = |candidate: usize| union.entries(candidate).iter().flatten().map(|entry| entry.rank).min();
        let ranked = union.rows().iter().enumerate();
        let mut ranked: Vec<(u32, u32)> =
            ranked.map(|(candidate, row)| (best(candidate).unwrap_or(u32::MAX), *row)).collect();
        ranked.sort_unstable();
        let state = self.order.replica.state();
        let id = |(_, row): (u32, u32)| state.items().get(row).map(str::to_owned);
        ranked.into_iter().take(count).filter_map(id).collect()
    }

    /// Makes the list of what was found.
    ///
    /// # Errors
    /// What is asked for makes no sense.
    pub fn finish(mut self) -> Result<Made, ApiError> {
        let (order, outcomes) = (Arc::clone(&self.order), std::mem::take(&mut self.outcomes));
        let Order { replica, chosen: Chosen { pipeline, .. }, ask, .. } = &*order;
        let around = self.around();
        let gathered = pipeline.gather(&self.request, outcomes, &self.wanted, &around);
        let item_features = |rows: &[u32]| {
            let (names, surface) = (pipeline.item_features(), ask.surface.as_deref());
            features::columns(names, rows, around.catalogue, &replica.state(), surface)
        };
        let scored = pipeline.score(gathered, &item_features).map_err(|error| {
            tracing::error!(%error, "candidates could not be scored");
            ApiError::internal()
        })?;
        let answer = pipeline.answer(&self.request, &scored, &self.wanted, &around);
        let answer = answer.map_err(|error: AnswerError| refused(&error))?;
        let (names, stats) = {
            let state = replica.state();
            let counts = |item: &pipeline::Answered| (item.row, state.stats().counts(item.row, None));
            let stats = answer.items.iter().filter(|_| ask.explain).map(counts).collect();
            (names(&answer, &state), stats)
        };
        let named = |((place, row), detail): ((usize, u32), String)| ((pipeline.sources()[place].clone(), row), detail);
        let details = self.details.into_iter().map(named).collect();
        let (missing, strange) = (self.missing, self.strange);
        Ok(Made { order, answer, names, stats, missing, details, strange })
    }
}

fn refused(error: &dyn std::fmt::Display) -> ApiError {
    ApiError::new(ErrorCode::Invalid, error.to_string())
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
    use attune_api::catalogue::Entry;
    use attune_api::log::{Event, Record};
    use attune_api::rest::recommendation::{RankRequest, RecommendRequest, SimilarRequest};
    use attune_ranking::data::Worth;
    use attune_store::events::{Event as Logged, Position};

    use super::*;
    use crate::RecommendationConfig;
    use crate::ask::Who;
    use crate::definitions::InForce;
    use crate::fold::Rules;
    use crate::fresh::Fresh;
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
        let clicks = [(0, 1), (1, 2), (2, 3)].map(click);
        assert_eq!(replica.consume(clicks, &[Position { partition: 0, offset: 3 }]).counted, 3);
        replica.publish(&config, &InForce::default(), &MoreSources::default()).unwrap();
        replica
    }

    fn order(replica: Arc<Replica>, ask: Ask, deadline: Instant) -> Arc<Order> {
        let settings = Settings { seen_days: None };
        let world = replica.world();
        let chosen = world.choose(&ask.pipeline, None).unwrap();
        Arc::new(Order { replica, world, chosen, ask, settings, list_id: "1".to_owned(), deadline })
    }

    fn list(deadline: Instant) -> Answer {
        let user_id = Some("ada".to_owned());
        let ask = Ask::try_from(RecommendRequest { user_id, k: Some(3), ..RecommendRequest::default() }).unwrap();
        let known = Known { subject: Some(7), fresh: Fresh::default() };
        let order = order(Arc::new(replica()), ask, deadline);
        retrieve(&[(&order, &known)], &mut Scratch::default()).remove(0).unwrap().finish().unwrap().answer
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
        let replica = Arc::new(replica());
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
        let known = |ask: &Ask| Known { subject: (ask.who != Who::Nobody).then_some(7), fresh: Fresh::default() };
        let known: Vec<Known> = asks.iter().map(known).collect();
        let deadline = Instant::now() + Duration::from_secs(600);
        let orders = asks.into_iter().map(|ask| order(replica.clone(), ask, deadline)).collect::<Vec<_>>();
        let asked: Vec<(&Arc<Order>, &Known)> = orders.iter().zip(&known).collect();
        let mut scratch = Scratch::default();
        let mut items = |asked: &[(&Arc<Order>, &Known)]| {
            let item = |item: &pipeline::Answered| (item.row, item.score);
            let items = |made: Made| made.answer.items.iter().map(item).collect::<Vec<_>>();
            let made = retrieve(asked, &mut scratch).into_iter().map(|retrieved| retrieved?.finish());
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
