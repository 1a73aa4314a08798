//! Lists for users as they were, to learn what each source is worth beside a trained model.
//!
//! A replica of its own is folded from the part of the events that the model was trained on, with the catalogue as it is
//! now, and the default pipeline's sources are asked for lists: for users as they were then, and for the same users as if
//! they had just come. What they did later was kept from the model and from the replica, and says which proposals were
//! right. Nothing here is what a request does otherwise: the sources, their options and the exclusions are the same.

use std::sync::Arc;

use attune_api::catalogue::{AttributeKind, Entry};
use attune_api::log::{Event, Record};
use attune_ranking::data::{EventLog, Worth};
use attune_ranking::evaluate::{Case, Task};
use attune_ranking::pipeline::{self, Pipeline, Wanted};
use attune_ranking::retrieve::{Request, Scratch};
use attune_ranking::score::{RankBand, RankCase, learn_ranks};
use attune_store::Tenant;

use crate::RecommendationConfig;
use crate::definitions::InForce;
use crate::fold::{EVENTS_MAX, Rules, State};
use crate::model::{self, Trained};
use crate::replica::Replica;
use crate::shelf::{STOCKED_AT_ONCE, Stocking};
use crate::world::{DEFAULT, MoreSources, World};

/// The last events that the replica is folded from: this is what bounds its memory.
const FOLDED_MAX: usize = 1_000_000;
/// Users whose lists are rehearsed, evenly among all.
const USERS_MAX: usize = 1_000;
/// Beside all that was known of a user, his first so many events, as if he had just come.
const BEGINNINGS: [usize; 4] = [0, 1, 3, 10];
/// What a list is asked for; sources propose more by themselves.
const K: usize = 20;

/// What is rehearsed with.
pub struct Rehearsal<'a> {
    /// Whose lists.
    pub tenant: Tenant,
    /// How lists are made.
    pub config: &'a RecommendationConfig,
    /// What events are worth.
    pub worth: Worth,
    /// The attributes of the catalogue.
    pub kinds: Vec<(String, AttributeKind)>,
    /// Its items.
    pub entries: Vec<Entry>,
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

/// What the ranks of each source weigh best beside the model, by how much is known of a user; nothing if there is too
/// little to learn it from.
///
/// # Errors
/// In words for the log: the catalogue cannot be laid out, or `is_wanted` says that nobody waits any more.
pub fn rehearse(rehearsal: &Rehearsal<'_>, is_wanted: &dyn Fn() -> bool) -> Result<Vec<RankBand>, String> {
    let replica = rehearsal.replica()?;
    let world = replica.world();
    let pipeline = world.choose(DEFAULT, None).map_err(|error| error.to_string())?.pipeline;
    let rows: Vec<Option<u32>> = {
        let state = replica.state();
        (0..rehearsal.log.items() as u32).map(|item| state.items().row((rehearsal.item)(item))).collect()
    };
    let now = rehearsal.log.latest().unwrap_or(0);
    let (mut cases, mut scratch) = (Vec::new(), Scratch::default());
    let asked: Vec<&Case> = rehearsal.task.groups.iter().flat_map(|group| &group.cases).collect();
    for case in asked.iter().step_by(asked.len().div_ceil(USERS_MAX).max(1)) {
        if !is_wanted() {
            return Err("nobody waits for it any more".to_owned());
        }
        let events = case.history().items.len();
        let lengths = BEGINNINGS.into_iter().filter(|length| *length < events).chain([events]);
        cases.extend(lengths.filter_map(|length| list(&pipeline, &world, &rows, case, length, now, &mut scratch)));
    }
    Ok(learn_ranks(pipeline.sources(), &cases))
}

/// What the sources propose to a user of whom so many events are known.
fn list(
    pipeline: &Pipeline,
    world: &World,
    rows: &[Option<u32>],
    case: &Case,
    events: usize,
    now: i64,
    scratch: &mut Scratch,
) -> Option<RankCase> {
    let row = |item: &u32| rows[*item as usize];
    let history = case.history();
    let first = events.saturating_sub(EVENTS_MAX);
    let mut request = Request { excluded: case.masked.iter().filter_map(row).collect(), ..Request::default() };
    for event in first..events {
        if let Some(row) = row(&history.items[event]).filter(|_| history.weights[event] != 0.0) {
            request.items.push(row);
            request.weights.push(history.weights[event]);
            request.times.push(history.times[event]);
        }
    }
    let request = request.check().ok()?;
    let wanted = Wanted { k: K, diversity: None, seed: 0, explain: false };
    let around = pipeline::World {
        catalogue: &world.stock.catalogue,
        allowed: Some(&world.stock.visible),
        include: &[],
        now,
        threads: 1,
    };
    let (requests, wants) = (std::slice::from_ref(&request), std::slice::from_ref(&wanted));
    let ask =
        |source| pipeline.retrieve(source, requests, wants, &around, scratch).pop().expect("one outcome a request");
    let outcomes = (0..pipeline.sources().len()).map(ask).collect();
    let gathered = pipeline.gather(&request, outcomes, &wanted, &around);
    // What cannot be shown any more cannot be proposed by anybody.
    let mut liked: Vec<u32> =
        case.relevant.iter().filter_map(row).filter(|row| world.stock.visible.contains(*row)).collect();
    liked.sort_unstable();
    Some(RankCase::new(gathered.events, &gathered.union, &liked))
}

impl Rehearsal<'_> {
    /// What a replica would be that has read the training events and nothing else.
    fn replica(&self) -> Result<Replica, String> {
        let rules = Arc::new(Rules::new(self.config, self.worth.clone()));
        let replica = Replica::new(self.tenant.clone(), Arc::clone(&rules), self.config);
        replica.restore(self.folded(&rules));
        let mut stocking = Stocking::new(self.kinds.clone());
        for entries in self.entries.chunks(STOCKED_AT_ONCE) {
            stocking.put(replica.with_rows(entries.to_vec())).map_err(|error| error.to_string())?;
        }
        replica.stock(stocking).map_err(|error| error.to_string())?;
        let ours = replica.rows_of(&*self.model);
        let source = model::source(Arc::clone(&self.model), ours).map_err(|error| error.to_string())?;
        let more = MoreSources {
            sources: [(model::MODEL.to_owned(), (source, model::MODEL_WEIGHT))].into(),
            model: Some(self.model.version().to_owned()),
            blend: Vec::new(),
        };
        replica.publish(self.config, &InForce::default(), &more).map_err(|error| error.to_string())?;
        Ok(replica)
    }

    fn folded(&self, rules: &Rules) -> State {
        let mut state = State::new(rules);
        let events = self.log.events();
        let mut train = self.task.split.train.clone();
        train.sort_by_key(|index| (events[*index].time, *index));
        for index in &train[train.len().saturating_sub(FOLDED_MAX)..] {
            let event = &events[*index];
            let time_ms = event.time.saturating_mul(1_000);
            let told = Event {
                r#type: self.log.kinds()[usize::from(event.kind)].clone(),
                item_id: Some((self.item)(event.item).to_owned()),
                value: event.value.map(f64::from),
                time_ms,
                received_ms: time_ms,
                ..Event::default()
            };
            state.apply((self.user)(event.user), Record::Event(told), rules);
        }
        state
    }
}

#[cfg(test)]
#[path = "rehearse_tests.rs"]
mod tests;
