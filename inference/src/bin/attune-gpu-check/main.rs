//! `attune-gpu-check`: everything that only a GPU can tell, in one run, as one JSON.
//!
//! A program of its own, so that it can be carried to a machine that reaches no network: the kernels (as PTX) and the test
//! models are inside. It holds every kernel against its scalar specification and the engine against the CPU's, times both,
//! and lets a card fail on purpose. With `--emulated` it does the same, without times, where there is no GPU.
#![allow(clippy::print_stdout, reason = "a command line program")]

mod engine;
mod timing;
mod topk;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use attune_kernels::cuda::{Arithmetic, Card, CudaError, Device, Probe, ThreadOrder, check, probe};
use serde_json::{Value, json};

const USAGE: &str = "\
attune-gpu-check [--out FILE] [--device N] [--no-times | --kernels] [--seconds S] | --profile | --emulated

  --out FILE    where the JSON goes [default: attune-gpu-check.json]
  --device N    the card [default: 0]
  --no-times    only correctness
  --kernels     only the kernels against their specification: to be run under a sanitizer
  --seconds S   how long each timing runs [default: 1]
  --profile     each launch of a large batch once and nothing else: to be run under a profiler
  --emulated    without a GPU, on the emulated one (needs a C++ compiler)

Ends with status 1 when anything is wrong.";

/// What was asked for.
struct Options {
    out: PathBuf,
    card: usize,
    times: bool,
    only_kernels: bool,
    seconds: f64,
    emulated: bool,
    profile: bool,
}

/// Opens a device for an arithmetic, again and again.
pub(crate) type Open<'a> = &'a (dyn Fn(Arithmetic) -> Result<Device, CudaError> + Sync);

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(reason) => {
            eprintln!("{reason}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(wrong) => {
            eprintln!("{wrong} checks failed");
            ExitCode::FAILURE
        }
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let out = PathBuf::from("attune-gpu-check.json");
    let mut options =
        Options { out, card: 0, times: true, only_kernels: false, seconds: 1.0, emulated: false, profile: false };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--out" => options.out = value()?.into(),
            "--device" => options.card = value()?.parse().map_err(|_| "--device is a number".to_owned())?,
            "--seconds" => options.seconds = value()?.parse().map_err(|_| "--seconds is a number".to_owned())?,
            "--no-times" => options.times = false,
            "--kernels" => (options.only_kernels, options.times) = (true, false),
            "--profile" => options.profile = true,
            "--emulated" => (options.emulated, options.times) = (true, false),
            other => return Err(format!("{other:?} is not known")),
        }
    }
    Ok(options)
}

/// Runs everything and gives the number of checks that failed.
fn run(options: &Options) -> Result<usize, String> {
    let found = if options.emulated { None } else { Some(find(options.card)?) };
    let open = |arithmetic| match &found {
        Some((probe, card)) => Device::open(probe, card, arithmetic),
        None => Device::emulated(arithmetic, ThreadOrder::default()),
    };
    if options.profile {
        return timing::once(&open).map(|()| 0).map_err(|error| error.to_string());
    }
    let mut report = serde_json::Map::new();
    let mut wrong = 0;
    report.insert("machine".into(), machine(&found));
    let mut kernels = Vec::new();
    for arithmetic in Arithmetic::ALL {
        let (answer, failures) = kernel_parity(&open, arithmetic);
        kernels.push(answer);
        wrong += failures;
    }
    if let Some((_, card)) = &found {
        // Where NVRTC is missing, or newer than the driver, these run.
        for arithmetic in Arithmetic::ALL {
            let (answer, failures) = kernel_parity(&|arithmetic| Device::open_embedded(card, arithmetic), arithmetic);
            kernels.push(answer);
            wrong += failures;
        }
    }
    report.insert("kernels".into(), Value::Array(kernels));
    if !options.only_kernels {
        let (answer, failures) = engine::check(&open, options.emulated);
        report.insert("engine".into(), answer);
        wrong += failures;
    }
    if options.times {
        report.insert("times".into(), timing::measure(&open, options.seconds));
    }
    if options.times || options.emulated {
        let (extents, seconds): (&[_], _) =
            if options.emulated { (&topk::THOUSANDS, 0.0) } else { (&topk::MILLION, options.seconds) };
        let (answer, failures) = topk::measure(&open, extents, seconds);
        report.insert("topk".into(), answer);
        wrong += failures;
    }
    report.insert("failed".into(), json!(wrong));
    let text = serde_json::to_string_pretty(&Value::Object(report)).map_err(|error| error.to_string())?;
    std::fs::write(&options.out, text).map_err(|error| format!("cannot write {}: {error}", options.out.display()))?;
    println!("written to {}", options.out.display());
    Ok(wrong)
}

fn find(index: usize) -> Result<(Probe, Card), String> {
    let found = probe().map_err(|absence| format!("{absence}; --emulated runs without a GPU"))?;
    let card = found.cards.get(index).cloned().ok_or_else(|| format!("there is no card {index}"))?;
    println!("{card}, driver {}, NVRTC {:?}", found.driver, found.nvrtc.map(|version| version.to_string()));
    Ok((found, card))
}

fn machine(found: &Option<(Probe, Card)>) -> Value {
    match found {
        None => json!({"device": "emulated"}),
        Some((probe, card)) => json!({
            "device": card.to_string(), "multiprocessors": card.multiprocessors, "driver": probe.driver.to_string(),
            "nvrtc": probe.nvrtc.map(|version| version.to_string()),
        }),
    }
}

/// Every kernel against its specification.
fn kernel_parity(open: Open<'_>, arithmetic: Arithmetic) -> (Value, usize) {
    let started = Instant::now();
    let device = match open(arithmetic) {
        Ok(device) => device,
        Err(error) => {
            println!("{arithmetic}: {error}");
            return (json!({"arithmetic": arithmetic.to_string(), "error": error.to_string()}), 1);
        }
    };
    let opened_ms = started.elapsed().as_millis() as u64;
    let seed = std::time::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_nanos() as u64);
    let findings = match check::all(&device, seed) {
        Ok(findings) => findings,
        Err(error) => {
            println!("{arithmetic}: {error}");
            return (json!({"arithmetic": arithmetic.to_string(), "seed": seed, "error": error.to_string()}), 1);
        }
    };
    let wrong = findings.iter().filter(|finding| !finding.passed()).count();
    for finding in findings.iter().filter(|finding| !finding.passed()) {
        println!("WRONG {arithmetic} {} {}: {:.3} of its bound", finding.kernel, finding.case, finding.error);
    }
    println!(
        "{arithmetic}: {} of {} kernel checks passed ({:?})",
        findings.len() - wrong,
        findings.len(),
        device.origin()
    );
    let list = |finding: &check::Finding| json!({"kernel": finding.kernel, "case": finding.case, "error": finding.error, "passed": finding.passed()});
    let answer = json!({
        "arithmetic": arithmetic.to_string(), "origin": format!("{:?}", device.origin()), "opened_ms": opened_ms,
        "seed": seed, "checks": findings.iter().map(list).collect::<Vec<_>>(),
    });
    (answer, wrong)
}
