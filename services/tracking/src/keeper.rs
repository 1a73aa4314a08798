//! What this service keeps of a person besides the log: dead letters, and what it remembers.

use async_trait::async_trait;
use attune_api::rest::users::Erased;
use attune_api::users::{KeepsOfPeople, Someone};
use attune_api::{ApiError, Call};
use attune_store::events::{DeadLetter, PAGE_MAX};
use attune_store::relational::PersonId;
use attune_store::{StoreError, Tenant};
use serde_json::Value;

use crate::letters::{self, is_about};
use crate::service::{TrackingService, tenant};

#[async_trait]
impl KeepsOfPeople for TrackingService {
    fn what(&self) -> &'static str {
        "dead_letters"
    }

    async fn export(&self, call: &Call, someone: &Someone) -> Result<Value, ApiError> {
        let tenant = tenant(call)?;
        let letters = self.letters_about(&tenant, &someone.subjects).await?;
        let names = letters::names(&*self.stores.relational, &tenant, &letters).await?;
        let views: Vec<_> = letters.iter().map(|letter| letters::view(letter, &names)).collect();
        serde_json::to_value(views).map_err(|_| ApiError::internal())
    }

    async fn erase(&self, call: &Call, someone: &Someone) -> Result<Erased, ApiError> {
        let tenant = tenant(call)?;
        let letters = self.letters_about(&tenant, &someone.subjects).await?;
        let ids: Vec<String> = letters.into_iter().map(|letter| letter.id).collect();
        for ids in ids.chunks(PAGE_MAX) {
            self.stores.events.forget(&tenant, ids).await?;
        }
        self.changed(tenant.as_str(), &someone.user_id);
        let anonymous = someone.anonymous_ids.iter().cloned().map(PersonId::Anonymous);
        self.people.refresh(&tenant, anonymous);
        let note = "they named no person; their bytes go with the retention of dead letters".to_owned();
        Ok(Erased {
            store: "events".to_owned(),
            what: "dead letters".to_owned(),
            deleted: ids.len() as u64,
            note: (!ids.is_empty()).then_some(note),
        })
    }

    fn changed(&self, tenant: &str, user_id: &str) {
        if let Ok(tenant) = tenant.parse() {
            self.people.refresh(&tenant, [PersonId::User(user_id.to_owned())]);
        }
    }
}

impl TrackingService {
    async fn letters_about(&self, tenant: &Tenant, subjects: &[String]) -> Result<Vec<DeadLetter>, StoreError> {
        let mut found = Vec::new();
        let mut from = Some(0);
        while let Some(place) = from {
            let page = self.stores.events.dead_letters(tenant, place, PAGE_MAX).await?;
            found.extend(page.letters.into_iter().filter(|letter| is_about(letter, subjects)));
            from = page.next;
        }
        Ok(found)
    }
}
