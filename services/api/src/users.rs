//! What the keeper of people is asked, and what it asks of whoever else keeps something of them.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::content::Condition;
use crate::rest::users::{Erased, JobView, Profile, ProfileBody, UserExport};
use crate::{ApiError, Call};

/// The largest profile, as JSON, in bytes.
pub const PROFILE_BYTES_MAX: usize = 64 << 10;
/// The most attributes, and the most preferences, of a profile.
pub const PROFILE_FIELDS_MAX: usize = 128;
/// The most events of a page of an export.
pub const EXPORT_EVENTS_MAX: usize = 10_000;

/// A profile as a write left it.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedProfile {
    /// What is there now.
    pub profile: Profile,
    /// There was none before.
    pub is_new: bool,
}

/// Keeps profiles, and forgets people.
///
/// # Errors
/// All calls: `Invalid` with pointers where what was given cannot be, `Absent` where somebody or something is not there,
/// `PreconditionFailed` where a [`Condition`] does not hold, `Unavailable` and `StorageFull` from the stores.
#[async_trait]
pub trait Users: Send + Sync {
    /// Makes a profile, or replaces it as a whole. Consent that the body does not name stays as it is.
    async fn put(
        &self,
        call: &Call,
        id: &str,
        body: ProfileBody,
        condition: Condition,
    ) -> Result<SavedProfile, ApiError>;

    /// A profile.
    async fn profile(&self, call: &Call, id: &str) -> Result<Profile, ApiError>;

    /// Changes a profile by a JSON merge patch (RFC 7396).
    async fn patch(&self, call: &Call, id: &str, patch: Value, condition: Condition) -> Result<Profile, ApiError>;

    /// Deletes a profile. Events, and whether the user consented, stay: [`Users::erase`] forgets somebody.
    async fn delete(&self, call: &Call, id: &str, condition: Condition) -> Result<(), ApiError>;

    /// All that is kept of somebody: profile, consent, anonymous ids and what others keep on the first page, and a page
    /// of up to [`EXPORT_EVENTS_MAX`] events.
    async fn export(&self, call: &Call, id: &str, cursor: Option<&str>) -> Result<UserExport, ApiError>;

    /// Enters the job that forgets somebody.
    async fn erase(&self, call: &Call, id: &str) -> Result<JobView, ApiError>;

    /// A job of the tenant.
    async fn job(&self, call: &Call, id: &str) -> Result<JobView, ApiError>;
}

/// A service that is shared.
pub type SharedUsers = Arc<dyn Users>;

/// Somebody, by all the names that there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Someone {
    /// The application's id.
    pub user_id: String,
    /// The anonymous ids that are joined to it.
    pub anonymous_ids: Vec<String>,
    /// What stands for each of them in the log.
    pub subjects: Vec<String>,
}

/// The kind of the job that deletes what is kept of a tenant that was deleted. It is a job of the operator's tenant, and
/// its spec is a [`TenantSpec`].
pub const ERASE_TENANT: &str = "erase-tenant";
/// What the audit log of a deleted tenant ends with; it is all that stays of it.
pub const TENANT_DELETED: &str = "tenant.delete";

/// Which tenant such a job is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantSpec {
    /// Its name.
    pub tenant: String,
    /// Who deleted it.
    pub actor: String,
}

/// A service that keeps something of a tenant in collections or in memory of its own.
#[async_trait]
pub trait KeepsOfTenants: Send + Sync {
    /// Deletes all that is kept of the tenant of the call: a line for each store. It may be asked again, after a crash
    /// or for what came meanwhile.
    ///
    /// # Errors
    /// A store does not answer.
    async fn erase_tenant(&self, call: &Call) -> Result<Vec<Erased>, ApiError>;
}

/// A service that keeps something of people, as the keeper of people sees it.
#[async_trait]
pub trait KeepsOfPeople: Send + Sync {
    /// What is kept, in a word that stands in reports: `dead_letters`, `reviews`.
    fn what(&self) -> &'static str;

    /// What is kept of somebody, as JSON.
    ///
    /// # Errors
    /// A store does not answer.
    async fn export(&self, call: &Call, someone: &Someone) -> Result<Value, ApiError>;

    /// Deletes what is kept of somebody. It may be asked again after a crash.
    ///
    /// # Errors
    /// A store does not answer.
    async fn erase(&self, call: &Call, someone: &Someone) -> Result<Erased, ApiError>;

    /// Consent or names of somebody have changed: what is remembered of them is to be read again.
    fn changed(&self, _tenant: &str, _user_id: &str) {}
}
