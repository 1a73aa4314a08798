//! A server of a test's own, to be killed.

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A server that one of the scripts under `docker/servers` runs, on a port of its own. Its data go with it.
pub struct OwnServer {
    script: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl OwnServer {
    /// Starts a server that is installed.
    pub async fn start(name: &str, variables: Vec<(&'static str, String)>) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docker/servers").join(name);
        let server = Self { script, variables };
        server.run("start").await;
        server
    }

    /// `kill`, `start` or another of the script's commands.
    pub async fn run(&self, command: &'static str) {
        let mut run = Command::new(&self.script);
        run.arg(command).envs(self.variables.iter().cloned());
        let output = tokio::task::spawn_blocking(move || run.output()).await.unwrap();
        let output = output.unwrap_or_else(|error| panic!("{}: {error}", self.script.display()));
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        let _ = Command::new(&self.script).arg("wipe").envs(self.variables.iter().cloned()).output();
    }
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server that accepts, and never answers. It ends with the runtime.
pub async fn silent_port() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            held.push(connection);
        }
    });
    port
}

/// Says something where the test harness does not swallow it.
pub fn say(line: &str) {
    let _unread = writeln!(std::io::stderr(), "{line}");
}
