//! Follows the configuration's `[upstreams]` while the server runs: replicas come and go without a restart.

use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use attune_gateway::Upstreams;

use crate::config::{self, Roles};

/// How often the file is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Never ends. A file that makes no sense leaves everything as it is.
pub async fn follow(file: &Path, roles: &Roles, upstreams: &Upstreams) {
    let mut seen = changed(file).await;
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let now = changed(file).await;
        if now == seen {
            continue;
        }
        seen = now;
        match take_over(file, roles, upstreams) {
            Ok(()) => tracing::info!(file = %file.display(), "the replicas are those of the changed configuration"),
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "the changed configuration is not taken over");
            }
        }
    }
}

/// Takes what a start with these roles would take. What the file says besides, and its roles, are the next start's.
fn take_over(file: &Path, roles: &Roles, upstreams: &Upstreams) -> Result<()> {
    let replicas = config::read(file)?.upstreams;
    replicas.check(roles)?;
    let addresses = replicas.addresses();
    for role in addresses.keys() {
        ensure!(upstreams.has(*role), "{role} had no replicas when this process started: start it again");
    }
    Ok(upstreams.update(addresses)?)
}

async fn changed(file: &Path) -> Option<SystemTime> {
    tokio::fs::metadata(file).await.ok()?.modified().ok()
}

#[cfg(test)]
mod tests {
    use attune_gateway::Role;

    use super::*;

    #[test]
    fn what_the_next_start_would_refuse_is_not_taken_over() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let upstreams = Upstreams::new([(Role::Users, vec!["10.0.0.1:8080".to_owned()])].into()).unwrap();
        let told = |roles: &str, text: &str| {
            std::fs::write(file.path(), text).unwrap();
            let outcome = take_over(file.path(), &roles.parse().unwrap(), &upstreams);
            outcome.err().map(|error| error.to_string()).unwrap_or_default()
        };
        let users = "[upstreams]\nusers = [\"10.0.0.2:8080\"]\n";
        assert_eq!(told("gateway", users), "");
        assert!(told("all", users).contains("users is a service of this process and has upstreams as well"));
        let content = "[upstreams]\ncontent = [\"10.0.0.2:8080\"]\n";
        assert!(told("gateway", content).contains("content had no replicas when this process started"));
        assert!(told("gateway", "[upstreams]\nusers = [\"10.0.0.2\"]\n").contains("host:port"));
        assert!(told("gateway", "").contains("a gateway alone"));
        assert!(told("gateway", "[upstreams]\nuser = []\n").contains("unknown field `user`"));
    }
}
