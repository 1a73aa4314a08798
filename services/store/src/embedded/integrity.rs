//! Whether an SQLite file is as SQLite wrote it.

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use crate::sql::Dialect;
use crate::{ErrorKind, Health, StoreError, StoreKind};

/// How long a file is looked at. All of it is read, and a large one would take minutes.
pub const LOOK_MAX: Duration = Duration::from_secs(2);
/// Steps of SQLite between two looks at the clock.
const STEPS: i32 = 1_000;

/// What a store says of itself, after a look through its file that may take so long. What its file holds beyond that
/// is not known, and a remark.
///
/// # Errors
/// [`ErrorKind::Corrupt`] where a page is not what it should be.
pub async fn examine(store: StoreKind, path: &Path, health: Health, look_max: Duration) -> Result<Health, StoreError> {
    let fail = |error: sqlx::Error| Dialect::Sqlite.fail_of(store, "health", error);
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await.map_err(fail)?;
    let until = Instant::now() + look_max;
    connection.lock_handle().await.map_err(fail)?.set_progress_handler(STEPS, move || Instant::now() < until);
    let said = sqlx::query_scalar::<_, String>("PRAGMA quick_check(1)").fetch_one(&mut connection).await;
    match said {
        Ok(said) if said == "ok" => Ok(health),
        Ok(said) => {
            let (path, said) = (path.display(), said.replace('\n', " "));
            let detail = format!("{path}: {said}: the database is damaged; restore it from a backup");
            Err(StoreError::new(store, "health", ErrorKind::Corrupt, detail))
        }
        Err(_) if Instant::now() >= until => {
            let (path, seconds) = (path.display(), look_max.as_secs());
            Ok(health.remark(format!("looked at for {seconds} s, the rest by sqlite3 {path} 'PRAGMA quick_check'")))
        }
        Err(error) => Err(fail(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use sqlx::{Connection, Executor};

    use super::*;

    const PAGE_BYTES: usize = 4_096;

    #[tokio::test]
    async fn a_damaged_page_is_found_and_nobody_waits_for_a_large_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some.db");
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let mut connection = options.connect().await.unwrap();
        connection.execute("CREATE TABLE texts (n INTEGER PRIMARY KEY, text TEXT NOT NULL)").await.unwrap();
        let rows = "WITH RECURSIVE count(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count WHERE n < 5000) \
                    INSERT INTO texts SELECT n, hex(zeroblob(100)) FROM count";
        connection.execute(rows).await.unwrap();
        connection.close().await.unwrap();
        let look = |look_max| examine(StoreKind::Documents, &path, Health::new("SQLite", "3"), look_max);
        let whole = Duration::from_secs(600);
        assert_eq!(look(whole).await.unwrap(), Health::new("SQLite", "3"));
        assert!(look(Duration::ZERO).await.unwrap().remarks[0].contains("quick_check"));

        let mut bytes = fs::read(&path).unwrap();
        bytes[50 * PAGE_BYTES..51 * PAGE_BYTES].fill(0xff);
        fs::write(&path, bytes).unwrap();
        let error = look(whole).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Corrupt);
        assert!(error.detail.contains("some.db") && error.detail.contains("restore it"), "{error}");
    }
}
