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
    let url = Url::from_file_path(absolute).map_err(|()| unusable())?;
    Ok(format!("sqlite://{}?mode=rwc", url.path()))
}
