//! One tenant in this process: what was folded, what is on the shelf, and the world made of both.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;

use attune_api::catalogue::Entry;
use attune_api::log::Record;
use attune_store::Tenant;
use attune_store::events::{Event, Position};
use tokio::sync::watch;

use crate::RecommendationConfig;
use crate::definitions::InForce;
use crate::fold::{Applied, Rules, State};
use crate::layout::Layout;
use crate::model::{self, Trained};
use crate::shelf::{Kinds, Shelf, ShelfError, Stocking};
use crate::stock::Stock;
use crate::world::{Counted, MoreSources, World};

/// Effects that are applied, an event's or those of a list on its items, or items that are given rows, while nobody reads.
const APPLIED_AT_ONCE: usize = 128;

/// What a tenant's requests and its follower share. Locks that requests need are held for as long as some memory is copied,
/// never across a wait.
pub struct Replica {
    /// Whose.
    pub tenant: Tenant,
    /// How records count.
    pub rules: Arc<Rules>,
    state: RwLock<State>,
    /// Held by who writes, or reads for long: a writer that waited for a long reader would have everybody wait who comes
    /// after it.
    writers: Mutex<()>,
    shelf: Mutex<Shelf>,
    world: RwLock<Arc<World>>,
    /// Changes with every batch of the log.
    progress: watch::Sender<u64>,
    /// Whether the log was read to what was its end at the start, and the catalogue too.
    ready: watch::Sender<bool>,
    /// Whether somebody has changed what is defined.
    look: AtomicBool,
}

/// A record of the log as it was read, with its place and whom it is about. What is not a record of ours is passed over when
/// it is applied: a newer program may have written it.
pub struct Entered {
    position: Position,
    subject: String,
    record: Result<Record, serde_json::Error>,
}

impl From<Event> for Entered {
    fn from(Event { position, subject, payload, .. }: Event) -> Self {
        Self { position, subject, record: Record::read_counted(&payload) }
    }
}

impl Entered {
    /// How much there is to apply: a list counts for each of its items.
    fn effects(&self) -> usize {
        match &self.record {
            Ok(Record::Exposure(list)) => 1 + list.items.len(),
            _ => 1,
        }
    }
}

/// What a batch of the log brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Consumed {
    /// Records that count.
    pub counted: usize,
    /// Lists that were shown.
    pub shown: usize,
    /// Whether somebody was forgotten.
    pub forgot: bool,
    /// Items that have changed.
    pub items: Vec<String>,
}

impl Consumed {
    /// Has a record applied that was not before, and moves on behind it.
    fn take(&mut self, state: &mut State, entered: Entered, apply: impl FnOnce(&mut State, &str, Record) -> Applied) {
        let Position { partition, offset } = entered.position;
        if state.has_consumed(partition, offset) {
            return;
        }
        match entered.record.map(|record| apply(state, &entered.subject, record)) {
            Ok(Applied::Counted) => self.counted += 1,
            Ok(Applied::Shown) => self.shown += 1,
            Ok(Applied::Forgotten) => (self.counted, self.forgot) = (self.counted + 1, true),
            Ok(Applied::Item(item_id)) => self.items.push(item_id),
            Ok(Applied::Nothing) => {}
            Err(error) => tracing::warn!(partition, offset, %error, "a record of the log cannot be read"),
        }
        state.advance([(partition, offset + 1)]);
    }
}

/// What is locked, with the lock that only one of those has who write or read for long.
pub struct Alone<'r, G> {
    guard: G,
    _writers: MutexGuard<'r, ()>,
}

impl<G: Deref> Deref for Alone<'_, G> {
    type Target = G::Target;

    fn deref(&self) -> &G::Target {
        &self.guard
    }
}

impl<G: DerefMut> DerefMut for Alone<'_, G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.guard
    }
}

impl Replica {
    /// With nothing in it.
    pub fn new(tenant: Tenant, rules: Arc<Rules>, config: &RecommendationConfig) -> Self {
        let state = State::new(&rules);
        let shelf = Shelf::new(Kinds::new(), 1).expect("no attributes are a schema");
        let (in_force, more) = (InForce::default(), MoreSources::default());
        let stock = Stock::of(&shelf, config.latest_half_life_days, None);
        let world = World::make(Counted::of(&state, &in_force), stock, &in_force, &more);
        Self {
            tenant,
            rules,
            state: RwLock::new(state),
            writers: Mutex::new(()),
            shelf: Mutex::new(shelf),
            world: RwLock::new(Arc::new(world)),
            progress: watch::Sender::new(0),
            ready: watch::Sender::new(false),
            look: AtomicBool::new(false),
        }
    }

    /// What was folded.
    pub fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same for who reads for long, such as all of it: requests go on beside, and what the log brings waits.
    pub fn still(&self) -> Alone<'_, RwLockReadGuard<'_, State>> {
        let writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        Alone { guard: self.state(), _writers: writers }
    }

    fn state_mut(&self) -> Alone<'_, RwLockWriteGuard<'_, State>> {
        let writers = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        Alone { guard: self.state.write().unwrap_or_else(PoisonError::into_inner), _writers: writers }
    }

    /// What requests see.
    pub fn world(&self) -> Arc<World> {
        self.world.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says when the state has moved on.
    pub fn progress(&self) -> watch::Receiver<u64> {
        self.progress.subscribe()
    }

    /// Says when requests can be answered.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// From now on requests can be answered.
    pub fn set_ready(&self) {
        self.ready.send_replace(true);
    }

    /// What is defined has changed and is to be read at once.
    pub fn look_now(&self) {
        self.look.store(true, Ordering::Release);
    }

    /// Whether it is to be read at once.
    pub fn take_look(&self) -> bool {
        self.look.swap(false, Ordering::AcqRel)
    }

    /// Goes on from a state that was kept.
    pub fn restore(&self, state: State) {
        *self.state_mut() = state;
    }

    /// Applies records of the log, each together with its place, and moves on to `positions`. Requests wait for those that
    /// are not read yet.
    pub fn consume(&self, records: impl IntoIterator<Item: Into<Entered>>, positions: &[Position]) -> Consumed {
        let mut records = records.into_iter().map(Into::into).peekable();
        let mut consumed = Consumed::default();
        if !*self.ready.borrow() {
            // Nobody reads yet, and there is much to read.
            self.state_mut().fold(|state| {
                for entered in records.by_ref().take(APPLIED_AT_ONCE) {
                    consumed.take(state, entered, |state, subject, record| state.step(subject, record, &self.rules));
                }
                records.peek().is_some()
            });
        }
        while records.peek().is_some() {
            self.apply_some(&mut records, &mut consumed);
            // Who waits to read goes first.
            thread::yield_now();
        }
        self.state_mut().advance(positions.iter().map(|position| (position.partition, position.offset)));
        self.progress.send_modify(|batches| *batches += 1);
        consumed
    }

    /// As much as may be applied at once.
    fn apply_some(&self, records: &mut dyn Iterator<Item = Entered>, consumed: &mut Consumed) {
        let (state, mut effects) = (&mut *self.state_mut(), 0);
        while effects < APPLIED_AT_ONCE
            && let Some(entered) = records.next()
        {
            effects += entered.effects();
            consumed.take(state, entered, |state, subject, record| state.apply(subject, record, &self.rules));
        }
    }

    /// Lays everything out anew: the catalogue as a whole.
    ///
    /// # Errors
    /// [`ShelfError`]; what was there stays.
    pub fn stock(&self, stocking: Stocking) -> Result<(), ShelfError> {
        let shelf = stocking.finish()?;
        *self.shelf.lock().unwrap_or_else(PoisonError::into_inner) = shelf;
        Ok(())
    }

    /// Puts items that have changed in their place; those that are gone are named by their ids alone.
    ///
    /// # Errors
    /// [`ShelfError`]; nothing was changed then.
    pub fn restock(&self, found: Vec<Entry>, gone: &[String]) -> Result<(), ShelfError> {
        let found = self.with_rows(found);
        let gone: Vec<u32> = {
            let state = self.state();
            gone.iter().filter_map(|item_id| state.items().row(item_id)).collect()
        };
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.put(found)?;
        shelf.remove(&gone);
        Ok(())
    }

    /// Ids of items that came or went by themselves since this was asked last.
    pub fn due(&self, now: i64) -> Vec<String> {
        let rows = self.shelf.lock().unwrap_or_else(PoisonError::into_inner).take_due(now);
        let state = self.state();
        rows.into_iter().filter_map(|row| state.items().get(row)).map(str::to_owned).collect()
    }

    /// The attributes as they were when everything was laid out.
    pub fn kinds(&self) -> Kinds {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner).kinds().clone()
    }

    /// Shows requests what there is now.
    ///
    /// # Errors
    /// [`ShelfError`]; requests go on with what they had.
    pub fn publish(
        &self,
        config: &RecommendationConfig,
        in_force: &InForce,
        more: &MoreSources,
    ) -> Result<(), ShelfError> {
        let counted = Counted::of(&self.still(), in_force);
        let before = self.world();
        let stock = {
            let shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
            shelf.tidy()?;
            Stock::of(&shelf, config.latest_half_life_days, Some(&before.stock))
        };
        let world = Arc::new(World::make(counted, stock, in_force, more));
        *self.world.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&world);
        // Once, and not with every world.
        for complaint in world.complaints().iter().filter(|complaint| !before.complaints().contains(complaint)) {
            tracing::warn!(tenant = %self.tenant, "{complaint}");
        }
        Ok(())
    }

    /// Our rows of a model's items.
    pub fn rows_of(&self, model: &dyn Trained) -> Vec<u32> {
        model::rows(model, &mut self.state_mut(), &self.rules)
    }

    /// The catalogue as requests see it.
    pub fn layout(&self) -> Layout {
        let stock = Arc::clone(&self.world().stock);
        // After it: every item on the shelf has a name.
        Layout { items: self.state().items().clone(), stock }
    }

    /// Items with their rows, new ones where they have none; without those for which there is no room.
    pub fn with_rows(&self, entries: Vec<Entry>) -> Vec<(u32, Entry)> {
        let mut with_rows = Vec::with_capacity(entries.len());
        let mut entries = entries.into_iter().peekable();
        while entries.peek().is_some() {
            let mut state = self.state_mut();
            let row = |entry: Entry| Some((state.row(&entry.item_id, &self.rules)?, entry));
            with_rows.extend(entries.by_ref().take(APPLIED_AT_ONCE).filter_map(row));
        }
        with_rows
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use attune_ranking::data::Worth;

    use super::*;

    #[test]
    fn requests_go_on_beside_one_that_reads_for_long_though_a_writer_waits() {
        let config = RecommendationConfig::default();
        let replica = Replica::new("shop".parse().unwrap(), Arc::new(Rules::new(&config, Worth::default())), &config);
        let (written, writes) = mpsc::channel();
        let (read, reads) = mpsc::channel();
        thread::scope(|scope| {
            let still = replica.still();
            scope.spawn(|| {
                replica.consume(Vec::<Entered>::new(), &[Position { partition: 0, offset: 7 }]);
                written.send(()).unwrap();
            });
            thread::sleep(Duration::from_millis(50));
            scope.spawn(|| read.send(replica.state().has_consumed(0, 6)).unwrap());
            assert_eq!(reads.recv_timeout(Duration::from_secs(60)), Ok(false), "a request waits");
            assert!(writes.try_recv().is_err() && !still.has_consumed(0, 6), "what is read does not change");
            drop(still);
        });
        assert!(writes.try_recv().is_ok() && replica.state().has_consumed(0, 6));
    }
}
