//! `attune replay`: all that follows from the log, made again from it: what lists are made of, and the event lake.

use anyhow::{Context, Result, bail};
use attune_gateway::DEFAULT_TENANT;
use attune_lake::load_manifest;
use attune_recommendation::Replayed;
use attune_store::events::{LostEnd, PAGE_MAX, Stretch};
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
not, something was lost, damaged or counted twice, and the command fails when all
is done, unless --accept-loss was given. Who was forgotten stays so.

Stop the servers first. A log that has lost its beginning (by retention), its
end or something in between is not replayed, since that would lose what only the
derived state still knows; --accept-loss does so where it is not the beginning.

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
    /// Where the log is damaged, or ends before what is derived from it: make all of what it still has
    #[arg(long)]
    accept_loss: bool,
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
        replay(config, &stores, options).await
    })
}

async fn replay(config: &Config, stores: &Stores, options: &Options) -> Result<()> {
    let tenants = match &options.tenant {
        Some(tenant) => {
            require_tenant(&*stores.relational, tenant).await?;
            vec![tenant.clone()]
        }
        None => all_tenants(&*stores.relational, DEFAULT_TENANT.parse().ok()).await?,
    };
    let mut is_as_before = true;
    for tenant in &tenants {
        if !options.accept_loss {
            require_whole(stores, tenant).await.with_context(|| format!("the log of {tenant}"))?;
        }
        if options.only != Some(Part::Lake) {
            is_as_before &= lists(config, stores, tenant).await.with_context(|| format!("the lists of {tenant}"))?;
        }
        if options.only != Some(Part::Lists) {
            is_as_before &= lake(stores, tenant).await.with_context(|| format!("the lake of {tenant}"))?;
        }
    }
    if !is_as_before && !options.accept_loss {
        bail!("what follows from the log is in place now, and differs from what was there: see above what does");
    }
    Ok(())
}

/// # Errors
/// What is derived from the log knows more than the log does, by damage or because the log has lost its end.
async fn require_whole(stores: &Stores, tenant: &Tenant) -> Result<()> {
    const ADVICE: &str = "restore it, or make everything of what it still has by --accept-loss";
    let log = &*stores.events;
    // What is damaged in old segments shows when they are read.
    let mut all = Stretch::open(log, tenant, |bounds| bounds.first).await?;
    while all.next(PAGE_MAX).await?.is_some() {}
    let damage = log.damage(tenant).await?;
    if let Some(damage) = damage.iter().find(|damage| damage.lost.is_some()) {
        bail!("{}; nothing was changed: {ADVICE}", damage.detail);
    }
    // A manifest that cannot be read is made again, and tells nothing.
    let lake = load_manifest(&*stores.objects, tenant).await.unwrap_or_default();
    if let Some(lost) = LostEnd::of(&log.bounds(tenant).await?, &lake.next) {
        bail!("{lost} by the lake; nothing was changed: {ADVICE}");
    }
    Ok(())
}

/// Makes what lists are made of; whether it is as before.
async fn lists(config: &Config, stores: &Stores, tenant: &Tenant) -> Result<bool> {
    let (folder, worth) = (config.data.join("recommendation"), config.worth.clone());
    let replayed = attune_recommendation::replay(&*stores.events, tenant, &config.recommendation, worth, &folder);
    let Replayed { events, users, digest, before } = replayed.await?;
    let what = format!("lists of {tenant}: {} events of {} users", grouped(events), grouped(users as u64));
    Ok(told(&what, digest, before))
}

/// Makes the event lake; whether it is as before.
async fn lake(stores: &Stores, tenant: &Tenant) -> Result<bool> {
    let rebuilt = attune_lake::rebuild(&*stores.events, &stores.objects, tenant).await?;
    let (events, exposures) = (grouped(rebuilt.after.events), grouped(rebuilt.after.exposures));
    let what = format!("lake of {tenant}: {events} rows of events, {exposures} of lists");
    Ok(told(&what, rebuilt.after.digest, rebuilt.before.map(|before| before.digest)))
}

/// Says what came of it; whether it is as before, as far as that is known.
fn told(what: &str, digest: u64, before: Result<u64, String>) -> bool {
    match before {
        Ok(before) if before == digest => term::good(&format!("{what}, as before (digest {digest:016x})")),
        Ok(before) => {
            term::warn(&format!("{what}, other than before (digest {digest:016x}, it was {before:016x})"));
            return false;
        }
        Err(why) => term::good(&format!("{what} (digest {digest:016x}); what was there: {why}")),
    }
    true
}

#[cfg(test)]
mod tests {
    use attune_api::log::{Event, Record};
    use attune_lake::manifest::FORMAT;
    use attune_lake::{MANIFEST_KEY, Manifest};
    use attune_store::events::{NewEvent, Position};
    use attune_store::objects::Condition;
    use attune_store::resolve::StoresConfig;

    use super::*;

    #[test]
    fn a_tenant_that_is_not_there_is_not_replayed() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { data: folder.path().to_owned(), ..Config::default() };
        let options = Options { tenant: Some("nope".parse().unwrap()), only: None, accept_loss: false };
        let replay = || run(&config, &options).unwrap_err();
        let none = replay().to_string();
        assert!(none.contains("no installation") && none.contains("--data"), "{none}");
        assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "and none is made");
        let made = async { drop(Stores::open(&config.stores, &config.data).await.unwrap()) };
        serve::runtime().unwrap().block_on(made);
        assert_eq!(replay().to_string(), "there is no tenant \"nope\"");
    }

    #[tokio::test]
    async fn a_log_that_ends_before_the_lake_does_is_not_replayed() {
        let folder = tempfile::tempdir().unwrap();
        let stores = Stores::open(&StoresConfig::default(), folder.path()).await.unwrap();
        let tenant: Tenant = DEFAULT_TENANT.parse().unwrap();
        let event = |number: u32| NewEvent { subject: format!("s-{number}"), payload: "{}".into() };
        stores.events.append(&tenant, (0..8).map(event).collect()).await.unwrap();
        assert!(require_whole(&stores, &tenant).await.is_ok());
        for (reached, is_whole) in [(8, true), (9, false)] {
            let lake = Manifest { format: FORMAT, next: [(0, reached)].into(), ..Manifest::default() };
            let lake = serde_json::to_vec(&lake).unwrap().into();
            stores.objects.put(&tenant, MANIFEST_KEY, lake, Condition::None).await.unwrap();
            let told = require_whole(&stores, &tenant).await.map_err(|error| error.to_string());
            assert_eq!(told.is_ok(), is_whole, "{told:?}");
            assert!(is_whole || told.unwrap_err().contains("--accept-loss"));
        }
        let at = Position { partition: 0, offset: 9 };
        stores.events.reserve(&tenant, &[at]).await.unwrap();
        let error = require_whole(&stores, &tenant).await.unwrap_err().to_string();
        assert!(error.contains("the events 8 to 8 are not there"), "{error}");
    }

    #[tokio::test]
    async fn what_comes_out_otherwise_than_it_was_is_a_failure() {
        for accept_loss in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let config = Config { data: folder.path().to_owned(), ..Config::default() };
            let stores = Stores::open(&config.stores, &config.data).await.unwrap();
            let tenant: Tenant = DEFAULT_TENANT.parse().unwrap();
            let event = Event { event_id: "e-1".into(), r#type: "click".into(), ..Event::default() };
            let payload = serde_json::to_vec(&Record::Event(event)).unwrap().into();
            let event = NewEvent { subject: "s-1".into(), payload };
            let at = stores.events.append(&tenant, vec![event]).await.unwrap()[0];
            // It goes as far as the log, and has nothing.
            let lake = Manifest { format: FORMAT, next: [(at.partition, at.offset + 1)].into(), ..Manifest::default() };
            let lake = serde_json::to_vec(&lake).unwrap().into();
            stores.objects.put(&tenant, MANIFEST_KEY, lake, Condition::None).await.unwrap();
            let options = |accept_loss| Options { tenant: None, only: Some(Part::Lake), accept_loss };
            let told = replay(&config, &stores, &options(accept_loss)).await.map_err(|error| error.to_string());
            assert_eq!(told.is_ok(), accept_loss, "{told:?}");
            assert!(told.err().is_none_or(|error| error.contains("differs from what was there")));
            replay(&config, &stores, &options(false)).await.unwrap();
        }
    }
}
