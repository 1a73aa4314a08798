//! Downloads one package with pip, because pip is what knows a machine's index, proxy, certificates and credentials.
//!
//! The package's hash is given to pip as well as checked by us: pip refuses an archive with another hash before it looks
//! inside, which matters for source archives, whose set-up code pip runs to read their metadata.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::source::Package;
use crate::term;

const POLL: Duration = Duration::from_millis(80);
const PIP_LINES_SHOWN: usize = 12;

/// Fetches a package's archive into `scratch` and returns its path. Nothing of it is installed or unpacked.
///
/// # Errors
/// There is no Python 3 or no pip, the index cannot be reached or has no such version, or the hash is another one.
pub fn package(package: &Package<&str>, sha256: Option<&str>, bytes: Option<u64>, scratch: &Path) -> Result<PathBuf> {
    let python = python_with_pip(scratch)?;
    let (requirements, download, temporary) =
        (scratch.join("requirements.txt"), scratch.join("download"), scratch.join("tmp"));
    fs::create_dir(&download)?;
    fs::create_dir(&temporary)?;
    let pin = sha256.map(|hex| format!(" --hash=sha256:{hex}")).unwrap_or_default();
    fs::write(&requirements, format!("{}=={}{pin}\n", package.name, package.version))?;

    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "download", "--no-deps", "--no-input", "--disable-pip-version-check"]);
    pip.args(["--progress-bar", "off", "--dest"]).arg(&download).arg("--requirement").arg(&requirements);
    pip.args([if package.sdist { "--no-binary" } else { "--only-binary" }, package.name]);
    // pip writes a download into its temporary folder first: ours, so that the progress bar can watch it grow.
    pip.env("TMPDIR", &temporary).stdin(Stdio::null());
    let label = format!("fetching {} {}", package.name, package.version);
    let log = scratch.join("pip.log");
    let status = run_with_bar(pip, &log, &label, bytes, &[&download, &temporary])?;
    if !status {
        bail!(
            "pip could not fetch {}=={}:\n{}\nCheck the network and pip's configuration (`{} -m pip config list`).",
            package.name,
            package.version,
            last_lines(&log),
            python.display()
        );
    }
    let mut found = fs::read_dir(&download)?.collect::<Result<Vec<_>, _>>()?;
    ensure!(found.len() == 1, "pip left {} files where one was expected", found.len());
    Ok(found.remove(0).path())
}

/// The Python to run pip with: the machine's own, or a throw-away environment where that has none.
fn python_with_pip(scratch: &Path) -> Result<PathBuf> {
    let python = PathBuf::from(std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into()));
    let runs = |program: &Path, arguments: &[&str]| {
        Command::new(program).args(arguments).stdin(Stdio::null()).output().map(|output| output.status.success())
    };
    match runs(&python, &["-c", "import sys; sys.exit(sys.version_info < (3, 8))"]) {
        Ok(true) => {}
        Ok(false) => bail!("{} is older than Python 3.8: install Python 3 (or set PYTHON)", python.display()),
        Err(error) => bail!(
            "models are fetched with Python's pip, but {} cannot be started ({error}): install Python 3 (or set PYTHON)",
            python.display()
        ),
    }
    if runs(&python, &["-m", "pip", "--version"])? {
        return Ok(python);
    }
    let environment = scratch.join("venv");
    let made = Command::new(&python).args(["-m", "venv"]).arg(&environment).stdin(Stdio::null()).output()?;
    let inside = environment.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    if made.status.success() && runs(&inside, &["-m", "pip", "--version"]).unwrap_or(false) {
        return Ok(inside);
    }
    bail!(
        "{} has no pip and cannot make an environment that has one: install pip (on Debian and Ubuntu: apt install python3-pip)",
        python.display()
    );
}

/// Runs `pip`, its output in a log, with a bar that follows the bytes in `folders`. Whether it succeeded.
fn run_with_bar(mut pip: Command, log: &Path, label: &str, bytes: Option<u64>, folders: &[&Path]) -> Result<bool> {
    let output = File::create(log)?;
    pip.stdout(output.try_clone()?).stderr(output);
    let mut child = KilledOnDrop(pip.spawn().context("cannot start pip")?);
    let bar = term::bytes_bar(label, bytes);
    let mut seen = 0;
    let status = loop {
        if let Some(status) = child.0.try_wait()? {
            break status;
        }
        seen = folders.iter().map(|folder| largest_below(folder)).max().unwrap_or(0).max(seen);
        bar.set_position(bytes.map_or(seen, |most| seen.min(most)));
        thread::sleep(POLL);
    };
    if let (true, Some(bytes)) = (status.success(), bytes) {
        bar.set_position(bytes);
    }
    bar.finish();
    Ok(status.success())
}

struct KilledOnDrop(Child);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        // Does nothing to a child that has already been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The size of the largest file below `folder`: pip copies a download from place to place, and a sum would count it twice.
fn largest_below(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => largest_below(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    });
    sizes.max().unwrap_or(0)
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let first = lines.len().saturating_sub(PIP_LINES_SHOWN);
    lines[first..].iter().map(|line| format!("  pip: {line}")).collect::<Vec<_>>().join("\n")
}
