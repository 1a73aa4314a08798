//! From an id of the application to the subject that events name.

use std::sync::Arc;
use std::time::Duration;

use attune_store::relational::{PersonId, Relational, Subject};
use attune_store::{StoreError, Tenant};
use moka::sync::Cache;

use crate::fold::key_of;
use crate::replica::Replica;

/// People that are remembered.
const KNOWN_MAX: u64 = 200_000;
/// For so long lists go on knowing somebody who has refused to be profiled. Otherwise a user's subject stays the same until
/// he is forgotten, which the state says.
const KNOWN_FOR: Duration = Duration::from_secs(5);

/// Who is who.
pub struct People {
    relational: Arc<dyn Relational>,
    known: Cache<(Tenant, PersonId), Subject>,
}

impl People {
    /// As the relational store has them.
    pub fn new(relational: Arc<dyn Relational>) -> Self {
        Self { relational, known: Cache::builder().max_capacity(KNOWN_MAX).time_to_live(KNOWN_FOR).build() }
    }

    /// The subject of a person, `None` of one who never was here or refuses to be profiled. What is remembered counts only
    /// while something is known of the subject: who was forgotten and comes again is another subject.
    ///
    /// # Errors
    /// The store's own.
    pub async fn subject(&self, replica: &Replica, id: PersonId) -> Result<Option<Subject>, StoreError> {
        let key = (replica.tenant.clone(), id);
        if let Some(subject) = self.known.get(&key)
            && key_of(&subject.to_string()).is_some_and(|key| replica.state().user(key).is_some())
        {
            return Ok(Some(subject));
        }
        let Some(person) = self.relational.person(&key.0, &key.1).await? else { return Ok(None) };
        match person.user {
            // He may be joined to somebody any moment, so that only known users are remembered.
            Some(user) => {
                let user = self.relational.person(&key.0, &PersonId::User(user)).await?;
                Ok(user.filter(|user| !user.refuses()).map(|user| user.subject))
            }
            None if person.refuses() => Ok(None),
            None => {
                if matches!(key.1, PersonId::User(_)) {
                    self.known.insert(key, person.subject);
                }
                Ok(Some(person.subject))
            }
        }
    }
}
