//! What other replicas did: their records in the log say which items to read again, so that the embeddings in the memory
//! of every replica are those of all. A replica's own records are passed over, since what they tell of is in its memory.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use attune_api::ApiError;
use attune_api::log::Record;
use attune_store::documents::DOCUMENTS_MAX;
use attune_store::events::{Consumer, Event, Position};

use crate::live::{Change, State};
use crate::shared::{OfTenant, Shared};
use crate::time::now_micros;

/// Events of a poll.
const EVENTS_MAX: usize = 1_000;
/// How long a poll waits: it is asked again at the next tick anyway.
const WAIT: Duration = Duration::from_millis(1);
/// Subjects of items begin so; the log has far more of other subjects.
const SUBJECT: &str = "item/";

/// A place in the log, and which records behind it are this replica's.
pub(crate) struct Follower {
    reader: Box<dyn Consumer>,
}

impl Shared {
    /// A reader of what is appended from now on.
    pub async fn follower(&self, of: &OfTenant) -> Result<Follower, ApiError> {
        let bounds = self.stores.events.bounds(&of.tenant).await?;
        let from: Vec<Position> =
            bounds.iter().map(|bound| Position { partition: bound.partition, offset: bound.next }).collect();
        Ok(Follower { reader: self.stores.events.read(&of.tenant, &from).await? })
    }

    /// Reads again what others say has changed, up to where the log ends.
    pub async fn follow(&self, of: &OfTenant) -> Result<(), ApiError> {
        let mut follower = of.follower.lock().await;
        let Some(follower) = follower.as_mut() else { return Ok(()) };
        loop {
            let before = follower.reader.positions();
            let events = follower.reader.poll(EVENTS_MAX, WAIT).await?;
            if events.is_empty() {
                return Ok(());
            }
            let ids = of.foreign(events);
            if let Err(error) = self.read_again(of, ids).await {
                for position in before {
                    follower.reader.seek(position).await?;
                }
                return Err(error);
            }
        }
    }

    async fn read_again(&self, of: &OfTenant, ids: BTreeSet<String>) -> Result<(), ApiError> {
        let ids: Vec<String> = ids.into_iter().collect();
        for ids in ids.chunks(DOCUMENTS_MAX) {
            let schema = self.schemas.read(self.stores.relational.as_ref(), &of.tenant).await?;
            let gone_at = now_micros().unsigned_abs();
            let items = self.items(&of.tenant, ids).await?;
            let mut vectors = self.vectors(&of.tenant, &items.iter().flatten().cloned().collect::<Vec<_>>()).await?;
            let change = |(id, item): (&String, Option<crate::document::Stored>)| match item {
                // Whatever is made under the id afterwards has the time of its making as its version.
                None => Change { id: id.clone(), version: gone_at, state: State::Gone },
                Some(item) => {
                    let attributes = item.body.values(&schema);
                    let state = match vectors.remove(id) {
                        Some(vector) => State::Whole(vector, attributes),
                        None => State::Attributes(attributes),
                    };
                    Change { id: id.clone(), version: item.version.0, state }
                }
            };
            let changes = ids.iter().zip(items).map(change).collect();
            of.apply(&schema, changes).await?;
        }
        Ok(())
    }
}

impl OfTenant {
    /// The items that the records of others tell of.
    fn foreign(&self, events: Vec<Event>) -> BTreeSet<String> {
        let mut own = self.own.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let others =
            events.into_iter().filter(|event| !own.remove(&event.position) && event.subject.starts_with(SUBJECT));
        let ids = others.filter_map(|event| match serde_json::from_slice(&event.payload) {
            Ok(Record::Item { item_id }) => Some(item_id),
            _ => None,
        });
        ids.collect()
    }

    /// Takes note of records of this replica.
    pub fn appended(&self, positions: Vec<Position>) {
        let mut own: std::sync::MutexGuard<'_, HashSet<Position>> =
            self.own.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        own.extend(positions);
    }
}
