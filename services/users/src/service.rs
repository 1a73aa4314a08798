//! The service: what happens to a call.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use attune_api::content::Condition;
use attune_api::moment::now_ms;
use attune_api::rest::users::{JobView, Profile, ProfileBody, UserExport};
use attune_api::users::{EXPORT_EVENTS_MAX, KeepsOfPeople, KeepsOfTenants, SavedProfile, Someone, Users};
use attune_api::{ApiError, Call, ErrorCode};
use attune_store::cache::Cache;
use attune_store::documents::{Documents, Put};
use attune_store::events::EventLog;
use attune_store::objects::Objects;
use attune_store::relational::{AuditEntry, Person, PersonId, Relational, Write};
use attune_store::{ErrorKind, Expect, StoreError, Tenant, Version};
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use crate::erase::{KIND, Spec};
use crate::export::{self, Place};
use crate::profile::{Consent, Kept, Patch, USERS, check_id};

/// How often a write is made again that somebody else was quicker than.
const TRIES_MAX: usize = 5;

/// What the service keeps things in, and who else keeps something of people.
#[derive(Clone)]
pub struct Stores {
    /// Consent, and who is behind a subject.
    pub relational: Arc<dyn Relational>,
    /// Profiles.
    pub documents: Arc<dyn Documents>,
    /// Recent events of a person.
    pub cache: Arc<dyn Cache>,
    /// What people did.
    pub events: Arc<dyn EventLog>,
    /// How long the log keeps it.
    pub events_kept: EventsKept,
    /// Files of tenants.
    pub objects: Arc<dyn Objects>,
    /// Whoever keeps something by the names of people.
    pub others: Vec<Arc<dyn KeepsOfPeople>>,
    /// Whoever keeps something of a tenant that is in no store above, or in collections of its own.
    pub of_tenants: Vec<Arc<dyn KeepsOfTenants>>,
}

/// How long a log keeps events, for the reports of erasures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventsKept {
    /// Until somebody deletes them.
    Forever,
    /// So long.
    For(Duration),
    /// As long as another program's settings say: those of a Kafka topic.
    Elsewhere,
}

/// Keeps people. Clones share everything.
#[derive(Clone)]
pub struct UsersService(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub stores: Stores,
    /// Somebody entered a job.
    pub entered: Notify,
}

impl UsersService {
    /// Over these stores.
    pub fn new(stores: Stores) -> Self {
        Self(Arc::new(Shared { stores, entered: Notify::new() }))
    }
}

impl Shared {
    async fn found(&self, tenant: &Tenant, id: &str) -> Result<Option<(Kept, Version)>, StoreError> {
        let documents = self.stores.documents.get(tenant, USERS, &[id]).await?;
        let Some(document) = documents.into_iter().flatten().next() else { return Ok(None) };
        let kept = serde_json::from_value(document.body).unwrap_or_default();
        Ok(Some((kept, document.version)))
    }

    /// Writes what `change` makes of what is there, and again where somebody else was quicker and the caller does not
    /// mind.
    async fn write(
        &self,
        tenant: &Tenant,
        id: &str,
        condition: Condition,
        change: impl Fn(Option<&Kept>) -> Result<Kept, ApiError> + Send + Sync,
    ) -> Result<(Kept, Version, bool), ApiError> {
        let mut tries = 1;
        loop {
            let found = self.found(tenant, id).await?;
            let version = found.as_ref().map(|(_, version)| *version);
            condition.check("profile", version.map(|version| version.0))?;
            let kept = change(found.as_ref().map(|(kept, _)| kept))?;
            let body = serde_json::to_value(&kept).unwrap_or_default();
            let put = Put { id: id.to_owned(), body, expect: version.into() };
            let written = self.stores.documents.put(tenant, USERS, vec![put]).await?;
            match written.into_iter().next() {
                Some(Ok(version)) => return Ok((kept, version, found.is_none())),
                Some(Err(error)) if error.kind == ErrorKind::Conflict && tries < TRIES_MAX => tries += 1,
                Some(Err(error)) => return Err(error.into()),
                None => return Err(ApiError::internal()),
            }
        }
    }

    /// The person, who is made if he is new.
    async fn made(&self, tenant: &Tenant, id: &str) -> Result<Person, ApiError> {
        let people = self.stores.relational.resolve(tenant, &[PersonId::User(id.to_owned())]).await?;
        people.into_iter().next().ok_or_else(ApiError::internal)
    }

    /// Notes what was said of consent; what holds now.
    async fn consent(&self, tenant: &Tenant, id: &str, said: Consent) -> Result<Option<bool>, ApiError> {
        let person = self.made(tenant, id).await?;
        let Some(consent) = said.filter(|said| *said != person.consent) else { return Ok(person.consent) };
        let write = Write::SetConsent { user: id.to_owned(), consent, expect: Expect::Any };
        self.stores.relational.commit(tenant, vec![write]).await?;
        self.stores.others.iter().for_each(|other| other.changed(tenant.as_str(), id));
        Ok(consent)
    }

    /// All the names of somebody whose row is known.
    pub async fn someone(&self, tenant: &Tenant, user: &Person) -> Result<Someone, StoreError> {
        let user_id = user.id.as_str().to_owned();
        let joined = self.stores.relational.joined(tenant, &user_id).await?;
        let subjects = [user].into_iter().chain(&joined).map(|person| person.subject.to_string()).collect();
        let anonymous_ids = joined.iter().map(|person| person.id.as_str().to_owned()).collect();
        Ok(Someone { user_id, anonymous_ids, subjects })
    }

    async fn person(&self, tenant: &Tenant, id: &str) -> Result<Option<Person>, StoreError> {
        self.stores.relational.person(tenant, &PersonId::User(id.to_owned())).await
    }
}

#[async_trait]
impl Users for UsersService {
    async fn put(
        &self,
        call: &Call,
        id: &str,
        body: ProfileBody,
        condition: Condition,
    ) -> Result<SavedProfile, ApiError> {
        let tenant = tenant(call)?;
        check_id(id)?;
        let now_ms = now_ms();
        let change = |before: Option<&Kept>| Kept::replaced(before, body.clone(), now_ms);
        let (kept, version, is_new) = self.0.write(&tenant, id, condition, change).await?;
        let consent = self.0.consent(&tenant, id, body.consent).await?;
        Ok(SavedProfile { profile: kept.view(id, version, consent), is_new })
    }

    async fn profile(&self, call: &Call, id: &str) -> Result<Profile, ApiError> {
        let tenant = tenant(call)?;
        check_id(id)?;
        let (kept, version) = self.0.found(&tenant, id).await?.ok_or_else(no_profile)?;
        let consent = self.0.person(&tenant, id).await?.and_then(|person| person.consent);
        Ok(kept.view(id, version, consent))
    }

    async fn patch(&self, call: &Call, id: &str, patch: Value, condition: Condition) -> Result<Profile, ApiError> {
        let tenant = tenant(call)?;
        check_id(id)?;
        let patch = Patch::read(patch)?;
        let now_ms = now_ms();
        let change = |before: Option<&Kept>| before.ok_or_else(no_profile)?.patched(&patch, now_ms);
        let (kept, version, _) = self.0.write(&tenant, id, condition, change).await?;
        let consent = self.0.consent(&tenant, id, patch.consent).await?;
        Ok(kept.view(id, version, consent))
    }

    async fn delete(&self, call: &Call, id: &str, condition: Condition) -> Result<(), ApiError> {
        let tenant = tenant(call)?;
        check_id(id)?;
        let (_, version) = self.0.found(&tenant, id).await?.ok_or_else(no_profile)?;
        condition.check("profile", Some(version.0))?;
        let wanted = if condition == Condition::None { Expect::Any } else { Expect::Version(version) };
        let deleted = self.0.stores.documents.delete(&tenant, USERS, id, wanted).await?;
        deleted.then_some(()).ok_or_else(no_profile)
    }

    async fn export(&self, call: &Call, id: &str, cursor: Option<&str>) -> Result<UserExport, ApiError> {
        let tenant = tenant(call)?;
        check_id(id)?;
        let place = Place::read(cursor)?;
        let profile = self.0.found(&tenant, id).await?;
        let person = self.0.person(&tenant, id).await?;
        if profile.is_none() && person.is_none() {
            return Err(nobody());
        }
        let consent = person.as_ref().and_then(|person| person.consent);
        let someone = match &person {
            Some(person) => self.0.someone(&tenant, person).await?,
            None => Someone { user_id: id.to_owned(), anonymous_ids: Vec::new(), subjects: Vec::new() },
        };
        let is_first = cursor.is_none();
        let mut others = Map::new();
        for other in self.0.stores.others.iter().filter(|_| is_first) {
            others.insert(other.what().to_owned(), other.export(call, &someone).await?);
        }
        let events = &*self.0.stores.events;
        let (events, next) = export::records(events, &tenant, &someone.subjects, place, EXPORT_EVENTS_MAX).await?;
        Ok(UserExport {
            user_id: id.to_owned(),
            profile: profile.filter(|_| is_first).map(|(kept, version)| kept.view(id, version, consent)),
            consent,
            anonymous_ids: someone.anonymous_ids,
            others,
            events,
            next_cursor: next.map(Place::cursor),
        })
    }

    async fn erase(&self, call: &Call, id: &str) -> Result<JobView, ApiError> {
        let tenant = tenant(call)?;
        check_id(id)?;
        if self.0.person(&tenant, id).await?.is_none() && self.0.found(&tenant, id).await?.is_none() {
            return Err(nobody());
        }
        let subject = self.0.made(&tenant, id).await?.subject.to_string();
        let job = format!("{:032x}", rand::random::<u128>());
        let spec = serde_json::to_value(Spec { subject }).unwrap_or_default();
        // Neither the job nor the log of what was done says who it was: both outlive him.
        let audit = AuditEntry {
            actor: call.caller.to_string(),
            action: "user.erase".to_owned(),
            target: format!("job {job}"),
            detail: json!({}),
        };
        let put = Write::PutJob { id: job.clone(), kind: KIND.to_owned(), spec };
        self.0.stores.relational.commit(&tenant, vec![put, Write::Audit(audit)]).await?;
        self.0.entered.notify_one();
        self.job(call, &job).await
    }

    async fn job(&self, call: &Call, id: &str) -> Result<JobView, ApiError> {
        let no_job = || ApiError::new(ErrorCode::Absent, "there is no such job");
        if check_id(id).is_err() {
            return Err(no_job());
        }
        let job = self.0.stores.relational.job(&tenant(call)?, id).await?;
        job.map(JobView::from).ok_or_else(no_job)
    }
}

fn no_profile() -> ApiError {
    ApiError::new(ErrorCode::Absent, "there is no profile of this user")
}

fn nobody() -> ApiError {
    ApiError::new(ErrorCode::Absent, "nothing is known of this user")
}

/// The tenant of a call.
fn tenant(call: &Call) -> Result<Tenant, ApiError> {
    call.tenant.parse().map_err(|error| {
        tracing::error!(%error, "a call came with a tenant that cannot be one");
        ApiError::internal()
    })
}
