//! `attune recommenders rollback`: back to the version that was in service before.
//!
//! A version that is taken back is marked as such, and no rollback goes to it, until somebody promotes it again. By the
//! times of promotion alone, a second rollback would bring back what the first one took away: a rollback promotes, too.

use std::sync::Arc;

use anyhow::{Result, bail};
use attune_store::relational::{ModelVersion, Relational, Write};
use attune_store::{Expect, Tenant};
use attune_trainer::{MODEL, TAKEN_BACK};
use serde_json::{Map, Value};

use super::versions;

/// Takes the version in service back, and puts the one in service that was in it last of those that nobody took back.
///
/// # Errors
/// There is none, or the store refuses.
pub async fn rollback(rows: &Arc<dyn Relational>, tenant: &Tenant) -> Result<()> {
    let versions = versions(rows, tenant).await?;
    let others = versions.iter().filter(|version| !version.is_live && !is_taken_back(version));
    let Some(before) = others.max_by_key(|version| version.promoted_ms) else {
        bail!("there is nothing to go back to: no other version was in service that was not taken back");
    };
    let live = versions.iter().find(|version| version.is_live).cloned().map(taken_back);
    let put = Write::Promote { model: MODEL.to_owned(), label: before.label.clone() };
    rows.commit(tenant, live.into_iter().chain([put]).collect()).await?;
    say!("{} is in service again", before.label);
    Ok(())
}

/// Whether a rollback took it out of service.
pub fn is_taken_back(version: &ModelVersion) -> bool {
    version.metrics.get(TAKEN_BACK).is_some()
}

/// The mark on the version in service, which has to be that still.
fn taken_back(live: ModelVersion) -> Write {
    let mut metrics = match live.metrics {
        Value::Object(metrics) => metrics,
        _ => Map::new(),
    };
    metrics.insert(TAKEN_BACK.to_owned(), true.into());
    Write::PutModelVersion {
        model: live.model,
        label: live.label,
        uri: live.uri,
        metrics: metrics.into(),
        expect: Expect::Version(live.version),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use attune_gateway::DEFAULT_TENANT;
    use attune_store::resolve::{Stores, StoresConfig};

    use super::*;

    async fn put(rows: &Arc<dyn Relational>, tenant: &Tenant, label: &str) {
        let (model, label) = (MODEL.to_owned(), label.to_owned());
        let (uri, expect) = (label.clone(), Expect::Any);
        let entry = Write::PutModelVersion {
            model: model.clone(),
            label: label.clone(),
            uri,
            metrics: Value::Object(Map::new()),
            expect,
        };
        rows.commit(tenant, vec![entry, Write::Promote { model, label }]).await.unwrap();
        pause().await;
    }

    /// Promotions are told apart by their milliseconds.
    async fn pause() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    async fn live(rows: &Arc<dyn Relational>, tenant: &Tenant) -> String {
        rows.live_model(tenant, MODEL).await.unwrap().unwrap().label
    }

    #[tokio::test]
    async fn a_version_that_was_taken_back_comes_back_by_promotion_alone() {
        let folder = tempfile::tempdir().unwrap();
        let rows = Stores::relational(&StoresConfig::default(), folder.path()).await.unwrap();
        let tenant: Tenant = DEFAULT_TENANT.parse().unwrap();
        for label in ["ease/a", "ease/b", "ease/c"] {
            put(&rows, &tenant, label).await;
        }
        for expected in ["ease/b", "ease/a"] {
            rollback(&rows, &tenant).await.unwrap();
            assert_eq!(live(&rows, &tenant).await, expected);
            pause().await;
        }
        let error = rollback(&rows, &tenant).await.unwrap_err().to_string();
        assert!(error.contains("nothing to go back to"), "{error}");
        assert_eq!(live(&rows, &tenant).await, "ease/a");
        put(&rows, &tenant, "ease/d").await;
        rollback(&rows, &tenant).await.unwrap();
        assert_eq!(live(&rows, &tenant).await, "ease/a", "not one of those that were taken back");
        pause().await;
        put(&rows, &tenant, "ease/b").await;
        put(&rows, &tenant, "ease/d").await;
        rollback(&rows, &tenant).await.unwrap();
        assert_eq!(live(&rows, &tenant).await, "ease/b", "a promotion takes the mark away");
    }
}
