//! `[outside]`: whom pipelines may have asked.

use std::path::PathBuf;

use reqwest::Url;
use reqwest::header::HeaderValue;
use serde::{Deserialize, Serialize};

/// The most hosts.
pub const HOSTS_MAX: usize = 64;
/// The most calls to one host at once that can be set.
const CALLS_MAX: usize = 10_000;
/// The longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 8_192;

/// Services of the user's own that pipelines may name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutsideConfig {
    /// Those that may be asked; none, and no pipeline may name any.
    pub hosts: Vec<Host>,
    /// Calls to one host at once, which is also the most connections to it.
    pub calls_max: usize,
}

/// A host that may be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Scheme, name and port, such as `https://models.example.com` or `http://10.0.0.7:9000`: any path of it may be asked.
    pub origin: String,
    /// Whose pipelines may name it; everybody's, if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    /// A file with the token that it is sent (`authorization: Bearer`), read at the start; none, if empty.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub token_file: PathBuf,
}

fn is_empty(path: &std::path::Path) -> bool {
    path.as_os_str().is_empty()
}

/// A setting that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// None, or too many at once.
    #[error("outside.calls_max is {0}, it must be 1 to {CALLS_MAX}")]
    Calls(usize),
    /// Too many hosts.
    #[error("outside.hosts has {0} hosts, {HOSTS_MAX} are the most")]
    Hosts(usize),
    /// What is no origin.
    #[error(
        "outside.hosts: {origin:?} {why}: scheme, name and port are needed, as in https://models.example.com or \
         http://10.0.0.7:9000"
    )]
    Origin {
        /// As set.
        origin: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The same one twice.
    #[error("outside.hosts has {0:?} twice: name all its tenants once")]
    Twice(String),
    /// The system does not let anybody be asked.
    #[error("outside: no services can be asked from here: {0}")]
    Client(String),
    /// A token that cannot be sent.
    #[error("outside.hosts: the token of {origin}: {why}")]
    Token {
        /// Whose.
        origin: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Default for OutsideConfig {
    fn default() -> Self {
        Self { hosts: Vec::new(), calls_max: 64 }
    }
}

impl OutsideConfig {
    /// Refuses settings that make no sense.
    ///
    /// # Errors
    /// [`ConfigError`] names the first.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !(1..=CALLS_MAX).contains(&self.calls_max) {
            return Err(ConfigError::Calls(self.calls_max));
        }
        if self.hosts.len() > HOSTS_MAX {
            return Err(ConfigError::Hosts(self.hosts.len()));
        }
        let mut origins: Vec<String> = Vec::new();
        for host in &self.hosts {
            let origin = host.url()?.origin().ascii_serialization();
            if origins.contains(&origin) {
                return Err(ConfigError::Twice(origin));
            }
            origins.push(origin);
        }
        Ok(())
    }
}

impl Host {
    /// The address of its root.
    pub(crate) fn url(&self) -> Result<Url, ConfigError> {
        let wrong = |why| ConfigError::Origin { origin: self.origin.clone(), why };
        let url = Url::parse(&self.origin).map_err(|_| wrong("is no address"))?;
        let has_more = url.path() != "/" || url.query().is_some() || url.fragment().is_some();
        match url.scheme() {
            "http" | "https" => {}
            _ => return Err(wrong("is neither http nor https")),
        }
        if has_more || !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("says more than where a host is"));
        }
        // Whoever listens in between would have it.
        let is_near = url.host_str().is_some_and(|host| ["127.0.0.1", "[::1]", "localhost"].contains(&host));
        if !is_empty(&self.token_file) && url.scheme() == "http" && !is_near {
            return Err(wrong("has a token, which is sent by https alone, or within this machine"));
        }
        Ok(url)
    }

    /// The header that it is sent, read from its file.
    pub(crate) fn authorization(&self) -> Result<Option<HeaderValue>, ConfigError> {
        if is_empty(&self.token_file) {
            return Ok(None);
        }
        let wrong = |why: String| ConfigError::Token { origin: self.origin.clone(), why };
        let path = self.token_file.display();
        let text = std::fs::read_to_string(&self.token_file).map_err(|error| wrong(format!("{path}: {error}")))?;
        let token = text.trim();
        if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
            return Err(wrong(format!("{path} has {} bytes, 1 to {TOKEN_BYTES_MAX} are possible", token.len())));
        }
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        let mut value = value.map_err(|_| wrong(format!("{path} has characters that no header can have")))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(origin: &str, token_file: &str) -> Option<String> {
        let host = Host { origin: origin.into(), token_file: token_file.into(), ..Host::default() };
        let config = OutsideConfig { hosts: vec![host], ..OutsideConfig::default() };
        config.check().err().map(|error| error.to_string())
    }

    #[test]
    fn hosts_are_origins_and_nothing_more() {
        assert_eq!(OutsideConfig::default().check(), Ok(()));
        for origin in ["https://models.example.com", "http://10.0.0.7:9000", "http://[::1]:9000/"] {
            assert_eq!(told(origin, ""), None, "{origin}");
        }
        for (origin, why) in [
            ("models.example.com", "no address"),
            ("models.example.com:9000", "neither http nor https"),
            ("file:///etc/passwd", "neither http nor https"),
            ("https://models.example.com/path", "more than where"),
            ("https://models.example.com?a=b", "more than where"),
            ("https://ann:secret@models.example.com", "more than where"),
            ("*", "no address"),
        ] {
            assert!(told(origin, "").is_some_and(|told| told.contains(why)), "{origin}: {:?}", told(origin, ""));
        }
        let token = "/run/secrets/token";
        assert!(told("http://10.0.0.7:9000", token).unwrap().contains("by https alone"));
        assert!(told("https://10.0.0.7:9000", token).or(told("http://127.0.0.1:9000", token)).is_none());
        let host = |origin: &str| Host { origin: origin.into(), ..Host::default() };
        let twice = vec![host("https://a.example"), host("https://A.example:443/")];
        let twice = OutsideConfig { hosts: twice, ..OutsideConfig::default() };
        assert_eq!(twice.check(), Err(ConfigError::Twice("https://a.example".into())));
        let none = OutsideConfig { calls_max: 0, ..OutsideConfig::default() };
        assert_eq!(none.check(), Err(ConfigError::Calls(0)));
    }

    #[test]
    fn a_token_is_a_line_of_a_file_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let host = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            Host { origin: "https://a.example".into(), token_file: path, ..Host::default() }
        };
        let good = host("good", "s3cret\n").authorization().unwrap().unwrap();
        assert_eq!(good.as_bytes(), b"Bearer s3cret");
        assert!(!format!("{good:?}").contains("s3cret"));
        for bad in [host("empty", "\n"), host("two", "a\nb"), host("long", &"x".repeat(TOKEN_BYTES_MAX + 1))] {
            assert!(matches!(bad.authorization(), Err(ConfigError::Token { .. })));
        }
        let absent = Host { token_file: folder.path().join("absent"), ..host("good", "x") };
        assert!(absent.authorization().unwrap_err().to_string().contains("absent"));
    }
}
