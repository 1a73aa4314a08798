//! What a start reads besides models and stores, and what it finds in the stores: certificate, tokens, keys, lakes, and
//! whether the log still has what lakes were made of.

use std::path::Path;

use attune_gateway::{DEFAULT_TENANT, KeyStore, Tokens};
use attune_lake::{LakeError, Manifest, load_manifest};
use attune_store::events::{Bounds, EventLog, LostEnd};
use attune_store::objects::Objects;
use attune_store::relational::{Relational, all_tenants};
use attune_store::resolve::Stores;
use attune_store::{ErrorKind, StoreError, StoreKind};
use futures::future::join_all;

use super::{Finding, Verdict, good};
use crate::compose;
use crate::config::Config;

/// The most tenants whose lake is looked at.
const TENANTS_MAX: usize = 100;

/// The files that the configuration names; what it does not name has no line.
pub async fn named(config: &Config) -> Vec<(String, Finding)> {
    let mut findings = Vec::new();
    match compose::tls(config) {
        Ok(None) => {}
        Ok(Some(_)) => {
            let path = config.server.tls.certificate.display();
            findings.push(("certificate".to_owned(), good(format!("{path} is one, with its key"))));
        }
        Err(error) => findings.push(("certificate".to_owned(), bad(error))),
    }
    match (compose::outside(config), config.outside.hosts.len()) {
        (Ok(None), _) | (Ok(_), 0) => {}
        (Ok(Some(_)), hosts) => findings.push(("outside".to_owned(), good(format!("{hosts} hosts may be asked")))),
        (Err(error), _) => findings.push(("outside".to_owned(), bad(error))),
    }
    // What is wrong with the section itself, the configuration was refused for.
    let issuers = config.auth.jwt.tokens().unwrap_or_default();
    let read = join_all(issuers.iter().map(Tokens::try_keys)).await;
    findings.extend(issuers.iter().zip(read).map(|(issuer, read)| {
        let finding = match read {
            Ok(None) => good(format!("those of {} are read from {}", issuer.issuer, issuer.keys)),
            Ok(Some(error)) => (Verdict::Warning, format!("{error}: no token of {} is valid yet", issuer.issuer)),
            Err(error) => bad(error),
        };
        ("token keys".to_owned(), finding)
    }));
    findings
}

/// What is kept, where there is any: whether keys can be checked, and lakes be read. A store that cannot be opened has
/// a line of its own.
pub async fn kept(config: &Config, with_keys: bool) -> Vec<(String, Finding)> {
    let absent = Stores::absent(&config.stores, &config.data);
    let is_there = |store: StoreKind| !absent.iter().any(|(one, _)| *one == store);
    let mut findings = Vec::new();
    if !is_there(StoreKind::Relational) {
        return findings;
    }
    let Ok(rows) = Stores::relational(&config.stores, &config.data).await else { return findings };
    if with_keys {
        findings.push(("keys".to_owned(), keys(&*rows, &config.data).await));
    }
    if is_there(StoreKind::Objects)
        && let Ok(objects) = Stores::objects(&config.stores, &config.data).await
    {
        let lakes = lakes(&*rows, &*objects).await;
        findings.push(("lake".to_owned(), lakes.unwrap_or_else(bad)));
        let log = match Stores::events(&config.stores, &config.data).await {
            Ok(None) if !is_there(StoreKind::Events) => None,
            Ok(Some(log)) => Some(log),
            // Another process has it, or it has a line of its own.
            Ok(None) | Err(_) => return findings,
        };
        let whole = whole_log(&*rows, &*objects, log.as_deref(), !config.stores.events.is_server()).await;
        findings.push(("event log".to_owned(), whole.unwrap_or_else(bad)));
    }
    findings
}

async fn keys(rows: &dyn Relational, data: &Path) -> Finding {
    match KeyStore::check(rows, data).await {
        Ok(true) => good("can be checked"),
        Ok(false) => good("none yet: the first start makes one"),
        Err(error) => bad(error),
    }
}

async fn lakes(rows: &dyn Relational, objects: &dyn Objects) -> Result<Finding, StoreError> {
    let tenants = all_tenants(rows, DEFAULT_TENANT.parse().ok()).await?;
    let mut files = 0;
    for tenant in tenants.iter().take(TENANTS_MAX) {
        match load_manifest(objects, tenant).await {
            Ok(manifest) => files += manifest.files.len(),
            Err(LakeError::Store(error)) if error.kind != ErrorKind::Corrupt => return Err(error),
            Err(error) => {
                let remedy = "restore it, or stop the server and make it again of the log: attune replay --only lake";
                return Ok(bad(format!("{tenant}: {error}; {remedy}")));
            }
        }
    }
    Ok(good(format!("{files} files, of {} tenants", tenants.len().min(TENANTS_MAX))))
}

/// Whether the log, if there is one, has what lakes were made of.
async fn whole_log(
    rows: &dyn Relational,
    objects: &dyn Objects,
    log: Option<&dyn EventLog>,
    is_embedded: bool,
) -> Result<Finding, StoreError> {
    for tenant in all_tenants(rows, DEFAULT_TENANT.parse().ok()).await?.iter().take(TENANTS_MAX) {
        // One that cannot be read has a line of its own.
        let lake = load_manifest(objects, tenant).await.unwrap_or_default();
        if lake.next.is_empty() {
            continue;
        }
        let bounds = match log {
            Some(log) => log.bounds(tenant).await?,
            None => lake.next.keys().map(|&partition| Bounds { partition, first: 0, next: 0 }).collect(),
        };
        if let Some(lost) = lost(&bounds, &lake, is_embedded) {
            return Ok((Verdict::Warning, format!("{tenant}: {lost}")));
        }
        let damage = match log {
            Some(log) => log.damage(tenant).await?,
            None => Vec::new(),
        };
        // Where a lost end was found by a server, new events stand behind it.
        if let Some(damage) = damage.iter().find(|damage| damage.lost.is_some()) {
            return Ok((Verdict::Warning, format!("{tenant}: {}; restore the log from a backup", damage.detail)));
        }
    }
    Ok(good("has what lakes were made of"))
}

/// What a log has lost of which a lake knows, and what to do. Nothing of an embedded log goes by itself; what others
/// keep is their own affair.
fn lost(bounds: &[Bounds], lake: &Manifest, is_embedded: bool) -> Option<String> {
    if let Some(lost) = LostEnd::of(bounds, &lake.next) {
        let remedy = "restore the log from a backup, or stop the server and make everything of what it still has: \
                      attune replay --accept-loss";
        return Some(format!("{lost} by the lake; {remedy}"));
    }
    let before = |bound: &Bounds| {
        let of_partition = lake.files.iter().filter(|file| file.partition == bound.partition);
        let earliest = of_partition.map(|file| file.first).min().filter(|earliest| *earliest < bound.first);
        earliest.map(|earliest| (bound.partition, bound.first, earliest))
    };
    let (partition, first, earliest) = bounds.iter().find_map(before).filter(|_| is_embedded)?;
    Some(format!(
        "partition {partition} of the log begins at {first}, and the lake has it from {earliest} on: files of the log \
         are gone; restore them from a backup, and do not replay without them, since the lake has the last copy"
    ))
}

fn bad(finding: impl ToString) -> Finding {
    (Verdict::Bad, finding.to_string())
}

#[cfg(test)]
mod tests {
    use attune_lake::{DataFile, Dataset};

    use super::*;

    #[test]
    fn a_log_that_begins_or_ends_within_what_the_lake_has_is_told_of() {
        let (dataset, key) = (Dataset::Events, String::new());
        let file = DataFile {
            key,
            dataset,
            day: 0,
            partition: 1,
            first: 3,
            last: 8,
            rows: 5,
            bytes: 1,
            time_min_ms: 0,
            time_max_ms: 0,
        };
        let lake = Manifest { next: [(0, 9), (1, 9)].into(), files: vec![file], ..Manifest::default() };
        let told = |first, next, is_embedded| {
            let bounds = [0, 1].map(|partition| Bounds { partition, first, next });
            lost(&bounds, &lake, is_embedded)
        };
        assert_eq!(told(3, 9, true), None, "what the lake lacks may never have been there");
        let ended = told(0, 8, false).unwrap();
        assert!(ended.contains("partition 0 of the log ends at 8") && ended.contains("--accept-loss"), "{ended}");
        let begun = told(4, 9, true).unwrap();
        assert!(begun.contains("partition 1 of the log begins at 4") && begun.contains("from 3 on"), "{begun}");
        assert_eq!(told(4, 9, false), None, "a server keeps as long as it is told to");
    }
}
