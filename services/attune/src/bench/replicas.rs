//! `attune bench replicas`: a gateway and three replicas on this machine under open load. One becomes ten times as slow, one
//! is killed and comes back; who got how much of the load, what failed, and how long answers took, phase by phase.
//!
//! All are this very binary, each in a process of its own. The one that becomes slow is behind a wire that holds its
//! answers back, so that slowness is exact and costs the others nothing.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use attune_api::v1;
use attune_load::texts::bench_texts;
use attune_load::{OpenRun, RateOptions, WARM_UP, Wire, at_rates};
use attune_store::resolve::StoreUri;
use clap::Args;
use http::Method;
use prost::Message;
use serde::Serialize;

use super::write_json;
use crate::client::Rest;
use crate::config::{Config, EngineFlags, Replicas, Roles};
use crate::own_server::OwnServer;
use crate::{serve, term, texts};

const REPLICAS: usize = 3;
/// The one that becomes slow, and the one that is killed.
const SLOW: usize = 1;
const KILLED: usize = 2;
/// How many times as slow.
const SLOWER: u32 = 10;
/// What the load asks for, and what counters call it.
const METHOD: &str = "/attune.v1.Inference/Embed";
const REQUESTS: &str = "attune_requests_total";
const RETRIES: &str = "attune_upstream_retries_total";
const LEFT_OUT: &str = "attune_upstream_replicas_ejected";
/// Far longer than anybody is left out.
const PATIENCE: Duration = Duration::from_secs(180);
const PAUSE: Duration = Duration::from_millis(100);
/// Different texts, sent in turn.
const TEXTS: usize = 500;

/// What can be typed after `attune bench replicas`.
#[derive(Debug, Args)]
#[command(after_help = "\
Every request embeds one text. Latency counts from when a request was due.

Examples:
  attune bench replicas
  attune bench replicas --rate 40 --seconds 10 --json replicas.json")]
pub struct Options {
    /// Flags of the engines
    #[command(flatten)]
    pub flags: EngineFlags,
    /// Requests a second
    #[arg(long, default_value_t = 25.0)]
    rate: f64,
    /// Length of each phase
    #[arg(long, value_name = "S", default_value_t = 20.0)]
    seconds: f64,
    /// Also write everything to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A phase, told.
#[derive(Debug, Serialize)]
struct Phase {
    name: &'static str,
    run: OpenRun,
    /// Requests that got no answer, or an error.
    failed: usize,
    /// Of what the replicas answered, how much each of them did.
    shares: Vec<f64>,
    /// Requests that were sent to another replica, since one had failed.
    retries: f64,
}

/// Starts the processes, puts the load on them, prints a table.
///
/// # Errors
/// A process does not start, the gateway cannot be reached, the texts are missing, or a file cannot be written.
pub fn run(config: &Config, options: &Options) -> Result<()> {
    let inputs = bench_texts(&texts::folder(config), TEXTS)?;
    let length = Duration::try_from_secs_f64(options.seconds).context("--seconds")?;
    let folder = tempfile::tempdir()?;
    let mut fleet = Fleet::start(config, folder.path())?;
    let embed = |text: String| v1::EmbedRequest { inputs: vec![text], ..Default::default() }.encode_to_vec().into();
    let load = RateOptions {
        url: fleet.gateway.url.clone(),
        key: Some(fleet.key.clone()),
        method: METHOD,
        messages: inputs.into_iter().map(embed).collect(),
        rates_per_s: vec![options.rate],
        runs: 1,
        warm_up: WARM_UP,
        length,
        connections: 8,
        deadline: Duration::from_secs(10),
        seed: 42,
    };
    at_rates(&RateOptions { length: WARM_UP, ..load.clone() }, &mut term::detail)?;
    let load = RateOptions { warm_up: Duration::ZERO, ..load };

    let well = fleet.phase("three alike", &load, |_| Ok(()))?;
    let usual = Duration::try_from_secs_f64(well.run.latency.p50_ms / 1e3)?;
    fleet.wire.set_delay(usual * (SLOWER - 1));
    let slow = fleet.phase("one ten times as slow", &load, |_| Ok(()))?;
    fleet.wire.set_delay(Duration::ZERO);
    let again = fleet.phase("three alike again", &load, |_| Ok(()))?;
    let killed = fleet.phase("one is killed", &load, |victim| {
        thread::sleep(length / 4);
        victim.kill()
    })?;
    fleet.restart(KILLED)?;
    let back = fleet.phase("it is back", &load, |_| Ok(()))?;
    let phases = [well, slow, again, killed, back];
    show(&phases);
    options.json.as_ref().map_or(Ok(()), |path| write_json(&phases, path))
}

/// The gateway, and what is behind it.
struct Fleet {
    gateway: OwnServer,
    replicas: Vec<Replica>,
    /// To the one that becomes slow.
    wire: Wire,
    key: String,
}

/// A replica, and what it takes to start it again.
struct Replica {
    server: OwnServer,
    config: Config,
    /// What it had answered when it was killed.
    answered: f64,
    is_alive: bool,
}

impl Replica {
    fn start(config: Config, listen: &str) -> Result<Self> {
        let server = OwnServer::spawn(&config, &["--listen", listen])?;
        Ok(Self { server, config, answered: 0.0, is_alive: true })
    }

    fn address(&self) -> &str {
        self.server.url.trim_start_matches("http://")
    }

    /// How many requests it has answered since it was started.
    fn answered(&self) -> Result<f64> {
        if self.is_alive { counter(&self.server.url, REQUESTS, METHOD) } else { Ok(self.answered) }
    }

    fn kill(&mut self) -> Result<()> {
        self.answered = self.answered()?;
        self.is_alive = false;
        self.server.kill()
    }
}

impl Fleet {
    fn start(config: &Config, folder: &Path) -> Result<Self> {
        let roles: Roles = "inference".parse()?;
        let first = folder.join("0");
        let mut replicas = Vec::with_capacity(REPLICAS);
        for number in 0..REPLICAS {
            let data = data(config, folder, &number.to_string())?;
            let config = shared(config, &first, data, roles.clone())?;
            replicas.push(Replica::start(config, "127.0.0.1:0")?);
            term::detail(&format!("replica {} is ready", number + 1));
        }
        let key = replicas[0].server.key.clone();
        ensure!(!key.is_empty(), "the first replica did not say its key");
        let wire = Wire::to(replicas[SLOW].address().parse()?, Duration::ZERO)?;
        let mut addresses: Vec<String> = replicas.iter().map(|replica| replica.address().to_owned()).collect();
        addresses[SLOW] = wire.address.to_string();
        let mut before = shared(config, &first, data(config, folder, "gateway")?, "gateway".parse()?)?;
        before.upstreams = Replicas { inference: addresses, ..Replicas::default() };
        let gateway = OwnServer::spawn(&before, &["--listen", "127.0.0.1:0"])?;
        Ok(Self { gateway, replicas, wire, key })
    }

    /// Runs a phase, while `meanwhile` does something to the one that is killed.
    fn phase(
        &mut self,
        name: &'static str,
        load: &RateOptions,
        meanwhile: impl FnOnce(&mut Replica) -> Result<()> + Send,
    ) -> Result<Phase> {
        term::heading(name);
        let before = self.answered()?;
        let retries = counter(&self.gateway.url, RETRIES, "")?;
        let victim = &mut self.replicas[KILLED];
        let (runs, happened) = thread::scope(|scope| {
            let beside = scope.spawn(move || meanwhile(victim));
            let runs = at_rates(load, &mut term::detail);
            (runs, beside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        happened?;
        let run = runs?.pop().context("one run was asked for")?;
        let answered: Vec<f64> = self.answered()?.iter().zip(&before).map(|(now, before)| now - before).collect();
        let all: f64 = answered.iter().sum();
        let told = run.latency.count + run.refused.count;
        Ok(Phase {
            name,
            failed: run.requests - told as usize - run.late,
            shares: answered.iter().map(|one| one / all.max(1.0)).collect(),
            retries: counter(&self.gateway.url, RETRIES, "")? - retries,
            run,
        })
    }

    fn answered(&self) -> Result<Vec<f64>> {
        self.replicas.iter().map(Replica::answered).collect()
    }

    /// Starts one where it was, and waits until the gateway asks it again.
    fn restart(&mut self, number: usize) -> Result<()> {
        let (config, listen) = (self.replicas[number].config.clone(), self.replicas[number].address().to_owned());
        self.replicas[number] = Replica::start(config, &listen)?;
        let begun = Instant::now();
        while counter(&self.gateway.url, LEFT_OUT, "")? > 0.0 {
            ensure!(begun.elapsed() < PATIENCE, "the gateway does not ask the replica again that is back");
            thread::sleep(PAUSE);
        }
        term::detail(&format!("the gateway asks it again {:.1?} after it was ready", begun.elapsed()));
        Ok(())
    }
}

/// A data folder with the models of this one.
fn data(config: &Config, folder: &Path, name: &str) -> Result<PathBuf> {
    let data = folder.join(name);
    fs::create_dir_all(&data)?;
    symlink(config.data.join("models").canonicalize()?, data.join("models")).context("the models")?;
    Ok(data)
}

/// A configuration that shares keys with the process whose data are in `first`.
fn shared(config: &Config, first: &Path, data: PathBuf, roles: Roles) -> Result<Config> {
    let mut config = Config { data, roles, ..config.clone() };
    if config.data != first {
        let keys = config.data.join("keys");
        fs::create_dir_all(&keys)?;
        for entry in fs::read_dir(first.join("keys"))? {
            let entry = entry?;
            fs::copy(entry.path(), keys.join(entry.file_name()))?;
        }
        let rows = first.join("stores/relational.db");
        config.stores.relational = StoreUri::new(format!("sqlite:{}", rows.display()));
    }
    Ok(config)
}

/// The sum of a counter's lines that have `part` in them.
fn counter(url: &str, name: &str, part: &str) -> Result<f64> {
    let text =
        serve::runtime()?.block_on(async { Rest::new(url, "").send(Method::GET, "/metrics", None).await })?.text();
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(part));
    Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

fn show(phases: &[Phase]) {
    say!(
        "{:<24} {:>8} {:>6} {:>8} {:>8}   {:<16} {:>7}",
        "",
        "requests",
        "failed",
        "p50 ms",
        "p99 ms",
        "shares",
        "retries"
    );
    for Phase { name, run, failed, shares, retries } in phases {
        let shares: Vec<String> = shares.iter().map(|share| format!("{share:.3}")).collect();
        let OpenRun { requests, latency, late, refused, .. } = run;
        let lost = failed + late + refused.count as usize;
        let (p50, p99, shares) = (latency.p50_ms, latency.p99_ms, shares.join(" "));
        say!("{name:<24} {requests:>8} {lost:>6} {p50:>8.2} {p99:>8.2}   {shares:<16} {retries:>7}");
        if let Some(why) = &run.void {
            term::warn(&format!("{name}: {why}"));
        }
    }
}
