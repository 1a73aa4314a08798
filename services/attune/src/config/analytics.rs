//! `[analytics]`: what a report may take.

use std::path::PathBuf;
use std::time::Duration;

use attune_analytics::Settings;
use serde::{Deserialize, Serialize};

use super::SECONDS_MAX;

/// More threads than reports should ever have.
const REPORTS_MAX: u64 = 64;
/// Less memory than the file that is being read, and a few groups, need.
const MIB_MIN: u64 = 16;
/// More than any machine has: a pebibyte.
const MIB_MAX: u64 = 1 << 30;

/// Bounds of reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Analytics {
    /// Reports in work at once; the next one is refused (429).
    pub reports_max: usize,
    /// The most memory of one report, in MiB.
    pub report_mib_max: u64,
    /// The longest time of one, in seconds, whatever its caller would wait.
    pub report_s_max: u64,
    /// The most disk for rows that are sorted, in MiB; 0 sorts in memory alone.
    pub spill_mib_max: u64,
    /// How often people are shared out anew among the arms of bandits, in seconds.
    pub bandits_s: u64,
}

impl Default for Analytics {
    fn default() -> Self {
        let Settings { reports_max, report_bytes_max, time_max, spill_bytes_max, .. } = Settings::default();
        Self {
            reports_max,
            report_mib_max: report_bytes_max as u64 >> 20,
            report_s_max: time_max.as_secs(),
            spill_mib_max: spill_bytes_max >> 20,
            bandits_s: 60,
        }
    }
}

impl Analytics {
    /// In the words of the service; `folder` is for rows that are sorted.
    pub fn settings(&self, folder: PathBuf) -> Settings {
        Settings {
            reports_max: self.reports_max,
            report_bytes_max: (self.report_mib_max as usize) << 20,
            time_max: Duration::from_secs(self.report_s_max),
            spill: (self.spill_mib_max > 0).then_some(folder),
            spill_bytes_max: self.spill_mib_max << 20,
        }
    }

    /// Each key with its value, and the least and the greatest that it may have.
    pub(super) fn bounds(&self) -> [(&'static str, u64, u64, u64); 5] {
        [
            ("analytics.reports_max", self.reports_max as u64, 1, REPORTS_MAX),
            ("analytics.report_mib_max", self.report_mib_max, MIB_MIN, MIB_MAX),
            ("analytics.report_s_max", self.report_s_max, 1, SECONDS_MAX),
            ("analytics.spill_mib_max", self.spill_mib_max, 0, MIB_MAX),
            ("analytics.bandits_s", self.bandits_s, 1, SECONDS_MAX),
        ]
    }
}
