//! The address of a store: `sqlite:PATH`, `postgres://user:password@host/database`.
//!
//! Whoever prints one, by `Display` or `Debug`, prints it without its password. `${NAME}` in an address stands for the
//! environment variable of that name, so that a secret need not be in a file.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use url::Url;

/// What stands in place of a secret.
const HIDDEN: &str = "***";
/// Parameters that are no secrets. Any other may be one, or one whose name was misspelt.
const PLAIN: [&str; 9] =
    ["authSource", "ca", "endpoint", "path_style", "prefix", "region", "replicaSet", "sslmode", "tls"];

/// The address of a store, as it is written in the configuration.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoreUri(String);

/// An address that cannot be.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum UriError {
    /// `${NAME}` names nothing.
    #[error("the environment variable {0} is not set")]
    Variable(String),
    /// `${` without an end.
    #[error("a \"${{\" is not closed")]
    NotClosed,
    /// Anything else.
    #[error("{0}")]
    Malformed(String),
}

impl StoreUri {
    /// An address.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// What stands before the first colon, which chooses the backend.
    pub fn scheme(&self) -> &str {
        self.0.split_once(':').map_or("", |(scheme, _)| scheme)
    }

    /// Whether it is the address of a server, and not of something in this process.
    pub fn is_server(&self) -> bool {
        self.0.contains("://")
    }

    /// The address with the environment's variables in it, percent-encoded, since they stand between separators.
    ///
    /// # Errors
    /// A variable is not set.
    pub(super) fn expand(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Self, UriError> {
        let mut text = String::new();
        let mut rest = self.0.as_str();
        while let Some((before, after)) = rest.split_once("${") {
            let (name, behind) = after.split_once('}').ok_or(UriError::NotClosed)?;
            let value = variable(name).ok_or_else(|| UriError::Variable(name.to_owned()))?;
            text.push_str(before);
            value.bytes().for_each(|byte| push_encoded(&mut text, byte));
            rest = behind;
        }
        text.push_str(rest);
        Ok(Self(text))
    }

    /// The path of a store in a file or folder; one that is not absolute begins at `base`.
    pub(super) fn path(&self, base: &Path) -> Result<PathBuf, UriError> {
        match self.0.split_once(':') {
            Some((_, path)) if !path.is_empty() => Ok(base.join(path)),
            _ => Err(UriError::Malformed("a path is missing behind the colon".to_owned())),
        }
    }

    /// The parts of a server's address.
    pub(super) fn url(&self) -> Result<Url, UriError> {
        // The parser's own words can repeat what it was given.
        let url = Url::parse(&self.0).map_err(|error| UriError::Malformed(format!("it is no address ({error})")))?;
        match url.host_str() {
            Some(host) if !host.is_empty() => Ok(url),
            _ => Err(UriError::Malformed("a host is missing behind the //".to_owned())),
        }
    }

    /// All of it, for the client that signs in with it.
    pub(super) fn with_secrets(&self) -> &str {
        &self.0
    }
}

fn push_encoded(text: &mut String, byte: u8) {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
        _ => text.push_str(&format!("%{byte:02X}")),
    }
}

impl fmt::Display for StoreUri {
    /// Without secrets. What is no proper address is hidden rather too much than too little.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, query) = self.0.split_once('?').map_or((self.0.as_str(), None), |(a, query)| (a, Some(query)));
        let Some((scheme, rest)) = address.split_once("://") else { return f.write_str(&self.0) };
        write!(f, "{scheme}://")?;
        match rest.rsplit_once('@') {
            Some((user, host)) => match user.split_once(':') {
                Some((name, _)) => write!(f, "{name}:{HIDDEN}@{host}")?,
                None => write!(f, "{user}@{host}")?,
            },
            None => f.write_str(rest)?,
        }
        for (place, parameter) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
            f.write_str(if place == 0 { "?" } else { "&" })?;
            match parameter.split_once('=') {
                // An address with an @ may have a password of its own.
                Some((name, value)) if PLAIN.contains(&name) && !value.contains('@') => write!(f, "{name}={value}")?,
                Some((name, _)) => write!(f, "{name}={HIDDEN}")?,
                None => f.write_str(HIDDEN)?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for StoreUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_printed_without_its_secrets() {
        for (uri, printed) in [
            ("sqlite:data/a.db", "sqlite:data/a.db"),
            ("postgres://ann:hush@db:5432/attune?sslmode=require", "postgres://ann:***@db:5432/attune?sslmode=require"),
            ("redis://:hush@cache", "redis://:***@cache"),
            ("mongodb://ann:hu@sh@a:1,b:2/x", "mongodb://ann:***@a:1,b:2/x"),
            ("postgres://ann:hu/sh@db/x", "postgres://ann:***@db/x"),
            ("s3://bucket/a@b", "s3://bucket/a@b"),
            ("elasticsearch://host?api_key=hush&prefix=a", "elasticsearch://host?api_key=***&prefix=a"),
            ("elasticsearch://host?api_ky=hush", "elasticsearch://host?api_ky=***"),
            ("elasticsearch://host?hush", "elasticsearch://host?***"),
            ("s3://b?endpoint=http://a:hush@host&region=eu", "s3://b?endpoint=***&region=eu"),
            (
                "s3://id:hush@bucket?SecretKey=hush&sessionToken=hush",
                "s3://id:***@bucket?SecretKey=***&sessionToken=***",
            ),
        ] {
            assert_eq!(StoreUri::new(uri).to_string(), printed);
            assert_eq!(format!("{:?}", StoreUri::new(uri)), printed);
        }
    }

    #[test]
    fn variables_are_put_in_so_that_they_cannot_change_the_address() {
        let variable = |name: &str| (name == "PASSWORD").then(|| "p@ss/wörd".to_owned());
        let uri = StoreUri::new("postgres://ann:${PASSWORD}@db/x").expand(variable).unwrap();
        assert_eq!(uri.with_secrets(), "postgres://ann:p%40ss%2Fw%C3%B6rd@db/x");
        assert_eq!(uri.url().unwrap().host_str(), Some("db"));
        let missing = StoreUri::new("redis://:${OTHER}@db").expand(variable).unwrap_err();
        assert_eq!(missing.to_string(), "the environment variable OTHER is not set");
        assert_eq!(StoreUri::new("redis://${OTHER").expand(variable), Err(UriError::NotClosed));
    }

    #[test]
    fn paths_begin_in_the_data_folder_unless_they_say_otherwise() {
        let path = |uri: &str| StoreUri::new(uri).path(Path::new("/data"));
        assert_eq!(path("sqlite:a/b.db"), Ok("/data/a/b.db".into()));
        assert_eq!(path("sqlite:/var/b.db"), Ok("/var/b.db".into()));
        assert!(path("sqlite:").unwrap_err().to_string().contains("path"));
        assert!(StoreUri::new("redis://").url().is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever a password has in it, it is not printed.
        #[test]
        fn no_password_is_printed(password in "[ -~]{0,12}HUSH[ -~]{0,12}".prop_filter("no ?", |text| !text.contains('?'))) {
            let printed = StoreUri::new(format!("postgres://ann:{password}@db:5432/x")).to_string();
            prop_assert!(!printed.contains("HUSH"), "{}", printed);
        }

        /// And a variable's value stays one part of the address.
        #[test]
        fn a_variable_stays_a_password(password in "\\PC{1,20}") {
            let uri = StoreUri::new("redis://:${P}@db/1").expand(|_| Some(password.clone())).unwrap();
            let url = uri.url().unwrap();
            prop_assert_eq!((url.host_str(), url.path()), (Some("db"), "/1"));
            prop_assert!(!uri.to_string().contains(url.password().unwrap()) || password.len() < 4);
        }
    }
}
