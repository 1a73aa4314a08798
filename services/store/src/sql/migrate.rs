//! The schema, and who may work with it.
//!
//! A schema has a number, which grows with every migration. Migrations expand: they add what new programs need and leave
//! alone what old ones use, so that both run side by side on one PostgreSQL; a later one contracts, when the old ones are
//! gone. So a migration states the oldest program that may run beside it, as the number of the schema that program came
//! with, and a program that is older refuses to start. A file has one program at a time, and there any newer schema is
//! refused: its owner meant to go back, and would write rows that the newer program does not expect.

use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row, SqlSafeStr};

use super::{Dialect, STORE, now_ms};
use crate::{ErrorKind, StoreError};

struct Migration {
    number: i64,
    /// The oldest program that may run with it.
    oldest: i64,
    sql: &'static str,
}

const MIGRATIONS: [Migration; 1] =
    [Migration { number: 1, oldest: 1, sql: include_str!("migrations/0001_entities.sql") }];

/// The schema that this program came with.
pub const SCHEMA: i64 = MIGRATIONS[MIGRATIONS.len() - 1].number;

/// The oldest program, by the schema it came with, that may run beside this one.
pub fn oldest_program() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.oldest).max().unwrap_or(SCHEMA)
}

/// The lock that one program has while it migrates; any number that nobody else uses.
const LOCK_POSTGRES: &str = "SELECT 1 FROM (SELECT pg_advisory_xact_lock(7021995483112)) AS held";

const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations \
    (number BIGINT PRIMARY KEY, oldest BIGINT NOT NULL, applied_ms BIGINT NOT NULL)";

/// Applies what is missing, in one transaction under a lock, or refuses.
pub(super) async fn migrate(connection: &mut AnyConnection, dialect: Dialect) -> Result<(), StoreError> {
    let fail = |error| dialect.fail("migrate", error);
    let mut transaction = connection.begin_with(dialect.begin()).await.map_err(fail)?;
    if dialect == Dialect::Postgres {
        sqlx::query(LOCK_POSTGRES).execute(&mut *transaction).await.map_err(fail)?;
    }
    sqlx::query(TABLE).execute(&mut *transaction).await.map_err(fail)?;
    let state = "SELECT COALESCE(MAX(number), 0), COALESCE(MAX(oldest), 0) FROM schema_migrations";
    let state = sqlx::query(state).fetch_one(&mut *transaction).await.map_err(fail)?;
    let (number, oldest): (i64, i64) = (state.try_get(0).map_err(fail)?, state.try_get(1).map_err(fail)?);
    refuse_newer(dialect, number, oldest)?;
    for migration in MIGRATIONS.iter().filter(|migration| migration.number > number) {
        let sql = AssertSqlSafe(dialect.schema(migration.sql)).into_sql_str();
        sqlx::raw_sql(sql).execute(&mut *transaction).await.map_err(fail)?;
        let applied = "INSERT INTO schema_migrations (number, oldest, applied_ms) VALUES ($1, $2, $3)";
        let applied = sqlx::query(applied).bind(migration.number).bind(migration.oldest).bind(now_ms());
        applied.execute(&mut *transaction).await.map_err(fail)?;
    }
    transaction.commit().await.map_err(fail)
}

fn refuse_newer(dialect: Dialect, number: i64, oldest: i64) -> Result<(), StoreError> {
    let is_fine = match dialect {
        Dialect::Sqlite => number <= SCHEMA,
        Dialect::Postgres => oldest <= SCHEMA,
    };
    if is_fine {
        return Ok(());
    }
    let detail = format!(
        "the database has schema {number}, which programs from schema {oldest} on may use; this one came with schema \
         {SCHEMA}: start a newer one"
    );
    Err(StoreError::new(STORE, "migrate", ErrorKind::TooNew, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_from_one_and_know_no_future_program() {
        for (place, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.number, place as i64 + 1);
            assert!((1..=migration.number).contains(&migration.oldest));
        }
    }

    #[test]
    fn a_file_is_refused_when_newer_and_a_server_when_its_schema_says_so() {
        let newer = SCHEMA + 1;
        assert_eq!(refuse_newer(Dialect::Sqlite, newer, SCHEMA).unwrap_err().kind, ErrorKind::TooNew);
        assert!(refuse_newer(Dialect::Postgres, newer, SCHEMA).is_ok());
        assert_eq!(refuse_newer(Dialect::Postgres, newer, newer).unwrap_err().kind, ErrorKind::TooNew);
    }
}
