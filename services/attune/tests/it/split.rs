//! A gateway and replicas, each a process of the real binary with a data folder of its own. What they share is the
//! relational store, in which the keys are, and the secret by which keys are hashed.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;

use crate::server::{Server, config};

/// Several processes. Dropping it kills them.
pub struct Split {
    pub gateway: Server,
    pub replicas: Vec<Server>,
    pub key: String,
}

impl Split {
    /// Replicas with these roles, and a gateway before them; `between` says at which address the gateway reaches each.
    /// `further` is more configuration, for all of them.
    pub fn start(count: usize, roles: &str, further: &str, between: impl Fn(usize, SocketAddr) -> SocketAddr) -> Self {
        assert!(count > 0);
        let mut replicas: Vec<Server> = Vec::with_capacity(count);
        for _ in 0..count {
            let folder = folder(replicas.first(), further);
            replicas.push(Server::start_in(folder, &["--roles", roles]));
        }
        let addresses: Vec<String> = replicas
            .iter()
            .enumerate()
            .map(|(place, replica)| format!("{:?}", between(place, replica.address).to_string()))
            .collect();
        let upstreams: String = roles.split(',').map(|role| format!("{role} = [{}]\n", addresses.join(", "))).collect();
        let folder = folder(replicas.first(), &format!("{further}\n[upstreams]\n{upstreams}"));
        let gateway = Server::start_in(folder, &["--roles", "gateway"]);
        let key = replicas[0].key().to_owned();
        Self { gateway, replicas, key }
    }
}

/// A folder for a process that shares keys with the first one.
fn folder(first: Option<&Server>, further: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path());
    let mut text = fs::read_to_string(&path).unwrap();
    let shared = first.map(|first| first.folder.path().join("data"));
    if let Some(shared) = &shared {
        let rows = shared.join("stores/relational.db");
        text += &format!("[stores]\nrelational = 'sqlite:{}'\n", rows.display());
        copy(&shared.join("keys"), &folder.path().join("data/keys"));
    }
    fs::File::create(&path).unwrap().write_all((text + further).as_bytes()).unwrap();
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
