//! `attune replay`: all that follows from the log, made again from it: what lists are made of, and the event lake.

use anyhow::{Context, Result};
use attune_gateway::DEFAULT_TENANT;
use attune_recommendation::Replayed;
use attune_store::relational::all_tenants;
use attune_store::resolve::Stores;
use attune_store::{StoreKind, Tenant};
use clap::{Args, ValueEnum};

use crate::config::Config;
use crate::keys::{require_installation, require_tenant};
use crate::serve;
use crate::term::{self, grouped};

/// What can be typed after `attune replay`.
#[derive(Debug, Args)]
#[command(after_help = "\
The log is the truth, and what is derived from it is replaced by what a replay
makes of it: snapshots of what lists are made of, in this data folder, and the
files of the event lake. Both should come out as they were, which is said; where
not, something was lost, damaged or counted twice. Who was forgotten stays so.

Stop the servers first. A log that has lost its beginning (by retention) is not
replayed, since that would lose what only the derived state still knows.

Examples:
  attune replay
  attune replay --tenant shop --only lake")]
pub struct Options {
    /// For this tenant [default: for all]
    #[arg(long)]
    tenant: Option<Tenant>,
    /// This part alone
    #[arg(long, value_enum)]
    only: Option<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// What lists are made of
    Lists,
    /// The event lake
    Lake,
}

/// Replays.
///
/// # Errors
/// There is no installation, a store cannot be opened, or the log cannot be replayed.
pub fn run(config: &Config, options: &Options) -> Result<()> {
    require_installation(config, &[StoreKind::Relational, StoreKind::Events])?;
    serve::runtime()?.block_on(async {
        let stores = Stores::open(&config.stores, &config.data).await?;
        let tenants = match &options.tenant {
            Some(tenant) => {
                require_tenant(&*stores.relational, tenant).await?;
                vec![tenant.clone()]
            }
            None => all_tenants(&*stores.relational, DEFAULT_TENANT.parse().ok()).await?,
        };
        for tenant in &tenants {
            if options.only != Some(Part::Lake) {
                lists(config, &stores, tenant).await.with_context(|| format!("the lists of {tenant}"))?;
            }
            if options.only != Some(Part::Lists) {
                lake(&stores, tenant).await.with_context(|| format!("the lake of {tenant}"))?;
            }
        }
        Ok(())
    })
}

async fn lists(config: &Config, stores: &Stores, tenant: &Tenant) -> Result<()> {
    let (folder, worth) = (config.data.join("recommendation"), config.worth.clone());
    let replayed = attune_recommendation::replay(&*stores.events, tenant, &config.recommendation, worth, &folder);
    let Replayed { events, users, digest, before } = replayed.await?;
    let what = format!("lists of {tenant}: {} events of {} users", grouped(events), grouped(users as u64));
    told(&what, digest, before);
    Ok(())
}

async fn lake(stores: &Stores, tenant: &Tenant) -> Result<()> {
    let rebuilt = attune_lake::rebuild(&*stores.events, &stores.objects, tenant).await?;
    let (events, exposures) = (grouped(rebuilt.after.events), grouped(rebuilt.after.exposures));
    let what = format!("lake of {tenant}: {events} rows of events, {exposures} of lists");
    told(&what, rebuilt.after.digest, rebuilt.before.map(|before| before.digest));
    Ok(())
}

fn told(what: &str, digest: u64, before: Result<u64, String>) {
    match before {
        Ok(before) if before == digest => term::good(&format!("{what}, as before (digest {digest:016x})")),
        Ok(before) => {
            term::warn(&format!("{what}, other than before (digest {digest:016x}, it was {before:016x})"));
        }
        Err(why) => term::good(&format!("{what} (digest {digest:016x}); what was there: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_that_is_not_there_is_not_replayed() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { data: folder.path().to_owned(), ..Config::default() };
        let replay = || run(&config, &Options { tenant: Some("nope".parse().unwrap()), only: None }).unwrap_err();
        let none = replay().to_string();
        assert!(none.contains("no installation") && none.contains("--data"), "{none}");
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "and none is made");
        let made = async { drop(Stores::open(&config.stores, &config.data).await.unwrap()) };
        serve::runtime().unwrap().block_on(made);
        assert_eq!(replay().to_string(), "there is no tenant \"nope\"");
    }
}
