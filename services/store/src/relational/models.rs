//! Versions of trained models, and which of them is in service.

use async_trait::async_trait;
use serde_json::Value;

use crate::{Page, PageRequest, StoreError, Tenant, Version};

/// A version of a model as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelVersion {
    /// The model.
    pub model: String,
    /// The version.
    pub label: String,
    /// Where its files are.
    pub uri: String,
    /// How it was made and how good it is.
    pub metrics: Value,
    /// Whether it is in service; at most one version of a model is.
    pub is_live: bool,
    /// When it was entered, in Unix milliseconds.
    pub created_ms: i64,
    /// When it was last put in service.
    pub promoted_ms: Option<i64>,
    /// Which state of it this is.
    pub version: Version,
}

/// Reads versions of models.
#[async_trait]
pub trait Models {
    /// The version in service.
    async fn live_model(&self, tenant: &Tenant, model: &str) -> Result<Option<ModelVersion>, StoreError>;

    /// One version.
    async fn model_version(
        &self,
        tenant: &Tenant,
        model: &str,
        label: &str,
    ) -> Result<Option<ModelVersion>, StoreError>;

    /// All versions of a model by label.
    async fn model_versions(
        &self,
        tenant: &Tenant,
        model: &str,
        page: PageRequest,
    ) -> Result<Page<ModelVersion>, StoreError>;
}
