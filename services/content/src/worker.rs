//! What follows a write: read from the outbox, done in batches, in any order and any number of times.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use attune_api::log::{Record, item_subject};
use attune_api::{ApiError, ErrorCode, progress};
use attune_store::documents::DOCUMENTS_MAX;
use attune_store::events::NewEvent;
use attune_store::relational::OutboxRow;
use attune_store::search::Change as IndexChange;
use attune_store::{Expect, PageRequest, Tenant};
use futures::future::try_join_all;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::document::{ITEMS, Stored, VECTORS};
use crate::live::{Change, State};
use crate::outbox::{Readiness, Task, Topic};
use crate::schema::Attributes;
use crate::service::ContentService;
use crate::shared::{OfTenant, Shared, is_conflict};
use crate::time::now_micros;
use crate::{engine, indexing};

/// How many rows are looked at at once.
const ROWS_MAX: usize = 1_000;
/// How many items a round takes: a row more may go beyond it.
const ROUND_ITEMS: usize = 1_000;
/// How many texts go to the engine in one call, and how many calls at once: enough to keep it busy while vectors are kept.
const EMBED_TEXTS: usize = 128;
const EMBED_CALLS: usize = 4;
/// How often it is looked for tenants that were deleted.
const TENANTS_EVERY: Duration = Duration::from_secs(5);
/// How often the outbox is looked at if nobody writes here: others may have.
const TICK: Duration = Duration::from_millis(500);
/// Lists that start go first, for so long at most.
const GIVE_WAY_MAX: Duration = Duration::from_secs(60);
/// How long a worker waits after a fault, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// The workers of a service. They go on where the last process ended.
#[derive(Debug)]
pub struct Workers {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts them.
    pub fn start(service: &ContentService) -> Self {
        let shared = service.shared();
        let stop = shared.stopping.clone();
        let topics = [Topic::Index, Topic::Embed].map(|topic| tokio::spawn(run(Arc::clone(&shared), topic)));
        let mut tasks = Vec::from(topics);
        tasks.push(tokio::spawn(turns(Arc::clone(&shared))));
        tasks.push(tokio::spawn(load(shared)));
        Self { stop, tasks }
    }

    /// Lets each end what it is at. What is left stays in the outbox for the next start.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        for task in self.tasks.drain(..) {
            let _panicked = task.await;
        }
    }
}

impl Drop for Workers {
    /// Ends them where they are, as a crash would: nothing is lost by it but time.
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Reads what is kept of every tenant, so that the first search does not wait for it. Lists go first: both read the same
/// items at once, and whoever asks for a list has nobody else to ask.
async fn load(shared: Arc<Shared>) {
    let mut stopping = shared.stopping.subscribe();
    tokio::select! {
        () = progress::give_way(progress::LISTS, Duration::MAX, GIVE_WAY_MAX, tokio::time::sleep) => {}
        _ = stopping.wait_for(|stopping| *stopping) => return,
    }
    let mut page = PageRequest::first(ROWS_MAX);
    while !*shared.stopping.borrow() {
        let Ok(found) = shared.stores.relational.tenants(page.clone()).await else { return };
        for record in found.rows {
            let Ok(of) = shared.of(&record.tenant) else { return };
            let mut stopping = shared.stopping.subscribe();
            tokio::select! {
                // A search tries again, and says what is wrong.
                _ = shared.loaded(&of) => {}
                _ = stopping.wait_for(|stopping| *stopping) => return,
            }
        }
        match found.next {
            Some(next) => page.after = Some(next),
            None => return,
        }
    }
}

/// Follows other replicas, and tells the log when items begin or cease to be shown.
async fn turns(shared: Arc<Shared>) {
    let mut stopping = shared.stopping.subscribe();
    let mut looked = Instant::now();
    loop {
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return,
        }
        if looked.elapsed() >= TENANTS_EVERY {
            shared.drop_deleted().await;
            looked = Instant::now();
        }
        for of in shared.held() {
            let due = of.due(now_micros());
            if let Err(error) = shared.follow(&of).await {
                tracing::warn!(tenant = %of.tenant, %error, "what other replicas changed is not read yet: trying again");
            }
            if let Err(error) = shared.record(&of, &due).await {
                // Whoever ranks looks at the times himself; the record only spares him from looking at all items.
                tracing::warn!(tenant = %of.tenant, %error, "the log was not told which items are shown from now on");
            }
        }
    }
}

async fn run(shared: Arc<Shared>, topic: Topic) {
    let mut stopping = shared.stopping.subscribe();
    let mut backoff = BACKOFF.0;
    let sign = progress::enter(progress::CONTENT);
    while !*stopping.borrow() {
        let done = round(&shared, topic).await;
        // After a round that did something there may be more.
        if let Ok(false) = done {
            sign.caught_up();
        }
        let pause = match done {
            Ok(true) => {
                backoff = BACKOFF.0;
                continue;
            }
            Ok(false) => TICK,
            Err(error) => {
                tracing::warn!(topic = topic.name(), %error, "what follows writes is not done yet: trying again");
                let pause = error.retry_after.unwrap_or(backoff).min(BACKOFF.1);
                backoff = (backoff * 2).min(BACKOFF.1);
                pause
            }
        };
        tokio::select! {
            () = shared.ledger.written[topic as usize].notified() => {}
            () = tokio::time::sleep(pause) => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    }
    sign.leave();
}

/// What there is to do for one tenant.
#[derive(Debug, Default)]
struct Work {
    ids: BTreeSet<String>,
    deletes: HashMap<String, u64>,
    recount: BTreeSet<String>,
    removed: Vec<OutboxRow>,
    kept: Vec<OutboxRow>,
    own_items: usize,
}

/// Does what a round takes; whether there was anything.
async fn round(shared: &Arc<Shared>, topic: Topic) -> Result<bool, ApiError> {
    // Whoever scrapes sees a figure from the start on.
    shared.waited(0);
    let rows = shared.stores.relational.pending(topic.name(), ROWS_MAX).await?;
    let work = ready(shared, rows).await?;
    let mut fault = None;
    let is_any = !work.is_empty();
    for (tenant, work) in work {
        // The fault of one tenant holds up no other.
        if let Err(error) = do_work(shared, topic, &tenant, work).await {
            tracing::debug!(%tenant, %error, "work is left");
            fault.get_or_insert(error);
        }
    }
    fault.map_or(Ok(is_any), Err)
}

async fn do_work(shared: &Arc<Shared>, topic: Topic, tenant: &Tenant, work: Work) -> Result<(), ApiError> {
    let of = shared.of(tenant)?;
    shared.loaded(&of).await?;
    match topic {
        Topic::Index => shared.index(&of, &work).await?,
        Topic::Embed => shared.embed(&of, &work).await?,
    }
    shared.stores.relational.done(&work.removed).await?;
    work.kept.iter().for_each(|row| shared.ledger.keep(row));
    if topic == Topic::Embed {
        shared.waited(work.own_items);
    }
    Ok(())
}

async fn ready(shared: &Shared, rows: Vec<OutboxRow>) -> Result<BTreeMap<Tenant, Work>, ApiError> {
    let mut work: BTreeMap<Tenant, Work> = BTreeMap::new();
    let (mut items, mut broken) = (0, Vec::new());
    for row in rows {
        let task: Task = match serde_json::from_value(row.payload.clone()) {
            Ok(task) => task,
            Err(error) => {
                tracing::error!(tenant = %row.tenant, key = row.key, %error, "a row of the outbox cannot be read");
                broken.push(row);
                continue;
            }
        };
        let of = match shared.ledger.readiness(&row, &task) {
            Readiness::Wait => continue,
            Readiness::Keep => {
                let of = work.entry(row.tenant.clone()).or_default();
                of.kept.push(row);
                of
            }
            Readiness::Remove => {
                let of = work.entry(row.tenant.clone()).or_default();
                of.removed.push(row);
                of.own_items += task.ids.len();
                of
            }
        };
        items += task.ids.len();
        if let (Some(version), [id]) = (task.deletes, task.ids.as_slice()) {
            let newest = of.deletes.entry(id.clone()).or_default();
            *newest = version.max(*newest);
        }
        if task.recount {
            of.recount.extend(task.ids.iter().cloned());
        }
        of.ids.extend(task.ids);
        if items >= ROUND_ITEMS {
            break;
        }
    }
    shared.stores.relational.done(&broken).await?;
    Ok(work)
}

impl Shared {
    /// Brings counts, index, memory and log to what the documents say.
    async fn index(self: &Arc<Self>, of: &Arc<OfTenant>, work: &Work) -> Result<(), ApiError> {
        for id in &work.recount {
            self.recount(&of.tenant, id).await?;
        }
        let schema = self.current_schema(&of.tenant).await?;
        let ids: Vec<String> = work.ids.iter().cloned().collect();
        for ids in ids.chunks(DOCUMENTS_MAX) {
            let items = self.items(&of.tenant, ids).await?;
            self.provide_index(of, &schema).await?;
            let (mut entries, mut changes) = (Vec::new(), Vec::new());
            let now = now_micros();
            for (id, item) in ids.iter().zip(&items) {
                match (item, work.deletes.get(id)) {
                    (Some(item), _) => {
                        entries.push(indexing::entry(item, &schema));
                        of.note_turns(id, &item.body, now);
                        let state = State::Attributes(item.body.values(&schema));
                        changes.push(Change { id: id.clone(), version: item.version.0, state });
                    }
                    (None, Some(&deleted)) => {
                        self.remove_belongings(&of.tenant, id).await?;
                        entries.push(indexing::tombstone(id, deleted));
                        changes.push(Change { id: id.clone(), version: deleted + 1, state: State::Gone });
                    }
                    // Entered, and never written; or deleted since, and then that has a row of its own.
                    (None, None) => {}
                }
            }
            self.write_entries(of, &entries).await?;
            of.apply(&schema, changes).await?;
            self.record(of, ids).await?;
        }
        Ok(())
    }

    async fn write_entries(&self, of: &OfTenant, entries: &[IndexChange]) -> Result<(), ApiError> {
        match self.write_index(of, entries).await {
            // Somebody has deleted the index: it is made again from the documents.
            Err(error) if error.kind == attune_store::ErrorKind::NotFound => {
                self.remake_index(of).await?;
                Ok(self.write_index(of, entries).await?)
            }
            outcome => Ok(outcome?),
        }
    }

    /// Computes the embeddings that are lacking, and removes those of what is gone.
    async fn embed(&self, of: &OfTenant, work: &Work) -> Result<(), ApiError> {
        if self.engine.embedder().is_none() {
            return Ok(());
        }
        let ids: Vec<String> = work.ids.iter().cloned().collect();
        for ids in ids.chunks(DOCUMENTS_MAX) {
            let items: Vec<Stored> = self.items(&of.tenant, ids).await?.into_iter().flatten().collect();
            let known = self.vectors(&of.tenant, &items).await?;
            let lacking = items.iter().filter(|item| !known.contains_key(&item.id));
            let lacking: Vec<(String, String)> =
                lacking.map(|item| (item.id.clone(), item.body.embedded_text())).collect();
            for lacking in lacking.chunks(EMBED_TEXTS * EMBED_CALLS) {
                try_join_all(lacking.chunks(EMBED_TEXTS).map(|part| self.embed_part(of, part))).await?;
            }
            self.settle(of, ids).await?;
        }
        Ok(())
    }

    /// Embeds and keeps texts, each with the id of its item.
    async fn embed_part(&self, of: &OfTenant, part: &[(String, String)]) -> Result<(), ApiError> {
        let texts: Vec<String> = part.iter().map(|(_, text)| text.clone()).collect();
        let values = loop {
            match self.engine.embed(texts.clone(), engine::in_background(of.tenant.as_str())).await {
                Err(error) if error.code == ErrorCode::Overloaded && !*self.stopping.borrow() => {
                    tokio::time::sleep(error.retry_after.unwrap_or(BACKOFF.0).min(BACKOFF.1)).await;
                }
                outcome => break outcome?,
            }
        };
        self.keep_vectors(&of.tenant, part, &values).await
    }

    /// Takes the embeddings that are kept into memory, by the items as they are now: one may have changed or gone while it
    /// was computed.
    async fn settle(&self, of: &OfTenant, ids: &[String]) -> Result<(), ApiError> {
        let schema = self.current_schema(&of.tenant).await?;
        let found = self.items(&of.tenant, ids).await?;
        let gone = ids.iter().zip(&found).filter(|(_, item)| item.is_none()).map(|(id, _)| id);
        for id in gone {
            self.stores.documents.delete(&of.tenant, VECTORS, id, Expect::Any).await?;
        }
        let items: Vec<Stored> = found.into_iter().flatten().collect();
        let mut vectors = self.vectors(&of.tenant, &items).await?;
        let changes = items.iter().filter_map(|item| {
            let state = State::Whole(vectors.remove(&item.id)?, item.body.values(&schema));
            Some(Change { id: item.id.clone(), version: item.version.0, state })
        });
        let changes: Vec<Change> = changes.collect();
        let changed: Vec<String> = changes.iter().map(|change| change.id.clone()).collect();
        of.apply(&schema, changes).await?;
        self.record(of, &changed).await
    }

    /// Tells the log that items changed.
    pub async fn record(&self, of: &OfTenant, ids: &[String]) -> Result<(), ApiError> {
        if ids.is_empty() {
            return Ok(());
        }
        let events = ids.iter().map(|id| {
            let record = Record::Item { item_id: id.clone() };
            let payload = serde_json::to_vec(&record).expect("a record is JSON");
            NewEvent { subject: item_subject(id), payload: payload.into() }
        });
        let positions = self.stores.events.append(&of.tenant, events.collect()).await?;
        if of.live.is_some() {
            of.appended(positions);
        }
        Ok(())
    }

    /// The schema as it is kept: what is remembered may lack what another replica added.
    async fn current_schema(&self, tenant: &Tenant) -> Result<Arc<Attributes>, ApiError> {
        self.schemas.read(self.stores.relational.as_ref(), tenant).await
    }

    /// Items by id, in the order of `ids`.
    pub async fn items(&self, tenant: &Tenant, ids: &[String]) -> Result<Vec<Option<Stored>>, ApiError> {
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let found = self.stores.documents.get(tenant, ITEMS, &ids).await?;
        found.into_iter().map(|document| document.map(Stored::of).transpose()).collect()
    }

    /// Counts the reviews of an item again.
    async fn recount(&self, tenant: &Tenant, id: &str) -> Result<(), ApiError> {
        loop {
            let Some(mut item) = self.items(tenant, &[id.to_owned()]).await?.pop().flatten() else { return Ok(()) };
            let reviews = self.count_reviews(tenant, id).await?;
            if item.body.reviews == reviews {
                return Ok(());
            }
            item.body.reviews = reviews;
            let put = attune_store::documents::Put {
                id: item.id,
                body: item.body.json(),
                expect: Expect::Version(item.version),
            };
            match self.stores.documents.put(tenant, ITEMS, vec![put]).await?.pop() {
                Some(Err(error)) if is_conflict(&error) => {}
                Some(Err(error)) => return Err(error.into()),
                _ => return Ok(()),
            }
        }
    }
}
