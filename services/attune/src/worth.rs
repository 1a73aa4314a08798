//! What an event is worth, on the command line: the configuration's section, a file, or every event alike.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use attune_ranking::data::Worth;
use clap::Args;

use crate::config::Config;
use crate::term;

/// The word for the section of the configuration, and the one for every event alike.
const SECTION: &str = "config";
const ALIKE: &str = "alike";
/// Types of events that are named in a warning.
const KINDS_SHOWN: usize = 20;

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

    /// Warns of types that the file names and no event has: somebody's weights do nothing then. `kinds` are those that
    /// events have.
    pub fn tell_unknown(&self, worth: &Worth, kinds: &[String]) {
        let unknown = self.unknown(worth, kinds);
        if !unknown.is_empty() {
            let known = kinds.iter().map(String::as_str).take(KINDS_SHOWN);
            let [unknown, known] = [unknown, known.collect()].map(|names| names.join(", "));
            term::warn(&format!("--worth names {unknown}, and no event is of such a type: the types here are {known}"));
        }
    }

    /// The section of the configuration is about all events of an installation, and has well-known types by itself, as
    /// a file without types has.
    fn unknown<'w>(&self, worth: &'w Worth, kinds: &[String]) -> Vec<&'w str> {
        let is_section = self.worth.as_ref().is_none_or(|path| path.as_os_str() == SECTION);
        if is_section || worth.kinds == Worth::default().kinds {
            return Vec::new();
        }
        worth.kinds.keys().filter(|name| !kinds.contains(name)).map(String::as_str).collect()
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
    fn types_that_no_event_has_are_noticed_where_a_file_names_them() {
        let kinds = ["view", "rating"].map(str::to_owned);
        let unknown = |flag: &str, text: &str| {
            let flag = WorthFlag { worth: Some(flag.into()) };
            flag.unknown(&read_text(".toml", text).unwrap(), &kinds).join(" ")
        };
        let text = "[kinds.view]\nweight = 3\n[kinds.veiw]\n[kinds.play]\n";
        assert_eq!(unknown("own.toml", text), "play veiw");
        assert_eq!(unknown("own.toml", "[kinds.view]\n"), "");
        assert_eq!(unknown("own.toml", "[other]\nweight = 2\n"), "", "it names none");
        assert_eq!(unknown("config", text), "");
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
