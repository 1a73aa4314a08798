//! What makes a write depend on what was there.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Which state of a thing this is. It grows with every write of the thing, also when the thing was deleted and made
/// again in between: a first version is the time in microseconds. Were it 1, somebody who had read the first version of
/// a deleted thing could overwrite its successor without having seen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

/// What a write expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Whatever is there.
    Any,
    /// Nothing.
    Absent,
    /// This version and no other.
    Version(Version),
}

impl From<Option<Version>> for Expect {
    /// That nothing has changed since this was found.
    fn from(found: Option<Version>) -> Self {
        found.map_or(Self::Absent, Self::Version)
    }
}

impl Version {
    /// That of a thing made now.
    pub(crate) fn first() -> Self {
        Self(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
