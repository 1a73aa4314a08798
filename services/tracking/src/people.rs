//! From the ids of an application to subjects, with few questions to the database.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use attune_store::relational::{PEOPLE_MAX, Person, PersonId, Relational};
use attune_store::{ErrorKind, StoreError, Tenant};
use moka::sync::Cache;

/// The most people that are remembered.
pub const REMEMBERED_MAX: u64 = 200_000;
/// How long. It is also how long it takes until every replica knows that somebody refused to be profiled, was joined to
/// a user or is forgotten; the replica that was told knows at once.
const REMEMBERED_FOR: Duration = Duration::from_secs(5);
/// How often somebody is asked for who is made and forgotten at the same time.
const TRIES_MAX: usize = 3;

/// What is known of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// What stands for the person in the log.
    pub subject: Arc<str>,
    /// The person said that nothing of this is wanted.
    pub refuses: bool,
}

/// People of one call.
pub(crate) type Found = HashMap<PersonId, Known>;

pub(crate) struct People {
    relational: Arc<dyn Relational>,
    remembered: Cache<(Tenant, PersonId), Known>,
}

impl People {
    pub fn new(relational: Arc<dyn Relational>) -> Self {
        let remembered = Cache::builder().max_capacity(REMEMBERED_MAX).time_to_live(REMEMBERED_FOR).build();
        Self { relational, remembered }
    }

    /// All of them; who is new gets a subject. Somebody anonymous who is joined to a user has the user's.
    pub async fn find(&self, tenant: &Tenant, ids: BTreeSet<PersonId>) -> Result<Found, StoreError> {
        let mut found = Found::with_capacity(ids.len());
        let mut unknown = Vec::new();
        for id in ids {
            match self.remembered.get(&(tenant.clone(), id.clone())) {
                Some(known) => drop(found.insert(id, known)),
                None => unknown.push(id),
            }
        }
        for ids in unknown.chunks(PEOPLE_MAX) {
            for (id, known) in self.ask(tenant, ids).await? {
                self.remembered.insert((tenant.clone(), id.clone()), known.clone());
                found.insert(id, known);
            }
        }
        Ok(found)
    }

    /// Forgets what this process remembers of people.
    pub fn refresh(&self, tenant: &Tenant, ids: impl IntoIterator<Item = PersonId>) {
        ids.into_iter().for_each(|id| self.remembered.invalidate(&(tenant.clone(), id)));
    }

    async fn ask(&self, tenant: &Tenant, ids: &[PersonId]) -> Result<Vec<(PersonId, Known)>, StoreError> {
        let people = self.resolve(tenant, ids).await?;
        let users: BTreeSet<PersonId> = people.iter().filter_map(|one| one.user.clone()).map(PersonId::User).collect();
        let users: Vec<PersonId> = users.into_iter().collect();
        let users: HashMap<String, Person> = match users.is_empty() {
            true => HashMap::new(),
            false => {
                let users = self.resolve(tenant, &users).await?;
                users.into_iter().map(|user| (user.id.as_str().to_owned(), user)).collect()
            }
        };
        let known = |person: Person| {
            let behind = person.user.as_ref().and_then(|user| users.get(user)).unwrap_or(&person);
            let known = Known { subject: behind.subject.to_string().into(), refuses: behind.refuses() };
            (person.id, known)
        };
        Ok(people.into_iter().map(known).collect())
    }

    async fn resolve(&self, tenant: &Tenant, ids: &[PersonId]) -> Result<Vec<Person>, StoreError> {
        let mut tries = 1;
        loop {
            match self.relational.resolve(tenant, ids).await {
                Err(error) if error.kind == ErrorKind::Conflict && tries < TRIES_MAX => tries += 1,
                answer => return answer,
            }
        }
    }
}
