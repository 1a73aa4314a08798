//! Merges a file, the environment and flags into one [`Config`].
//!
//! The environment variable of a key is `ATTUNE_` and its path in capitals: `server.listen` is `ATTUNE_SERVER_LISTEN`.
//! The list of keys is read off the defaults, so a new key has its variable without another line of code. An unknown
//! key in a file is an error with its line; an unknown `ATTUNE_` variable is only a warning, because orchestrators
//! inject variables of their own by a service's name.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use toml::{Table, Value};

use super::{Config, Device, Engine, Precision, Roles};
use crate::term;

/// The file that is read, where it is there, when none is named.
const DEFAULT_FILE: &str = "attune.toml";
const PREFIX: &str = "ATTUNE_";
/// Variables with that prefix that are no keys of the configuration.
const OTHER_VARIABLES: [&str; 5] =
    ["ATTUNE_CACHE_DIR", "ATTUNE_CONFIG", "ATTUNE_ISA", "ATTUNE_KEY", "ATTUNE_MODELS_DIR"];

/// The environment of this process. What is no UTF-8 in it is replaced: variables of others are no reason to end.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value)))
}

/// What flags say; `None` leaves the key alone.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `data`
    pub data: Option<PathBuf>,
    /// `log`
    pub log: Option<String>,
    /// `roles`
    pub roles: Option<Roles>,
    /// `server.listen`
    pub listen: Option<String>,
    /// `inference.engine`
    pub engine: Option<Engine>,
    /// `inference.device`
    pub device: Option<Device>,
    /// `inference.precision`
    pub precision: Option<Precision>,
    /// `inference.workers`
    pub workers: Option<usize>,
}

/// The configuration that holds: flags over environment over file over defaults.
///
/// `file` is the one that was named; without one, `attune.toml` in the working folder is read if it is there.
///
/// # Errors
/// The file cannot be read, a key is unknown, a value has the wrong type or makes no sense; with the place.
pub fn load(
    file: Option<&Path>,
    variables: impl IntoIterator<Item = (String, String)>,
    overrides: &Overrides,
) -> Result<Config> {
    let file = file.or_else(|| Some(Path::new(DEFAULT_FILE)).filter(|file| file.is_file()));
    let from_file = file.map(read).transpose()?.unwrap_or_default();
    let mut config = with_environment(&from_file, variables)?;
    config.file = file.map(Path::to_owned);
    overrides.apply(&mut config);
    config.check().context("the configuration makes no sense")?;
    Ok(config)
}

/// What a file alone says, over the defaults.
///
/// # Errors
/// The file cannot be read, a key is unknown, or a value has the wrong type; with the place.
pub fn read(path: &Path) -> Result<Config> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).map_err(|error| anyhow::anyhow!("{}: {}", path.display(), told(&text, &error)))
}

/// What is wrong, and where. The line itself, which the parser would show, may have the password of a store in it.
fn told(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let place = before.map(|before| {
        let (line, column) =
            (before.split('\n').count(), before.rsplit('\n').next().map_or(0, |line| line.chars().count()));
        format!("line {line}, column {}: ", column + 1)
    });
    let message = match error.message().trim_end() {
        message if message.contains("://") => "an address is where none belongs (not shown: a password may be in it)",
        message => message,
    };
    format!("{}{message}", place.unwrap_or_default())
}

fn with_environment(config: &Config, variables: impl IntoIterator<Item = (String, String)>) -> Result<Config> {
    let mut table = Table::try_from(config).context("the configuration cannot be written as TOML")?;
    for (name, text) in variables {
        if !name.starts_with(PREFIX) || OTHER_VARIABLES.contains(&name.as_str()) {
            continue;
        }
        match place(&mut table, &name[PREFIX.len()..]) {
            Some(value) => {
                // A path would be another one.
                ensure!(!text.contains(char::REPLACEMENT_CHARACTER), "{name} is not UTF-8: give another value");
                *value = parse_like(value, &text).with_context(|| format!("{name}={text}"))?;
            }
            None => term::warn(&format!("the environment variable {name} is no key of the configuration: ignored")),
        }
        // One at a time, so that the error names the variable.
        table.clone().try_into::<Config>().with_context(|| format!("{name}={text}"))?;
    }
    table.try_into().context("the configuration cannot be read back")
}

/// The value whose path, in capitals and joined by `_`, is `name`.
fn place<'t>(table: &'t mut Table, name: &str) -> Option<&'t mut Value> {
    table.iter_mut().find_map(|(key, value)| {
        let rest = name.strip_prefix(key.to_ascii_uppercase().as_str())?;
        match value {
            Value::Table(inner) => place(inner, rest.strip_prefix('_')?),
            // A list of models does not fit into a variable.
            Value::Array(_) => None,
            _ => rest.is_empty().then_some(value),
        }
    })
}

fn parse_like(value: &Value, text: &str) -> Result<Value> {
    Ok(match value {
        Value::String(_) => Value::String(text.to_owned()),
        Value::Integer(_) => Value::Integer(text.parse().context("is not a whole number")?),
        Value::Float(_) => Value::Float(text.parse().context("is not a number")?),
        Value::Boolean(_) => Value::Boolean(text.parse().context("is neither true nor false")?),
        other => bail!("a {} cannot be set by the environment", other.type_str()),
    })
}

impl Overrides {
    fn apply(&self, config: &mut Config) {
        fn set<T: Clone>(key: &mut T, flag: &Option<T>) {
            if let Some(value) = flag {
                *key = value.clone();
            }
        }
        set(&mut config.data, &self.data);
        set(&mut config.log, &self.log);
        set(&mut config.roles, &self.roles);
        set(&mut config.server.listen, &self.listen);
        set(&mut config.inference.engine, &self.engine);
        set(&mut config.inference.device, &self.device);
        set(&mut config.inference.precision, &self.precision);
        set(&mut config.inference.workers, &self.workers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn the_example_documents_exactly_the_defaults() {
        let example = include_str!("../../../../attune.example.toml");
        let parsed: Config = toml::from_str(example).unwrap();
        assert_eq!(parsed, Config::default());
        // Every key is written out, not only those that differ from the default.
        let (written, all) = (example.parse::<Table>().unwrap(), Table::try_from(Config::default()).unwrap());
        assert_eq!(keys(&written), keys(&all));
    }

    fn keys(table: &Table) -> Vec<String> {
        let mut keys: Vec<String> = table
            .iter()
            .flat_map(|(key, value)| match value {
                Value::Table(inner) => self::keys(inner).iter().map(|rest| format!("{key}.{rest}")).collect(),
                _ => vec![key.clone()],
            })
            .collect();
        keys.sort();
        keys
    }

    #[test]
    fn flag_beats_environment_beats_file_beats_default() {
        let file = file("[server]\nlisten = \"127.0.0.1:1\"\n[inference]\nworkers = 1\n");
        let by = |environment: &[(&str, &str)], listen: Option<&str>| {
            let overrides = Overrides { listen: listen.map(str::to_owned), ..Overrides::default() };
            load(Some(file.path()), vars(environment), &overrides).unwrap()
        };
        assert_eq!(by(&[], None).server.listen, "127.0.0.1:1");
        assert_eq!(by(&[("ATTUNE_SERVER_LISTEN", "127.0.0.1:2")], None).server.listen, "127.0.0.1:2");
        let all =
            by(&[("ATTUNE_SERVER_LISTEN", "127.0.0.1:2"), ("ATTUNE_INFERENCE_WORKERS", "3")], Some("127.0.0.1:4"));
        assert_eq!((all.server.listen.as_str(), all.inference.workers), ("127.0.0.1:4", 3));
        assert_eq!(all.server.body_bytes_max, Config::default().server.body_bytes_max);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let file = file("log = \"info\"\n[server]\nlisten = \"127.0.0.1:1\"\nlissten = 3\n");
        let error = load(Some(file.path()), [], &Overrides::default()).unwrap_err().to_string();
        assert!(error.contains("line 4") && error.contains("unknown field `lissten`"), "{error}");
    }

    #[test]
    fn a_mistake_beside_a_password_is_told_without_it() {
        for text in [
            "[stores]\nrelatonal = \"postgres://u:hunter2@h/db\"\n",
            "[stores]\nrelational = \"postgres://u:hunter2@h/db\n",
            "stores = \"postgres://u:hunter2@h/db\"\n",
        ] {
            let file = file(text);
            let error = format!("{:#}", load(Some(file.path()), [], &Overrides::default()).unwrap_err());
            assert!(error.contains(": line ") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_bad_variable_is_named() {
        for (name, value) in
            [("ATTUNE_INFERENCE_WORKERS", "many"), ("ATTUNE_INFERENCE_PRECISION", "f64"), ("ATTUNE_LOG_FORMAT", "x")]
        {
            let error = format!("{:#}", load(None, vars(&[(name, value)]), &Overrides::default()).unwrap_err());
            assert!(error.contains(&format!("{name}={value}")), "{error}");
        }
    }

    #[test]
    fn a_variable_in_no_utf8_is_refused_and_not_taken_for_another() {
        let told = |name: &str| load(None, vars(&[(name, "/srv/caf\u{fffd}")]), &Overrides::default());
        assert!(told("ATTUNE_DATA").unwrap_err().to_string().contains("ATTUNE_DATA is not UTF-8"));
        assert!(told("HOME").is_ok());
    }

    #[test]
    fn foreign_variables_are_left_alone() {
        let environment = vars(&[("ATTUNE_SERVICE_HOST", "10.0.0.1"), ("ATTUNE_ISA", "avx2"), ("HOME", "/root")]);
        assert_eq!(load(None, environment, &Overrides::default()).unwrap(), Config::default());
    }

    #[test]
    fn nonsense_is_refused_by_key() {
        let why = |text| format!("{:#}", load(Some(file(text).path()), [], &Overrides::default()).unwrap_err());
        assert!(why("[inference]\nbatch_ms_max = 0.0").contains("inference.batch_ms_max"));
        assert!(why("[inference]\nqueue_texts_max = 0").contains("inference.queue_texts_max"));
        assert!(why("[inference]\nbatch_ms_max = 1e300").contains("inference.batch_ms_max"));
        assert!(why("[inference]\nworkers = 100000").contains("0 to 1024"));
        assert!(why("[server]\nhead_s_max = 0").contains("server.head_s_max is 0"));
        assert!(why("[server]\nin_flight_max = 9223372036854775807").contains("server.in_flight_max"));
        assert!(why("[server]\ndrain_s_max = 9223372036854775807").contains("server.drain_s_max"));
        assert!(why("models = []").contains("no model to serve"));
        let twice =
            "[[models]]\nname = \"a\"\nmodel = \"m\"\n[[models]]\nname = \"b\"\naliases = [\"a\"]\nmodel = \"m\"";
        assert!(why(twice).contains("two models are called \"a\""));
    }
}
