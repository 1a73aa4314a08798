//! Rows in an SQLite file.

use std::path::Path;
use std::time::Duration;

use url::Url;

use crate::sql::{Dialect, SqlOptions, SqlRelational};
use crate::{ErrorKind, StoreError, StoreKind};

/// Opens the file, and makes it and its folder where there is none. Other processes of this machine may have it open too.
///
/// # Errors
/// [`ErrorKind::TooNew`], [`ErrorKind::Corrupt`], [`ErrorKind::Denied`], [`ErrorKind::Full`].
pub async fn open(path: &Path) -> Result<SqlRelational, StoreError> {
    let url = file_url(StoreKind::Relational, path)?;
    let options = SqlOptions { connections_max: 4, writers_max: 1, connect_max: Duration::from_secs(30) };
    SqlRelational::open(&url, Dialect::Sqlite, options).await
}

/// The path as sqlx wants it, its folder made.
fn file_url(store: StoreKind, path: &Path) -> Result<String, StoreError> {
    super::make_folder(store, path)?;
    let unusable = || StoreError::new(store, "open", ErrorKind::Invalid, format!("{} is no path", path.display()));
    let absolute = std::path::absolute(path).map_err(|_| unusable())?;
    if absolute.to_str().is_none() {
        let detail = format!("{} is not UTF-8, and SQLite opens nothing else: choose another folder", path.display());
        return Err(StoreError::new(store, "open", ErrorKind::Invalid, detail));
    }
    let url = Url::from_file_path(absolute).map_err(|()| unusable())?;
    Ok(format!("sqlite://{}?mode=rwc", url.path()))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[tokio::test]
    async fn a_path_in_no_utf8_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(OsStr::from_bytes(b"caf\xe9")).join("a.db");
        let error = open(&path).await.err().unwrap();
        assert!(error.kind == ErrorKind::Invalid && error.detail.contains("choose another folder"), "{error}");
    }
}
