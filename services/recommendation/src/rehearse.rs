//! Lists for users as they were, to learn what each source is worth beside a trained model, and to judge what comes of it.
//!
//! A state of its own is folded from the part of the events that the model was trained on, with the catalogue as it is now,
//! and the default pipeline's sources are asked for lists: for users as they were then, and for the same users as if
//! they had just come. What they did later was kept from the model and from the state, and says which proposals were
//! right. Nothing here is what a request does otherwise: the sources, their options and the exclusions are the same.

use std::collections::HashMap;
use std::sync::Arc;

use attune_api::log::{Event, Record};
use attune_ranking::data::{EventLog, Worth};
use attune_ranking::evaluate::{Case, Outcome, Task, judge};
use attune_ranking::pipeline::{self, Pipeline, Wanted};
use attune_ranking::retrieve::{Checked, Request, Scratch};
use attune_ranking::score::{RankBand, RankCase, learn_ranks};

use crate::RecommendationConfig;
use crate::definitions::InForce;
use crate::features;
use crate::fold::{EVENTS_MAX, Rules, State};
use crate::layout::Layout;
use crate::model::{self, Trained};
use crate::world::{Counted, DEFAULT, MoreSources, World};

/// The last events that the state is folded from: this is what bounds its memory.
const FOLDED_MAX: usize = 1_000_000;
/// Users that are enough to learn from: a task that is to be [rehearsed](rehearse) is thinned to so many.
pub const REHEARSED_MAX: usize = 1_000;
/// Beside all that was known of a user, his first so many events, as if he had just come.
const BEGINNINGS: [usize; 4] = [0, 1, 3, 10];
/// What a list is asked for; sources propose more by themselves.
const K: usize = 20;

/// What is rehearsed with.
pub struct Rehearsal<'a> {
    /// How lists are made.
    pub config: &'a RecommendationConfig,
    /// What events are worth.
    pub worth: Worth,
    /// What there is to show.
    pub layout: Layout,
    /// What happened, that which was kept from the model among it.
    pub log: &'a EventLog,
    /// The subject of a user's row.
    pub user: &'a dyn Fn(u32) -> &'a str,
    /// The id of an item's row.
    pub item: &'a dyn Fn(u32) -> &'a str,
    /// What the model was trained on, and who is asked about.
    pub task: &'a Task,
    /// The model.
    pub model: Arc<dyn Trained>,
}

/// What the ranks of each source, and the features of items, weigh best beside the model, by how much is known of a user:
/// learned with everybody whom the task asks about; nothing if there is too little to learn it from. Items are what they
/// are now: what was written of them after the training events counts as if it had been known.
///
/// # Errors
/// In words for the log: the catalogue cannot be laid out, or `is_wanted` says that nobody waits any more.
pub fn rehearse(rehearsal: &Rehearsal<'_>, is_wanted: &dyn Fn() -> bool) -> Result<Vec<RankBand>, String> {
    let stage = Stage::new(rehearsal, Vec::new())?;
    let (mut cases, mut scratch) = (Vec::new(), Scratch::default());
    for case in rehearsal.task.groups.iter().flat_map(|group| &group.cases) {
        if !is_wanted() {
            return Err("nobody waits for it any more".to_owned());
        }
        let events = case.history().items.len();
        let lengths = BEGINNINGS.into_iter().filter(|length| *length < events).chain([events]);
        cases.extend(lengths.filter_map(|length| stage.case(case, length, &mut scratch)));
    }
    let names = [stage.pipeline.sources(), &stage.features].concat();
    // To learn takes long, and has no use for what the lists were made of.
    drop(stage);
    Ok(learn_ranks(&names, &cases))
}

/// The lists that everybody whom the task asks about would get, made with such weights, and how good they are.
///
/// # Errors
/// In words: the catalogue cannot be laid out, or a list cannot be made.
pub fn judge_lists(rehearsal: &Rehearsal<'_>, blend: Vec<RankBand>) -> Result<Outcome, String> {
    let stage = Stage::new(rehearsal, blend)?;
    let theirs: HashMap<u32, u32> =
        (0..).zip(&stage.rows).filter_map(|(item, row): (u32, &Option<u32>)| Some(((*row)?, item))).collect();
    let mut scratch = Scratch::default();
    judge(rehearsal.task, |case| {
        let rows = stage.list(case, rehearsal.task.protocol.k, &mut scratch)?;
        Ok(rows.iter().filter_map(|row| theirs.get(row).copied()).collect())
    })
}

/// What lists are made of.
struct Stage {
    state: State,
    world: World,
    pipeline: Arc<Pipeline>,
    /// Names of the features of items that may weigh.
    features: Vec<String>,
    /// Our row of each item of the log.
    rows: Vec<Option<u32>>,
    now: i64,
}

impl Stage {
    fn new(rehearsal: &Rehearsal<'_>, blend: Vec<RankBand>) -> Result<Self, String> {
        let rules = Rules::new(rehearsal.config, rehearsal.worth.clone());
        let mut state = rehearsal.folded(&rules);
        let world = rehearsal.world(&mut state, &rules, blend)?;
        let pipeline = world.choose(DEFAULT, None).map_err(|error| error.to_string())?.pipeline;
        let row = |item: u32| state.items().row((rehearsal.item)(item));
        let rows = (0..rehearsal.log.items() as u32).map(row).collect();
        let features = features::WEIGHED.map(|(name, _)| name.to_owned()).to_vec();
        Ok(Self { state, world, pipeline, features, rows, now: rehearsal.log.latest().unwrap_or(0) })
    }

    /// A user of whom so many events are known, the last ones of them as many as are kept.
    fn request(&self, case: &Case, events: usize) -> Option<Checked> {
        let row = |item: &u32| self.rows[*item as usize];
        let history = case.history();
        let mut request = Request { excluded: case.masked.iter().filter_map(row).collect(), ..Request::default() };
        for event in events.saturating_sub(EVENTS_MAX)..events {
            if let Some(row) = row(&history.items[event]).filter(|_| history.weights[event] != 0.0) {
                request.items.push(row);
                request.weights.push(history.weights[event]);
                request.times.push(history.times[event]);
            }
        }
        request.check().ok()
    }

    fn around(&self) -> pipeline::World<'_> {
        let stock = &self.world.stock;
        let (catalogue, allowed) = (&stock.catalogue, Some(&stock.visible));
        pipeline::World { catalogue, allowed, include: &[], now: self.now, threads: 1 }
    }

    fn columns(&self, names: &[String], rows: &[u32]) -> Vec<Vec<f32>> {
        features::columns(names, rows, &self.world.stock.catalogue, &self.state, None)
    }

    /// What the sources propose to a user of whom so many events are known, and what he liked.
    fn case(&self, case: &Case, events: usize, scratch: &mut Scratch) -> Option<RankCase> {
        let (request, wanted, around) = (self.request(case, events)?, wanted(K), self.around());
        let (requests, wants) = (std::slice::from_ref(&request), std::slice::from_ref(&wanted));
        let ask = |source| {
            let mut outcomes = self.pipeline.retrieve(source, requests, wants, &around, scratch);
            outcomes.pop().expect("one outcome a request")
        };
        let outcomes = (0..self.pipeline.sources().len()).map(ask).collect();
        let gathered = self.pipeline.gather(&request, outcomes, &wanted, &around);
        // What cannot be shown any more cannot be proposed by anybody.
        let shown = |row: &u32| self.world.stock.visible.contains(*row);
        let mut liked: Vec<u32> =
            case.relevant.iter().filter_map(|item| self.rows[*item as usize]).filter(shown).collect();
        liked.sort_unstable();
        let features = self.columns(&self.features, gathered.union.rows());
        Some(RankCase::new(gathered.events, &gathered.union, &features, &liked))
    }

    /// The list of a user of whom all is known.
    fn list(&self, case: &Case, k: usize, scratch: &mut Scratch) -> Result<Vec<u32>, String> {
        let events = case.history().items.len();
        let request = self.request(case, events).ok_or("a history that makes no sense")?;
        let columns = |rows: &[u32]| self.columns(self.pipeline.item_features(), rows);
        let (requests, wants) = (std::slice::from_ref(&request), [wanted(k)]);
        let mut answers = self.pipeline.recommend(requests, &wants, &self.around(), &columns, scratch);
        let answer = answers.pop().expect("one answer a request").map_err(|error| error.to_string())?;
        Ok(answer.items.iter().map(|item| item.row).collect())
    }
}

fn wanted(k: usize) -> Wanted {
    Wanted { k, diversity: None, seed: 0, explain: false }
}

impl Rehearsal<'_> {
    /// What requests would see where nothing but the training events had happened.
    fn world(&self, state: &mut State, rules: &Rules, blend: Vec<RankBand>) -> Result<World, String> {
        let ours = model::rows(&*self.model, state, rules);
        let source = model::source(Arc::clone(&self.model), ours).map_err(|error| error.to_string())?;
        let more = MoreSources {
            sources: [(model::MODEL.to_owned(), (source, model::MODEL_WEIGHT))].into(),
            model: Some(self.model.version().to_owned()),
            blend,
        };
        let (in_force, stock) = (InForce::default(), Arc::clone(&self.layout.stock));
        Ok(World::make(Counted::of(state, &in_force), stock, &in_force, &more))
    }

    fn folded(&self, rules: &Rules) -> State {
        let mut state = State::of(self.layout.items.clone(), rules);
        for place in self.last_of_training(FOLDED_MAX) {
            let event = self.log.event(place);
            let time_ms = event.time.saturating_mul(1_000);
            let told = Event {
                r#type: self.log.kinds()[usize::from(event.kind)].clone(),
                item_id: Some((self.item)(event.item).to_owned()),
                value: event.value.map(|value| value.get().into()),
                time_ms,
                received_ms: time_ms,
                ..Event::default()
            };
            state.apply((self.user)(event.user), Record::Event(told), rules);
        }
        // What is asked of users is in the task.
        state.without_users()
    }

    /// The last so many training events, in order.
    fn last_of_training(&self, count: usize) -> Vec<u32> {
        let when = |place: &u32| (self.log.event(*place).time, *place);
        let mut last = self.task.split.train.clone();
        if last.len() > count {
            let beyond = last.len() - count;
            last.select_nth_unstable_by_key(beyond, when);
            last.drain(..beyond);
            last.shrink_to_fit();
        }
        last.sort_unstable_by_key(when);
        last
    }
}

#[cfg(test)]
#[path = "rehearse_tests.rs"]
mod tests;
