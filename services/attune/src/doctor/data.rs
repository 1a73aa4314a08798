//! `attune doctor data`: why lists are not personal.
//!
//! What is wrong is decided in `attune-doctor`, of facts alone. Here they are read, from the stores themselves: so it is
//! told what there is, and not what a server believes. Beside a server whose log is embedded, what only that log knows is
//! left out, which is said, and how far behind the server is it is asked.

mod catalogue;
mod definitions;
mod log;
mod model;
mod rows;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use attune_api::moment::now_ms;
use attune_api::rest::Timestamp;
use attune_doctor::{EventFacts, Facts, Finding, Severity, examine};
use attune_gateway::DEFAULT_TENANT;
use attune_lake::Dataset;
use attune_store::documents::Documents;
use attune_store::events::EventLog;
use attune_store::objects::Objects;
use attune_store::relational::{PersonId, Relational, Subject, all_tenants};
use attune_store::resolve::Stores;
use attune_store::{StoreKind, Tenant};
use clap::Args;
use serde::Serialize;

use crate::bench::write_json;
use crate::config::Config;
use crate::keys::require_installation;
use crate::serve;
use crate::term::{Style, grouped, styled};

/// Without these there is no installation.
const NEEDED: [StoreKind; 3] = [StoreKind::Relational, StoreKind::Documents, StoreKind::Objects];

/// Flags of `attune doctor data`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Of `attune doctor data`")]
pub struct DataFlags {
    /// Look at this tenant alone [default: all]
    #[arg(long)]
    tenant: Option<Tenant>,
    /// Judge a copy of an installation as of this moment: RFC 3339, or Unix seconds [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<Timestamp>,
    /// Also write everything to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What was found of a tenant.
#[derive(Debug, Serialize)]
struct Examined {
    tenant: String,
    /// Events that were looked at: the newest.
    events: u64,
    /// Lists that were served.
    lists: u64,
    /// Items of the catalogue.
    items: u64,
    /// What nobody could look at, and why.
    not_looked_at: Vec<String>,
    /// The worst first.
    findings: Vec<Finding>,
}

/// The stores of an installation, beside whoever has them open.
struct Opened {
    rows: Arc<dyn Relational>,
    documents: Arc<dyn Documents>,
    objects: Arc<dyn Objects>,
    /// None where another process has it, or there is none.
    log: Option<Arc<dyn EventLog>>,
}

/// What is the same for all tenants.
struct Around {
    stores: Opened,
    lags: Vec<attune_doctor::Lag>,
    not_looked_at: Vec<String>,
    now_ms: i64,
}

impl DataFlags {
    /// Whether any of them was given.
    pub fn are_given(&self) -> bool {
        self.tenant.is_some() || self.at.is_some() || self.json.is_some()
    }
}

fn moment(text: &str) -> Result<Timestamp, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| seconds.is_finite());
    let at = seconds.map(|seconds| Timestamp((seconds * 1e3) as i64)).or_else(|| Timestamp::parse(text));
    at.ok_or_else(|| "a time is RFC 3339, such as 2026-01-31T12:00:00Z, or Unix seconds".to_owned())
}

/// Looks, and tells; how many errors there are.
///
/// # Errors
/// There is no installation, or a store cannot be read.
pub fn run(config: &Config, flags: &DataFlags) -> Result<usize> {
    let examined = serve::runtime()?.block_on(look(config, flags))?;
    examined.iter().for_each(tell);
    if let Some(path) = &flags.json {
        write_json(&examined, path)?;
    }
    let findings = examined.iter().flat_map(|one| &one.findings);
    Ok(findings.filter(|finding| finding.severity == Severity::Error).count())
}

async fn look(config: &Config, flags: &DataFlags) -> Result<Vec<Examined>> {
    let around = Around::of(config, flags.at.map_or_else(now_ms, |at| at.0)).await?;
    let all = all_tenants(&*around.stores.rows, DEFAULT_TENANT.parse().ok()).await?;
    let tenants = match &flags.tenant {
        Some(tenant) if all.contains(tenant) => vec![tenant.clone()],
        Some(tenant) => anyhow::bail!("there is no tenant {tenant}; there are {}", named(&all)),
        None => all,
    };
    let mut examined = Vec::new();
    for tenant in &tenants {
        let of_tenant = around.examined(config, tenant).await;
        examined.push(of_tenant.with_context(|| format!("the data of {tenant}"))?);
    }
    if tenants.len() > 1 {
        // The one that is always there is nobody's where others are.
        examined.retain(|one| one.tenant != DEFAULT_TENANT || one.events + one.lists + one.items > 0);
    }
    Ok(examined)
}

fn named(tenants: &[Tenant]) -> String {
    tenants.iter().map(Tenant::as_str).collect::<Vec<_>>().join(", ")
}

impl Around {
    async fn of(config: &Config, now_ms: i64) -> Result<Self> {
        require_installation(config, &NEEDED)?;
        let absent = Stores::absent(&config.stores, &config.data);
        let has_log = !absent.iter().any(|(store, _)| *store == StoreKind::Events);
        let stores = Opened {
            rows: Stores::relational(&config.stores, &config.data).await?,
            documents: Stores::documents(&config.stores, &config.data).await?,
            objects: Stores::objects(&config.stores, &config.data).await?,
            log: Stores::events(&config.stores, &config.data).await?,
        };
        let (mut lags, mut not_looked_at) = (Vec::new(), Vec::new());
        let is_beside = has_log && stores.log.is_none();
        if is_beside {
            not_looked_at.push(log::IS_TAKEN.to_owned());
        }
        if is_beside || config.stores.events.is_server() {
            match log::asked(config).await {
                Ok(told) => lags = told,
                Err(why) if is_beside => not_looked_at.push(why),
                // Processes of an installation on servers are on other machines as a rule.
                Err(_) => {}
            }
        }
        Ok(Self { stores, lags, not_looked_at, now_ms })
    }

    async fn examined(&self, config: &Config, tenant: &Tenant) -> Result<Examined> {
        let Opened { rows, documents, objects, log } = &self.stores;
        let in_force = attune_recommendation::InForce::read(&**rows, tenant).await?;
        let model = model::facts(config, &self.stores, tenant).await?;
        let shelf = catalogue::read(config, &**rows, Arc::clone(documents), tenant, &in_force).await?;
        let lists = rows::lists(log.as_deref(), &**objects, tenant).await?;
        let (tally, manifest) =
            rows::events(config, &self.stores, tenant, Arc::new(shelf.known), Arc::new(lists)).await?;
        let (mut events, lists) = tally.finish();
        self.name(tenant, &mut events).await?;
        let mut lags = self.lags.clone();
        if let Some(log) = log {
            lags.extend(log::lake_lag(config, &**log, &manifest, tenant, self.now_ms).await?);
        }
        let facts = Facts {
            now_ms: self.now_ms,
            has_log: log.is_some(),
            events,
            copies: (manifest.duplicates, manifest.duplicates + manifest.rows(Dataset::Events)),
            letters: match log {
                Some(log) => Some(log::letters(&**log, tenant).await?),
                None => None,
            },
            lists,
            catalogue: shelf.facts,
            rules: shelf.rules,
            pipelines: definitions::pipelines(&in_force, model.live.is_some()),
            model,
            lags,
        };
        Ok(Examined {
            tenant: tenant.to_string(),
            events: facts.events.total,
            lists: facts.lists.lists,
            items: facts.catalogue.items,
            not_looked_at: self.not_looked_at.clone(),
            findings: examine(&facts),
        })
    }

    /// Says who did most, by the id that the application knows.
    async fn name(&self, tenant: &Tenant, events: &mut EventFacts) -> Result<()> {
        let Some((subject, _)) = &mut events.busiest else { return Ok(()) };
        let Ok(known) = subject.parse::<Subject>() else { return Ok(()) };
        match self.stores.rows.person_of(tenant, known).await?.map(|person| person.id) {
            Some(PersonId::User(id)) => *subject = format!("the user `{id}`"),
            Some(PersonId::Anonymous(id)) => *subject = format!("the anonymous id `{id}`"),
            None => {}
        }
        Ok(())
    }
}

fn tell(examined: &Examined) {
    let Examined { tenant, events, lists, items, not_looked_at, findings } = examined;
    let counts = format!("{} events, {} lists, {} items", grouped(*events), grouped(*lists), grouped(*items));
    say!("{} {counts}", styled(Style::Bold, tenant));
    for finding in findings {
        let mark = super::mark(match finding.severity {
            Severity::Error => super::Verdict::Bad,
            Severity::Warning => super::Verdict::Warning,
        });
        say!("{mark} {:<24} {} ({})", finding.code, finding.seen, finding.place);
        say!("{:29} {} {}", "", styled(Style::Cyan, "->"), finding.remedy);
    }
    if findings.is_empty() {
        say!("{} nothing that commonly goes wrong was found", super::mark(super::Verdict::Good));
    }
    for what in not_looked_at {
        say!("{}", styled(Style::Dim, format!("not looked at: {what}")));
    }
}

/// The flags belong to one part alone.
///
/// # Errors
/// They were given with another one.
pub fn check(flags: &DataFlags, is_asked: bool) -> Result<()> {
    ensure!(is_asked || !flags.are_given(), "--tenant, --at and --json are flags of `attune doctor data`");
    Ok(())
}
