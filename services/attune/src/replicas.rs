//! Follows the configuration's `[upstreams]` while the server runs: replicas come and go without a restart.

use std::path::Path;
use std::time::{Duration, SystemTime};

use attune_gateway::Upstreams;

use crate::config;

/// How often the file is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Never ends. A file that makes no sense leaves everything as it is.
pub async fn follow(file: &Path, upstreams: &Upstreams) {
    let mut seen = changed(file).await;
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let now = changed(file).await;
        if now == seen {
            continue;
        }
        seen = now;
        let replicas = match config::read(file) {
            Ok(config) => config.upstreams.addresses(),
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "the changed configuration is not taken over");
                continue;
            }
        };
        match upstreams.update(replicas) {
            Ok(()) => tracing::info!(file = %file.display(), "the replicas are those of the changed configuration"),
            Err(error) => tracing::error!(%error, "the changed configuration is not taken over"),
        }
    }
}

async fn changed(file: &Path) -> Option<SystemTime> {
    tokio::fs::metadata(file).await.ok()?.modified().ok()
}
