//! Rows in PostgreSQL.

use std::time::Duration;

use url::Url;

use crate::StoreError;
use crate::sql::{Dialect, SqlOptions, SqlRelational};

/// Connects to `postgres://user:password@host:port/database`, with the parameters of libpq (`?sslmode=verify-full`), and
/// brings the schema up to date. `connections_max` is the size of the pool; a call waits `connect_max` for one of them.
///
/// # Errors
/// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable), [`ErrorKind::Timeout`](crate::ErrorKind::Timeout),
/// [`ErrorKind::Denied`](crate::ErrorKind::Denied), [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when there is no
/// such database, [`ErrorKind::TooNew`](crate::ErrorKind::TooNew).
pub async fn open(url: &Url, connections_max: u32, connect_max: Duration) -> Result<SqlRelational, StoreError> {
    let options = SqlOptions { connections_max, writers_max: connections_max as usize, connect_max };
    SqlRelational::open(url.as_str(), Dialect::Postgres, options).await
}
