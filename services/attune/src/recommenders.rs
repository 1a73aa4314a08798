//! `attune recommenders`: which version of a trained recommender is in service, whether a server runs or not.
//!
//! A version passes a gate: measured in the same way as the one in service, it must not be worse. Servers that run take it
//! over within seconds, without a request that fails.

mod rollback;

use std::sync::Arc;

use anyhow::Result;
use attune_batch::recommender::{Recommender, gate, measured, resolve};
use attune_gateway::DEFAULT_TENANT;
use attune_store::relational::{ModelVersion, Relational, Write};
use attune_store::resolve::Stores;
use attune_store::{Expect, PAGE_ROWS_MAX, PageRequest, StoreKind, Tenant};
use attune_trainer::{MODEL, publish};
use clap::{Args, Subcommand};

use crate::config::Config;
use crate::keys::{require_installation, require_tenant};
use crate::serve;
use crate::term::{self, Style, styled};

use rollback::{is_taken_back, rollback};

/// What can be typed after `attune recommenders`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Put a version in service, if it is not worse than the one that is
    Promote(Promote),
    /// Put the version in service again that was before; given again, it goes one further back
    Rollback(Whose),
    /// List the versions that ever were in service
    List(Whose),
}

/// What can be typed after `attune recommenders promote`.
#[derive(Debug, Args)]
#[command(after_help = "\
The figures are those of training (--protocol): ndcg of the first group. Versions
that were measured in different ways, or not at all, cannot be compared.

Examples:
  attune train ease --events events.csv && attune recommenders promote ease
  attune recommenders promote als/1f0c9d2e7a41 --force")]
pub struct Promote {
    /// NAME, which means its newest version, or NAME/VERSION, in DATA/recommenders
    name: String,
    /// Whatever the figures say
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    whose: Whose,
}

/// For whom.
#[derive(Debug, Args)]
pub struct Whose {
    /// For which tenant
    #[arg(long, default_value = DEFAULT_TENANT)]
    tenant: Tenant,
}

/// Does what was typed.
///
/// # Errors
/// There is no installation, no such tenant or version, it is worse, or the store refuses.
pub fn run(config: &Config, command: &Command) -> Result<()> {
    serve::runtime()?.block_on(async {
        match command {
            Command::Promote(options) => promote(config, options).await,
            Command::Rollback(Whose { tenant }) => rollback(&installed(config, tenant).await?, tenant).await,
            Command::List(Whose { tenant }) => list(&installed(config, tenant).await?, tenant).await,
        }
    })
}

async fn installed(config: &Config, tenant: &Tenant) -> Result<Arc<dyn Relational>> {
    require_installation(config, &[StoreKind::Relational])?;
    let rows = Stores::relational(&config.stores, &config.data).await?;
    require_tenant(&*rows, tenant).await?;
    Ok(rows)
}

async fn promote(config: &Config, options: &Promote) -> Result<()> {
    let tenant = &options.whose.tenant;
    let folder = resolve(&config.data, &options.name)?;
    // Verified as a server will: one that cannot be loaded is never in service.
    let recommender = Recommender::load(&folder)?;
    let label = format!("{}/{}", recommender.name, recommender.version);
    let figures = measured(&folder)?;
    // A version may be there before any server was, and a store is made then; not where there is no such version.
    let rows = Stores::relational(&config.stores, &config.data).await?;
    require_tenant(&*rows, tenant).await?;
    let live = rows.live_model(tenant, MODEL).await?.filter(|live| live.label != label);
    if let Some(live) = &live {
        let before = resolve(&config.data, &live.uri).and_then(|folder| measured(&folder));
        match before.map_err(anyhow::Error::from).and_then(|before| Ok(gate(&figures, &before, 0.0)?)) {
            Ok(told) => term::detail(&told),
            Err(error) if options.force => term::warn(&format!("{error:#}")),
            Err(error) => {
                return Err(
                    error.context(format!("{label} stays out of service, {} stays in it (--force)", live.label))
                );
            }
        }
    }
    // Every replica fetches it from there, whoever's data folder it is in.
    let objects = Stores::objects(&config.stores, &config.data).await?;
    publish(&*objects, tenant, &folder, &label).await?;
    let metrics = serde_json::to_value(&figures)?;
    let entry = Write::PutModelVersion {
        model: MODEL.to_owned(),
        label: label.clone(),
        uri: label.clone(),
        metrics,
        expect: Expect::Any,
    };
    let put = Write::Promote { model: MODEL.to_owned(), label: label.clone() };
    rows.commit(tenant, vec![entry, put]).await?;
    say!("{label} is in service");
    Ok(())
}

async fn list(rows: &Arc<dyn Relational>, tenant: &Tenant) -> Result<()> {
    for version in versions(rows, tenant).await? {
        let mark = match (version.is_live, is_taken_back(&version)) {
            (true, _) => styled(Style::Green, "in service"),
            (false, true) => styled(Style::Dim, "taken back"),
            (false, false) => String::new(),
        };
        say!("{:<40} {mark}", version.label);
    }
    Ok(())
}

/// Those that ever were in service.
async fn versions(rows: &Arc<dyn Relational>, tenant: &Tenant) -> Result<Vec<ModelVersion>> {
    let mut page = PageRequest::first(PAGE_ROWS_MAX);
    let mut versions = Vec::new();
    loop {
        let found = rows.model_versions(tenant, MODEL, page).await?;
        versions.extend(found.rows.into_iter().filter(|version| version.promoted_ms.is_some()));
        let Some(next) = found.next else { return Ok(versions) };
        page = PageRequest { after: Some(next), rows: PAGE_ROWS_MAX };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_are_versions_only_of_a_tenant_and_where_something_is_installed() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { data: folder.path().to_owned(), ..Config::default() };
        let told = async |tenant: &str| installed(&config, &tenant.parse().unwrap()).await.err().map(|e| e.to_string());
        let none = told(DEFAULT_TENANT).await.unwrap();
        assert!(none.contains("no installation") && none.contains("--data"), "{none}");
        Stores::relational(&config.stores, &config.data).await.unwrap();
        assert_eq!(told(DEFAULT_TENANT).await, None, "it is there before it is entered");
        assert_eq!(told("nope").await.unwrap(), "there is no tenant \"nope\"");
    }
}
