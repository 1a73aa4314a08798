//! What can be set.

use attune_batch::recommender::{Kind, Settings, SettingsError};
use serde::{Deserialize, Serialize};

/// Stands for the model that suits the size of the catalogue.
const AUTO: &str = "auto";
/// The most items of which `auto` trains EASE, which takes .3 GB for so many; with more it factorises.
const EASE_ITEMS: usize = 5_000;
/// More threads than any machine has processors.
const THREADS_MAX: usize = 1_024;
/// Ten years.
const EVERY_S_MAX: u64 = 10 * 366 * 86_400;

/// `[trainer]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainerConfig {
    /// What is trained, as with `attune train`; `auto` is ease, and als where there are many items; nothing if empty.
    pub model: String,
    /// Its options, each `KEY=VALUE`.
    pub options: Vec<String>,
    /// There is a run every so many seconds, if anything has happened.
    pub every_s: u64,
    /// There is a run whenever so many events more have come.
    pub events_new: u64,
    /// There is none before so many events.
    pub events_min: u64,
    /// The last so many events are learned from: this is what bounds memory.
    pub events_max: usize,
    /// Threads of a run, which all stand back for requests.
    pub threads: usize,
    /// By what share the figure of the same settings may be below that of the version in service.
    pub worse_max: f64,
}

/// A setting that makes no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// No such model, or no such option.
    #[error("trainer.model or trainer.options: {0}")]
    Settings(#[from] SettingsError),
    /// A model that needs more than events.
    #[error("trainer.model is {0:?}, which is not trained on events alone: use als, ease, item-knn or blend")]
    NotTrainable(String),
    /// Options of nobody knows which model.
    #[error("trainer.options are those of one model, and trainer.model is auto: name the model")]
    Options,
    /// A number outside its range.
    #[error("trainer.{name} is {value}, it must be {need}")]
    Number {
        /// The setting.
        name: &'static str,
        /// As set.
        value: f64,
        /// What would do.
        need: String,
    },
}

impl Default for TrainerConfig {
    fn default() -> Self {
        Self {
            model: AUTO.to_owned(),
            options: Vec::new(),
            every_s: 86_400,
            events_new: 100_000,
            events_min: 1_000,
            events_max: 5_000_000,
            threads: 1,
            worse_max: 0.1,
        }
    }
}

impl TrainerConfig {
    /// What the size of the catalogue decides between; nothing where the model is named.
    pub fn by_size(&self) -> Vec<Settings> {
        let kinds: &[Kind] = if self.model == AUTO { &[Kind::Ease, Kind::Als] } else { &[] };
        kinds.iter().map(|kind| Settings::new(*kind, 0).with_threads(self.threads)).collect()
    }

    /// What is trained on events about so many items, if anything is.
    ///
    /// # Errors
    /// [`ConfigError`] where there is no such model or option.
    pub fn settings(&self, items: usize) -> Result<Option<Settings>, ConfigError> {
        let kind: Kind = match self.model.as_str() {
            "" => return Ok(None),
            AUTO if !self.options.is_empty() => return Err(ConfigError::Options),
            AUTO if items <= EASE_ITEMS => Kind::Ease,
            AUTO => Kind::Als,
            name => name.parse()?,
        };
        if kind == Kind::Content {
            return Err(ConfigError::NotTrainable(self.model.clone()));
        }
        Ok(Some(Settings::new(kind, 0).with_threads(self.threads).set(&self.options)?))
    }

    /// Refuses settings that make no sense.
    ///
    /// # Errors
    /// [`ConfigError`] names the first.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.settings(0)?;
        let counts = [
            ("every_s", self.every_s, EVERY_S_MAX),
            ("events_new", self.events_new, u64::from(u32::MAX)),
            ("events_min", self.events_min, u64::from(u32::MAX)),
            ("events_max", self.events_max as u64, u64::from(u32::MAX)),
            ("threads", self.threads as u64, THREADS_MAX as u64),
        ];
        if let Some((name, value, max)) = counts.into_iter().find(|(_, value, max)| !(1..=*max).contains(value)) {
            return Err(ConfigError::Number { name, value: value as f64, need: format!("1 to {max}") });
        }
        if !(0.0..1.0).contains(&self.worse_max) {
            let need = "from 0 to below 1".to_owned();
            return Err(ConfigError::Number { name: "worse_max", value: self.worse_max, need });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_the_catalogue_decides_where_nobody_does() {
        let name = |config: &TrainerConfig, items| config.settings(items).unwrap().map(|settings| settings.name());
        let auto = TrainerConfig::default();
        assert!([0, 9_999].iter().all(|items| auto.by_size().contains(&auto.settings(*items).unwrap().unwrap())));
        assert_eq!(
            [0, EASE_ITEMS, EASE_ITEMS + 1].map(|items| name(&auto, items)),
            [Some("ease"), Some("ease"), Some("als")]
        );
        let named = TrainerConfig { model: "item-knn".into(), ..auto };
        assert_eq!(
            (name(&named, 1), name(&TrainerConfig { model: String::new(), ..named }, 1)),
            (Some("item-knn"), None)
        );
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let of = |change: fn(&mut TrainerConfig)| {
            let mut config = TrainerConfig::default();
            change(&mut config);
            config.check().map_err(|error| error.to_string())
        };
        assert_eq!(of(|_| {}), Ok(()));
        assert_eq!(of(|config| config.model.clear()), Ok(()));
        for (change, needed) in [
            ((|config| config.model = "svd".into()) as fn(&mut TrainerConfig), "svd"),
            (|config| config.model = "content".into(), "not trained on events alone"),
            (|config| (config.model, config.options) = ("als".into(), vec!["factor=1".into()]), "factor"),
            (|config| config.options = vec!["factors=1".into()], "name the model"),
            (|config| config.every_s = 0, "trainer.every_s is 0"),
            (|config| config.threads = 5_000, "1 to 1024"),
            (|config| config.worse_max = 1.0, "trainer.worse_max is 1"),
            (|config| config.worse_max = f64::NAN, "trainer.worse_max is NaN"),
        ] {
            let error = of(change).unwrap_err();
            assert!(error.contains(needed), "{error}");
        }
    }
}
