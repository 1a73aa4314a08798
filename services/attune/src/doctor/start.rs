//! What a start reads besides models and stores, and what it finds in the stores: certificate, tokens, keys, lakes.

use std::path::Path;

use attune_gateway::{DEFAULT_TENANT, KeyStore, Tokens};
use attune_lake::{LakeError, load_manifest};
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

fn bad(finding: impl ToString) -> Finding {
    (Verdict::Bad, finding.to_string())
}
