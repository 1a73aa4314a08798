//! Where SQLite and PostgreSQL differ.

use sqlx::{AnyConnection, Executor};

/// Which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// WAL lets readers go on beside a writer. With `synchronous=FULL` every commit is synced before it is acknowledged; the
/// usual setting for WAL, NORMAL, would lose the last commits with the power. A part of the schema that was tampered with
/// is not trusted to call functions.
pub(crate) const SQLITE_PRAGMAS: &str = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
    PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA cache_size = -2048; \
    PRAGMA journal_size_limit = 16777216";

/// A server may be configured otherwise; what is committed here is acknowledged to somebody. A statement whose caller has
/// gone ends by itself.
const POSTGRES_SETTINGS: &str = "SET synchronous_commit = on; SET statement_timeout = '30s'; \
    SET idle_in_transaction_session_timeout = '60s'; SET application_name = 'attune'";

impl Dialect {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }

    /// What a new connection is told.
    pub(super) async fn prepare(self, connection: &mut AnyConnection) -> sqlx::Result<()> {
        let settings = match self {
            Self::Sqlite => SQLITE_PRAGMAS,
            Self::Postgres => POSTGRES_SETTINGS,
        };
        connection.execute(settings).await.map(drop)
    }

    /// How a transaction that writes begins. SQLite's plain BEGIN takes the lock at the first write, when it may be too
    /// late to wait for it.
    pub(super) fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    /// The rows of a JSON array of arrays, as a table `given`, and the texts of a row's first columns. However many rows
    /// come, the statement is the same, prepared once; and SQLite looks each of them up by its key, where a list of as many
    /// placeholders makes it read the whole table, after it has compared every placeholder's name with every other.
    pub(super) fn given(self, array: &str, columns: usize) -> (String, Vec<String>) {
        let (table, row) = match self {
            Self::Sqlite => (format!("json_each({array}) AS given"), "given.value"),
            Self::Postgres => (format!("jsonb_array_elements({array}::jsonb) AS given(value)"), "given.value"),
        };
        (table, (0..columns).map(|column| format!("{row}->>{column}")).collect())
    }

    /// A statement of the schema, with the types that have another name. Keys are ordered by their bytes on both.
    pub(super) fn schema(self, sql: &str) -> String {
        let (key, number, bytes) = match self {
            Self::Sqlite => ("TEXT", "INTEGER PRIMARY KEY AUTOINCREMENT", "BLOB"),
            Self::Postgres => ("TEXT COLLATE \"C\"", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "BYTEA"),
        };
        sql.replace("{key}", key).replace("{number}", number).replace("{bytes}", bytes)
    }
}
