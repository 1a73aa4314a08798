//! Servers of this very binary, each in a process of its own, that a bench or an evaluation fills and asks.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use attune_kernels::ISA_VARIABLE;
use tempfile::{NamedTempFile, TempDir};

use crate::config::{self, Config, Limits, Tls};
use crate::models::install::models_folder;

/// Where such servers keep their data, one after the other: in the data folder, until it is dropped.
pub struct Home {
    folder: TempDir,
    config: Config,
    /// Shown by the first server alone.
    key: Option<String>,
}

impl Home {
    /// An empty one, for servers of this configuration.
    pub fn new(config: &Config) -> Result<Self> {
        std::fs::create_dir_all(&config.data)?;
        let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(&config.data)?;
        let data = folder.path().join("data");
        std::fs::create_dir(&data)?;
        if let Ok(models) = models_folder(&config.data).canonicalize() {
            symlink(models, models_folder(&data))?;
        }
        Ok(Self { folder, config: Config { data, ..config.clone() }, key: None })
    }

    /// A place for other files, gone with the rest.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Changes the configuration of the next server.
    pub fn change(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
    }

    /// Starts a server on what the last one left, and waits until it listens.
    pub fn start(&mut self) -> Result<OwnServer> {
        let mut server = OwnServer::spawn(&self.config, &["--listen", "127.0.0.1:0"])?;
        if self.key.is_none() {
            self.key = Some(server.key.clone()).filter(|key| !key.is_empty());
        }
        server.key = self.key.clone().context("the server did not say its key")?;
        Ok(server)
    }
}

/// A server in a process of its own. Killed when dropped.
pub struct OwnServer {
    child: Child,
    /// It looks at this file for changes as long as it runs.
    _config: NamedTempFile,
    /// When it was started.
    pub began: Instant,
    /// Where it listens.
    pub url: String,
    /// Its key.
    pub key: String,
}

impl OwnServer {
    /// Starts it with this configuration and these flags, and waits until it is ready. It has a key if it made one.
    pub fn spawn(config: &Config, flags: &[&str]) -> Result<Self> {
        let began = Instant::now();
        let file = NamedTempFile::with_suffix(".toml")?;
        // What is measured is the server, not how much one key may ask for: a GPU answers more than that.
        let mut quiet = Config { log: "warn".into(), limits: Limits::none(), ..config.clone() };
        quiet.server.tls = Tls::default();
        std::fs::write(file.path(), toml::to_string(&quiet)?)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve").args(flags).arg("--config").arg(file.path());
        // All of the environment is in the file already, below the flags that were typed.
        for (name, _) in config::environment().filter(|(name, _)| name.starts_with("ATTUNE_") && name != ISA_VARIABLE) {
            command.env_remove(name);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start a server")?;
        let stdout = child.stdout.take().context("the server has no output")?;
        let mut server = Self { child, _config: file, began, url: String::new(), key: String::new() };
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            let mut words = line.split_whitespace();
            if server.url.is_empty() {
                server.url = words.clone().find(|word| word.starts_with("http://")).unwrap_or_default().to_owned();
            }
            if let Some(key) = words.find(|word| word.starts_with("att_")) {
                server.key = key.to_owned();
            }
            if line.starts_with("ready") {
                ensure!(!server.url.is_empty(), "the server did not say where it is");
                return Ok(server);
            }
        }
        bail!("the server ended before it was ready: its errors are above")
    }

    /// Tells it to stop, and how long that took.
    pub fn stop(mut self) -> Result<Duration> {
        let told = Instant::now();
        let kill = Command::new("kill").arg(self.child.id().to_string()).status().context("kill")?;
        ensure!(kill.success(), "the server cannot be told to stop");
        let ended = self.child.wait()?;
        ensure!(ended.success(), "the server ended with {ended}");
        Ok(told.elapsed())
    }

    /// Ends it with SIGKILL, as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// What it has in memory.
    pub fn memory(&self) -> Result<Memory> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        memory_of(&status).with_context(|| format!("{path} tells of no memory"))
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// What a process has in memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Memory {
    /// Now.
    pub resident: u64,
    /// Of it, what is its own, and no page of a file.
    pub anonymous: u64,
    /// The most it ever was.
    pub peak: u64,
}

fn memory_of(status: &str) -> Option<Memory> {
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
    };
    Some(Memory { resident: of("VmRSS")?, anonymous: of("RssAnon")?, peak: of("VmHWM")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_what_the_system_says() {
        let status =
            "Name:\tattune\nVmHWM:\t     300 kB\nVmRSS:\t     200 kB\nRssAnon:\t     150 kB\nRssFile:\t 50 kB\n";
        let memory = memory_of(status).unwrap();
        assert_eq!((memory.resident, memory.anonymous, memory.peak), (200 << 10, 150 << 10, 300 << 10));
        assert_eq!(memory_of("Name:\tattune\n"), None);
    }
}
