//! `attune keys`: keys by hand, whether a server runs or not.
//!
//! The commands work on the store itself. A server that runs knows a new key at once and a revoked one within five
//! seconds.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow, bail, ensure};
use attune_api::rest::Timestamp;
use attune_api::{ApiError, Scope};
use attune_gateway::{DEFAULT_TENANT, KeySpec, KeyStore};
use attune_store::relational::{ApiKey, Relational};
use attune_store::resolve::Stores;
use attune_store::{PAGE_ROWS_MAX, PageRequest, StoreKind, Tenant};
use clap::{Args, Subcommand};

use crate::config::Config;
use crate::serve;
use crate::term::{Style, styled};

/// Who is named in the audit log.
const ACTOR: &str = "command line";

/// What can be typed after `attune keys`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a key and show it, once
    Create(Create),
    /// List the keys, the revoked ones among them; their secrets are kept nowhere
    List(List),
    /// End a key: at once, and on a server that runs within five seconds
    Revoke(Revoke),
}

/// What can be typed after `attune keys create`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  attune keys create --title shop --scope read --scope write
  attune keys create --title ops --scope admin --days 30 --tenant acme")]
pub struct Create {
    /// What people call it
    #[arg(long)]
    title: String,
    /// What it allows: read, write, infer or admin; may be given several times
    #[arg(long = "scope", required = true)]
    scopes: Vec<Scope>,
    /// After so many days it ceases to be valid [default: never]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=36_600))]
    days: Option<u32>,
    #[command(flatten)]
    whose: Whose,
}

/// What can be typed after `attune keys list`.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    whose: Whose,
}

/// What can be typed after `attune keys revoke`.
#[derive(Debug, Args)]
pub struct Revoke {
    /// The key's id, as `attune keys list` shows it
    id: String,
    #[command(flatten)]
    whose: Whose,
}

#[derive(Debug, Args)]
struct Whose {
    /// Of which tenant
    #[arg(long, default_value = DEFAULT_TENANT)]
    tenant: Tenant,
}

/// Does what was typed.
///
/// # Errors
/// The store cannot be opened, or refuses; or there is none, and the command makes no first key.
pub fn run(config: &Config, command: &Command) -> Result<()> {
    if !matches!(command, Command::Create(_)) {
        require_installation(config, &[StoreKind::Relational])?;
    }
    serve::runtime()?.block_on(async {
        let rows = Stores::relational(&config.stores, &config.data).await?;
        let (keys, first) = KeyStore::open(Arc::clone(&rows), &config.data).await?;
        if let Some(first) = first {
            say!("{} {} (made just now, shown this once)", styled(Style::Dim, "admin key"), first.secret);
        }
        match command {
            Command::Create(options) => create(&keys, options).await,
            Command::List(options) => {
                require_tenant(&*rows, &options.whose.tenant).await?;
                list(&keys, &options.whose.tenant).await
            }
            Command::Revoke(options) => revoke(&keys, options).await,
        }
    })
}

async fn create(keys: &KeyStore, options: &Create) -> Result<()> {
    let expires_ms = options.days.map(|days| now_ms() + i64::from(days) * 86_400_000);
    let spec = KeySpec { title: options.title.clone(), scopes: options.scopes.clone(), expires_ms };
    let new = keys.create(ACTOR, &options.whose.tenant, spec).await.map_err(said)?;
    say!("{} {}", styled(Style::Dim, "id "), new.id);
    say!("{} {} (shown this once: only its hash is kept)", styled(Style::Dim, "key"), new.secret);
    Ok(())
}

async fn list(keys: &KeyStore, tenant: &Tenant) -> Result<()> {
    let mut page = PageRequest::first(PAGE_ROWS_MAX);
    loop {
        let found = keys.keys(tenant, page).await.map_err(said)?;
        for key in &found.rows {
            say!("{}", describe(key));
        }
        let Some(next) = found.next else { return Ok(()) };
        page = PageRequest { after: Some(next), rows: PAGE_ROWS_MAX };
    }
}

async fn revoke(keys: &KeyStore, options: &Revoke) -> Result<()> {
    keys.revoke(ACTOR, &options.whose.tenant, &options.id).await.map_err(said)?;
    say!("revoked {}", options.id);
    Ok(())
}

/// For commands that look at what there is: opening a store that is not there would make it.
///
/// # Errors
/// One of these is not there.
pub fn require_installation(config: &Config, stores: &[StoreKind]) -> Result<()> {
    let absent = Stores::absent(&config.stores, &config.data);
    if let Some((store, path)) = absent.iter().find(|(store, _)| stores.contains(store)) {
        let path = path.display();
        bail!("there is no installation to look at: {path} ({store}) is not there; name another with --data");
    }
    Ok(())
}

/// # Errors
/// There is no such tenant.
pub async fn require_tenant(rows: &dyn Relational, tenant: &Tenant) -> Result<()> {
    // The first start of a server enters the default one, and there may be recommenders before that.
    let is_there = tenant.as_str() == DEFAULT_TENANT || rows.tenant(tenant).await?.is_some();
    ensure!(is_there, "there is no tenant {:?}", tenant.as_str());
    Ok(())
}

fn describe(key: &ApiKey) -> String {
    let at = |ms: Option<i64>, absent: &str| ms.map_or_else(|| absent.to_owned(), |ms| Timestamp(ms).text());
    let state = match (key.revoked_ms, key.expires_ms) {
        (Some(ms), _) => format!("revoked {}", at(Some(ms), "")),
        (None, Some(ms)) if ms <= now_ms() => format!("expired {}", at(Some(ms), "")),
        (None, expires_ms) => format!("until {}", at(expires_ms, "revoked")),
    };
    let used = at(key.used_ms, "never");
    // Whoever may make keys writes titles, and they are not to steer the terminal of who reads them.
    let title = key.title.replace(char::is_control, "\u{fffd}");
    format!("{}  {:<18} {}; last used {used}; {title}", key.id, key.scopes.join(","), state)
}

fn said(error: ApiError) -> anyhow::Error {
    anyhow!(error.detail)
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_that_is_not_there_has_no_keys_to_list() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { data: folder.path().to_owned(), ..Config::default() };
        let whose = |tenant: &str| Whose { tenant: tenant.parse().unwrap() };
        let list = |tenant: &str| run(&config, &Command::List(List { whose: whose(tenant) }));
        let none = list(DEFAULT_TENANT).unwrap_err().to_string();
        assert!(none.contains("no installation") && none.contains("--data"), "{none}");
        let is_empty = || std::fs::read_dir(folder.path()).unwrap().next().is_none();
        assert!(is_empty(), "and none is made, with a key that nobody looks for there");
        let create =
            Create { title: "a".to_owned(), scopes: vec![Scope::Read], days: None, whose: whose(DEFAULT_TENANT) };
        run(&config, &Command::Create(create)).unwrap();
        list(DEFAULT_TENANT).unwrap();
        assert_eq!(list("nope").unwrap_err().to_string(), "there is no tenant \"nope\"");
    }
}
