//! What can be set.

use std::collections::BTreeMap;

use attune_ranking::data::{Worth, WorthError};
use serde::{Deserialize, Serialize};

/// More threads than any machine has processors.
const THREADS_MAX: usize = 1_024;

/// `[recommendation]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecommendationConfig {
    /// Threads that make lists; 0 is one for each core.
    pub threads: usize,
    /// Lists that may wait for a thread; the next one is refused (429).
    pub queue_max: usize,
    /// How long sources are waited for, in milliseconds from when a request came; those that are later are left out.
    pub sources_ms_max: u64,
    /// How long a request waits for the log to be read up to its user's last event, where the cache cannot say it, in
    /// milliseconds.
    pub catch_up_ms_max: u64,
    /// How often popular, trending and new items are counted up anew, in milliseconds.
    pub publish_ms: u64,
    /// How often the state is written down, in seconds; a start goes on from there.
    pub snapshot_s: u64,
    /// Users of a tenant that are kept; those that did nothing for longest go first.
    pub users_max: usize,
    /// Items of a tenant that are kept.
    pub items_max: usize,
    /// Tenants that are served.
    pub tenants_max: usize,
    /// Types of events after which an item is not recommended again.
    pub seen: Vec<String>,
    /// Types of events that are what lists are made for.
    pub conversions: Vec<String>,
    /// After so many days it may be; never if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen_days: Option<f32>,
    /// An event counts half in trends after so many hours.
    pub trend_half_life_h: f64,
    /// A new item counts half after so many days.
    pub latest_half_life_days: f32,
    /// What events are worth on surfaces where that is something else than in `[worth]`.
    pub surfaces: BTreeMap<String, Worth>,
}

/// A setting that makes no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// More threads than can be of use.
    #[error("recommendation.threads is {0}, it must be 0 to {THREADS_MAX}")]
    Threads(usize),
    /// A number outside its range.
    #[error("recommendation.{name} is {value}: {need}")]
    Number {
        /// The setting.
        name: &'static str,
        /// As set.
        value: f64,
        /// What would do.
        need: &'static str,
    },
    /// What events are worth.
    #[error("recommendation.surfaces.{surface}: {source}")]
    Worth {
        /// The surface.
        surface: String,
        /// What is wrong.
        source: WorthError,
    },
}

impl Default for RecommendationConfig {
    fn default() -> Self {
        Self {
            threads: 0,
            queue_max: 512,
            sources_ms_max: 100,
            catch_up_ms_max: 20,
            publish_ms: 500,
            snapshot_s: 60,
            users_max: 1_000_000,
            items_max: 2_000_000,
            tenants_max: 1_000,
            seen: ["view", "click", "purchase", "rating", "dislike"].map(str::to_owned).to_vec(),
            conversions: vec!["purchase".to_owned()],
            seen_days: None,
            trend_half_life_h: 24.0,
            latest_half_life_days: 7.0,
            surfaces: BTreeMap::new(),
        }
    }
}

impl RecommendationConfig {
    /// Refuses settings that make no sense.
    ///
    /// # Errors
    /// [`ConfigError`] names the first.
    pub fn check(&self) -> Result<(), ConfigError> {
        const COUNT: &str = "at least 1 is needed";
        const TIME: &str = "a finite number above 0 is needed";
        if self.threads > THREADS_MAX {
            return Err(ConfigError::Threads(self.threads));
        }
        let counts = [
            ("queue_max", self.queue_max as u64),
            ("sources_ms_max", self.sources_ms_max),
            ("publish_ms", self.publish_ms),
            ("snapshot_s", self.snapshot_s),
            ("users_max", self.users_max as u64),
            ("items_max", self.items_max as u64),
            ("tenants_max", self.tenants_max as u64),
        ];
        if let Some((name, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(ConfigError::Number { name, value: 0.0, need: COUNT });
        }
        let times = [
            ("trend_half_life_h", self.trend_half_life_h),
            ("latest_half_life_days", self.latest_half_life_days.into()),
            ("seen_days", self.seen_days.unwrap_or(1.0).into()),
        ];
        if let Some((name, value)) = times.into_iter().find(|(_, time)| !(time.is_finite() && *time > 0.0)) {
            return Err(ConfigError::Number { name, value, need: TIME });
        }
        for (surface, worth) in &self.surfaces {
            worth.check().map_err(|source| ConfigError::Worth { surface: surface.clone(), source })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_named() {
        assert_eq!(RecommendationConfig::default().check(), Ok(()));
        let wrong = RecommendationConfig { seen_days: Some(-1.0), ..RecommendationConfig::default() };
        assert!(wrong.check().unwrap_err().to_string().contains("recommendation.seen_days is -1"));
        let wrong = RecommendationConfig { queue_max: 0, ..RecommendationConfig::default() };
        assert!(wrong.check().unwrap_err().to_string().contains("queue_max"));
        let threads = |threads| RecommendationConfig { threads, ..RecommendationConfig::default() };
        assert_eq!(threads(THREADS_MAX).check(), Ok(()));
        assert!(threads(100_000).check().unwrap_err().to_string().contains("threads is 100000, it must be 0 to 1024"));
    }
}
