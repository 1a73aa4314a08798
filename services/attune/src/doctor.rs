//! `attune doctor`: what this machine, configuration and data can do, and what is wrong.
//!
//! Each check is one line with a verdict, and what to do where it is bad. The command fails when one is bad, so that a
//! script can ask.

mod data;
mod start;

use std::fmt::Display;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::thread;

use anyhow::{Result, ensure};
use attune_inference::DeviceChoice;
use attune_inference::registry::Registry;
use attune_kernels::{Isa, cuda, limits};
use attune_store::resolve::{self, State, Stores, Surveyed};
use clap::Args;

use crate::bench::workers;
use crate::compose;
use crate::config::{Config, Model, Precision, ServerFlags};
use crate::models::catalogue::{self, Origin};
use crate::models::{self, install};
use crate::serve;
use crate::term::{self, Style, human_bytes, styled};

/// Free memory below which a start with the default models is doubtful.
const MEMORY_BYTES_MIN: u64 = 600 << 20;

/// What can be typed after `attune doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
Ends with status 1 where something would keep the server from starting, or where
what it keeps cannot be read: the certificate, tokens, the secret of keys, a page
of a database (a large one is looked at for some seconds), the list of a lake's
files. Give it the flags and the configuration that the server gets.

`attune doctor data` says why lists are not personal, what was seen and what to
do, and ends with status 1 where something keeps them from being so. It reads the
event lake and the end of the event log, the catalogue, rules and pipelines, and
which recommender is in service, from the stores themselves, which it opens as a
start does and otherwise leaves as they are. It can be run beside a server. An
embedded event log is open in that process alone: then events of the last moments
and dead letters are not looked at, and the server at --listen is asked how far
behind it is.

Examples:
  attune doctor
  attune doctor stores
  attune doctor data --tenant shop --json findings.json
  attune doctor --limits
  attune doctor --config production.toml --listen 0.0.0.0:80")]
pub struct Options {
    /// Look at one part only
    part: Option<Part>,
    /// Flags of the server.
    #[command(flatten)]
    pub flags: ServerFlags,
    #[command(flatten)]
    data: data::DataFlags,
    /// Also measure the machine's f32, bf16, int8 and memory limits (some seconds)
    #[arg(long)]
    limits: bool,
}

/// A part that can be looked at by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Where things are kept: each store's address, version and latency.
    Stores,
    /// Why lists are not personal: what commonly goes wrong with events, items and what is made of them.
    Data,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    Warning,
    Bad,
}

/// Prints every check, and measured limits where asked for.
///
/// # Errors
/// Something is wrong that keeps the server from starting, or lists from being personal.
pub fn run(config: &Config, options: &Options) -> Result<()> {
    data::check(&options.data, options.part == Some(Part::Data))?;
    let bad = match options.part {
        Some(Part::Data) => data::run(config, &options.data)?,
        part => machine(config, part.is_none())?,
    };
    if options.limits {
        say!();
        print_limits(config)?;
    }
    ensure!(bad == 0, "{bad} of the checks above {} bad", if bad == 1 { "is" } else { "are" });
    Ok(())
}

/// The stores, and what else a start needs if `all`; how many checks are bad.
fn machine(config: &Config, all: bool) -> Result<usize> {
    let mut bad = 0;
    let mut findings = if all { checks(config) } else { Vec::new() };
    findings.extend(serve::runtime()?.block_on(async {
        let mut findings = if all { start::named(config).await } else { Vec::new() };
        findings.extend(stores(config).await);
        findings.extend(start::kept(config, all).await);
        findings
    }));
    for (name, (verdict, finding)) in findings {
        say!("{} {name:<16} {finding}", mark(verdict));
        bad += usize::from(verdict == Verdict::Bad);
    }
    Ok(bad)
}

fn mark(verdict: Verdict) -> String {
    match verdict {
        Verdict::Good => styled(Style::Green, "ok  "),
        Verdict::Warning => styled(Style::Yellow, "warn"),
        Verdict::Bad => styled(Style::Red, "BAD "),
    }
}

type Finding = (Verdict, String);

fn checks(config: &Config) -> Vec<(String, Finding)> {
    let mut checks = vec![
        ("processor".to_owned(), processor()),
        ("device".to_owned(), device(config.inference.device.0)),
        ("precision".to_owned(), precision(config.inference.precision)),
        ("workers".to_owned(), worker_threads(config.inference.workers)),
        ("memory".to_owned(), memory()),
        ("data folder".to_owned(), data_folder(&config.data)),
        ("port".to_owned(), port(&config.server.listen)),
    ];
    checks.extend(config.models.iter().map(|model| (format!("model {}", model.name), served_model(config, model))));
    checks.extend(other_models(config));
    checks
}

fn good(finding: impl Display) -> Finding {
    (Verdict::Good, finding.to_string())
}

fn processor() -> Finding {
    let supported: Vec<String> = Isa::supported().iter().map(Isa::to_string).collect();
    match Isa::active() {
        Ok(isa) => good(format!("{isa} is used; {} run here (ATTUNE_ISA chooses)", supported.join(", "))),
        Err(error) => (Verdict::Bad, error.to_string()),
    }
}

/// Which cards are used, or why none is.
fn device(asked: DeviceChoice) -> Finding {
    let found = cuda::probe();
    match cuda::choose(asked, &found, cuda::Arithmetic::F16.capability_min()) {
        Err(error) => (Verdict::Bad, error.to_string()),
        Ok(cuda::Chosen::Cpu { why }) => good(format!("{asked}: the CPU, since {why}")),
        Ok(cuda::Chosen::Cards(cards)) => {
            let names: Vec<String> = cards.iter().map(ToString::to_string).collect();
            let compiler = found.ok().and_then(|probe| Some((probe.driver, probe.nvrtc?)));
            let kernels = match compiler {
                Some((driver, nvrtc)) => format!("driver {driver}, kernels compiled by NVRTC {nvrtc}"),
                None => "kernels as embedded, since NVRTC is not installed".to_owned(),
            };
            good(format!("{asked}: {}; {kernels}", names.join(", ")))
        }
    }
}

fn precision(asked: Precision) -> Finding {
    let has_amx = Isa::active().is_ok_and(|isa| isa == Isa::Amx);
    match (asked, has_amx) {
        (Precision::Auto, true) => good("auto: bf16 on AMX"),
        (Precision::Auto, false) => good("auto: f32, since there is no AMX for bf16"),
        (Precision::Bf16, false) => good("bf16 without AMX: faster than f32 where --limits says so"),
        (other, _) => good(format!("{other:?}").to_lowercase()),
    }
}

fn worker_threads(asked: usize) -> Finding {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    match asked {
        0 => good(format!("{cores}, one for each core")),
        more if more > cores => (Verdict::Warning, format!("{more} on {cores} cores: they will take turns")),
        fewer => good(format!("{fewer} on {cores} cores")),
    }
}

fn memory() -> Finding {
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
    };
    let Ok(text) = fs::read_to_string("/proc/meminfo") else { return good("not known on this system") };
    let (total, free) = (field(&text, "MemTotal:").unwrap_or(0), field(&text, "MemAvailable:").unwrap_or(0));
    let finding = format!("{} free of {}", human_bytes(free), human_bytes(total));
    if free < MEMORY_BYTES_MIN { (Verdict::Warning, format!("{finding}: a start may not fit")) } else { good(finding) }
}

fn data_folder(data: &Path) -> Finding {
    // Tried where the server would write, or in the nearest folder above that exists; nothing is left behind.
    let nearest = data.ancestors().map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path });
    let Some(folder) = nearest.into_iter().find(|path| path.exists()) else {
        return (Verdict::Bad, format!("{} is nowhere", data.display()));
    };
    match tempfile::tempfile_in(folder) {
        Ok(_) if folder == data => good(format!("{} is writable", data.display())),
        Ok(_) => good(format!("{} will be made", data.display())),
        Err(error) => {
            (Verdict::Bad, format!("{} cannot be written ({error}): choose another with --data", data.display()))
        }
    }
}

fn port(listen: &str) -> Finding {
    match TcpListener::bind(listen) {
        Ok(_) => good(format!("{listen} is free")),
        Err(error) => (Verdict::Bad, format!("{listen} cannot be used ({error}): choose another with --listen")),
    }
}

/// Asks every store how it is.
async fn stores(config: &Config) -> Vec<(String, Finding)> {
    let surveyed = Stores::survey(&config.stores, &config.data).await;
    surveyed.into_iter().map(|one| (format!("store {}", one.store), store(&one))).collect()
}

fn store(surveyed: &Surveyed) -> Finding {
    let uri = &surveyed.uri;
    match &surveyed.state {
        State::Absent(path) => good(format!("{uri}: {} will be made", path.display())),
        State::Fails(error) => (Verdict::Bad, resolve::explain(uri, error)),
        State::Answers { health, latency } => {
            let answers = format!("{uri}: {health}, answers in {:.1} ms", latency.as_secs_f64() * 1e3);
            let finding = std::iter::once(&answers).chain(&health.remarks).cloned().collect::<Vec<_>>().join("; ");
            match &health.warnings[..] {
                [] => good(finding),
                warnings => (Verdict::Warning, format!("{finding}; {}", warnings.join("; "))),
            }
        }
    }
}

/// Loads the model as a start would, in one thread.
fn served_model(config: &Config, model: &Model) -> Finding {
    let load = || {
        let spec = compose::spec(config, model)?;
        let limits = compose::inference(config);
        let folders: Vec<_> = std::iter::once(&spec.path).chain(&spec.adapter).cloned().collect();
        Registry::load(&[spec], limits.engine, limits.precision, limits.device)?;
        anyhow::Ok(folders)
    };
    let names = std::iter::once(&model.model).chain(&model.adapter);
    let comes_later = |name: &&String| {
        let entry = catalogue::find(name);
        entry.is_some_and(|entry| matches!(entry.origin, Origin::Embedded(_))) && !config.model_folder(name).exists()
    };
    if let Some(name) = names.into_iter().find(comes_later) {
        return good(format!("{name} is part of this program; the first start installs it"));
    }
    match load() {
        Ok(folders) if folders.iter().all(|folder| install::verify(folder).is_ok()) => {
            good(format!("loads, verified in {}", folders[0].display()))
        }
        Ok(folders) => {
            let folder = folders[0].display();
            (
                Verdict::Warning,
                format!("loads from {folder}; nothing to verify its files with, it was put there by hand"),
            )
        }
        Err(error) => (Verdict::Bad, term::causes(&error)),
    }
}

/// What else is installed, used or not.
fn other_models(config: &Config) -> Vec<(String, Finding)> {
    let Ok(names) = models::installed(&config.data) else { return Vec::new() };
    let is_served =
        |name: &String| config.models.iter().any(|model| model.model == *name || model.adapter.as_ref() == Some(name));
    let rest = names.into_iter().filter(|name| !is_served(name));
    rest.map(|name| match install::verify(&models::folder(&config.data, &name)) {
        Ok(_) => (name, good("installed, verified, not served")),
        Err(damage) => (name, (Verdict::Warning, damage.to_string())),
    })
    .collect()
}

/// Measures what the processor can do at most, with the instructions that the engine's kernels would use.
fn print_limits(config: &Config) -> Result<()> {
    let isa = Isa::active()?;
    let threads = workers(config);
    say!("limits of {threads} threads on {isa}, arithmetic from registers alone:");
    say!("  f32     {:>8.0} GFLOP/s", limits::f32_gflops(isa, threads));
    say!("  bf16    {:>8.0} GFLOP/s", limits::bf16_gflops(isa, threads));
    say!("  int8    {:>8.0} GOP/s", limits::int8_gops(isa, threads));
    say!("  memory  {:>8.1} GB/s read", limits::memory_gbps(threads));
    Ok(())
}
