//! A server of one test, which it may kill.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use crate::servers::server;

/// One of `docker/servers/`, with a port and data of its own. It is wiped at the end.
pub struct KilledServer {
    script: PathBuf,
    port: (&'static str, String),
}

impl KilledServer {
    /// Starts one, when the tests are given a server of that kind; `port` is the variable by which its script takes one.
    pub fn start(name: &str, given: &'static str, port: (&'static str, u16)) -> Option<Self> {
        server(given)?;
        let script = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docker/servers")).join(name);
        let own = Self { script, port: (port.0, port.1.to_string()) };
        own.run("install");
        own.run("start");
        Some(own)
    }

    /// Its URI.
    pub fn url(&self) -> String {
        self.run("url").trim().to_owned()
    }

    /// SIGKILL, and a start. What was killed may hold its port for a moment.
    pub fn kill_and_start(&self) {
        self.run("kill");
        for _ in 0..100 {
            if self.output("start").status.success() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        self.run("start");
    }

    fn output(&self, action: &str) -> Output {
        let output = Command::new(&self.script).arg(action).env(self.port.0, &self.port.1).output();
        output.unwrap_or_else(|error| panic!("{}: {error}", self.script.display()))
    }

    fn run(&self, action: &str) -> String {
        let output = self.output(action);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {action}: {said}", self.script.display());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for KilledServer {
    fn drop(&mut self) {
        let _gone = Command::new(&self.script).arg("wipe").env(self.port.0, &self.port.1).output();
    }
}
