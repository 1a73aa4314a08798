//! What is kept here of tenants that are no more. While a process runs it notices that a tenant is deleted; what one was
//! deleted while it was down has left is found when it starts.

use std::io;
use std::path::Path;
use std::sync::Arc;

use attune_store::Tenant;
use attune_store::relational::Relational;
use tokio::task::spawn_blocking;

use crate::model::TrainedModels;
use crate::replay;

/// Removes the snapshot of a deleted tenant and the models that were fetched for it. What is left after a failure is found
/// by the next start.
pub(crate) async fn forget(folder: &Path, tenant: &Tenant, models: Option<Arc<dyn TrainedModels>>) {
    let (path, of) = (replay::path(folder, tenant), tenant.clone());
    let removed = spawn_blocking(move || {
        if let Some(models) = models {
            models.forget(of.as_str())?;
        }
        // Last, since it is what a start goes by.
        match path.parent().map_or(Ok(()), std::fs::remove_dir_all) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.to_string()),
            _ => Ok(()),
        }
    });
    match removed.await {
        Ok(Ok(())) => tracing::info!(%tenant, "the tenant was deleted: nothing of it is kept here"),
        Ok(Err(error)) => tracing::warn!(%tenant, error, "something of a deleted tenant is still kept here"),
        Err(error) => tracing::error!(%tenant, %error, "a deleted tenant could not be forgotten"),
    }
}

/// Forgets the tenants of whom there is a snapshot and no row.
pub(crate) async fn sweep(folder: &Path, relational: &dyn Relational, models: Option<Arc<dyn TrainedModels>>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let names = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<Tenant>().ok());
    for tenant in names {
        match relational.tenant(&tenant).await {
            Ok(Some(_)) => {}
            Ok(None) => forget(folder, &tenant, models.clone()).await,
            Err(error) => {
                tracing::warn!(%error, "it is not known which tenants there are: the next start looks for what is to go");
                return;
            }
        }
    }
}
