//! Where files are: a path, or `file:PATH`.

use std::path::{Path, PathBuf};

/// Why a place cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    /// A scheme that nothing here speaks.
    #[error("{uri:?} is not on this machine: give a path or file:PATH (object stores are not read yet: copy it first)")]
    Scheme {
        /// What was given.
        uri: String,
    },
    /// Nothing after the scheme.
    #[error("{uri:?} names no file: give a path or file:PATH")]
    Empty {
        /// What was given.
        uri: String,
    },
}

/// The path that a URI means. A colon makes no scheme of a path: only `file:` and `NAME://` do. What is no UTF-8 is a
/// path.
///
/// # Errors
/// [`UriError`] for a scheme other than `file`, and for no path.
pub fn local_path(uri: &(impl AsRef<Path> + ?Sized)) -> Result<PathBuf, UriError> {
    let Some(uri) = uri.as_ref().to_str() else { return Ok(uri.as_ref().to_owned()) };
    let path = match uri.strip_prefix("file:") {
        Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
        None if uri.contains("://") => return Err(UriError::Scheme { uri: uri.to_owned() }),
        None => uri,
    };
    if path.is_empty() { Err(UriError::Empty { uri: uri.to_owned() }) } else { Ok(PathBuf::from(path)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_itself_and_file_is_taken_off() {
        for (uri, path) in
            [("a.csv", "a.csv"), ("file:a/b.csv", "a/b.csv"), ("file:///a.csv", "/a.csv"), ("x:y", "x:y")]
        {
            assert_eq!(local_path(uri), Ok(PathBuf::from(path)));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_name_in_no_utf8_is_a_path() {
        use std::os::unix::ffi::OsStrExt;

        let path = Path::new(std::ffi::OsStr::from_bytes(b"caf\xe9.csv"));
        assert_eq!(local_path(path).as_deref(), Ok(path));
    }

    #[test]
    fn other_schemes_and_nothing_are_refused() {
        assert!(local_path("s3://bucket/a.csv").unwrap_err().to_string().contains("give a path"));
        assert!(local_path("file:").is_err() && local_path("").is_err());
    }
}
