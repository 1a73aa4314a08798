//! Starts the real binary with a data folder of its own and the real models, and stops it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http;

/// Far more than a start or a stop takes; a hang becomes a failure instead of a stuck run.
const PATIENCE: Duration = Duration::from_secs(120);

/// The folder with the fetched models.
pub fn models() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/models");
    let folder = std::env::var_os("ATTUNE_MODELS_DIR").map_or(default, PathBuf::from);
    let model = folder.join("all-MiniLM-L6-v2/model.safetensors");
    assert!(model.is_file(), "{} is missing: run `make models` first", model.display());
    folder.canonicalize().unwrap()
}

/// A command of the binary, cut off from the caller's own configuration.
pub fn attune(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_attune"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ATTUNE_") && name != "ATTUNE_ISA") {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command to its end.
pub fn run(arguments: &[&str]) -> Output {
    attune(arguments).output().unwrap()
}

/// A configuration that serves the real models from where they are, and refuses nothing because a machine is slow.
pub fn config(folder: &Path) -> PathBuf {
    config_with(folder, &models().join("all-MiniLM-L6-v2"), "sentiment")
}

/// The same with another base model or adapter.
pub fn config_with(folder: &Path, model: &Path, adapter: &str) -> PathBuf {
    let path = folder.join("test.toml");
    let model = model.to_str().unwrap();
    let text = format!(
        "[server]\ndrain_notice_ms = 0\ndrain_s_max = 600\ndeadline_ms = 600000\n\
         [inference]\nqueue_wait_ms_max = 600000\n\
         [recommendation]\nsources_ms_max = 600000\n\
         [[models]]\nname = \"all-MiniLM-L6-v2\"\naliases = [\"mini\"]\nmodel = '{model}'\n\
         [[models]]\nname = \"sentiment\"\nmodel = '{model}'\nadapter = '{adapter}'\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// A running server. Dropping it kills it.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    pub key: Option<String>,
    /// What it printed until it was ready.
    pub report: String,
    pub folder: TempDir,
    log: Arc<Mutex<String>>,
}

impl Server {
    /// Starts on a free port with an empty data folder.
    pub fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        config(folder.path());
        Self::start_in(folder, flags)
    }

    /// Starts in a folder that holds a `test.toml`, and perhaps data of an earlier run.
    pub fn start_in(folder: TempDir, flags: &[&str]) -> Self {
        Self::start_with(folder, flags, &[])
    }

    /// The same with further variables of its environment.
    pub fn start_with(folder: TempDir, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let config = folder.path().join("test.toml");
        let data = folder.path().join("data");
        let fixed = [
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--config",
            config.to_str().unwrap(),
            "--data",
            data.to_str().unwrap(),
        ];
        let mut child = attune(&[&fixed, flags].concat()).envs(variables.iter().copied()).spawn().unwrap();
        let report = match read_until_ready(&mut child) {
            Ok(report) => report,
            Err(printed) => {
                let _ = child.kill();
                let mut log = String::new();
                child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
                panic!("the server did not get ready.\n{printed}\n{log}");
            }
        };
        // It has to be read, or a full pipe would stop the server.
        let (lines, log) = (child.stderr.take().unwrap(), Arc::<Mutex<String>>::default());
        let kept = Arc::clone(&log);
        thread::spawn(move || {
            BufReader::new(lines)
                .lines()
                .map_while(Result::ok)
                .for_each(|line| *kept.lock().unwrap() += &(line + "\n"));
        });
        let word_after = |mark: &str| report.split_once(mark).and_then(|(_, rest)| rest.split_whitespace().next());
        let address = word_after("://").expect("the report names the address").parse().unwrap();
        let key = report.split_whitespace().find(|word| word.starts_with("att_")).map(str::to_owned);
        Self { child, address, key, report, folder, log }
    }

    pub fn key(&self) -> &str {
        self.key.as_deref().expect("a first start prints a key")
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in KiB: a line of `/proc/PID/status`, such as `VmRSS` or, without what is mapped of files, `RssAnon`.
    pub fn resident_kib(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|one| one.strip_prefix(line)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Embeds over REST; panics unless it works.
    pub fn embed(&self, texts: &[&str]) -> Vec<Vec<f32>> {
        let body = json!({"model": "all-MiniLM-L6-v2", "input": texts});
        let answer = http::post(self.address, "/v1/embeddings", self.key(), &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        floats(&answer.json()["data"], "embedding")
    }

    /// Sends SIGTERM, as `kill` does.
    pub fn terminate(&self) {
        signal(self.id(), "TERM");
    }

    /// Waits for the process to end by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "the server did not stop");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends SIGKILL, as a crash would, and hands its folder back.
    pub fn kill(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }

    /// Stops it and hands its folder back, for another start.
    pub fn stop(mut self) -> TempDir {
        self.terminate();
        assert!(self.wait().success());
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a process the signal of that name, without its `SIG`.
pub fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// The lists of numbers called `field` in a list of objects.
pub fn floats(list: &Value, field: &str) -> Vec<Vec<f32>> {
    let row = |value: &Value| value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect();
    list.as_array().unwrap().iter().map(|one| row(&one[field])).collect()
}

/// What the child printed up to its `ready` line, or, where there is none in time, all of it.
fn read_until_ready(child: &mut Child) -> Result<String, String> {
    let stdout = child.stdout.take().unwrap();
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let start = Instant::now();
    let mut report = String::new();
    while let Ok(line) = lines.recv_timeout(PATIENCE.saturating_sub(start.elapsed())) {
        report.push_str(&line);
        report.push('\n');
        if line.starts_with("ready") {
            // The thread goes on reading; what it reads after this is dropped.
            return Ok(report);
        }
    }
    Err(report)
}
