//! What a store says of itself.

use std::fmt;

/// The answer of a store that is there, for whoever starts or looks after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What it is, for example `PostgreSQL`.
    pub server: String,
    /// Its version, as it states it.
    pub version: String,
    /// What else is worth knowing, a part of a sentence each.
    pub remarks: Vec<String>,
    /// What will go wrong sooner or later if it stays as it is, a sentence each with what to do.
    pub warnings: Vec<String>,
}

impl Health {
    /// A store with nothing to complain of.
    pub fn new(server: impl Into<String>, version: impl Into<String>) -> Self {
        Self { server: server.into(), version: version.into(), remarks: Vec::new(), warnings: Vec::new() }
    }

    /// The same with a remark.
    pub fn remark(mut self, remark: impl Into<String>) -> Self {
        self.remarks.push(remark.into());
        self
    }

    /// The same with a warning.
    pub fn warn(mut self, warning: impl Into<String>) -> Self {
        self.warnings.push(warning.into());
        self
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.server, self.version)
    }
}
