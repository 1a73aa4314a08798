//! What an event is worth, on the command line: the configuration's section, a file, or every event alike.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use attune_ranking::data::Worth;
use clap::Args;

use crate::config::Config;

/// The word for the section of the configuration, and the one for every event alike.
const SECTION: &str = "config";
const ALIKE: &str = "alike";

/// `--worth`
#[derive(Clone, Debug, Args)]
pub struct WorthFlag {
    /// What events of each type are worth: a file in TOML or JSON like the section [worth] of the configuration,
    /// `config` for that section, or `alike` for 1 each
    #[arg(long, value_name = "FILE")]
    worth: Option<PathBuf>,
}

impl WorthFlag {
    /// What was asked for, else `default`.
    ///
    /// # Errors
    /// The file cannot be read or makes no sense.
    pub fn or(&self, default: &Worth, config: &Config) -> Result<Worth> {
        let Some(path) = &self.worth else { return Ok(default.clone()) };
        match path.to_str() {
            Some(SECTION) => Ok(config.worth.clone()),
            Some(ALIKE) => Ok(Worth::alike()),
            _ => read(path),
        }
    }

    /// Whether something was asked for.
    pub fn is_given(&self) -> bool {
        self.worth.is_some()
    }

    /// What was asked for, without the folder.
    pub fn file_name(&self) -> Option<String> {
        Some(self.worth.as_ref()?.file_name()?.to_string_lossy().into_owned())
    }
}

fn read(path: &Path) -> Result<Worth> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read --worth {}", path.display()))?;
    let worth: Worth = if path.extension().is_some_and(|end| end == "json") {
        serde_json::from_str(&text).with_context(|| format!("--worth {}", path.display()))?
    } else {
        // The parser's error shows the line and marks the place.
        toml::from_str(&text)
            .map_err(|error| anyhow::anyhow!("{}: {}", path.display(), error.to_string().trim_end()))?
    };
    worth.check().with_context(|| format!("--worth {}", path.display()))?;
    Ok(worth)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(end: &str, text: &str) -> Result<Worth> {
        let file = tempfile::Builder::new().suffix(end).tempfile().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let flag = WorthFlag { worth: Some(file.path().to_owned()) };
        flag.or(&Worth::alike(), &Config::default())
    }

    #[test]
    fn toml_and_json_say_the_same() {
        let toml = "[kinds.view]\nweight = 3\nhalf_life_days = 30\n[kinds.rating.value.centred]\nmidpoint = 3\n";
        let json = r#"{"kinds": {"view": {"weight": 3, "half_life_days": 30},
                       "rating": {"value": {"centred": {"midpoint": 3}}}}}"#;
        let worth = read_text(".toml", toml).unwrap();
        assert_eq!(worth, read_text(".json", json).unwrap());
        assert_eq!((worth.of("view").weight, worth.of("view").half_life_days), (3.0, Some(30.0)));
    }

    #[test]
    fn words_and_nonsense() {
        let of = |word: &str| WorthFlag { worth: Some(word.into()) }.or(&Worth::alike(), &Config::default());
        assert_eq!((of("config").unwrap(), of("alike").unwrap()), (Worth::default(), Worth::alike()));
        assert!(of("absent.toml").unwrap_err().to_string().contains("absent.toml"));
        assert!(read_text(".toml", "[kinds.view]\nwieght = 3\n").unwrap_err().to_string().contains("wieght"));
        assert!(format!("{:#}", read_text(".toml", "[kinds.view]\nweight = -1\n").unwrap_err()).contains("view"));
    }
}
