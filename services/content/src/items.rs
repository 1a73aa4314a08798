//! Writing items: checked, entered in the outbox, kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use attune_api::content::{BATCH_ITEMS_MAX, Condition, Saved};
use attune_api::error::quoted;
use attune_api::rest::content::{ItemBody, ItemSchema};
use attune_api::{ApiError, ErrorCode};
use attune_store::documents::{Document, Put, merge_patch};
use attune_store::relational::Write;
use attune_store::{Expect, StoreError, Tenant};
use serde_json::Value as Json;

use crate::check;
use crate::document::{Body, ITEMS, Stored};
use crate::outbox::Topic;
use crate::schema::{self, Attributes};
use crate::shared::{Shared, is_conflict};
use crate::time::now_micros;

/// How often a write is made again because somebody else was first.
const ROUNDS_MAX: usize = 8;
/// When a refused writer may come again: about what a batch of embeddings takes.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What has to follow a write.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub ids: Vec<String>,
    /// For a deletion: the version of the document that goes.
    pub deletes: Option<u64>,
    /// Reviews have changed.
    pub recount: bool,
    /// The text may have.
    pub embed: bool,
}

impl Shared {
    /// Makes a write between the entry of what follows it and the note that it has ended. With the rows the definition of
    /// the schema is kept, if there is one to keep; the answer has its version.
    pub async fn entered<T>(
        &self,
        tenant: &Tenant,
        plan: Plan,
        schema: Option<Attributes>,
        write: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let Plan { ids, deletes, recount, embed } = plan;
        let entry = self.ledger.begin();
        let mut writes: Vec<Write> = schema.iter().map(Attributes::write).collect();
        if embed {
            writes.push(entry.row(Topic::Embed, ids.clone(), deletes, recount));
        }
        let waiting = if embed { ids.len() } else { 0 };
        writes.push(entry.row(Topic::Index, ids, deletes, recount));
        let entered = self.stores.relational.commit(tenant, writes).await;
        match entered {
            Err(error) => {
                let outcome = Err(error);
                entry.end(&outcome);
                return outcome;
            }
            Ok(versions) => {
                if let Some(schema) = schema {
                    self.schemas.remember(tenant, schema.at(versions.first().copied().flatten()));
                }
            }
        }
        self.wait(waiting);
        let outcome = write.await;
        entry.end(&outcome);
        outcome
    }

    /// Makes or replaces items; each answer is of the item of the same place.
    pub async fn put(
        self: Arc<Self>,
        tenant: Tenant,
        items: Vec<(String, ItemBody)>,
        condition: Condition,
    ) -> Result<Vec<Result<Saved, ApiError>>, ApiError> {
        self.put_over(tenant, items, condition, None).await
    }

    /// The same; `there` is the document of the one item, where it was read already.
    async fn put_over(
        self: Arc<Self>,
        tenant: Tenant,
        items: Vec<(String, ItemBody)>,
        condition: Condition,
        there: Option<Document>,
    ) -> Result<Vec<Result<Saved, ApiError>>, ApiError> {
        if items.len() > BATCH_ITEMS_MAX {
            let detail = format!("{} items, a batch takes {BATCH_ITEMS_MAX}: make several", items.len());
            return Err(ApiError::at(ErrorCode::Invalid, "/items", detail));
        }
        self.check_backlog()?;
        for _ in 0..ROUNDS_MAX {
            let known = self.schema(&tenant).await?;
            let mut schema = Attributes::clone(&known);
            let checked: Vec<Result<Body, ApiError>> = items
                .iter()
                .map(|(id, body)| {
                    check::id("an item", "/id", id)?;
                    check::item(body.clone(), &mut schema)
                })
                .collect();
            let grown = (schema != *known).then_some(schema);
            match self.put_checked(&tenant, &items, checked, (condition, there.clone()), grown).await {
                Err(error) if is_conflict(&error) => {
                    self.schemas.read(self.stores.relational.as_ref(), &tenant).await?;
                }
                outcome => return Ok(outcome?),
            }
        }
        Err(busy())
    }

    /// # Errors
    /// `Conflict`: somebody else changed the schema; nothing was written.
    async fn put_checked(
        &self,
        tenant: &Tenant,
        items: &[(String, ItemBody)],
        mut answers: Vec<Result<Body, ApiError>>,
        (condition, there): (Condition, Option<Document>),
        grown: Option<Attributes>,
    ) -> Result<Vec<Result<Saved, ApiError>>, StoreError> {
        // Of two items of one id the later one stays.
        let mut last: HashMap<&str, usize> = HashMap::new();
        for (place, (id, _)) in items.iter().enumerate().filter(|(place, _)| answers[*place].is_ok()) {
            last.insert(id, place);
        }
        let mut places: Vec<usize> = last.values().copied().collect();
        places.sort_unstable();
        let bodies: Vec<(String, Body)> = places
            .iter()
            .map(|&place| (items[place].0.clone(), answers[place].clone().expect("only those were taken")))
            .collect();
        let kept = if bodies.is_empty() {
            Vec::new()
        } else {
            let ids = bodies.iter().map(|(id, _)| id.clone()).collect();
            let plan = Plan { ids, embed: true, ..Plan::default() };
            self.entered(tenant, plan, grown, self.keep(tenant, bodies, condition, there)).await?
        };
        let kept: HashMap<usize, Result<Saved, ApiError>> = places.into_iter().zip(kept).collect();
        let answer = |place: usize, checked: Result<Body, ApiError>| {
            checked.and_then(|_| kept[&last[items[place].0.as_str()]].clone())
        };
        Ok(answers.drain(..).enumerate().map(|(place, checked)| answer(place, checked)).collect())
    }

    /// Writes documents, each when what is there fulfils the condition; `known` is what was there of the one item. What
    /// has changed since is refused by the store, and read again.
    async fn keep(
        &self,
        tenant: &Tenant,
        items: Vec<(String, Body)>,
        condition: Condition,
        mut known: Option<Document>,
    ) -> Result<Vec<Result<Saved, ApiError>>, StoreError> {
        let mut answers: Vec<Option<Result<Saved, ApiError>>> = items.iter().map(|_| None).collect();
        for _ in 0..ROUNDS_MAX {
            let open: Vec<usize> = (0..items.len()).filter(|&place| answers[place].is_none()).collect();
            if open.is_empty() {
                break;
            }
            let ids: Vec<&str> = open.iter().map(|&place| items[place].0.as_str()).collect();
            let there = match known.take() {
                Some(document) => vec![Some(document)],
                None => self.stores.documents.get(tenant, ITEMS, &ids).await?,
            };
            let mut puts = Vec::with_capacity(open.len());
            for (place, there) in open.into_iter().zip(there) {
                match successor(&items[place], there, condition) {
                    Ok((body, expect)) => puts.push((place, body, expect)),
                    Err(error) => answers[place] = Some(Err(error)),
                }
            }
            if puts.is_empty() {
                break;
            }
            let documents = puts.iter().map(|(place, body, expect)| Put {
                id: items[*place].0.clone(),
                body: body.json(),
                expect: *expect,
            });
            let written = self.stores.documents.put(tenant, ITEMS, documents.collect()).await?;
            for ((place, body, expect), written) in puts.into_iter().zip(written) {
                answers[place] = match written {
                    Ok(version) => {
                        let stored = Stored { id: items[place].0.clone(), version, body };
                        Some(Ok(Saved { item: stored.item(), is_new: expect == Expect::Absent }))
                    }
                    Err(error) if is_conflict(&error) => None,
                    Err(error) => Some(Err(error.into())),
                };
            }
        }
        Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(busy()))).collect())
    }

    /// Changes an item by a merge patch.
    pub async fn patch(
        self: Arc<Self>,
        tenant: Tenant,
        id: String,
        patch: Json,
        condition: Condition,
    ) -> Result<Saved, ApiError> {
        if !patch.is_object() {
            return Err(ApiError::at(ErrorCode::Invalid, "", "a merge patch of an item is a JSON object"));
        }
        for _ in 0..ROUNDS_MAX {
            let document = self.document(&tenant, &id).await?;
            let there = Stored::of(document.clone())?;
            condition.check("item", Some(there.body.edition))?;
            let edition = Condition::Version(there.body.edition);
            let mut merged = serde_json::to_value(there.item().body).map_err(crate::shared::defect)?;
            merge_patch(&mut merged, &patch);
            let items = vec![(id.clone(), attune_api::pointer::from_value(merged)?)];
            let put = Arc::clone(&self).put_over(tenant.clone(), items, edition, Some(document));
            match put.await?.pop().unwrap_or_else(|| Err(ApiError::internal())) {
                // What it was checked against has changed since: look again.
                Err(error) if error.code == ErrorCode::PreconditionFailed => {}
                outcome => return outcome,
            }
        }
        Err(busy())
    }

    /// Deletes an item. What belongs to it goes with the work that follows.
    pub async fn delete(self: Arc<Self>, tenant: Tenant, id: String, condition: Condition) -> Result<(), ApiError> {
        for _ in 0..ROUNDS_MAX {
            let there = self.stored(&tenant, &id).await?;
            condition.check("item", Some(there.body.edition))?;
            let plan = Plan { ids: vec![id.clone()], deletes: Some(there.version.0), embed: true, ..Plan::default() };
            let delete = self.stores.documents.delete(&tenant, ITEMS, &id, Expect::Version(there.version));
            match self.entered(&tenant, plan, None, delete).await {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(absent(&id)),
                Err(error) if is_conflict(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(busy())
    }

    /// States attributes.
    pub async fn extend_schema(&self, tenant: &Tenant, stated: ItemSchema) -> Result<ItemSchema, ApiError> {
        for _ in 0..ROUNDS_MAX {
            let known = self.schemas.read(self.stores.relational.as_ref(), tenant).await?;
            let extended = schema::extend(&known, &stated)?;
            if extended == *known {
                return Ok(known.answer());
            }
            match self.stores.relational.commit(tenant, vec![extended.write()]).await {
                Ok(versions) => {
                    let kept = extended.at(versions.first().copied().flatten());
                    return Ok(self.schemas.remember(tenant, kept).answer());
                }
                Err(error) if is_conflict(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(busy())
    }

    /// One item.
    ///
    /// # Errors
    /// `Absent`.
    pub async fn stored(&self, tenant: &Tenant, id: &str) -> Result<Stored, ApiError> {
        Stored::of(self.document(tenant, id).await?)
    }

    async fn document(&self, tenant: &Tenant, id: &str) -> Result<Document, ApiError> {
        check::id("an item", "", id)?;
        let found = self.stores.documents.get(tenant, ITEMS, &[id]).await?.pop().flatten();
        found.ok_or_else(|| absent(id))
    }

    fn check_backlog(&self) -> Result<(), ApiError> {
        let waiting = self.waiting();
        if waiting < self.options.backlog_items_max {
            return Ok(());
        }
        let detail = format!("{waiting} items wait for their embedding, which is the limit; try again later");
        Err(ApiError::new(ErrorCode::Overloaded, detail).retry_after(RETRY_AFTER))
    }
}

/// What becomes of what is there, and what must then still be there.
fn successor(
    (id, body): &(String, Body),
    there: Option<Document>,
    condition: Condition,
) -> Result<(Body, Expect), ApiError> {
    let there = there.map(Stored::of).transpose()?;
    condition
        .check("item", there.as_ref().map(|there| there.body.edition))
        .map_err(|error| ApiError { detail: format!("{}: {}", quoted(id), error.detail), ..error })?;
    let now = now_micros().unsigned_abs();
    Ok(match there {
        None => (Body { edition: now, ..body.clone() }, Expect::Absent),
        Some(there) => {
            let edition = now.max(there.body.edition + 1);
            (Body { edition, reviews: there.body.reviews, ..body.clone() }, Expect::Version(there.version))
        }
    })
}

/// There is no such item.
pub(crate) fn absent(id: &str) -> ApiError {
    ApiError::new(ErrorCode::Absent, format!("there is no item {}", quoted(id)))
}

/// Others write the same thing without end.
pub(crate) fn busy() -> ApiError {
    ApiError::new(ErrorCode::Conflict, "others write the same thing all the time: try again")
}
