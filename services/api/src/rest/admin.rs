//! API keys, tenants and the audit log.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::Timestamp;
use crate::Scope;

/// The overlap of a rotation that names none, in seconds: a day.
pub const OVERLAP_S_DEFAULT: u64 = 86_400;

/// `POST /v1/api-keys`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKeyRequest {
    /// What people call it: 1 to 256 bytes.
    #[schema(example = "web shop")]
    pub title: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// When it ceases to be valid: RFC 3339 or Unix seconds; never, if absent.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}

/// A key, without its secret. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Key {
    /// Its id, which may be shown.
    #[schema(example = "key_0123456789ab")]
    pub id: String,
    /// What people call it.
    pub title: String,
    /// What it allows.
    pub scopes: Vec<String>,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it ceases to be valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub revoked_at: Option<String>,
    /// When it was last used, to the minute or so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    pub used_at: Option<String>,
}

/// A key that was just made: the only time that its secret is shown.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct NewKey {
    /// The key.
    #[serde(flatten)]
    pub key: Key,
    /// What to send as `authorization: Bearer SECRET`.
    pub secret: String,
}

/// `POST /v1/api-keys/{id}/rotate`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateRequest {
    /// How long the old key goes on, in seconds: at most 90 days; a day, if absent.
    #[serde(default)]
    pub overlap_s: Option<u64>,
}

/// The answer of `POST /v1/api-keys/{id}/rotate`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RotatedKey {
    /// The new key.
    #[serde(flatten)]
    pub new: NewKey,
    /// The old one, with its end.
    pub old: Key,
}

/// Which rows of a list, and of whom.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AdminQuery {
    /// Of which tenant: for admins of the tenant `default`, who run the installation. Your own, if absent.
    pub tenant: Option<String>,
    /// Where the page before ended: its `next_cursor`.
    pub cursor: Option<String>,
    /// How many, 1 to 1,000; 100 if absent.
    pub limit: Option<usize>,
}

/// Of whom.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TenantQuery {
    /// Of which tenant: for admins of the tenant `default`, who run the installation. Your own, if absent.
    pub tenant: Option<String>,
}

/// Which rows of the list of tenants.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Where the page before ended: its `next_cursor`.
    pub cursor: Option<String>,
    /// How many, 1 to 1,000; 100 if absent.
    pub limit: Option<usize>,
}

/// A page of keys.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct KeyList {
    /// By id, the revoked ones among them.
    pub keys: Vec<Key>,
    /// Where the next page begins; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// `PUT /v1/tenants/{id}`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantBody {
    /// What people call it: at most 256 bytes.
    #[schema(example = "Acme Inc.")]
    pub title: String,
    /// An object of settings, kept as it is.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub settings: Option<Value>,
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Tenant {
    /// Its name: lower-case letters, digits and `-`, at most 63 of them, the first a letter.
    #[schema(example = "acme")]
    pub id: String,
    /// What people call it.
    pub title: String,
    /// Its settings.
    #[schema(value_type = Object)]
    pub settings: Value,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Which state of it this is.
    pub version: u64,
}

/// A page of tenants.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct TenantList {
    /// By name.
    pub tenants: Vec<Tenant>,
    /// Where the next page begins; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// What an admin did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Its number; later ones are greater.
    pub number: u64,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// Who: the id of a key, the subject of a token, or `attune` itself.
    pub actor: String,
    /// What, for example `key.revoke`.
    #[schema(example = "key.revoke")]
    pub action: String,
    /// To what.
    pub target: String,
    /// With which particulars.
    #[schema(value_type = Object)]
    pub detail: Value,
}

/// A page of the audit log.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditList {
    /// The newest first.
    pub entries: Vec<AuditEntry>,
    /// Where the next page begins; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}
