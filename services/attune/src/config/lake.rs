//! How the event lake is written.

use std::time::Duration;

use anyhow::{Result, ensure};
use attune_lake::LakeSettings;
use serde::{Deserialize, Serialize};

/// A day: files are of one day anyway.
const FLUSH_S_MAX: u64 = 86_400;

/// `[lake]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lake {
    /// Events wait so many seconds for others before they are written as files.
    pub flush_s: u64,
}

impl Default for Lake {
    fn default() -> Self {
        Self { flush_s: LakeSettings::default().flush_every.as_secs() }
    }
}

impl Lake {
    /// # Errors
    /// A time that makes no sense.
    pub fn check(&self) -> Result<()> {
        let flush_s = self.flush_s;
        ensure!((1..=FLUSH_S_MAX).contains(&flush_s), "lake.flush_s is {flush_s}, it must be 1 to {FLUSH_S_MAX}");
        Ok(())
    }

    /// For the writer.
    pub fn settings(&self) -> LakeSettings {
        LakeSettings { flush_every: Duration::from_secs(self.flush_s), ..LakeSettings::default() }
    }
}
