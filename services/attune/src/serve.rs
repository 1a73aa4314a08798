//! `attune serve`: compose, report, serve, drain.
//!
//! The port is taken first and the models are loaded second, so that the likeliest mistake, a second server, is
//! reported at once and costs no memory. Connections made meanwhile wait in the listener's backlog.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Error, Result, bail, ensure};
use attune_api::threads;
use attune_gateway::{DEFAULT_TENANT, Drained, Front, GatewayConfig, KeyStore, NewKey, Services, TablesNow, Tokens};
use attune_inference::{Inference, ModelInfo};
use attune_outside::HttpOutside;
use attune_store::relational::Relational;
use attune_store::resolve::{Stores, StoresConfig};
use clap::Args;
use tokio::net::TcpListener;
use tokio::signal;

use crate::background::Background;
use crate::config::{Config, Roles, ServerFlags};
use crate::guest::Guest;
use crate::scanner;
use crate::term::{Style, styled};
use crate::{compose, logging, replicas};

/// The number of SIGHUP, everywhere.
const HANGUP: u32 = 1;
/// The number of SIGXFSZ, on Linux and macOS.
const FILE_TOO_LARGE: i32 = 25;

/// What can be typed after `attune serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
The first start prints an admin key, once; only its hash is kept, in the data
folder. SIGTERM and Ctrl-C answer what is in flight and then stop, and give up a
start that is not over.

Examples:
  attune serve
  attune serve --listen 0.0.0.0:80 --data /var/lib/attune
  attune serve --precision int8 --workers 1
  attune serve --demo

SIGHUP stops a server, too: replicas in the configuration are followed without
it, and all else takes a start.")]
pub struct Options {
    /// Flags of the server.
    #[command(flatten)]
    pub flags: ServerFlags,
    /// For trying things out: a key for this run only, printed; this machine only; nothing is kept
    #[arg(long)]
    demo: bool,
}

/// Everything is loaded and the port is ours; nothing is answered yet.
pub struct Server {
    listener: TcpListener,
    gateway: GatewayConfig,
    inference: Inference,
    front: Front,
    services: Services,
    /// The configuration's file, whose replicas are followed.
    file: Option<PathBuf>,
    roles: Roles,
    background: Background,
    /// Where it listens.
    pub address: SocketAddr,
    /// The admin key, where it was made just now.
    pub key: Option<NewKey>,
    /// Where the paths of the stores begin.
    folder: PathBuf,
    is_demo: bool,
    /// Of a demo on stores that others use, too.
    guest: Option<Guest>,
}

/// What takes long is done: a start that is given up until here has made nothing that anybody would miss.
struct Loaded {
    listener: TcpListener,
    address: SocketAddr,
    gateway: GatewayConfig,
    outside: Option<Arc<HttpOutside>>,
    /// Where the paths of the stores begin.
    folder: PathBuf,
    stores: Stores,
    inference: Inference,
    tables: Option<Arc<TablesNow>>,
    tokens: Option<Tokens>,
}

impl Loaded {
    /// Takes the port, reads what the configuration names, opens the stores, verifies and loads the models.
    async fn load(config: &Config, demo: bool) -> Result<Self> {
        attune_gateway::install_metrics();
        let listener = listen(&config.server.listen).await?;
        let address = listener.local_addr()?;
        ensure!(
            !demo || address.ip().is_loopback(),
            "--demo shows its key and is for this machine alone: {address} is not a loopback address; use 127.0.0.1"
        );
        for role in config.upstreams.lacking(&config.roles) {
            tracing::warn!("{role} is neither in roles nor in [upstreams]: nobody answers its requests");
        }
        let (gateway, outside) = (compose::gateway(config)?, compose::outside(config)?);
        let folder = stores_folder(config, demo, address)?;
        std::fs::create_dir_all(&folder).with_context(|| unusable(&folder))?;
        let stores = Stores::open(&stores_config(config, address), &folder).await?;
        let (limits, models) = (compose::inference(config), config.clone());
        let (tables, inference) = tokio::task::spawn_blocking(move || {
            let tables = scanner::start(limits.device).context("segments cannot be searched as --device says")?;
            let models = if models.roles.need_models() { compose::models(&models)? } else { Vec::new() };
            anyhow::Ok((tables, Inference::start(limits, models).context("the models cannot be loaded")?))
        })
        .await??;
        let tables = tables.map(|tables| Arc::new(move || tables.state()) as Arc<TablesNow>);
        let issuers = config.auth.jwt.tokens().map_err(Error::msg)?;
        let tokens = match issuers.is_empty() {
            true => None,
            false => Some(Tokens::open(issuers, Arc::clone(&stores.relational)).await?),
        };
        Ok(Self { listener, address, gateway, outside, folder, stores, inference, tables, tokens })
    }
}

impl Server {
    /// Takes the port, opens the stores, loads the models, and opens the keys.
    ///
    /// # Errors
    /// Whatever of these fails, in words for the person who typed the command.
    pub async fn prepare(config: &Config, demo: bool) -> Result<Self> {
        Self::of(Loaded::load(config, demo).await?, config, demo).await
    }

    /// Opens the keys, last: a key that was made for a start that then fails would never be seen.
    async fn of(loaded: Loaded, config: &Config, demo: bool) -> Result<Self> {
        let Loaded { listener, address, gateway, outside, folder, stores, inference, tables, tokens } = loaded;
        let guest = (demo && config.stores.relational.is_server()).then(|| Guest::new(Arc::clone(&stores.relational)));
        let rows = Arc::clone(&stores.relational);
        let (keys, key) = match demo {
            true => demo_keys(rows, guest.as_ref()).await?,
            false => KeyStore::open(rows, &config.data).await.with_context(|| unusable(&config.data))?,
        };
        // Where the cache is in this process, nobody shares it, and counting there would be counting twice.
        let shared = (config.stores.cache.scheme() != "memory").then(|| Arc::clone(&stores.cache));
        let (services, background) = compose::services(config, &stores, &inference, outside, &folder)?;
        Ok(Self {
            listener,
            gateway,
            inference,
            front: Front { keys, tokens, shared, tables },
            services,
            background,
            file: config.file.clone(),
            roles: config.roles.clone(),
            address,
            key,
            folder,
            is_demo: demo,
            guest,
        })
    }

    /// The models that are loaded.
    pub fn models(&self) -> Vec<ModelInfo> {
        self.inference.models()
    }

    /// Answers until `shutdown` completes, then lets what is in flight finish.
    ///
    /// # Errors
    /// The gateway cannot serve.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<Drained> {
        let upstreams = self.services.upstreams.clone();
        let serve =
            attune_gateway::serve(self.listener, self.gateway, self.inference, self.front, self.services, shutdown);
        let follow = async move {
            match &self.file {
                Some(file) => replicas::follow(file, &self.roles, &upstreams).await,
                None => std::future::pending().await,
            }
        };
        let served = tokio::select! {
            served = serve => served,
            () = follow => unreachable!("a file is followed for ever"),
        };
        if let Some(guest) = self.guest {
            guest
                .leave()
                .await
                .unwrap_or_else(|error| tracing::warn!("{error:#}: the next server on these stores goes on"));
        }
        self.background.stop().await;
        if self.is_demo
            && let Err(error) = std::fs::remove_dir_all(&self.folder)
        {
            tracing::warn!(%error, folder = %self.folder.display(), "what the demo had is still there");
        }
        Ok(served?)
    }
}

/// The stores of a configuration; presigned addresses lead to where this server listens, unless it says where else.
fn stores_config(config: &Config, address: SocketAddr) -> StoresConfig {
    let mut stores = config.stores.clone();
    if stores.public_url == StoresConfig::default().public_url && !address.ip().is_unspecified() {
        stores.public_url = config.url(address);
    }
    stores
}

/// Where a demo at that address keeps what it has.
pub fn demo_folder(config: &Config, address: SocketAddr) -> PathBuf {
    config.data.join(format!("demo-{}", address.port()))
}

/// Where the paths of the stores begin. A demo's folder goes when it stops; what one left that was killed goes here.
fn stores_folder(config: &Config, demo: bool, address: SocketAddr) -> Result<PathBuf> {
    if !demo {
        return Ok(config.data.clone());
    }
    let folder = demo_folder(config, address);
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot empty {}, where the last demo kept its data", folder.display()))
        }
        _ => Ok(folder),
    }
}

async fn listen(address: &str) -> Result<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            bail!("{address} is in use by another program: stop that, or choose another port with --listen")
        }
        Err(error) => Err(error).with_context(|| format!("cannot listen on {address:?} (server.listen, --listen)")),
    }
}

/// One admin key, for this run.
async fn demo_keys(rows: Arc<dyn Relational>, guest: Option<&Guest>) -> Result<(KeyStore, Option<NewKey>)> {
    let tenant = guest.map_or_else(|| DEFAULT_TENANT.parse(), |guest| Ok(guest.tenant().clone()))?;
    let (keys, key) = KeyStore::in_memory(rows, &tenant).await?;
    Ok((keys, Some(key)))
}

fn unusable(data: &Path) -> String {
    format!("the data folder {} cannot be used", data.display())
}

/// Serves until a signal says stop.
///
/// # Errors
/// It could not start.
pub fn run(config: &Config, options: &Options) -> Result<()> {
    let runtime = runtime()?;
    match runtime.block_on(until_told(config, options.demo))? {
        Some(Drained::Answered) => say!("stopped: everything in flight was answered"),
        Some(Drained::CutOff) => say!("stopped: what took longer than server.drain_s_max was cut off"),
        None => {
            say!("stopped before it was ready");
            // Nobody waits for models that are being loaded for nobody.
            runtime.shutdown_background();
        }
    }
    Ok(())
}

/// Starts and serves until a signal says stop; how the drain ended, or nothing where it was told before it was ready.
async fn until_told(config: &Config, demo: bool) -> Result<Option<Drained>> {
    let start = Instant::now();
    let traces = logging::init(config)?;
    let mut stop = pin!(stop_signal()?);
    let loaded = tokio::select! {
        loaded = Loaded::load(config, demo) => loaded?,
        () = &mut stop => return Ok(None),
    };
    let server = Server::of(loaded, config, demo).await?;
    report(config, &server);
    say!("ready in {} ms", start.elapsed().as_millis());
    let drained = server.run(stop).await;
    traces.flush().await;
    drained.map(Some)
}

/// The runtime of every command that serves or calls.
///
/// # Errors
/// The system refuses a thread, or gives no signals.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    threads::try_start(thread::available_parallelism().map_or(1, usize::from), None)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // With a handler, a write beyond the limit on files fails like one on a full disk; without, it ends the process.
    let inside = runtime.enter();
    drop(signal::unix::signal(signal::unix::SignalKind::from_raw(FILE_TOO_LARGE))?);
    drop(inside);
    Ok(runtime)
}

/// What is served, where, and the key if it is new: one screen, for a person.
pub fn report(config: &Config, server: &Server) {
    let label = |text: &str| styled(Style::Dim, format!("{text:<11}"));
    say!("{} {}", styled(Style::Bold, "attune"), env!("CARGO_PKG_VERSION"));
    for model in server.models() {
        say!("  {} {}", label("model"), describe(&model));
    }
    say!("  {} {}", label("data"), config.data.display());
    let url = config.url(server.address);
    say!("  {} {}", label("REST, gRPC"), styled(Style::Cyan, &url));
    say!("  {} {}", label("docs"), styled(Style::Cyan, format!("{url}/docs")));
    if let Some(key) = &server.key {
        let kept = if server.is_demo { "for this run only" } else { "shown this once: only its hash is kept" };
        say!("  {} {} ({kept})", label("admin key"), key.secret);
    }
}

fn describe(model: &ModelInfo) -> String {
    format!("{} ({}, {} {})", model.name, model.version, model.engine.instruction_set, model.engine.precision)
}

/// Whether whoever started this process had it ignore a signal, as nohup does with SIGHUP: a handler would undo that.
fn is_ignored(signal: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let signals = ignored.and_then(|hexadecimal| u64::from_str_radix(hexadecimal.trim(), 16).ok());
    signals.is_some_and(|signals| (signals >> (signal - 1)) & 1 == 1)
}

/// Completes at SIGTERM or Ctrl-C, or when the terminal goes.
///
/// # Errors
/// The system gives no signals.
pub fn stop_signal() -> Result<impl Future<Output = ()>> {
    let mut terminate = signal::unix::signal(signal::unix::SignalKind::terminate())?;
    let mut hangup = match is_ignored(HANGUP) {
        true => None,
        false => Some(signal::unix::signal(signal::unix::SignalKind::hangup())?),
    };
    let hung_up = async move {
        match &mut hangup {
            Some(hangup) => hangup.recv().await,
            None => std::future::pending().await,
        }
    };
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = hung_up => {}
            _ = signal::ctrl_c() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presigned_addresses_are_those_at_which_the_port_answers() {
        let address = "10.0.0.7:8443".parse().unwrap();
        let mut config = Config::default();
        assert_eq!(stores_config(&config, address).public_url, "http://10.0.0.7:8443");
        config.server.tls.certificate = "chain.pem".into();
        config.server.tls.key = "key.pem".into();
        assert_eq!(stores_config(&config, address).public_url, "https://10.0.0.7:8443");
        config.stores.public_url = "https://shop.example".to_owned();
        assert_eq!(stores_config(&config, address).public_url, "https://shop.example");
    }
}
